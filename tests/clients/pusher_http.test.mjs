// The HTTP API and the webhooks of apps as npm's `pusher` sees them, in everything that it offers.
//
// What subscribers hear of it they hear by pusher-js. The Python library is in test_pusher.py.

import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer } from "node:http";
import test from "node:test";

import Backend from "pusher";

import {
  APP,
  backendOf,
  connect,
  errorsOf,
  hear,
  isRetrying,
  reaches,
  serveApps,
  settle,
  signing,
  subscribe,
} from "./pusher.mjs";
import { Inbox, listen, within } from "./server.mjs";

async function setUp(t, app = {}, ...flags) {
  const server = await serveApps(t, [app], ...flags);
  const backend = backendOf(server, app);
  const as = (id) => connect(t, server, signing(backend, { member: { user_id: id }, user: { id } }));
  return { server, backend, as };
}

/** The answer to a call, as an object. */
async function answerOf(calling) {
  const response = await calling;
  assert.match(response.headers.get("Content-Type"), /^application\/json\b/);
  assert.ok(response.headers.get("Content-Length"), "the length is said");
  return response.json();
}

/** The status and the sentence of a call that is refused. */
async function refusalOf(calling) {
  const error = await calling.then(() => assert.fail("the call was taken"), (error) => error);
  assert.ok(error instanceof Backend.RequestError, error);
  assert.ok(error.body?.length > 10, `it says why: ${error.body}`);
  return { status: error.status, body: error.body };
}

/** A request whose signature a test makes itself, to get it wrong; gives its status and its text. */
async function ask(server, method, path, { body, parameters = {}, secret = APP.secret, signature } = {}) {
  const all = { auth_key: APP.key, auth_timestamp: Math.floor(Date.now() / 1000), auth_version: "1.0", ...parameters };
  if (body !== undefined && !("body_md5" in all)) all.body_md5 = createHash("md5").update(body).digest("hex");
  const query = Object.keys(all).sort().map((key) => `${key}=${all[key]}`).join("&");
  const signed = createHmac("sha256", secret).update(`${method}\n${path}\n${query}`).digest("hex");
  const url = server.http(`${path}?${query}&auth_signature=${signature ?? signed}`);
  const response = await within(fetch(url, { method, body }), `an answer to ${method} ${path}`);
  return { status: response.status, text: await response.text() };
}

// Events

test("trigger reaches one channel or many, each once, and is answered with an empty object", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const names = Array.from({ length: 100 }, (_, i) => `news-${i}`);
  const inboxes = [];
  for (const name of names) inboxes.push(hear(await subscribe(pusher, name), "update"));
  assert.deepEqual(await answerOf(backend.trigger(names[0], "update", { to: "one" })), {});
  assert.deepEqual(await answerOf(backend.trigger(names, "update", { to: "all" })), {});
  assert.deepEqual(await answerOf(backend.trigger([names[0], names[0]], "update", "twice named")), {});
  assert.deepEqual(await inboxes[0].take(3, "an update"), [{ to: "one" }, { to: "all" }, "twice named"]);
  for (const inbox of inboxes.slice(1)) assert.deepEqual(await inbox.next("an update"), { to: "all" });
  await settle(pusher);
  assert.ok(inboxes.every((inbox) => inbox.isEmpty()));
});

test("trigger with info is answered with the counts of each channel", async (t) => {
  const { backend, as } = await setUp(t);
  for (const id of ["ann", "ann", "bob"]) await subscribe(await as(id), "presence-room");
  const both = { info: "user_count,subscription_count" };
  assert.deepEqual(await answerOf(backend.trigger("presence-room", "x", "x", both)), {
    channels: { "presence-room": { user_count: 2, subscription_count: 3 } },
  });
  assert.deepEqual(await answerOf(backend.trigger(["presence-room", "news"], "x", "x", both)), {
    channels: { "presence-room": { user_count: 2, subscription_count: 3 }, news: { subscription_count: 0 } },
  });
});

test("a batch is published in order, without the connection each event excludes, and answered in order", async (t) => {
  const { server, backend, as } = await setUp(t);
  const [ann, bob] = [await as("ann"), await connect(t, server)];
  const heard = [];
  for (const [who, pusher] of [["ann", ann], ["bob", bob]]) {
    (await subscribe(pusher, "news")).bind("update", (data) => heard.push([who, data]));
  }
  await subscribe(ann, "presence-room");
  const event = (data, more) => ({ channel: "news", name: "update", data, ...more });
  assert.deepEqual(await answerOf(backend.triggerBatch([event(1), event({ n: 2 })])), {});
  const answer = await answerOf(backend.triggerBatch([
    event("3", { socket_id: ann.connection.socket_id }),
    event("4", { info: "subscription_count" }),
    { channel: "presence-room", name: "x", data: "", info: "user_count" },
    event("5"),
  ]));
  assert.deepEqual(answer, { batch: [{}, { subscription_count: 2 }, { user_count: 1 }, {}] });
  await settle(ann);
  await settle(bob);
  const of = (name) => heard.filter(([who]) => who === name).map(([, data]) => data);
  assert.deepEqual([of("ann"), of("bob")], [[1, { n: 2 }, 4, 5], [1, { n: 2 }, 3, 4, 5]]);
});

test("what breaks a limit of the API is refused with a sentence that names it, and nothing of it is published", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const heard = [];
  for (const name of ["news", "private-encrypted-a"]) {
    if (name === "news") (await subscribe(pusher, name)).bind_global((event) => heard.push(event));
  }
  const event = (more) => ({ name: "x", channel: "news", data: "x", ...more });
  const post = (path, body) => refusalOf(backend.post({ path, body }));
  const many = Array.from({ length: 101 }, (_, i) => (i ? `c${i}` : "news"));
  const refusals = [
    [400, /100/, post("/events", { name: "x", channels: many, data: "x" })],
    [400, /10/, refusalOf(backend.triggerBatch(Array.from({ length: 11 }, () => event())))],
    [413, /10240/, refusalOf(backend.trigger("news", "x", "x".repeat(10_241)))],
    [413, /10240/, refusalOf(backend.triggerBatch([event(), event({ data: "ü".repeat(5121) })]))],
    [400, /200/, post("/events", event({ name: "x".repeat(201) }))],
    [400, /encrypted/, post("/events", { name: "x", channels: ["private-encrypted-a", "news"], data: "x" })],
    [400, /channel/, post("/events", { name: "x", channels: ["news", "a b"], data: "x" })],
    [400, /channel/, post("/events", { name: "x", data: "x" })],
    [400, /name/, post("/events", { channel: "news", data: "x" })],
    [400, /data/, post("/events", { channel: "news", name: "x" })],
    [400, /socket_id/, post("/events", event({ socket_id: "nonsense" }))],
    [400, /pusher/, post("/events", event({ name: "pusher:anything" }))],
    [400, /pusher/, post("/events", event({ name: "pusher_internal:member_added" }))],
    [400, /nonsense/, refusalOf(backend.trigger("news", "x", "x", { info: "nonsense" }))],
  ];
  for (const [expected, sentence, refusal] of refusals) {
    const { status, body } = await refusal;
    assert.deepEqual([status, sentence.test(body)], [expected, true], `${status} ${body}`);
  }
  await settle(pusher);
  assert.deepEqual(heard, []);
});

test("data of exactly 10 KiB and no data at all are published, and an app may allow more", async (t) => {
  const { server, backend } = await setUp(t);
  const updates = hear(await subscribe(await connect(t, server), "news"), "update");
  await backend.trigger("news", "update", "ü".repeat(5120));
  await backend.trigger("news", "update", "");
  assert.deepEqual(await updates.take(2, "an update"), ["ü".repeat(5120), ""]);
  const larger = await setUp(t, { "max-event": 100_000 });
  const more = hear(await subscribe(await connect(t, larger.server), "news"), "update");
  await larger.backend.trigger("news", "update", "x".repeat(100_000));
  assert.equal((await more.next("the update")).length, 100_000);
  assert.equal((await refusalOf(larger.backend.trigger("news", "update", "x".repeat(100_001)))).status, 413);
});

test("an app's rate of events is kept with 429", async (t) => {
  const { backend } = await setUp(t, { "event-rate": 5 });
  const statuses = [];
  for (let i = 0; i < 30; i++) {
    statuses.push(await backend.trigger("news", "x", "x").then(({ status }) => status, ({ status }) => status));
  }
  assert.deepEqual(statuses.slice(0, 5), [200, 200, 200, 200, 200]);
  assert.ok(statuses.includes(429), `${statuses}`);
});

// Questions

test("the channels that are occupied are listed by prefix, with their members, and those of users are not", async (t) => {
  const { backend, as } = await setUp(t);
  const [ann, bob] = [await as("ann"), await as("bob")];
  for (const name of ["presence-a", "presence-b", "news", "private-a"]) await subscribe(ann, name);
  await subscribe(bob, "presence-a");
  ann.signin();
  await hear(ann, "pusher:signin_success").next("a signin_success");
  await settle(ann);
  const channels = async (params) => (await answerOf(backend.get({ path: "/channels", params }))).channels;
  assert.deepEqual(await channels(), { news: {}, "presence-a": {}, "presence-b": {}, "private-a": {} });
  assert.deepEqual(await channels({ filter_by_prefix: "presence-", info: "user_count" }), {
    "presence-a": { user_count: 2 },
    "presence-b": { user_count: 1 },
  });
  assert.deepEqual(await channels({ filter_by_prefix: "private-" }), { "private-a": {} });
  assert.deepEqual(await channels({ filter_by_prefix: "x" }), {});
  assert.equal((await refusalOf(backend.get({ path: "/channels", params: { info: "user_count" } }))).status, 400);
});

test("a channel is asked about: whether it is occupied, its counts and what it has cached", async (t) => {
  const { backend, as } = await setUp(t);
  const about = (name, info) => answerOf(backend.get({ path: `/channels/${name}`, params: info && { info } }));
  for (const id of ["ann", "ann", "bob"]) await subscribe(await as(id), "presence-room");
  assert.deepEqual(await about("presence-room"), { occupied: true });
  assert.deepEqual(await about("presence-room", "user_count,subscription_count"), {
    occupied: true, user_count: 2, subscription_count: 3,
  });
  assert.deepEqual(await about("news", "subscription_count"), { occupied: false, subscription_count: 0 });
  assert.deepEqual(await about("cache-p", "cache"), { occupied: false, cache: null });
  await backend.trigger("cache-p", "price", { bid: 1 });
  const { cache } = await about("cache-p", "cache");
  assert.equal(cache.data, '{"bid":1}');
  assert.ok(cache.ttl > 0 && cache.ttl <= 1800, `ttl ${cache.ttl}`);
  for (const [name, info] of [["news", "user_count"], ["news", "cache"], ["news", "nonsense"]]) {
    assert.equal((await refusalOf(backend.get({ path: `/channels/${name}`, params: { info } }))).status, 400);
  }
});

test("the members of a presence channel are listed once each, and those of another channel are an error", async (t) => {
  const { backend, as } = await setUp(t);
  for (const id of ["ann", "ann", "bob"]) await subscribe(await as(id), "presence-room");
  const { users } = await answerOf(backend.get({ path: "/channels/presence-room/users" }));
  assert.deepEqual(users.map(({ id }) => id).sort(), ["ann", "bob"]);
  assert.deepEqual(await answerOf(backend.get({ path: "/channels/presence-empty/users" })), { users: [] });
  assert.equal((await refusalOf(backend.get({ path: "/channels/news/users" }))).status, 400);
});

test("a leaving subscriber is out of every answer", async (t) => {
  const { backend, as } = await setUp(t);
  const [ann, bob] = [await as("ann"), await as("bob")];
  const removed = hear(await subscribe(ann, "presence-room"), "pusher:member_removed");
  await subscribe(bob, "presence-room");
  await subscribe(bob, "news");
  bob.disconnect();
  await removed.next("bob");
  assert.deepEqual(await answerOf(backend.get({ path: "/channels/presence-room/users" })), { users: [{ id: "ann" }] });
  assert.deepEqual((await answerOf(backend.get({ path: "/channels" }))).channels, { "presence-room": {} });
});

// Users

test("an event is sent to a user, whether connected or not", async (t) => {
  const { backend, as } = await setUp(t);
  const ann = await as("ann");
  const [done, alerts] = [hear(ann, "pusher:signin_success"), hear(ann.user, "alert")];
  ann.signin();
  await done.next("a signin_success");
  await settle(ann);
  assert.deepEqual(await answerOf(backend.sendToUser("ann", "alert", { level: 1 })), {});
  assert.deepEqual(await answerOf(backend.sendToUser("nobody", "alert", "x")), {});
  assert.deepEqual(await alerts.next("the alert"), { level: 1 });
});

test("every connection of a user is terminated with 4009 and does not come back, whatever is in the user's name", async (t) => {
  const { backend, as } = await setUp(t);
  for (const id of ["ann", "ann@example.com", "a=b,c;d.e-f_g"]) {
    const [first, second, other] = [await as(id), await as(id), await as("bob")];
    const errors = [first, second].map(errorsOf);
    for (const pusher of [first, second, other]) {
      const done = hear(pusher, "pusher:signin_success");
      pusher.signin();
      await done.next("a signin_success");
    }
    assert.deepEqual(await answerOf(backend.terminateUserConnections(id)), {});
    for (const [index, pusher] of [first, second].entries()) {
      await reaches(pusher, "disconnected");
      assert.deepEqual([(await errors[index].next("an error")).code, isRetrying(pusher)], [4009, false]);
    }
    await settle(other);
  }
  assert.deepEqual(await answerOf(backend.terminateUserConnections("nobody")), {});
});

// Signatures

test("a wrong signature is answered with 401 and the text that had to be signed", async (t) => {
  const { server } = await setUp(t);
  const { status, body } = await refusalOf(backendOf(server, { secret: "another" }).trigger("news", "x", "x"));
  assert.equal(status, 401);
  assert.match(body, /POST\\n\/apps\/1\/events\\nauth_key=app-key&auth_timestamp=\d+&auth_version=1\.0&body_md5=[0-9a-f]{32}/);
  assert.ok(!body.includes(APP.secret));
});

test("a clock that is off by over ten minutes is answered with 401 and both times", async (t) => {
  const { server } = await setUp(t);
  const at = (seconds) => ({ parameters: { auth_timestamp: Math.floor(Date.now() / 1000) + seconds } });
  for (const seconds of [-700, 700]) {
    const { status, text } = await ask(server, "GET", "/apps/1/channels", at(seconds));
    assert.equal(status, 401);
    assert.ok(text.match(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/g)?.length >= 2, text);
  }
  for (const seconds of [-500, 500]) assert.equal((await ask(server, "GET", "/apps/1/channels", at(seconds))).status, 200);
});

test("each part of a signature that is missing or false is answered with 401 and its name", async (t) => {
  const { server } = await setUp(t);
  const body = '{"name":"x","channel":"news","data":"x"}';
  const cases = [
    [/signature/i, { body, signature: "0".repeat(64) }],
    [/signature/i, { body, signature: "short" }],
    [/md5/, { body, parameters: { body_md5: "0".repeat(32) } }],
    [/auth_key/, { body, parameters: { auth_key: "other-key" } }],
    [/version/, { body, parameters: { auth_version: "2.0" } }],
    [/timestamp/, { body, parameters: { auth_timestamp: "now" } }],
  ];
  for (const [sentence, options] of cases) {
    const { status, text } = await ask(server, "POST", "/apps/1/events", options);
    assert.deepEqual([status, sentence.test(text)], [401, true], `${status} ${text}`);
  }
  const unsigned = await server.curl("/apps/1/channels");
  assert.deepEqual([unsigned.status, /auth_key/.test(unsigned.body)], [401, true], unsigned.body);
  assert.equal((await ask(server, "POST", "/apps/1/events", { body })).status, 200);
});

test("parameters with spaces, commas and percent signs are signed as the library signs them", async (t) => {
  const { backend } = await setUp(t);
  const params = { filter_by_prefix: "presence-", info: "user_count", note: "a b,c/d?ü" };
  assert.deepEqual(await answerOf(backend.get({ path: "/channels", params })), { channels: {} });
});

test("an app that there is not is 404, one that is disabled 403", async (t) => {
  const disabled = { id: "2", key: "disabled-key", enabled: false };
  const server = await serveApps(t, [{}, disabled]);
  assert.equal((await refusalOf(backendOf(server, { id: "99" }).trigger("news", "x", "x"))).status, 404);
  assert.equal((await refusalOf(backendOf(server, disabled).trigger("news", "x", "x"))).status, 403);
  assert.equal((await refusalOf(backendOf(server).get({ path: "/nonsense" }))).status, 404);
});

test("the credentials of one app are not good for another", async (t) => {
  const second = { id: "2", key: "second-key", secret: "second-secret" };
  const server = await serveApps(t, [{}, second]);
  assert.equal((await refusalOf(backendOf(server, { ...second, id: "1" }).trigger("news", "x", "x"))).status, 401);
  assert.equal((await backendOf(server, second).trigger("news", "x", "x")).status, 200);
});

test("a backend that is made from PUSHER_URL publishes", async (t) => {
  const { server } = await setUp(t);
  const url = `http://${APP.key}:${APP.secret}@${server.address}/apps/${APP.id}`;
  assert.deepEqual(await answerOf(Backend.forURL(url).trigger("news", "x", "x")), {});
});

test("calls of one backend share a connection, errors too", async (t) => {
  const { server } = await setUp(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ports = new Set();
  agent.on("free", (socket) => ports.add(socket.localPort));
  const { hostname: host, port } = new URL(server.http("/"));
  const backend = new Backend({ appId: APP.id, key: APP.key, secret: APP.secret, host, port, agent });
  for (let i = 0; i < 5; i++) {
    await answerOf(backend.trigger("news", "x", "x"));
    await refusalOf(backend.get({ path: "/channels/news/users" }));
  }
  assert.equal(ports.size, 1);
});

test("the deprecated calls for one channel's events and its statistics are answered", async (t) => {
  const { server, as } = await setUp(t);
  const ann = await as("ann");
  const updates = hear(await subscribe(ann, "news"), "update");
  await subscribe(ann, "presence-room");
  const published = await ask(server, "POST", "/apps/1/channels/news/events", {
    body: '{"raw":"body"}', parameters: { name: "update" },
  });
  assert.equal(published.status, 202);
  assert.deepEqual(await updates.next("the update"), { raw: "body" });
  const { status, text } = await ask(server, "GET", "/apps/1/channels/presence-room/stats");
  assert.equal(status, 200);
  JSON.parse(text);
});

test("a body that is no JSON, or another shape, is refused with 400", async (t) => {
  const { server } = await setUp(t);
  for (const body of ["nonsense", "[]", "{}", "null", '{"name":7,"channel":"a","data":"x"}', '{"batch":7}']) {
    for (const path of ["/apps/1/events", "/apps/1/batch_events"]) {
      const { status, text } = await ask(server, "POST", path, { body });
      assert.deepEqual([status, text.length > 5], [400, true], `${path} ${body}: ${status} ${text}`);
    }
  }
});

// Webhooks

/** A receiver of webhooks: what it got, as npm's `pusher` reads it; answers with these statuses first, then 200. */
async function receiver(t, ...statuses) {
  const posts = new Inbox();
  const http = createServer(async (request, response) => {
    let rawBody = "";
    for await (const part of request.setEncoding("utf8")) rawBody += part;
    posts.push({ method: request.method, headers: request.headers, rawBody, at: performance.now() });
    response.writeHead(statuses.shift() ?? 200).end();
  });
  const address = await listen(http, "a receiver of webhooks");
  t.after(() => http.close());
  t.after(() => http.closeAllConnections());
  return { url: `http://${address}/hook`, posts };
}

/** The events that a receiver gets, one by one, each checked as an application would. */
function eventsOf(backend, posts) {
  const waiting = [];
  return async (what) => {
    while (waiting.length === 0) {
      const post = await posts.next(what);
      const webhook = backend.webhook(post);
      assert.ok(webhook.isValid(), "the signature is that of the app");
      assert.ok(Math.abs(webhook.getTime() - Date.now()) < 60_000, "the time is now");
      assert.equal(post.method, "POST");
      waiting.push(...webhook.getEvents());
    }
    return waiting.shift();
  };
}

/** Reads events until all of these have come, each once, in any order. */
async function getsAll(next, ...expected) {
  const got = [];
  for (let i = 0; i < expected.length; i++) got.push(await next(`webhook ${i + 1} of ${JSON.stringify(expected)}`));
  const sorted = (events) => events.map((event) => JSON.stringify(event, Object.keys(event).sort())).sort();
  assert.deepEqual(sorted(got), sorted(expected));
}

test("occupied and vacated channels, and members who join and leave, are reported, signed as the library reads it", async (t) => {
  const { url, posts } = await receiver(t);
  const events = ["channel_occupied", "channel_vacated", "member_added", "member_removed"];
  const { backend, as } = await setUp(t, { webhooks: [{ url, events }] });
  const next = eventsOf(backend, posts);
  const [ann, bob] = [await as("ann"), await as("bob")];
  await subscribe(ann, "presence-room");
  await getsAll(next,
    { name: "channel_occupied", channel: "presence-room" },
    { name: "member_added", channel: "presence-room", user_id: "ann" });
  await subscribe(bob, "presence-room");
  await getsAll(next, { name: "member_added", channel: "presence-room", user_id: "bob" });
  bob.disconnect();
  await getsAll(next, { name: "member_removed", channel: "presence-room", user_id: "bob" });
  ann.unsubscribe("presence-room");
  await getsAll(next,
    { name: "member_removed", channel: "presence-room", user_id: "ann" },
    { name: "channel_vacated", channel: "presence-room" });
});

test("who comes back within seconds is never reported as gone", async (t) => {
  const { url, posts } = await receiver(t);
  const { backend, as } = await setUp(t, { webhooks: [{ url, events: ["channel_vacated", "member_removed"] }] });
  const ann = await as("ann");
  await subscribe(ann, "presence-room");
  ann.unsubscribe("presence-room");
  await settle(ann);
  await subscribe(await as("ann"), "presence-room");
  await subscribe(ann, "left-for-good"); // after the other, so that it is reported after it
  ann.unsubscribe("left-for-good");
  await getsAll(eventsOf(backend, posts), { name: "channel_vacated", channel: "left-for-good" });
});

test("client events, cache misses and subscription counts are reported", async (t) => {
  const { url, posts } = await receiver(t);
  const events = ["client_event", "cache_miss", "subscription_count"];
  const app = { "client-events": true, "subscription-count": true, webhooks: [{ url, events }] };
  const { backend, as } = await setUp(t, app);
  const next = eventsOf(backend, posts);
  const ann = await as("ann");
  const socket_id = ann.connection.socket_id;
  ann.subscribe("cache-p");
  await getsAll(next,
    { name: "cache_miss", channel: "cache-p" },
    { name: "subscription_count", channel: "cache-p", subscription_count: 1 });
  (await subscribe(ann, "presence-room")).trigger("client-said", { text: "grüße" });
  const data = '{"text":"grüße"}';
  const presence = "presence-room";
  await getsAll(next, { name: "client_event", channel: presence, event: "client-said", data, socket_id, user_id: "ann" });
  (await subscribe(ann, "private-chat")).trigger("client-said", "x");
  await getsAll(next,
    { name: "subscription_count", channel: "private-chat", subscription_count: 1 },
    { name: "client_event", channel: "private-chat", event: "client-said", data: "x", socket_id });
});

test("a webhook names its media type exactly, its key and a signature that another secret does not make", async (t) => {
  const { url, posts } = await receiver(t);
  const secrets = ["first-secret", "second-secret"];
  const server = await serveApps(t, [{ secrets, webhooks: [{ url, events: ["channel_occupied"] }] }]);
  await subscribe(await connect(t, server), "news");
  const post = await posts.next("a webhook");
  const { headers, rawBody } = post;
  assert.deepEqual([headers["content-type"], headers["x-pusher-key"]], ["application/json", APP.key]);
  const { events, time_ms } = JSON.parse(rawBody);
  assert.deepEqual(events, [{ name: "channel_occupied", channel: "news" }]);
  assert.ok(Number.isInteger(time_ms));
  const isValid = (secret) => backendOf(server, { secret }).webhook(post).isValid();
  assert.deepEqual(["first-secret", "second-secret"].map(isValid), [true, false], "the first secret signs");
});

test("a webhook that was not taken is sent again until it is, once, and later ones keep their order", async (t) => {
  const { url, posts } = await receiver(t, 500, 503);
  const { server, backend } = await setUp(t, { webhooks: [{ url, events: ["channel_occupied"] }] });
  const pusher = await connect(t, server);
  await subscribe(pusher, "first");
  const attempts = await posts.take(3, "an attempt");
  const channels = attempts.map((post) => backend.webhook(post)).map((webhook) => {
    assert.ok(webhook.isValid());
    return webhook.getEvents()[0].channel;
  });
  assert.deepEqual(channels, ["first", "first", "first"]);
  assert.ok(attempts[2].at - attempts[0].at > 100, "it waits between attempts");
  await subscribe(pusher, "second");
  await getsAll(eventsOf(backend, posts), { name: "channel_occupied", channel: "second" });
});

test("a receiver that is not there yet gets what happened meanwhile", async (t) => {
  const place = createServer();
  const address = await listen(place, "a port");
  place.close();
  await once(place, "close");
  const { server, backend } = await setUp(t, { webhooks: [{ url: `http://${address}/`, events: ["channel_occupied"] }] });
  const pusher = await connect(t, server);
  await subscribe(pusher, "news");
  const posts = new Inbox();
  const late = createServer(async (request, response) => {
    let rawBody = "";
    for await (const part of request.setEncoding("utf8")) rawBody += part;
    posts.push({ method: request.method, headers: request.headers, rawBody });
    response.end();
  });
  late.listen(Number(address.split(":")[1]), "127.0.0.1");
  await within(once(late, "listening"), "the late receiver");
  t.after(() => late.close());
  t.after(() => late.closeAllConnections());
  await getsAll(eventsOf(backend, posts), { name: "channel_occupied", channel: "news" });
});

test("a receiver that never answers keeps another from nothing", async (t) => {
  const silent = createServer(() => {});
  const silence = await listen(silent, "a silent receiver");
  t.after(() => silent.close());
  t.after(() => silent.closeAllConnections());
  const { url, posts } = await receiver(t);
  const events = ["channel_occupied"];
  const { server, backend } = await setUp(t, { webhooks: [{ url: `http://${silence}/`, events }, { url, events }] });
  const next = eventsOf(backend, posts);
  const pusher = await connect(t, server);
  for (const name of ["a", "b", "c"]) {
    const updates = hear(await subscribe(pusher, name), "update");
    await getsAll(next, { name: "channel_occupied", channel: name });
    await backend.trigger(name, "update", "x");
    await updates.next("an update");
  }
});
