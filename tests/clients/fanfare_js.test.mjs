// The client that the server serves, in Chromium, one channel: each transport, the way from one to the next, and what is
// lost and resumed on the way. What a network does, proxy.mjs does.
//
// Many channels and tokens are in fanfare_connect.test.mjs, and what takes no browser and no server in
// fanfare_rules.test.mjs.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";

import { open, openElsewhere } from "./browser.mjs";
import { BUFFER, CUT, FORWARD, REFUSE, SILENCE, SWALLOW, proxy } from "./proxy.mjs";
import { serve, within } from "./server.mjs";

const TRANSPORTS = ["websocket", "sse", "long-poll"];
const CONNECT_MS_MAX = 10_000; // of the client
const NEWS = "/channels/news";

/** A server that does not wait for what Chromium keeps: connections that it made on suspicion and does not close. */
function start(t, ...flags) {
  return serve(t, "--close-timeout", "100ms", ...flags);
}

/** What the client of the page has heard, and what it holds on to. Its waits are a twentieth of the longest. */
function observe() {
  Math.random = () => 0.05;
  window.heard = [];
  window.listen = (news) => {
    window.news = news;
    for (const name of ["message", "gap", "state"]) news.on(name, (value) => heard.push({ [name]: plain(value) }));
    news.on("error", ({ message, status }) => heard.push({ error: { message, status } }));
  };
  const plain = (value) => (value.data instanceof Uint8Array ? { ...value, data: { bytes: [...value.data] } } : value);

  window.held = { timers: new Set(), listeners: 0 };
  const { setTimeout, clearTimeout, addEventListener, removeEventListener } = window;
  window.setTimeout = (act, ...rest) => {
    const timer = setTimeout((...words) => (held.timers.delete(timer), act(...words)), ...rest);
    held.timers.add(timer);
    return timer;
  };
  window.clearTimeout = (timer) => (held.timers.delete(timer), clearTimeout(timer));
  for (const target of [window, document]) {
    target.addEventListener = (...words) => (held.listeners++, addEventListener.apply(target, words));
    target.removeEventListener = (...words) => (held.listeners--, removeEventListener.apply(target, words));
  }
}

/** A page of another origin than the client's, which comes from `host`: a server or a proxy. */
async function openClient(t, host) {
  const { page } = await openElsewhere(t);
  await page.evaluate(observe);
  await page.addScriptTag({ url: host.http("/fanfare.js") });
  return page;
}

/** Subscribes, and waits until that is open unless it says otherwise. */
async function subscribe(page, options = {}, until = "open") {
  await page.evaluate((options) => listen(fanfare.subscribe("news", undefined, options)), options);
  if (until) await reach(page, until);
}

async function reach(page, state, transport) {
  const is = ([state, transport]) => news.state === state && (!transport || news.transport === transport);
  await page.waitForFunction(is, [state, transport], { polling: 10 });
}

/** Stops the page's clock: from here on only `page.clock.runFor` moves it. */
async function freeze(page) {
  await page.clock.install({ time: 0 });
  await page.clock.pauseAt(60_000);
}

/** What was heard under one name, once there are `count` of it. */
async function heard(page, name, count) {
  const isThere = ([name, count]) => heard.filter((entry) => name in entry).length >= count;
  await page.waitForFunction(isThere, [name, count], { polling: 10 });
  return page.evaluate((name) => heard.flatMap((entry) => (name in entry ? [entry[name]] : [])), name);
}

async function heardData(page, count) {
  return (await heard(page, "message", count)).map(({ data }) => data);
}

/** The transports that were tried, in order, up to now. */
async function tried(page) {
  const states = await heard(page, "state", 1);
  return states.filter(({ state }) => state === "connecting").map(({ transport }) => transport);
}

function isUpgrade({ headers }) {
  return headers.upgrade === "websocket";
}

function isEventStream({ headers }) {
  return headers.accept === "text/event-stream";
}

for (const transport of TRANSPORTS) {
  test(`over ${transport}, every kind of data arrives with its id and event`, async (t) => {
    const server = await start(t);
    const page = await openClient(t, server);
    await subscribe(page, { transports: [transport] });
    const ids = [];
    const publish = async (...words) => ids.push((await server.publishAs(...words)).id);
    await publish("application/json", `${NEWS}?event=tick`, '{"price": 1.5, "of": ["a", null]}');
    await publish("text/plain", NEWS, "one\r\ntwo\rthree\nfour\n\n");
    await publish("text/plain", `${NEWS}?event=${encodeURIComponent("größer: 1")}`, "");
    await publish("application/octet-stream", `${NEWS}?event=raw`, Buffer.from([0, 13, 10, 255]));
    await publish("application/json", NEWS, '"a string"');
    assert.deepEqual(await heard(page, "message", 5), [
      { id: ids[0], event: "tick", data: { price: 1.5, of: ["a", null] } },
      { id: ids[1], event: undefined, data: "one\r\ntwo\rthree\nfour\n\n" },
      { id: ids[2], event: "größer: 1", data: "" },
      { id: ids[3], event: "raw", data: { bytes: [0, 13, 10, 255] } },
      { id: ids[4], event: undefined, data: "a string" },
    ]);
    assert.equal(await page.evaluate("news.lastId"), ids[4]);
    assert.deepEqual(await heard(page, "state", 2), [
      { state: "connecting", transport },
      { state: "open", transport },
    ]);
    assert.deepEqual(page.faults, []);
  });

  test(`over ${transport}, what the page publishes arrives as what it was`, async (t) => {
    const server = await start(t);
    const page = await openClient(t, server);
    await subscribe(page, { transports: [transport] });
    const answers = await page.evaluate(async () => [
      await news.publish({ price: 2 }, { event: "tick" }),
      await news.publish("a\r\nb"),
      await news.publish(new Uint8Array([1, 2, 255])),
      await news.publish(new Uint8Array([3, 4]).buffer),
      await news.publish(null),
    ]);
    const messages = await heard(page, "message", 5);
    assert.deepEqual(messages.map(({ event, data }) => [event, data]), [
      ["tick", { price: 2 }],
      [undefined, "a\r\nb"],
      [undefined, { bytes: [1, 2, 255] }],
      [undefined, { bytes: [3, 4] }],
      [undefined, null],
    ]);
    assert.deepEqual(messages.map(({ id }) => id), answers.map(({ id }) => id));
    assert.deepEqual(page.faults, []);
  });

  test(`over ${transport}, connections that are cut while messages come lose none and double none`, async (t) => {
    const server = await start(t);
    const between = await proxy(t, server);
    const page = await openClient(t, between);
    await subscribe(page, { transports: [transport] });
    const ids = [];
    for (let i = 0; i < 120; i++) {
      ids.push((await server.publish(NEWS, `${i}`)).id);
      if (i % 30 !== 15) continue;
      await reach(page, "open");
      await eventually(() => between.underway > 0, "a request to cut");
      between.cut();
    }
    const messages = await heard(page, "message", 120);
    assert.deepEqual(messages.map(({ id }) => id), ids);
    assert.deepEqual(await heard(page, "gap", 0), []);
  });

  test(`over ${transport}, a server that is restarted is found again, and the page told of the gap`, async (t) => {
    const server = await start(t);
    const page = await openClient(t, server);
    await subscribe(page, { transports: [transport] });
    await server.publish(NEWS, "before");
    await heard(page, "message", 1);
    assert.equal(await server.stop(), 0);
    await reach(page, "waiting");
    const again = await start(t, "--listen", server.address);
    assert.deepEqual(await heard(page, "gap", 1), [{ missed: null }]);
    await reach(page, "open");
    await again.publish(NEWS, "after");
    assert.deepEqual(await heardData(page, 2), ["before", "after"]);
    assert.equal(await page.evaluate("news.transport"), transport);
  });

  test(`over ${transport}, a page that is away for longer than the history is told how much it missed`, async (t) => {
    const server = await start(t, "--history", "5");
    const between = await proxy(t, server);
    const page = await openClient(t, between);
    await subscribe(page, { transports: [transport] });
    await server.publish(NEWS, "first");
    await heard(page, "message", 1);
    between.treat = () => CUT;
    between.cut();
    await reach(page, "waiting");
    for (let i = 0; i < 12; i++) await server.publish(NEWS, `${i}`);
    between.treat = () => FORWARD;
    assert.deepEqual(await heardData(page, 6), ["first", "7", "8", "9", "10", "11"]);
    assert.deepEqual(await heard(page, "gap", 1), [{ missed: 7 }]);
  });

  test(`over ${transport}, the last messages or those since an id come first`, async (t) => {
    const server = await start(t);
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await server.publish(NEWS, `${i}`)).id);
    const last = await openClient(t, server);
    await subscribe(last, { transports: [transport], last: 2 });
    const since = await openClient(t, server);
    await subscribe(since, { transports: [transport], since: ids[0] });
    await server.publish(NEWS, "5");
    assert.deepEqual(await heardData(last, 3), ["3", "4", "5"]);
    assert.deepEqual(await heardData(since, 5), ["1", "2", "3", "4", "5"]);
    for (const page of [last, since]) assert.deepEqual(await heard(page, "gap", 0), []);
  });

  test(`over ${transport}, whoever asks for the last messages of an empty channel waits for the first`, async (t) => {
    const server = await start(t);
    const page = await openClient(t, server);
    await subscribe(page, { transports: [transport], last: 2 });
    for (const text of ["one", "two", "three"]) await server.publish(NEWS, text);
    assert.deepEqual(await heardData(page, 3), ["one", "two", "three"]);
  });

  test(`over ${transport}, close() leaves no timer, no listener and no request`, async (t) => {
    const server = await start(t);
    const between = await proxy(t, server);
    const page = await openClient(t, between);
    const before = await page.evaluate("held.listeners");
    const assertNothingIsHeld = async (when) => {
      await page.evaluate("news.close()");
      assert.equal(await page.evaluate("news.state"), "closed", when);
      assert.equal(await page.evaluate("held.timers.size"), 0, `timers, closed while ${when}`);
      assert.equal(await page.evaluate("held.listeners"), before, `listeners, closed while ${when}`);
      await eventually(() => between.underway === 0, `the end of every request, closed while ${when}`);
    };
    await subscribe(page, { transports: [transport] });
    await assertNothingIsHeld("open");

    between.treat = () => SILENCE;
    const requests = between.seen.length;
    await subscribe(page, { transports: [transport] }, "connecting");
    await eventually(() => between.seen.length > requests, "a request");
    await assertNothingIsHeld("connecting");

    between.treat = () => CUT;
    await subscribe(page, { transports: [transport] }, "waiting");
    await assertNothingIsHeld("waiting");

    await subscribe(page, { transports: [transport] }, null);
    await assertNothingIsHeld("not even connecting");
    assert.equal((await heard(page, "state", 1)).at(-1).state, "closed");
  });
}

/** Waits for something that a test's own process knows. */
async function eventually(isSo, what) {
  const deadline = performance.now() + 10_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("where WebSockets are refused, Server-Sent Events are used", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  between.treat = (request) => (isUpgrade(request) ? REFUSE : FORWARD);
  const page = await openClient(t, between);
  await subscribe(page);
  await server.publish(NEWS, "hello");
  assert.deepEqual(await heardData(page, 1), ["hello"]);
  assert.deepEqual(await tried(page), ["websocket", "sse"]);

  between.cut();
  await server.publish(NEWS, "again");
  assert.deepEqual(await heardData(page, 2), ["hello", "again"]);
  assert.deepEqual(await tried(page), ["websocket", "sse", "sse"], "what worked is remembered");
});

test("where event streams are refused as well, the page polls", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  between.treat = (request) => (isUpgrade(request) || isEventStream(request) ? CUT : FORWARD);
  const page = await openClient(t, between);
  await subscribe(page);
  for (const text of ["one", "two", "three"]) await server.publish(NEWS, text);
  assert.deepEqual(await heardData(page, 3), ["one", "two", "three"]);
  assert.deepEqual(await tried(page), TRANSPORTS);
});

test("where the page has no WebSocket and cannot read an answer as it comes, it polls", async (t) => {
  const server = await start(t);
  const page = await openClient(t, server);
  await page.evaluate("delete window.WebSocket; delete window.TextDecoderStream;");
  await subscribe(page);
  assert.equal(await page.evaluate("news.transport"), "long-poll");
  await server.publish(NEWS, "hello");
  assert.deepEqual(await heardData(page, 1), ["hello"]);
  assert.deepEqual(page.faults, []);
});

test("a transport that neither opens nor fails is given up after ten seconds", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  between.treat = (request) => (isUpgrade(request) ? SILENCE : isEventStream(request) ? BUFFER : FORWARD);
  const page = await openClient(t, between);
  await freeze(page);
  await subscribe(page, {}, "connecting");
  for (const [index, transport] of TRANSPORTS.entries()) {
    await reach(page, transport === "long-poll" ? "open" : "connecting", transport);
    assert.equal((await tried(page)).length, index + 1);
    if (transport === "long-poll") break;
    await page.clock.runFor(CONNECT_MS_MAX - 1);
    assert.equal((await tried(page)).length, index + 1, "not before");
    await page.clock.runFor(1);
  }
  await server.publish(NEWS, "hello");
  assert.deepEqual(await heardData(page, 1), ["hello"]);
});

test("a WebSocket that was open and is lost is tried three times before the other transports", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await subscribe(page);
  between.treat = (request) => (isUpgrade(request) ? CUT : FORWARD);
  between.cut();
  await reach(page, "open", "sse");
  assert.deepEqual(await tried(page), ["websocket", "websocket", "websocket", "websocket", "sse"]);

  between.treat = () => FORWARD;
  between.cut();
  await reach(page, "open", "websocket");
  await server.publish(NEWS, "hello");
  assert.deepEqual(await heardData(page, 1), ["hello"]);
});

test("the waits between tries are drawn from all of a range that doubles up to half a minute", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await freeze(page);
  between.treat = () => CUT;
  const draws = [0.5, 0, 0.999, 0.25, 0.5, 0.75, 0.5, 1 - 2 ** -53, 0.001];
  await page.evaluate((draws) => (Math.random = () => draws.shift()), [...draws]);
  await subscribe(page, { transports: ["websocket"] }, null);
  for (let i = 0; i < draws.length; i++) {
    const { retryInMs } = (await heard(page, "state", 2 * i + 2)).at(-1);
    if (i + 1 < draws.length) await page.clock.runFor(Math.max(1, Math.ceil(retryInMs)));
  }
  const states = await heard(page, "state", 2 * draws.length);
  const waits = states.flatMap(({ retryInMs }) => (retryInMs === undefined ? [] : [retryInMs]));
  const caps = draws.map((_, i) => Math.min(30_000, 500 * 2 ** i));
  assert.deepEqual(waits, draws.map((draw, i) => draw * caps[i]));
});

test("back on the network, a page does not wait any longer", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await freeze(page);
  await subscribe(page);
  between.treat = () => CUT;
  between.cut();
  await reach(page, "waiting");
  between.treat = () => FORWARD;
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await reach(page, "open");

  between.treat = () => CUT;
  between.cut();
  await reach(page, "waiting");
  between.treat = () => FORWARD;
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await reach(page, "open");
  await server.publish(NEWS, "hello");
  assert.deepEqual(await heardData(page, 1), ["hello"]);
});

test("a page that reads too slowly is told how much was skipped, and goes on in order", async (t) => {
  const server = await start(t, "--max-lag", "512KiB", "--lag-grace", "100ms", "--lag-policy", "skip");
  const between = await proxy(t, server);
  for (const transport of ["websocket", "sse"]) {
    const page = await openClient(t, between);
    await subscribe(page, { transports: [transport] });
    between.pause(true);
    const block = randomBytes(150_000).toString("base64"); // nothing that deflates
    const ids = [];
    // 20 MB are more than the kernel holds.
    for (let i = 0; i < 100; i++) ids.push((await server.publishAs("text/plain", NEWS, `${i} ${block}`)).id);
    between.pause(false);
    await page.waitForFunction((id) => news.lastId === id, ids.at(-1), { polling: 10 });
    const received = (await page.evaluate("heard.flatMap(({ message }) => (message ? [message.id] : []))"));
    const missed = (await heard(page, "gap", 1)).reduce((sum, { missed }) => sum + missed, 0);
    assert.ok(missed > 0);
    assert.equal(received.length + missed, ids.length, transport);
    assert.deepEqual(received, ids.filter((id) => received.includes(id)), "in order, none twice");
    await page.evaluate("news.close()");
  }
});

test("a module imports it from the server, and a page of the server needs not say where it is", async (t) => {
  const server = await start(t);
  const page = await open(t, server.http("/healthz"));
  await page.evaluate(observe);
  const content = 'import { subscribe } from "/fanfare.mjs"; listen(subscribe("news"));';
  await page.addScriptTag({ type: "module", content });
  await page.waitForFunction("window.news?.state === 'open'");
  await server.publish(NEWS, "hello");
  assert.deepEqual(await heardData(page, 1), ["hello"]);
});

test("a module of another origin's page subscribes to where it was imported from", async (t) => {
  const server = await start(t);
  const { page } = await openElsewhere(t);
  await page.evaluate(observe);
  await page.evaluate(async (url) => listen((await import(url)).subscribe("news")), server.http("/fanfare.mjs"));
  await reach(page, "open");
  await page.evaluate(() => news.publish("hello"));
  assert.deepEqual(await heardData(page, 1), ["hello"]);
});

test("a frame without an origin that may, subscribes over each transport and publishes", async (t) => {
  const server = await start(t, "--allow-origin", "null");
  const { frame } = await openElsewhere(t);
  await frame.evaluate(observe);
  await frame.addScriptTag({ url: server.http("/fanfare.js") });
  for (const [index, transport] of TRANSPORTS.entries()) {
    await subscribe(frame, { transports: [transport] });
    await frame.evaluate((text) => news.publish(text), transport);
    assert.deepEqual(await heardData(frame, index + 1), TRANSPORTS.slice(0, index + 1));
    await frame.evaluate("news.close()");
  }
});

test("in development mode a frame without an origin hears over each transport, and why it does not publish", async (t) => {
  const server = await start(t);
  const { frame } = await openElsewhere(t);
  await frame.evaluate(observe);
  await frame.addScriptTag({ url: server.http("/fanfare.js") });
  for (const [index, transport] of TRANSPORTS.entries()) {
    await subscribe(frame, { transports: [transport] });
    const refusal = await frame.evaluate(() => news.publish("hello").catch(({ status, message }) => ({ status, message })));
    assert.deepEqual([refusal.status, /--allow-origin null/.test(refusal.message)], [403, true], refusal.message);
    await server.publish(NEWS, transport);
    assert.deepEqual(await heardData(frame, index + 1), TRANSPORTS.slice(0, index + 1));
    await frame.evaluate("news.close()");
  }
});

test("a server that is named, with or without a path, is the one that is used", async (t) => {
  const server = await start(t);
  const other = await start(t);
  const page = await openClient(t, server);
  for (const [index, base] of [other.http(""), other.http("/")].entries()) {
    await subscribe(page, { server: base });
    await other.publish(NEWS, "hello");
    assert.equal((await heardData(page, index + 1)).length, index + 1);
    await page.evaluate("news.close()");
  }
  const refusal = await page.evaluate(() => {
    try {
      fanfare.subscribe("news", undefined, { server: "ftp://127.0.0.1" });
    } catch (error) {
      return error.message;
    }
  });
  assert.match(refusal, /is no server; give its URL/);
});

for (const transports of [undefined, ...TRANSPORTS.map((transport) => [transport])]) {
  test(`a subscription that the server refuses ends with its sentence, over ${transports ?? "all"}`, async (t) => {
    const server = await start(t);
    const between = await proxy(t, server);
    const page = await openClient(t, between);
    const subscribeBadly = (transports) => listen(fanfare.subscribe("no spaces", undefined, { transports }));
    await page.evaluate(subscribeBadly, transports);
    await reach(page, "closed");
    const [{ message, status }] = await heard(page, "error", 1);
    assert.equal(status, 400);
    assert.match(message, /channel name holds ' '/);
    assert.equal((await heard(page, "state", 1)).at(-1).state, "closed");
    assert.equal(await page.evaluate("held.timers.size"), 0);
    assert.equal(between.underway, 0);
  });
}

for (const status of [408, 429, 502, 503]) {
  test(`a refusal with ${status}, which may pass, is no refusal for good`, async (t) => {
    const server = await start(t);
    const between = await proxy(t, server);
    between.treat = () => REFUSE;
    between.refusal = status;
    const page = await openClient(t, server);
    await freeze(page);
    await subscribe(page, { server: between.http("/") }, "waiting");
    between.treat = () => FORWARD;
    await page.clock.runFor(25);
    await reach(page, "open");
    assert.deepEqual(await tried(page), [...TRANSPORTS, "websocket"]);
  });
}

test("a publication whose answer is lost is sent again with its key, and published once", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await subscribe(page, { transports: ["sse"] });
  let posts = 0;
  between.treat = ({ method }) => (method === "POST" && ++posts <= 2 ? SWALLOW : FORWARD);
  const { id, subscribers } = await page.evaluate(() => news.publish("once"));
  assert.equal(subscribers, 1);
  await page.evaluate(() => news.publish("twice"));
  const messages = await heard(page, "message", 2);
  assert.deepEqual(messages.map(({ data }) => data), ["once", "twice"]);
  assert.equal(messages[0].id, id);
  const keys = between.seen.filter(({ method }) => method === "POST").map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys.slice(0, 3)).size, 1, "a key for a publication");
  assert.notEqual(keys[3], keys[0], "and another for the next");
});

test("publishing without the key is refused at once, and with it done", async (t) => {
  const server = await start(t, "--publish-key", "sesame");
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await subscribe(page);
  const refusal = await page.evaluate(() => news.publish("x").catch(({ message, status }) => ({ message, status })));
  assert.equal(refusal.status, 401);
  assert.match(refusal.message, /Authorization: Bearer/);
  await page.evaluate("news.close()");
  await subscribe(page, { key: "sesame" });
  assert.equal((await page.evaluate(() => news.publish("hello"))).subscribers, 1);
  assert.deepEqual(await heardData(page, 1), ["hello"]);
});

test("close() ends a publication that is not answered", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await freeze(page);
  await page.evaluate(observe); // the timers of the clock that stands still
  await subscribe(page, { transports: ["sse"] });
  for (const treatment of [SILENCE, CUT]) {
    between.treat = ({ method }) => (method === "POST" ? treatment : FORWARD);
    const posts = () => between.seen.filter(({ method }) => method === "POST").length;
    const before = posts();
    await page.evaluate(() => void (window.outcome = news.publish("x").catch((error) => error.message)));
    await eventually(() => posts() > before, "the publication");
    await page.evaluate("news.close()");
    const outcome = await within(page.evaluate("outcome"), "the end of the publication");
    assert.equal(outcome, "closed before the server answered");
    assert.equal(await page.evaluate("held.timers.size"), 0);
    await eventually(() => between.underway === 0, "the end of every request");
    between.treat = () => FORWARD;
    await subscribe(page, { transports: ["sse"] });
  }
});

test("a handler that throws is reported, and the others and the next messages are served", async (t) => {
  const server = await start(t);
  const page = await openClient(t, server);
  for (const [index, transport] of TRANSPORTS.entries()) {
    await page.evaluate((transport) => {
      const blunder = () => { throw new Error(`a blunder over ${transport}`); };
      const news = fanfare.subscribe("news", blunder, { transports: [transport] });
      news.on("state", blunder);
      listen(news);
    }, transport);
    await reach(page, "open");
    for (const text of ["one", "two"]) await server.publish(NEWS, text);
    assert.deepEqual((await heardData(page, 2 * index + 2)).slice(-2), ["one", "two"]);
    await page.evaluate("news.close()");
    const blunders = page.faults.filter((fault) => fault === `a blunder over ${transport}`);
    assert.equal(blunders.length, 5, "connecting, open, two messages, closed");
  }
});

test("a handler that closes hears no more", async (t) => {
  const server = await start(t);
  for (let i = 0; i < 5; i++) await server.publish(NEWS, `${i}`);
  const page = await openClient(t, server);
  for (const [index, transport] of TRANSPORTS.entries()) {
    await page.evaluate((transport) => {
      const close = ({ data }) => data === "1" && news.close();
      listen(fanfare.subscribe("news", close, { transports: [transport], last: 5 }));
    }, transport);
    await reach(page, "closed");
    await server.curl("/healthz");
    assert.deepEqual((await heardData(page, 2 * index + 2)).slice(2 * index), ["0", "1"], transport);
  }
});

/** Puts in place of the page's WebSocket one whose frames and closes the test writes; the latest is the page's
 *  `socket`. A wait is over when `wait` is called. */
async function playServer(page) {
  await freeze(page);
  await page.evaluate(() => {
    window.WebSocket = class {
      readyState = 1;
      constructor() {
        window.socket = this;
        queueMicrotask(() => this.onopen?.());
      }
      send(text) {
        this.asked = JSON.parse(text).data[0];
      }
      close() {}
    };
  });
  await subscribe(page, {}, "connecting");
  await page.waitForFunction("window.socket");
  return {
    send: (...frames) => page.evaluate((frames) => frames.forEach((data) => socket.onmessage?.({ data })), frames),
    close: (code, reason) => page.evaluate((close) => {
      socket.readyState = 3;
      socket.onclose(close);
    }, { code, reason }),
    wait: () => page.clock.runFor(30_000 * 0.05),
    since: () => page.evaluate("socket.asked.since"),
  };
}

const message = (id) => JSON.stringify({ channel: "news", id, data: id });
const notice = (event, data) => JSON.stringify({ event: `fanfare:${event}`, channel: "news", data });

test("what comes twice or out of order is not passed on, and what is no envelope ends the connection", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  assert.equal(await socket.since(), undefined);
  await socket.send(notice("subscribed", { since: "a-8" }));
  assert.equal(await page.evaluate("news.lastId"), "a-8");
  await socket.send(...["a-8", "a-9", "a-10", "a-9", "a-10", "a-11"].map(message), notice("of-the-future", 1));
  await socket.send("no envelope", message("a-12"));
  assert.deepEqual(await heardData(page, 3), ["a-9", "a-10", "a-11"]);
  assert.equal(await page.evaluate("news.state"), "waiting");
  await socket.wait();
  assert.equal(await socket.since(), "a-11");
  await socket.send(notice("gap", { missed: null, since: "b-2" }), ...["b-3", "b-2", "b-4"].map(message));
  await socket.send(notice("lagged", { missed: 5 }), message("b-10"));
  assert.deepEqual((await heardData(page, 6)).slice(3), ["b-3", "b-4", "b-10"]);
  await socket.send(notice("gap", { missed: null, since: "b-1" }), message("b-2"));
  assert.deepEqual((await heardData(page, 7)).slice(6), ["b-2"], "a gap begins a new position");
  assert.deepEqual(await heard(page, "gap", 3), [{ missed: null }, { missed: 5 }, { missed: null }]);
});

test("after ten seconds open, the waits are short again", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  for (const openForMs of [0, 0, 9_999, 10_000, 0]) {
    await socket.send(notice("subscribed", { since: "a-8" }));
    await page.clock.runFor(openForMs);
    await socket.close(1006, "");
    await socket.wait();
  }
  const states = await heard(page, "state", 1);
  const waits = states.flatMap(({ retryInMs }) => retryInMs ?? []);
  assert.deepEqual(waits, [25, 50, 100, 25, 50]);
});

test("back on the network, a connection that looks open is made anew", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  await socket.send(notice("subscribed", { since: "a-8" }), message("a-9"));
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  assert.equal(await page.evaluate("news.state"), "open", "in view, it is left alone");
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  assert.equal(await page.evaluate("news.state"), "connecting");
  assert.equal(await socket.since(), "a-9");
});

test("a connection that misses two of the server's notices is given up, and goes on after its last message", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  await socket.send(notice("subscribed", { since: "a-8", idle: 30_000 }), message("a-9"));
  for (let i = 0; i < 5; i++) {
    await page.clock.runFor(30_000);
    await socket.send(notice("alive", { idle: 30_000 }));
  }
  await page.clock.runFor(60_999);
  assert.equal(await page.evaluate("news.state"), "open", "not before");
  await page.clock.runFor(1);
  assert.equal(await page.evaluate("news.state"), "waiting");
  await socket.wait();
  assert.equal(await socket.since(), "a-9");
  await socket.send(notice("gap", { missed: 1, since: "a-10", idle: 1_000 }));
  await page.clock.runFor(3_000);
  assert.equal(await page.evaluate("news.state"), "waiting", "a gap says it too");
});

test("messages are signs of life, and where the server promises none, silence is none of death", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  await socket.send(notice("subscribed", { since: "a-8" }));
  await page.clock.runFor(600_000);
  await socket.send(notice("alive", { idle: 10_000 }));
  for (let i = 9; i < 15; i++) {
    await page.clock.runFor(15_000);
    await socket.send(message(`a-${i}`));
  }
  assert.equal(await page.evaluate("news.state"), "open");
});

test("after a freeze, what came meanwhile is heard before the connection is judged", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  await socket.send(notice("subscribed", { since: "a-8", idle: 30_000 }));
  await page.clock.fastForward(600_000);
  assert.equal(await page.evaluate("news.state"), "open", "timers come first");
  await socket.send(message("a-9"));
  await page.clock.runFor(60_000);
  assert.equal(await page.evaluate("news.state"), "open");

  await page.clock.fastForward(600_000);
  assert.equal(await page.evaluate("news.state"), "open");
  await page.clock.runFor(1_000);
  assert.equal(await page.evaluate("news.state"), "waiting", "there was nothing to hear");
  await socket.wait();
  assert.equal(await socket.since(), "a-9");
});

test("in view again, a page gives what was silent while the machine slept a moment and no more", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  await socket.send(notice("subscribed", { since: "a-8", idle: 30_000 }));
  for (const type of ["visibilitychange", "resume"]) {
    await page.evaluate(() => (Date.now = ((now) => () => now() + 600_000)(Date.now))); // timers stood still
    await page.evaluate((type) => document.dispatchEvent(new Event(type)), type);
    await page.clock.runFor(999);
    assert.equal(await page.evaluate("news.state"), "open");
    await page.clock.runFor(1);
    assert.equal(await page.evaluate("news.state"), "waiting");
    await socket.wait();
    await socket.send(notice("subscribed", { since: "a-8", idle: 30_000 }));
  }
});

test("a page that comes from the back/forward cache connects at once, and one that is loaded goes on", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  await socket.send(notice("subscribed", { since: "a-8" }), message("a-9"));
  const show = (persisted) => window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted }));
  await page.evaluate(show, false);
  assert.equal(await page.evaluate("news.state"), "open");
  await page.evaluate(show, true);
  assert.equal(await page.evaluate("news.state"), "connecting");
  assert.equal(await socket.since(), "a-9");
});

for (const transport of ["websocket", "sse"]) {
  test(`over ${transport}, a server that falls silent without a close is noticed, and nothing is lost`, async (t) => {
    const server = await start(t, "--idle-timeout", "300ms");
    const between = await proxy(t, server);
    const page = await openClient(t, between);
    await subscribe(page, { transports: [transport] });
    await server.publish(NEWS, "before");
    await heard(page, "message", 1);
    const began = performance.now();
    await eventually(() => performance.now() - began > 1_000, "a sign of life, which says how often there is one");
    between.pause(true);
    await server.publish(NEWS, "meanwhile");
    assert.deepEqual(await heardData(page, 2), ["before", "meanwhile"]);
    await server.publish(NEWS, "after");
    assert.deepEqual(await heardData(page, 3), ["before", "meanwhile", "after"]);
    assert.deepEqual(await tried(page), [transport, transport]);
    assert.deepEqual(await heard(page, "gap", 0), []);
  });

  test(`over ${transport}, a page that Chromium froze for longer than that keeps its connection`, async (t) => {
    const server = await start(t, "--idle-timeout", "100ms");
    const page = await openClient(t, server);
    await subscribe(page, { transports: [transport] });
    const session = await page.context().newCDPSession(page);
    await session.send("Page.setWebLifecycleState", { state: "frozen" });
    const began = performance.now();
    await server.publish(NEWS, "meanwhile");
    await eventually(() => performance.now() - began > 2_000, "the end of a freeze");
    await session.send("Page.setWebLifecycleState", { state: "active" });
    await server.publish(NEWS, "after");
    assert.deepEqual(await heardData(page, 2), ["meanwhile", "after"]);
    const woken = performance.now();
    await eventually(() => performance.now() - woken > 1_500, "the time to judge");
    assert.deepEqual(await tried(page), [transport]);
  });
}

/** Reads `Retry-After` off refusals as pages of other origins may. */
const retryAfter = (value) => ({
  "Retry-After": value,
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "Retry-After",
});

for (const [value, ms] of [["7", 7_000], [new Date(69_000).toUTCString(), 9_000], ["86400", 3_600_000]]) {
  test(`a refusal with Retry-After: ${value} is honoured, back on the network too`, async (t) => {
    const server = await start(t);
    const between = await proxy(t, server);
    between.treat = () => REFUSE;
    between.refusal = 503;
    between.refusalFields = retryAfter(value);
    const page = await openClient(t, server);
    await freeze(page);
    await page.evaluate(() => (Date.now = () => 60_000)); // one that freezing set moves on by some milliseconds
    await subscribe(page, { server: between.http("/") }, "waiting");
    const { retryInMs } = (await heard(page, "state", 3)).at(-1);
    assert.equal(retryInMs, ms + 25);
    const requests = between.seen.length;
    between.treat = () => FORWARD;
    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    assert.equal(await page.evaluate("news.state"), "waiting");
    await page.clock.runFor(ms - 1_000);
    assert.equal(between.seen.length, requests);
    await page.clock.runFor(1_100);
    await reach(page, "open");
  });
}

test("what only WebSockets may do honours the Retry-After that an inquiry brings", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  between.treat = () => REFUSE;
  between.refusal = 503;
  between.refusalFields = retryAfter("7");
  const page = await openClient(t, server);
  await freeze(page);
  const inquiry = page.waitForResponse((response) => response.url().includes("wait=0"));
  await subscribe(page, { server: between.http("/"), transports: ["websocket"] }, "waiting");
  await (await inquiry).finished();
  const requests = between.seen.length;
  between.treat = () => FORWARD;
  await page.clock.runFor(6_000);
  assert.equal(between.seen.length, requests);
  await page.clock.runFor(1_100);
  await reach(page, "open");
});

test("a publication that is refused with Retry-After is sent again then and not before", async (t) => {
  const server = await start(t);
  const between = await proxy(t, server);
  between.refusal = 429;
  between.refusalFields = retryAfter("5");
  const page = await openClient(t, server);
  await freeze(page);
  await subscribe(page, { server: between.http("/"), transports: ["sse"] });
  const posts = () => between.seen.filter(({ method }) => method === "POST").length;
  between.treat = ({ method }) => (method === "POST" ? REFUSE : FORWARD);
  const refused = page.waitForResponse((response) => response.status() === 429);
  await page.evaluate(() => void (window.outcome = news.publish("x")));
  await (await refused).finished();
  between.treat = () => FORWARD;
  await page.clock.runFor(4_900);
  assert.equal(posts(), 1);
  await page.clock.runFor(200);
  assert.equal((await page.evaluate("outcome")).subscribers, 1);
  assert.equal(posts(), 2);
});

test("a WebSocket closed with 1008 is a refusal for good, and with another code it is not", async (t) => {
  const page = await openClient(t, await start(t));
  const socket = await playServer(page);
  for (const code of [1000, 1001, 1006, 1007, 1009, 1011, 1013]) {
    await socket.send(notice("subscribed", { since: "a-8" }));
    await socket.close(code, "");
    assert.equal(await page.evaluate("news.state"), "waiting", `${code}`);
    await socket.wait();
  }
  await socket.send(notice("subscribed", { since: "a-8" }));
  await socket.close(1008, "not for you");
  assert.equal(await page.evaluate("news.state"), "closed");
  assert.deepEqual(await heard(page, "error", 1), [{ message: "not for you", status: 403 }]);
});

test("without an error handler, a refusal is in the console", async (t) => {
  const server = await start(t);
  const page = await openClient(t, server);
  const logged = page.waitForEvent("console", (message) => message.text().includes("channel name holds ' '"));
  await page.evaluate(() => void fanfare.subscribe("no spaces"));
  await within(logged, "the sentence in the console");
});

test("what is asked for and is not there is an error at once", async (t) => {
  const server = await start(t);
  const page = await openClient(t, server);
  const blunders = await page.evaluate(() => {
    const said = (act) => {
      try {
        act();
      } catch (error) {
        return error.message;
      }
    };
    return [
      said(() => fanfare.subscribe("news", undefined, { transports: ["pigeon"] })),
      said(() => fanfare.subscribe("news", undefined, { transports: [] })),
      said(() => fanfare.subscribe("news").on("mesage", () => {})),
    ];
  });
  assert.deepEqual(blunders, [
    "fanfare: transports are some of websocket, sse, long-poll",
    "fanfare: transports are some of websocket, sse, long-poll",
    "fanfare: there is no event mesage",
  ]);
});

test("in Node, which has no page and may have no WebSocket, it subscribes and publishes", async (t) => {
  const server = await start(t);
  const { body } = await server.curl("/fanfare.mjs");
  const { subscribe } = await import(`data:text/javascript,${encodeURIComponent(body)}`);
  const messages = [];
  const news = subscribe("news", ({ data }) => messages.push(data), { server: server.http("/") });
  t.after(() => news.close());
  await eventually(() => news.state === "open", "an open subscription");
  await news.publish("hello");
  await eventually(() => messages.length === 1, "a message");
  assert.deepEqual(messages, ["hello"]);
});
