// One channel by every road: pusher-js, the HTTP API of Pusher, curl, EventSource, long polls and plain WebSockets.

import assert from "node:assert/strict";
import test from "node:test";

import { backendOf, clientOf, connect, hear, reaches, serveApps, settle, signing, subscribe, wire } from "./pusher.mjs";
import { Inbox } from "./server.mjs";
import { ENVELOPES, LongPoll, openEventSource, openWebSocket } from "./transports.mjs";

const SECOND = { id: "2", key: "second-key", secret: "second-secret" };

test("what curl posts and what a backend triggers reach every road, in one order with one id", async (t) => {
  const server = await serveApps(t);
  const backend = backendOf(server);
  const path = "/channels/prices";
  const socket = await openWebSocket(t, server.ws(path), ENVELOPES);
  const source = await openEventSource(t, server.http(path), { names: ["tick"] });
  const poll = await LongPoll.begin(t, server.http(path));
  const seen = new Inbox();
  (await subscribe(await connect(t, server), "prices")).bind_global((event, data) => {
    if (!event.startsWith("pusher:")) seen.push({ event, data });
  });
  const posted = [];
  for (let i = 0; i < 20; i += 2) {
    posted.push(await server.publishAs("application/json", `${path}?event=tick`, `{"n":${i}}`));
    await backend.trigger("prices", "tick", { n: i + 1 });
  }
  const expected = Array.from({ length: 20 }, (_, n) => ({ event: "tick", data: { n } }));
  assert.deepEqual(await seen.take(20, "an event of pusher-js"), expected);
  const envelopes = (await socket.take(20)).map((text) => JSON.parse(text));
  assert.deepEqual(envelopes.map(({ event, data }) => ({ event, data })), expected);
  const events = await source.take(20);
  const polled = await poll.take(20);
  assert.deepEqual(polled.map(({ event, data }) => ({ event, data })), expected);
  assert.deepEqual(events.map(({ type, data }) => ({ event: type, data: JSON.parse(data) })), expected);
  const ids = envelopes.map(({ id }) => id);
  assert.deepEqual(events.map(({ id }) => id), ids);
  assert.deepEqual(polled.map(({ id }) => id), ids);
  assert.deepEqual(posted.map(({ id }) => id), ids.filter((_, index) => index % 2 === 0));
  assert.equal(posted[0].subscribers, 3, "the poll was not waiting");
});

test("text stays text and JSON stays JSON both ways, and an event without a name has one", async (t) => {
  const server = await serveApps(t);
  const backend = backendOf(server);
  const socket = await openWebSocket(t, server.ws("/channels/news"), ENVELOPES);
  const raw = await wire(t, server);
  await raw.text();
  raw.send({ event: "pusher:subscribe", data: { channel: "news" } });
  await raw.text();
  const envelope = async () => {
    const { event, data } = JSON.parse((await socket.take(1))[0]);
    return event === undefined ? { data } : { event, data };
  };
  await server.publish("/channels/news", "plain \"text\" ü");
  assert.deepEqual(await envelope(), { data: "plain \"text\" ü" });
  assert.deepEqual(await raw.message(), { event: "message", channel: "news", data: "plain \"text\" ü" });
  await server.publishAs("application/json", "/channels/news?event=update", '{"a": [1, 2.50]}');
  assert.deepEqual(await envelope(), { event: "update", data: { a: [1, 2.5] } });
  const { data } = await raw.message();
  assert.deepEqual(JSON.parse(data), { a: [1, 2.5] });
  await backend.trigger("news", "update", { a: { b: null } });
  assert.deepEqual(await envelope(), { event: "update", data: { a: { b: null } } });
  await raw.message();
  await backend.trigger("news", "update", "no JSON: {");
  assert.deepEqual(await envelope(), { event: "update", data: "no JSON: {" });
  assert.deepEqual(await raw.message(), { event: "update", channel: "news", data: "no JSON: {" });
});

test("a WebSocket's message, where it may publish, reaches pusher-js", async (t) => {
  const server = await serveApps(t);
  const messages = hear(await subscribe(await connect(t, server), "chat"), "message");
  const socket = await openWebSocket(t, server.ws("/channels/chat"));
  socket.socket.send("hello");
  assert.equal(await messages.next("the message"), "hello");
});

test("private and presence channels are closed to the roads without a signature, with a sentence", async (t) => {
  const server = await serveApps(t);
  const backend = backendOf(server);
  const pusher = await connect(t, server, signing(backend, { member: { user_id: "ann" } }));
  for (const name of ["private-orders", "presence-room", "private-encrypted-a", "private-cache-a"]) {
    const channel = await subscribe(pusher, name);
    const heard = [];
    channel.bind_global((event) => heard.push(event));
    const attempts = [
      ["-d", "x"],
      ["-H", "Accept: text/event-stream"],
      [],
      ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    ];
    for (const words of attempts) {
      const { status, body } = await server.curl(`/channels/${name}`, ...words);
      assert.equal(status, 403, `${name} ${words}`);
      assert.ok(body.length > 20, `it says why: ${body}`);
    }
    await settle(pusher);
    assert.deepEqual(heard.filter((event) => event === "message"), []);
  }
});

test("the channel of a user is closed to the roads without a signature", async (t) => {
  const server = await serveApps(t);
  for (const words of [["-d", "x"], []]) {
    const { status } = await server.curl("/channels/%23server-to-user-ann", ...words);
    assert.ok([400, 403, 404].includes(status), `${status}`);
  }
});

test("?app= leads to the channel of another app, and no ?app= to that of the first", async (t) => {
  const server = await serveApps(t, [{}, SECOND]);
  const heard = [];
  for (const key of [undefined, SECOND.key]) {
    const pusher = clientOf(t, server, {}, key);
    await reaches(pusher, "connected");
    heard.push(hear(await subscribe(pusher, "prices"), "tick"));
  }
  const sources = [];
  for (const query of ["", "?app=2"]) {
    sources.push(await openEventSource(t, server.http(`/channels/prices${query}`), { names: ["tick"] }));
  }
  await server.publish("/channels/prices?event=tick", "first");
  await server.publish("/channels/prices?event=tick&app=2", "second");
  await backendOf(server).trigger("prices", "tick", "first again");
  await backendOf(server, SECOND).trigger("prices", "tick", "second again");
  for (const [index, word] of ["first", "second"].entries()) {
    const expected = [word, `${word} again`];
    assert.deepEqual(await heard[index].take(2, "a tick"), expected);
    assert.deepEqual((await sources[index].take(2)).map(({ data }) => data), expected);
  }
  const { status, body } = await server.curl("/channels/prices?app=99", "-d", "x");
  assert.deepEqual([status, body.length > 10], [404, true], body);
});

test("the counts of a channel take in the subscribers of every road, its members only pusher-js", async (t) => {
  const server = await serveApps(t);
  await subscribe(await connect(t, server), "prices");
  await openWebSocket(t, server.ws("/channels/prices"));
  const { subscribers } = await server.publish("/channels/prices", "x");
  assert.equal(subscribers, 2);
});

test("with a publish key curl needs it, and pusher-js and the HTTP API need their app's credentials alone", async (t) => {
  const server = await serveApps(t, [{}], "--publish-key", "sesame");
  const updates = hear(await subscribe(await connect(t, server), "news"), "update");
  assert.equal((await server.curl("/channels/news?event=update", "-d", "x")).status, 401);
  const keyed = await server.curl("/channels/news?event=update", "-d", "by key", "-H", "Authorization: Bearer sesame");
  assert.equal(keyed.status, 200);
  await backendOf(server).trigger("news", "update", "by signature");
  assert.deepEqual(await updates.take(2, "an update"), ["by key", "by signature"]);
});
