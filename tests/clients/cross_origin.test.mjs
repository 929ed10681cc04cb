// Pages of other origins in Chromium: its own WebSocket, EventSource and fetch against the server's rules for origins.

import assert from "node:assert/strict";
import test from "node:test";

import { openElsewhere } from "./browser.mjs";
import { serve, within } from "./server.mjs";
import { severing } from "./severing.mjs";

const KEY = ["--publish-key", "sesame"];

/** What `what` gives in the page. */
function evaluate(page, what, argument) {
  return within(page.evaluate(what, argument), "an answer of the page");
}

/** In the page: `openAll` subscribes by all transports, `publish` and `ask` are fetch, `opens` waits for a transport. */
async function equip(page) {
  await evaluate(page, () => {
    /** Subscribes by all three. What each hears first is in `heard`; gives whether those that open did. */
    window.openAll = async (http, ws) => {
      const poll = await (await fetch(`${http}?wait=0`)).json();
      const socket = new WebSocket(ws, "fanfare.v1.json");
      const source = new EventSource(http);
      const heard = [
        new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(JSON.parse(data)))),
        new Promise((resolve) => {
          source.onmessage = ({ lastEventId, data }) => resolve({ id: lastEventId, data: JSON.parse(data) });
        }),
        fetch(`${http}?since=${poll.next}&wait=20`).then(async (response) => (await response.json()).messages[0]),
      ];
      window.heard = Promise.all(heard);
      return Promise.all([socket, source].map(opens));
    };
    /** What fetch gives, as a page may read it; what it throws, by name. */
    window.ask = async (url, options) => {
      try {
        const response = await fetch(url, options);
        const replayed = response.headers.get("Idempotent-Replayed");
        return { status: response.status, text: await response.text(), replayed };
      } catch (error) {
        return { thrown: error.name };
      }
    };
    /** A publication whose fields a browser asks about first. */
    window.publish = (url, data, key, idempotencyKey) => {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey };
      if (key) headers.Authorization = `Bearer ${key}`;
      return ask(url, { method: "POST", headers, body: JSON.stringify(data) });
    };
    /** Whether a transport opens. */
    window.opens = (transport) => new Promise((resolve) => {
      transport.onopen = () => resolve(true);
      transport.onerror = () => resolve(false);
    });
  });
}

/** A page of another origin, equipped. */
async function visit(t) {
  const { origin, page, frame } = await openElsewhere(t);
  await equip(page);
  await equip(frame);
  return { origin, page, frame };
}

for (const [rule, flags] of [["without --allow-origin", () => []], ["that is listed", (origin) => ["--allow-origin", origin]]]) {
  test(`a page of another origin, ${rule}, publishes once and hears it by all three transports`, async (t) => {
    const { origin, page } = await visit(t);
    const server = await serve(t, ...KEY, ...flags(origin));
    const [http, ws] = [server.http("/channels/news"), server.ws("/channels/news")];
    assert.deepEqual(await evaluate(page, ([http, ws]) => openAll(http, ws), [http, ws]), [true, true]);
    const published = await evaluate(page, (http) => publish(http, { bid: 1 }, "sesame", "first"), http);
    assert.equal(published.status, 200);
    const { id } = JSON.parse(published.text);
    assert.deepEqual(await evaluate(page, () => heard), Array(3).fill({ id, data: { bid: 1 } }));
    assert.deepEqual(page.faults, []);
  });

  test(`a page of another origin, ${rule}, reads why it is refused, and that an answer is a replay`, async (t) => {
    const { origin, page } = await visit(t);
    const server = await serve(t, ...KEY, ...flags(origin));
    const http = server.http("/channels/news");
    const publish = (...words) => evaluate(page, ([http, ...words]) => window.publish(http, ...words), [http, ...words]);
    const first = await publish(1, "sesame", "k");
    assert.deepEqual([first.status, first.replayed], [200, null]);
    assert.deepEqual(await publish(1, "sesame", "k"), { ...first, replayed: "true" });
    const reused = await publish(2, "sesame", "k");
    assert.deepEqual([reused.status, /Idempotency-Key/.test(reused.text)], [422, true]);
    for (const key of [undefined, "wrong"]) {
      const { status, text } = await publish(3, key, "k3");
      assert.deepEqual([status, /Authorization: Bearer/.test(text)], [401, true]);
    }
    const ask = (path, options) => evaluate(page, ([url, options]) => window.ask(url, options), [server.http(path), options]);
    for (const [path, expected] of [["/channels/no%20spaces", 400], ["/channels/news?since=7", 400], ["/nowhere", 404]]) {
      const { status, text } = await ask(path, {});
      assert.deepEqual([status, text.length > 20], [expected, true], text);
    }
    // What the preflight does not allow is not sent.
    assert.equal((await ask("/channels/news", { method: "DELETE" })).thrown, "TypeError");
    assert.equal((await ask("/healthz", {})).text, "ok\n");
  });
}

test("a page of an origin that is not listed gets no transport, and what it sends is not published", async (t) => {
  const { origin } = await visit(t);
  const { page: other, frame } = await visit(t);
  const server = await serve(t, "--allow-origin", origin);
  const [http, ws] = [server.http("/channels/news"), server.ws("/channels/news")];
  for (const page of [other, frame]) {
    const refused = await evaluate(page, async ([http, ws]) => ({
      websocket: await opens(new WebSocket(ws)),
      stream: await opens(new EventSource(http)),
      poll: await ask(`${http}?wait=0`),
      // As a form could send it, without being asked first.
      post: await ask(http, { method: "POST", body: "from elsewhere" }),
      asked: await publish(http, 1, undefined, "k"),
      blind: (await fetch(http, { method: "POST", body: "blind", mode: "no-cors" })).type,
    }), [http, ws]);
    const thrown = { thrown: "TypeError" };
    assert.deepEqual(refused, { websocket: false, stream: false, poll: thrown, post: thrown, asked: thrown, blind: "opaque" });
  }
  assert.match((await server.publish("/channels/news", "the first")).id, /-1$/);
});

test("Chromium's EventSource whose stream ends before anything came comes back and has missed nothing", async (t) => {
  const { page } = await visit(t);
  const server = await serve(t);
  const proxy = await severing(t, server);
  await evaluate(page, (url) => {
    window.source = new EventSource(url);
    window.texts = [];
    source.onmessage = ({ data, lastEventId }) => texts.push({ id: lastEventId, data });
    return opens(source);
  }, proxy.http("/channels/news"));
  assert.doesNotMatch(await proxy.head(), /last-event-id/i);
  proxy.isDown = true;
  const lost = evaluate(page, () => new Promise((resolve) => (source.onerror = () => resolve(source.readyState))));
  // Where a connection breaks off, Chromium may not look at what came before; a last chunk comes in its turn.
  proxy.endWith("0\r\n\r\n");
  assert.equal(await lost, 0, "it goes on trying");
  const ids = [];
  for (let i = 0; i < 3; i++) ids.push((await server.publish("/channels/news", `${i}`)).id);
  proxy.isDown = false;
  await page.waitForFunction(() => texts.length >= 3);
  assert.match(await proxy.head(), /^last-event-id: \w+-0\r$/im);
  ids.push((await server.publish("/channels/news", "3")).id);
  await page.waitForFunction(() => texts.length >= 4);
  assert.deepEqual(await evaluate(page, () => texts), ids.map((id, i) => ({ id, data: `${i}` })));
});

test("Chromium's EventSource gets named events, lines, binary as base64, and the gap after a restart", async (t) => {
  const { page } = await visit(t);
  const first = await serve(t);
  const proxy = await severing(t, first);
  await evaluate(page, (url) => {
    window.source = new EventSource(url);
    window.events = [];
    for (const name of ["message", "price", "fanfare:binary", "fanfare:binary:price", "fanfare:gap"]) {
      source.addEventListener(name, ({ type, lastEventId, data }) => events.push({ type, id: lastEventId, data }));
    }
    return opens(source);
  }, proxy.http("/channels/news"));
  const ids = [];
  for (const [query, type, data] of [
    ["", "text/plain", "a\r\nb\rc\n"],
    ["", "text/plain", ""],
    ["?event=price", "text/plain", "2"],
    ["", "application/octet-stream", "12345"],
    ["?event=price", "application/octet-stream", "12345"],
  ]) {
    ids.push((await first.publishAs(type, `/channels/news${query}`, data)).id);
  }
  const expected = [
    { type: "message", id: ids[0], data: "a\nb\nc\n" },
    { type: "message", id: ids[1], data: "" },
    { type: "price", id: ids[2], data: "2" },
    { type: "fanfare:binary", id: ids[3], data: "MTIzNDU=" },
    { type: "fanfare:binary:price", id: ids[4], data: "MTIzNDU=" },
  ];
  await page.waitForFunction(() => events.length >= 5);
  assert.deepEqual(await evaluate(page, () => events.splice(0)), expected);
  const second = await serve(t);
  proxy.server = second;
  assert.equal(await first.stop(), 0);
  await page.waitForFunction(() => events.length >= 1);
  const [gap] = await evaluate(page, () => events);
  assert.deepEqual([gap.type, JSON.parse(gap.data)], ["fanfare:gap", { missed: null, since: gap.id }]);
});
