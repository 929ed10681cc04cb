// Many channels over one connection of the client, in Chromium with the server: each transport, cuts, tokens that are
// renewed, refusals, presence, and publications that are acknowledged. What a network does, proxy.mjs does.
//
// One channel is in fanfare_js.test.mjs; the client's own rules, without a browser, in fanfare_rules.test.mjs.

import assert from "node:assert/strict";
import test from "node:test";

import { openElsewhere } from "./browser.mjs";
import { FORWARD, REFUSE, proxy } from "./proxy.mjs";
import { serve } from "./server.mjs";
import { serveTokens, token } from "./tokens.mjs";

const TRANSPORTS = ["websocket", "sse", "long-poll"];

/** A page of another origin with the client of `host`. `mint` is what its backend gives as tokens. */
async function openClient(t, host, mint = () => "") {
  const { page } = await openElsewhere(t);
  let asked = 0;
  await page.exposeFunction("mint", () => mint(asked++));
  await page.addScriptTag({ url: host.http("/fanfare.js") });
  await page.evaluate(() => {
    window.heard = {};
    window.errors = [];
    window.states = [];
    window.connect = (options) => {
      window.connection = fanfare.connect(options);
      connection.on("error", ({ code, status, message, channel }) => errors.push({ code, status, message, channel }));
      connection.on("state", ({ state, transport }) => states.push(`${state} ${transport}`));
    };
    window.subscriptions = {};
    window.subscribe = (name, options) => {
      heard[name] = [];
      subscriptions[name] = connection.subscribe(name, ({ data }) => heard[name].push(data), options);
      subscriptions[name].on("gap", (gap) => heard[name].push({ gap }));
      subscriptions[name].on("presence", ({ members, joined, left, count }) =>
        heard[name].push({ count, members: members?.map(({ sub }) => sub), joined: joined?.map(({ sub }) => sub), left }));
    };
  });
  page.asked = () => asked;
  return page;
}

/** Connects and subscribes, and waits until all is open. */
async function connect(page, names, options = {}, wanted = {}) {
  await page.evaluate(([names, { hasToken, ...options }, wanted]) => {
    window.connect({ ...options, ...(hasToken && { token: () => mint() }) });
    names.forEach((name) => window.subscribe(name, wanted));
  }, [names, options, wanted]);
  await allAre(page, "open");
}

const allAre = (page, state) =>
  page.waitForFunction((state) => Object.values(subscriptions).every((one) => one.state === state), state, { polling: 10 });

/** What was heard of a channel, once there is so much of it. */
async function heard(page, name, count) {
  await page.waitForFunction(([name, count]) => heard[name].length >= count, [name, count], { polling: 10 });
  return page.evaluate((name) => heard[name], name);
}

/** Waits for something that a test's own process knows. */
async function eventually(isSo, what) {
  const deadline = performance.now() + 20_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const publish = (server, name, data) => server.curl(`/channels/${name}`, "-d", data, "-H", "Authorization: Bearer ops-key");

for (const transport of TRANSPORTS) {
  test(`over ${transport}, 20 channels that are cut off while messages come lose none and double none`, async (t) => {
    const server = await serve(t, "--close-timeout", "100ms");
    const between = await proxy(t, server);
    const page = await openClient(t, between);
    const names = Array.from({ length: 20 }, (_, at) => `c-${at}`);
    await connect(page, names, { transports: [transport] });
    const expected = Object.fromEntries(names.map((name) => [name, []]));
    for (let round = 0; round < 6; round++) {
      for (const name of names) {
        expected[name].push(`${name}: ${round}`);
        await server.publish(`/channels/${name}`, `${name}: ${round}`);
        if (name === `c-${3 * round}`) between.cut();
      }
    }
    for (const name of names) assert.deepEqual(await heard(page, name, 6), expected[name]);
    const requests = between.seen.filter(({ url }) => url.startsWith("/channels"));
    if (transport === "websocket") assert.ok(requests.length <= 1 + 6 * 2, `one socket at a time: ${requests.length}`);
    assert.deepEqual(await page.evaluate("errors"), []);
    await page.evaluate("connection.close()");
    await page.waitForFunction("Object.values(subscriptions).every((one) => one.state === 'closed')");
  });

  test(`over ${transport}, channels come and go while the others go on`, async (t) => {
    const server = await serve(t, "--close-timeout", "100ms");
    const page = await openClient(t, server);
    await connect(page, ["a", "b"], { transports: [transport] });
    for (let round = 0; round < 5; round++) {
      await page.evaluate((round) => {
        window.subscribe(`extra-${round}`);
        if (round > 0) subscriptions[`extra-${round - 1}`].close(), delete subscriptions[`extra-${round - 1}`];
      }, round);
      await server.publish("/channels/a", `${round}`);
      await allAre(page, "open");
      await server.publish(`/channels/extra-${round}`, "here");
      await heard(page, `extra-${round}`, 1);
    }
    assert.deepEqual(await heard(page, "a", 5), ["0", "1", "2", "3", "4"]);
    assert.deepEqual((await page.evaluate("states")).filter((state) => state.startsWith("waiting")), []);
    const { subscribers } = await server.publish("/channels/extra-0", "nobody");
    assert.equal(subscribers, 0);
  });

  test(`over ${transport}, a token opens what it names, and what it does not is refused with the sentence`, async (t) => {
    const server = await serveTokens(t);
    const page = await openClient(t, server, () => token());
    await connect(page, ["news", "chat-7"], { transports: [transport], hasToken: true });
    await page.evaluate(() => window.subscribe("ops"));
    await page.waitForFunction("subscriptions.ops.state === 'closed'");
    await publish(server, "news", "hello");
    assert.deepEqual(await heard(page, "news", 1), ["hello"]);
    const [{ status, message, channel, code }] = await page.evaluate("errors");
    assert.equal(status, 403);
    assert.match(message, /u42 subscribes to news, chat-\*; not to ops/);
    if (transport === "websocket") assert.deepEqual([channel, code], ["ops", "forbidden"]);
    assert.equal(page.asked(), 1);
    assert.deepEqual(await page.evaluate("[connection.state, connection.transport]"), ["open", transport]);

    const published = await page.evaluate(() => connection.publish("chat-7", { x: 1 }, { event: "say" }));
    assert.deepEqual([await heard(page, "chat-7", 1), published.subscribers], [[{ x: 1 }], 1]);
    const refused = await page.evaluate(() => connection.publish("news", "x").catch(({ status, message }) => ({ status, message })));
    assert.equal(refused.status, 403);
    assert.match(refused.message, /publishes to chat-\*; not to news/);
  });

  test(`over ${transport}, a token is used again after a loss, and renewed before it ends without a loss`, async (t) => {
    const server = await serveTokens(t);
    const between = await proxy(t, server);
    const page = await openClient(t, between, () => token({ lifeS: 6 }));
    const began = performance.now();
    await connect(page, ["news", "chat-7"], { transports: [transport], hasToken: true });
    for (let cuts = 0; cuts < 2; cuts++) {
      await eventually(() => between.underway > 0, "a request to cut");
      between.cut();
      await publish(server, "news", `cut ${cuts}`);
      await heard(page, "news", cuts + 1);
      await allAre(page, "open");
    }
    if (performance.now() - began < 4_500) assert.equal(page.asked(), 1);
    const before = await page.evaluate("states.length");
    const asked = page.asked();
    await eventually(() => page.asked() >= asked + 2, "two renewals");
    await publish(server, "news", "after");
    assert.deepEqual(await heard(page, "news", 3), ["cut 0", "cut 1", "after"]);
    assert.deepEqual((await page.evaluate((before) => states.slice(before), before)), [], "nobody notices");
    assert.deepEqual(await page.evaluate("errors"), []);
  });

  test(`over ${transport}, a token that has expired is asked for anew, once, and the page does not hear of it`, async (t) => {
    const server = await serveTokens(t);
    const page = await openClient(t, server, (asked) => token(asked === 0 ? { issuedInS: -7200 } : {}));
    await connect(page, ["news"], { transports: [transport], hasToken: true });
    assert.equal(page.asked(), 2);
    assert.deepEqual(await page.evaluate("errors"), []);
  });

  test(`over ${transport}, a backend that gives no good token is asked less and less, and the page told why`, async (t) => {
    const server = await serveTokens(t);
    const page = await openClient(t, server, () => token({ secret: "f".repeat(32) }));
    await page.evaluate((transport) => {
      window.connect({ transports: [transport], token: () => mint() });
      window.subscribe("news");
    }, transport);
    await page.waitForFunction("errors.length === 2");
    for (const { status, message } of await page.evaluate("errors")) {
      assert.equal(status, 401);
      assert.match(message, /The signature does not fit/);
    }
    assert.ok(page.asked() <= 4);
  });
}

test("where WebSockets are blocked, the token goes with the stream, and with the poll where that is blocked too", async (t) => {
  const server = await serveTokens(t);
  const between = await proxy(t, server);
  for (const [blocked, transport] of [[/^websocket$/, "sse"], [/^websocket$|event-stream/, "long-poll"]]) {
    between.treat = ({ headers }) => (blocked.test(headers.upgrade) || blocked.test(headers.accept) ? REFUSE : FORWARD);
    const page = await openClient(t, between, () => token());
    await connect(page, ["news", "chat-7"], { hasToken: true });
    assert.equal(await page.evaluate("connection.transport"), transport);
    await publish(server, "news", "hello");
    assert.deepEqual(await heard(page, "news", 1), ["hello"]);
    assert.equal((await page.evaluate(() => connection.publish("chat-7", "x"))).subscribers, 1);
    await page.evaluate("connection.close()");
  }
});

test("a publication whose socket is cut is published once, and acknowledged", async (t) => {
  const server = await serve(t, "--close-timeout", "100ms");
  const between = await proxy(t, server);
  const page = await openClient(t, between);
  await connect(page, ["chat-7"], { transports: ["websocket"] });
  for (let round = 0; round < 8; round++) {
    const outcome = page.evaluate((round) => connection.publish("chat-7", `${round}`), round);
    if (round % 2) between.cut();
    const { id } = await outcome;
    assert.match(id, /^[0-9a-f]+-\d+$/);
  }
  assert.deepEqual(await heard(page, "chat-7", 8), Array.from({ length: 8 }, (_, round) => `${round}`));
});

test("a user that is revoked is told so, and not let in again by the same token", async (t) => {
  const server = await serveTokens(t);
  const made = await token();
  const page = await openClient(t, server, () => made);
  await connect(page, ["news"], { hasToken: true });
  const { status, body } = await server.curl("/revoke", "-d", '{"sub":"u42"}', "-H", "Authorization: Bearer ops-key");
  assert.deepEqual([status, JSON.parse(body).revoked], [200, 1]);
  await allAre(page, "closed");
  const [error] = await page.evaluate("errors");
  assert.deepEqual([error.code, error.status], ["revoked", 403]);
  assert.match(error.message, /The token of u42 was revoked at/);
});

for (const transport of ["websocket", "sse"]) {
  test(`over ${transport}, members come and go in the order of their pages, and who comes back has the list`, async (t) => {
    const server = await serveTokens(t, "--presence", "chat-*=members");
    const between = await proxy(t, server);
    const options = { hasToken: true, transports: [transport] };
    const ada = await openClient(t, between, () => token({ sub: "ada" }));
    await connect(ada, ["chat-7"], options, { presence: true });
    assert.deepEqual((await heard(ada, "chat-7", 1))[0], { count: 1, members: ["ada"], joined: [], left: [] });
    const bob = await openClient(t, server, () => token({ sub: "bob" }));
    await connect(bob, ["chat-7"], options, { presence: true });
    assert.deepEqual((await heard(bob, "chat-7", 1))[0].members.toSorted(), ["ada", "bob"]);
    assert.deepEqual((await heard(ada, "chat-7", 2))[1], { count: 2, members: ["ada", "bob"], joined: ["bob"], left: [] });
    between.cut();
    const [, , again] = await heard(ada, "chat-7", 3);
    assert.deepEqual({ ...again, members: again.members.toSorted() }, { count: 2, members: ["ada", "bob"], joined: [], left: [] });
    await bob.evaluate("connection.close()");
    assert.deepEqual((await heard(ada, "chat-7", 4))[3], { count: 1, members: ["ada"], joined: [], left: ["bob"] });
  });
}

test("over long-poll, members come and go and none is missed over a cut", async (t) => {
  const server = await serveTokens(t, "--presence", "chat-*=members");
  const between = await proxy(t, server);
  const ada = await openClient(t, between, () => token({ sub: "ada" }));
  // Whatever was told in between, this is what it comes to.
  const sees = (members) =>
    ada.waitForFunction((members) => `${heard["chat-7"].at(-1)?.members?.toSorted()}` === members, members, { polling: 10 });
  await connect(ada, ["chat-7"], { hasToken: true, transports: ["long-poll"] }, { presence: true });
  await sees("ada");
  const bob = await openClient(t, server, () => token({ sub: "bob" }));
  await connect(bob, ["chat-7"], { hasToken: true, transports: ["websocket"] }, { presence: true });
  await sees("ada,bob");
  assert.deepEqual((await heard(ada, "chat-7", 1)).at(-1).joined, ["bob"], "told as a change");
  await bob.evaluate("connection.close()");
  await sees("ada");
  between.cut();
  await connect(bob, ["chat-7"], { hasToken: true, transports: ["websocket"] }, { presence: true });
  await sees("ada,bob");
  await publish(server, "chat-7", "hi");
  await ada.waitForFunction(() => heard["chat-7"].at(-1) === "hi", undefined, { polling: 10 });
  const polls = between.seen.filter(({ url }) => url.startsWith("/channels?")).length;
  assert.ok(polls <= 16, `each waits: ${polls}`);
});

test("subscriptions of a page with the same token share one socket and one call for it", async (t) => {
  const server = await serveTokens(t);
  const between = await proxy(t, server);
  const page = await openClient(t, between, () => token());
  await page.evaluate(() => {
    const options = { token: () => mint() };
    for (const name of ["news", "chat-7", "chat-8"]) subscriptions[name] = fanfare.subscribe(name, undefined, options);
  });
  await allAre(page, "open");
  assert.equal(between.seen.filter(({ headers }) => headers.upgrade === "websocket").length, 1);
  assert.equal(page.asked(), 1);
});
