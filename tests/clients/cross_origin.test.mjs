// Pages of other origins in Chromium: its own WebSocket, EventSource and fetch against the server's rules for origins.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { open, openElsewhere } from "./browser.mjs";
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

/** A page of another origin, equipped; of this machine from another port, or of a site elsewhere. */
async function visit(t, name) {
  const { origin, page, frame } = await openElsewhere(t, "", name);
  await equip(page);
  await equip(frame);
  return { origin, page, frame };
}

/** A page that was opened as a file, equipped. */
async function openFile(t) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "page.html");
  await writeFile(file, "<!doctype html><link rel=icon href=data:,>");
  const page = await open(t, `file://${file}`);
  await equip(page);
  return page;
}

/** What the page gets that subscribes and publishes by all means. */
function tryAll(page, server) {
  return evaluate(page, async ([http, ws]) => ({
    websocket: await opens(new WebSocket(ws)),
    stream: await opens(new EventSource(http)),
    poll: await ask(`${http}?wait=0`),
    // As a form could send it, without being asked first.
    post: await ask(http, { method: "POST", body: "from elsewhere" }),
    asked: await publish(http, 1, undefined, "k"),
    blind: (await fetch(http, { method: "POST", body: "blind", mode: "no-cors" })).type,
  }), [server.http("/channels/news"), server.ws("/channels/news")]);
}

const NOTHING = {
  websocket: false,
  stream: false,
  poll: { thrown: "TypeError" },
  post: { thrown: "TypeError" },
  asked: { thrown: "TypeError" },
  blind: "opaque",
};

const SERVED = [
  ["of any site, with a key and without --allow-origin", "site.example", () => KEY, "sesame"],
  ["that is listed, with a key", "site.example", (origin) => [...KEY, "--allow-origin", origin], "sesame"],
  ["that is listed, in development mode", "site.example", (origin) => ["--allow-origin", origin]],
  ["of this machine, in development mode", "localhost", () => []],
];

for (const [rule, name, flags, key] of SERVED) {
  test(`a page of another origin, ${rule}, publishes once and hears it by all three transports`, async (t) => {
    const { origin, page } = await visit(t, name);
    const server = await serve(t, ...flags(origin));
    const [http, ws] = [server.http("/channels/news"), server.ws("/channels/news")];
    assert.deepEqual(await evaluate(page, ([http, ws]) => openAll(http, ws), [http, ws]), [true, true]);
    const published = await evaluate(page, ([http, key]) => publish(http, { bid: 1 }, key, "first"), [http, key]);
    assert.equal(published.status, 200);
    const { id } = JSON.parse(published.text);
    assert.deepEqual(await evaluate(page, () => heard), Array(3).fill({ id, data: { bid: 1 } }));
    assert.deepEqual(page.faults, []);
  });
}

for (const [rule, flags] of [["without --allow-origin", () => []], ["that is listed", (origin) => ["--allow-origin", origin]]]) {
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

test("with a key, a page of an origin that is not listed gets no transport, and what it sends is not published", async (t) => {
  const { origin } = await visit(t);
  const { page: other, frame } = await visit(t);
  const server = await serve(t, ...KEY, "--client-publish", "news", "--allow-origin", origin);
  for (const page of [other, frame]) assert.deepEqual(await tryAll(page, server), NOTHING);
  assert.match((await server.publish("/channels/news", "the first")).id, /-1$/);
});

test("in development mode, a page of a site elsewhere gets no transport, and what it sends is not published", async (t) => {
  const { page } = await visit(t, "evil.example");
  const server = await serve(t);
  assert.deepEqual(await tryAll(page, server), NOTHING);
  assert.match((await server.publish("/channels/news", "the first")).id, /-1$/);
});

test("in development mode, a page whose name was rebound to this machine is told 403, and publishes nothing", async (t) => {
  const server = await serve(t);
  const rebound = server.http("/").replace("127.0.0.1", "evil.example");
  const page = await open(t, `${rebound}healthz`);
  await equip(page);
  const elsewhere = { http: (path) => `${rebound}${path.slice(1)}`, ws: (path) => `${rebound}${path.slice(1)}`.replace("http", "ws") };
  const got = await tryAll(page, elsewhere);
  assert.deepEqual([got.websocket, got.stream], [false, false]);
  for (const { status, text } of [got.poll, got.post, got.asked]) {
    assert.deepEqual([status, text.endsWith("not to evil.example; add --allow-host evil.example.\n")], [403, true], text);
  }
  assert.match((await server.publish("/channels/news", "the first")).id, /-1$/);
});

test("in development mode, a file and a sandbox read by all three transports, and read why they do not publish", async (t) => {
  const { frame } = await visit(t, "site.example");
  for (const page of [await openFile(t), frame]) {
    const server = await serve(t);
    const [http, ws] = [server.http("/channels/news"), server.ws("/channels/news")];
    assert.deepEqual(await evaluate(page, ([http, ws]) => openAll(http, ws), [http, ws]), [true, true]);
    for (const { status, text } of [
      await evaluate(page, (http) => ask(http, { method: "POST", body: "from nowhere" }), http),
      await evaluate(page, (http) => publish(http, 1, undefined, "k"), http),
    ]) {
      assert.deepEqual([status, /--allow-origin null/.test(text)], [403, true], text);
    }
    const { id } = await server.publishAs("application/json", "/channels/news", '{"bid":1}');
    assert.deepEqual(await evaluate(page, () => heard), Array(3).fill({ id, data: { bid: 1 } }));
  }
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
