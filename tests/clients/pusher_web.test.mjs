// pusher-js' web build in Chromium, in a page of another origin: over WebSocket, and over HTTP where that is blocked.
//
// The pages fall back as pages of users do: nothing tells pusher-js that WebSocket does not work.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import test from "node:test";

import { open } from "./browser.mjs";
import { APP, addressFor, backendOf, connect, endpoints, hear, serveApps, signing, subscribe } from "./pusher.mjs";
import { listen, within } from "./server.mjs";

const PUSHER = fileURLToPath(new URL("../node_modules/pusher-js/dist/web/pusher.min.js", import.meta.url));
const ROTATION_UNITS = 256 * 1024; // a streaming client drops its response after so many UTF-16 units, and asks again

/** How a page's connection comes about: what its server forbids, and what the page lacks. */
const ROADS = {
  ws: { transport: "ws", options: {} },
  "without WebSocket": { transport: /^xhr_/, withoutWebSocket: true, options: {} },
  "by a policy that forbids WebSocket": { transport: /^xhr_/, policy: (server) => `connect-src ${server}`, options: {} },
  xhr_streaming: { transport: "xhr_streaming", options: { enabledTransports: ["xhr_streaming"] } },
  xhr_polling: { transport: "xhr_polling", options: { enabledTransports: ["xhr_polling"] } },
};

/** The origin of an empty page, whose server sends these fields with it. */
async function pageServer(t, fields = {}) {
  const elsewhere = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "text/html", ...fields }).end("<!doctype html><link rel=icon href=data:,>");
  });
  const address = await listen(elsewhere, "a page's server");
  t.after(() => elsewhere.close());
  t.after(() => elsewhere.closeAllConnections());
  return `http://${address}`;
}

/** A server, the application's own, and `visit` for a page of a user with pusher-js that is connected by a road. */
async function setUp(t, app = { "client-events": true }) {
  const server = await serveApps(t, [app]);
  const backend = backendOf(server);
  const optionsOf = await endpoints(t, backend);
  const visit = async (name, { transport, withoutWebSocket, policy, origin, options }) => {
    const auth = optionsOf(name);
    const allowed = `${server.http("")} ${new URL(auth.userAuthentication.endpoint).origin}`;
    const fields = policy ? { "Content-Security-Policy": policy(allowed) } : {};
    const page = await open(t, origin ?? await pageServer(t, fields));
    if (withoutWebSocket) await page.evaluate(() => delete window.WebSocket);
    await page.addScriptTag({ path: PUSHER });
    const reached = await within(page.evaluate(([key, options]) => {
      window.pusher = new Pusher(key, options);
      window.heard = [];
      window.hear = (emitter, event) => emitter.bind(event, (data) => heard.push([event, data]));
      window.subscribed = (name) => new Promise((resolve, reject) => {
        const channel = pusher.subscribe(name);
        channel.bind("pusher:subscription_succeeded", () => resolve());
        channel.bind("pusher:subscription_error", (error) => reject(new Error(JSON.stringify(error))));
      });
      return new Promise((resolve, reject) => {
        pusher.connection.bind("error", ({ error }) => {
          pusher.connection.bind("disconnected", () => reject(new Error(error.data.message)));
        });
        pusher.connection.bind("connected", () => resolve(pusher.connection.connection.transport.name));
      });
    }, [APP.key, {
      ...addressFor(server),
      ...auth,
      ...options,
    }]), `a connection of ${name}`);
    assert.match(reached, transport instanceof RegExp ? transport : new RegExp(`^${transport}$`));
    return page;
  };
  return { server, backend, visit };
}

/** What the page heard, once it is so much. */
async function heardBy(page, count) {
  await page.waitForFunction((count) => window.heard.length >= count, count);
  return page.evaluate(() => window.heard);
}

for (const [road, how] of Object.entries(ROADS)) {
  test(`a page of another origin, ${road}: every kind of channel, both ways`, async (t) => {
    const { server, backend, visit } = await setUp(t);
    const page = await visit("ann", how);
    const bob = await connect(t, server, signing(backend, { member: { user_id: "bob", user_info: { name: "bob" } } }));
    await page.evaluate(async () => {
      for (const name of ["news", "private-orders", "presence-room"]) await subscribed(name);
      for (const name of ["news", "private-orders"]) hear(pusher.channel(name), "update");
      for (const event of ["member_added", "member_removed"]) hear(pusher.channel("presence-room"), `pusher:${event}`);
      hear(pusher.channel("presence-room"), "client-said");
    });
    await backend.trigger(["news", "private-orders"], "update", { text: "grüße, 世界 🎺" });
    const update = ["update", { text: "grüße, 世界 🎺" }];
    assert.deepEqual(await heardBy(page, 2), [update, update]);
    const room = await subscribe(bob, "presence-room");
    assert.deepEqual(room.members.get("ann"), { id: "ann", info: { name: "ann" } });
    const removed = hear(room, "pusher:member_removed");
    const said = hear(room, "client-said");
    room.trigger("client-said", "to ann");
    await heardBy(page, 4);
    await page.evaluate(() => pusher.channel("presence-room").trigger("client-said", "to bob 🎺"));
    assert.equal(await said.next("the client event"), "to bob 🎺");
    bob.unsubscribe("presence-room");
    assert.deepEqual((await heardBy(page, 5)).slice(2), [
      ["pusher:member_added", { id: "bob", info: { name: "bob" } }],
      ["client-said", "to ann"],
      ["pusher:member_removed", { id: "bob", info: { name: "bob" } }],
    ]);
    assert.equal(removed.isEmpty(), true);
    assert.deepEqual(page.faults.filter((fault) => !/Content Security Policy|WebSocket/.test(fault)), []);
  });

  test(`a page of another origin, ${road}: 2,000 events are heard in order and none is lost`, async (t) => {
    const { backend, visit } = await setUp(t);
    const page = await visit("ann", how);
    await page.evaluate(async () => {
      await subscribed("news");
      window.numbers = [];
      window.units = 0;
      pusher.channel("news").bind("number", ({ n, filling }) => {
        numbers.push(n);
        window.units += filling.length;
      });
    });
    const filling = "ü".repeat(400);
    for (let i = 0; i < 2000; i += 10) {
      const batch = Array.from({ length: 10 }, (_, j) => ({ channel: "news", name: "number", data: { n: i + j, filling } }));
      await backend.triggerBatch(batch);
    }
    await page.waitForFunction(() => window.numbers.length >= 2000);
    assert.deepEqual(await page.evaluate(() => window.numbers), Array.from({ length: 2000 }, (_, i) => i));
    assert.ok(await page.evaluate(() => window.units) > 3 * ROTATION_UNITS, "it is enough for three responses");
  });
}

test("a streaming page that changes its response while events come hears each once", async (t) => {
  const { server, backend, visit } = await setUp(t);
  const page = await visit("ann", ROADS.xhr_streaming);
  const streams = [];
  page.on("request", (request) => request.url().includes("/xhr_streaming") && streams.push(request.url()));
  await page.evaluate(async () => {
    await subscribed("news");
    window.numbers = [];
    pusher.channel("news").bind("number", ({ n }) => numbers.push(n));
  });
  const id = await page.evaluate(() => pusher.connection.socket_id);
  const filling = "x".repeat(10_000);
  const publishing = [];
  for (let n = 0; n < 120; n++) publishing.push(backend.trigger("news", "number", { n, filling }));
  await Promise.all(publishing);
  await page.waitForFunction(() => window.numbers.length >= 120);
  const numbers = await page.evaluate(() => window.numbers);
  assert.deepEqual([...numbers].sort((a, b) => a - b), Array.from({ length: 120 }, (_, n) => n));
  assert.ok(streams.length >= 3, `${streams.length} more responses`);
  assert.equal(await page.evaluate(() => pusher.connection.socket_id), id, "the session is the same");
  assert.ok(server);
});

test("a page on HTTP that is closed leaves its presence channels within seconds", async (t) => {
  for (const road of ["xhr_streaming", "xhr_polling"]) {
    const { server, backend, visit } = await setUp(t);
    const page = await visit("ann", ROADS[road]);
    await page.evaluate(() => subscribed("presence-room"));
    const bob = await connect(t, server, signing(backend, { member: { user_id: "bob" } }));
    const room = await subscribe(bob, "presence-room");
    assert.equal(room.members.count, 2);
    const removed = hear(room, "pusher:member_removed");
    await page.context().close();
    assert.equal((await removed.next("ann")).id, "ann");
  }
});

test("a quiet streaming page asks whether the server lives at its interval, and no oftener", async (t) => {
  const { visit } = await setUp(t);
  const enabledTransports = ["xhr_streaming"];
  const page = await visit("ann", { transport: "xhr_streaming", options: { enabledTransports, activityTimeout: 200 } });
  const asked = [];
  page.on("request", (request) => request.url().includes("/xhr_send") && asked.push(performance.now()));
  for (let count = 0; count < 6; count++) {
    await page.waitForRequest((request) => request.url().includes("/xhr_send") && request.postData() === "[]");
  }
  assert.ok(asked.at(-1) - asked[0] > (asked.length - 1) * 150, `${asked.length} heartbeats in ${asked.at(-1) - asked[0]} ms`);
  assert.equal(await page.evaluate(() => pusher.connection.state), "connected");
});

test("a page that is refused an app over HTTP is disconnected with the reason, and does not try again", async (t) => {
  const { server, visit } = await setUp(t);
  const page = await visit("ann", ROADS.ws);
  for (const transport of ["xhr_streaming", "xhr_polling"]) {
    const told = await within(page.evaluate((options) => new Promise((resolve) => {
      const other = new Pusher("other-key", options);
      other.connection.bind("error", ({ error }) => {
        other.connection.bind("disconnected", () => resolve({ ...error.data, isRetrying: Boolean(other.connection.runner) }));
      });
    }), { ...addressFor(server), enabledTransports: [transport] }), `a refusal over ${transport}`);
    assert.deepEqual([told.code, told.message.length > 10, told.isRetrying], [4001, true, false]);
  }
});

test("a page whose origin the app lists is connected, another is disconnected with the reason", async (t) => {
  const listed = await pageServer(t);
  const { visit } = await setUp(t, { "allow-origin": [listed] });
  await visit("ann", { ...ROADS.ws, origin: listed });
  await visit("ann", { ...ROADS.xhr_streaming, origin: listed });
  await assert.rejects(visit("eve", ROADS.ws), /origin http:\/\/127\.0\.0\.1:\d+/);
});
