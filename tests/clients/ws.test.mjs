// The server as the npm package `ws` sees it, with curl as the publisher.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";

import WebSocket from "ws";

import { serve, within } from "./server.mjs";
import { ENVELOPES, openWebSocket } from "./transports.mjs";

/** The status with which a handshake is refused. */
async function refusal(t, url, options) {
  const socket = new WebSocket(url, [], options);
  const [, response] = await within(once(socket, "unexpected-response"), `a refusal by ${url}`);
  t.after(() => response.destroy());
  return response.statusCode;
}

test("raw subscribers get what curl publishes, in order and as it was sent", async (t) => {
  const server = await serve(t);
  const clients = [];
  for (let i = 0; i < 5; i++) clients.push(await openWebSocket(t, server.ws("/channels/news")));
  const texts = ["hello", "", "grüß dich, 世界", "<b>&amp;</b>", "x".repeat(70_000)];
  for (const text of texts) {
    const answer = await server.publish("/channels/news", text);
    assert.equal(answer.subscribers, 5);
    assert.equal(typeof answer.id, "string");
  }
  for (const client of clients) assert.deepEqual(await client.take(texts.length), texts);
});

test("envelope subscribers get the id that curl was answered, the event and the data", async (t) => {
  const server = await serve(t);
  const client = await openWebSocket(t, server.ws("/channels/news"), ["other", ENVELOPES]);
  assert.equal(client.socket.protocol, ENVELOPES);
  const first = await server.publish("/channels/news", "hello");
  const second = await server.publish("/channels/news?event=price", "2");
  const third = await server.publishAs("application/json", "/channels/news", '{"a":[1,2]}');
  const fourth = await server.publishAs("application/octet-stream", "/channels/news", "raw");
  const envelopes = (await client.take(4)).map((text) => JSON.parse(text));
  assert.deepEqual(envelopes, [
    { id: first.id, data: "hello" },
    { id: second.id, event: "price", data: "2" },
    { id: third.id, data: { a: [1, 2] } },
    { id: fourth.id, data: "cmF3", encoding: "base64" },
  ]);
  assert.equal(new Set(envelopes.map(({ id }) => id)).size, 4);
});

test("a channel's subscribers hear nothing of another channel", async (t) => {
  const server = await serve(t);
  const news = await openWebSocket(t, server.ws("/channels/news"));
  const sport = await openWebSocket(t, server.ws("/channels/sport"));
  assert.equal((await server.publish("/channels/news", "to news")).subscribers, 1);
  assert.equal((await server.publish("/channels/sport", "to sport")).subscribers, 1);
  assert.equal((await server.publish("/channels/nobody", "to nobody")).subscribers, 0);
  await server.publish("/channels/news", "the end");
  assert.deepEqual(await news.take(2), ["to news", "the end"]);
  assert.equal(await sport.next(), "to sport");
});

test("a binary body comes as a binary message, byte for byte", async (t) => {
  const server = await serve(t);
  const client = await openWebSocket(t, server.ws("/channels/news"));
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 31) % 256));
  await server.publishAs("image/png", "/channels/news", bytes);
  assert.deepEqual(await client.next(), bytes);
});

test("compression is agreed with a client that offers it, and both ways what was sent arrives", async (t) => {
  const server = await serve(t);
  const compressed = await openWebSocket(t, server.ws("/channels/news"), [], { perMessageDeflate: { threshold: 0 } });
  const plain = await openWebSocket(t, server.ws("/channels/news"), [], { perMessageDeflate: false });
  assert.equal(compressed.socket.extensions, "permessage-deflate");
  assert.equal(plain.socket.extensions, "");
  const quotes = JSON.stringify(Array.from({ length: 500 }, (_, bid) => ({ symbol: "ACME", bid })));
  await server.publish("/channels/news", quotes);
  for (const text of [quotes, "", "a"]) compressed.socket.send(text);
  for (const client of [compressed, plain]) assert.deepEqual(await client.take(4), [quotes, quotes, "", "a"]);
  const echo = await openWebSocket(t, server.ws("/echo"), [], { perMessageDeflate: { threshold: 0, serverMaxWindowBits: 10 } });
  for (let i = 0; i < 3; i++) {
    echo.socket.send(quotes);
    assert.equal(await echo.next(), quotes);
  }
});

test("a client's messages reach every subscriber on every loop, itself too, in one order", async (t) => {
  const server = await serve(t, "--threads", "3");
  const clients = [];
  for (let i = 0; i < 6; i++) clients.push(await openWebSocket(t, server.ws("/channels/chat")));
  for (let i = 0; i < 50; i++) for (const [sender, { socket }] of clients.entries()) socket.send(`${sender}:${i}`);
  const heard = await Promise.all(clients.map((client) => client.take(300)));
  for (const [sender] of clients.entries()) {
    const own = heard[0].filter((text) => text.startsWith(`${sender}:`));
    assert.deepEqual(own, Array.from({ length: 50 }, (_, i) => `${sender}:${i}`));
  }
  for (const order of heard) assert.deepEqual(order, heard[0]);
});

test("an envelope client publishes text and JSON, and a raw one hears the data", async (t) => {
  const server = await serve(t);
  const raw = await openWebSocket(t, server.ws("/channels/chat"));
  const client = await openWebSocket(t, server.ws("/channels/chat"), [ENVELOPES]);
  client.socket.send(JSON.stringify({ event: "said", data: "hi" }));
  client.socket.send(JSON.stringify({ data: { n: 1 } }));
  assert.deepEqual(await raw.take(2), ["hi", '{"n":1}']);
  const [said, counted] = (await client.take(2)).map((text) => JSON.parse(text));
  assert.deepEqual([said.event, said.data, counted.data], ["said", "hi", { n: 1 }]);
});

test("the echo gives back fragments as one message, text as text and binary as binary", async (t) => {
  const server = await serve(t);
  const client = await openWebSocket(t, server.ws("/echo"));
  client.socket.send("frag", { fin: false });
  client.socket.ping("between");
  client.socket.send("mented", { fin: true });
  client.socket.send(Buffer.alloc(3 * 1024 * 1024, 7));
  assert.equal(await client.next(), "fragmented");
  assert.deepEqual(await client.next(), Buffer.alloc(3 * 1024 * 1024, 7));
});

test("a ping is answered with its payload", async (t) => {
  const server = await serve(t);
  const client = await openWebSocket(t, server.ws("/channels/news"));
  const pong = once(client.socket, "pong");
  client.socket.ping("are you there?");
  const [payload] = await within(pong, "a pong");
  assert.equal(payload.toString(), "are you there?");
});

test("a silent client that answers pings stays, and one that does not is closed with 1001", async (t) => {
  const server = await serve(t, "--idle-timeout", "100ms", "--pong-timeout", "500ms");
  const mute = await openWebSocket(t, server.ws("/channels/news"), [], { autoPong: false });
  const alive = await openWebSocket(t, server.ws("/channels/news"));
  assert.deepEqual(await mute.closed(), { code: 1001, reason: "no answer to a ping" });
  assert.equal((await server.publish("/channels/news", "still here")).subscribers, 1);
  assert.equal(await alive.next(), "still here");
});

test("a close is answered with its code", async (t) => {
  const server = await serve(t);
  for (const code of [1000, 1001, 3000, 4999]) {
    const client = await openWebSocket(t, server.ws("/channels/news"));
    client.socket.close(code, "goodbye");
    assert.deepEqual(await client.closed(), { code, reason: "" });
  }
  const client = await openWebSocket(t, server.ws("/channels/news"));
  client.socket.close();
  assert.equal((await client.closed()).code, 1005, "no code is answered with no code");
});

test("a message over --max-message is closed with 1009, and a body with 413", async (t) => {
  const server = await serve(t, "--max-message", "100");
  const other = await openWebSocket(t, server.ws("/channels/news"));
  for (const path of ["/echo", "/channels/news"]) {
    const client = await openWebSocket(t, server.ws(path));
    client.socket.send("x".repeat(100));
    assert.equal(await client.next(), "x".repeat(100));
    client.socket.send("x".repeat(60), { fin: false });
    client.socket.send("x".repeat(41), { fin: true });
    assert.deepEqual(await client.closed(), {
      code: 1009, reason: "the message is over the limit of 100 bytes",
    });
  }
  assert.equal((await server.curl("/channels/news", "-d", "x".repeat(101))).status, 413);
  await server.publish("/channels/news", "y".repeat(100));
  assert.deepEqual(await other.take(2), ["x".repeat(100), "y".repeat(100)]);
});

test("with --publish-key, POST needs the key, and a WebSocket client a --client-publish", async (t) => {
  const server = await serve(t, "--publish-key", "sesame", "--client-publish", "chat-*");
  const post = (...words) => server.curl("/channels/news", "-d", "hello", ...words);
  assert.equal((await post()).status, 401);
  assert.equal((await post("-H", "Authorization: Bearer wrong")).status, 401);
  assert.match((await post()).body, /Authorization: Bearer/);
  const client = await openWebSocket(t, server.ws("/channels/news"));
  assert.equal((await post("-H", "Authorization: Bearer sesame")).status, 200);
  assert.equal(await client.next(), "hello");

  client.socket.send("may I?");
  assert.deepEqual(await client.closed(), {
    code: 1008, reason: "publishing to this channel is not open to this connection",
  });
  const chat = await openWebSocket(t, server.ws("/channels/chat-1"));
  chat.socket.send("I may here");
  assert.equal(await chat.next(), "I may here");
  const headers = { Authorization: "Bearer sesame" };
  const trusted = await openWebSocket(t, server.ws("/channels/news"), [], { headers });
  trusted.socket.send("I have the key");
  assert.equal(await trusted.next(), "I have the key");
});

test("with --allow-origin, other origins get 403 and clients without one pass", async (t) => {
  const server = await serve(t, "--allow-origin", "https://example.com");
  const url = server.ws("/channels/news");
  assert.equal(await refusal(t, url, { origin: "https://evil.example" }), 403);
  const listed = await openWebSocket(t, url, [], { origin: "https://example.com" });
  const native = await openWebSocket(t, url);
  const post = (...words) => server.curl("/channels/news", "-d", "hello", ...words);
  assert.equal((await post("-H", "Origin: https://evil.example")).status, 403);
  assert.equal((await post()).status, 200);
  assert.deepEqual([await listed.next(), await native.next()], ["hello", "hello"]);
});

test("a channel name that breaks a rule, an unknown path and a bad version are refused", async (t) => {
  const server = await serve(t);
  assert.equal(await refusal(t, server.ws("/channels/no%20spaces"), {}), 400);
  assert.equal(await refusal(t, server.ws("/nowhere"), {}), 404);
  assert.equal(await refusal(t, server.ws("/channels/news"), { protocolVersion: 8 }), 426);
  const { status, body } = await server.curl("/healthz");
  assert.deepEqual([status, body], [200, "ok\n"]);
});

test("a subscriber that does not read is closed with 1013, and the others get everything", async (t) => {
  const server = await serve(t, "--max-lag", "256KiB");
  // What is published would compress to nothing.
  const plain = { perMessageDeflate: false };
  const slow = await openWebSocket(t, server.ws("/channels/news"), [], plain);
  const quick = await openWebSocket(t, server.ws("/channels/news"), [], plain);
  slow.socket.pause();
  const block = "x".repeat(200_000);
  let published = 0;
  // Until the kernel's buffers are full and the server has let go of the one that does not read.
  for (let subscribers = 2; subscribers === 2 && published < 500; published++) {
    ({ subscribers } = await server.publishAs("text/plain", "/channels/news", block));
    assert.equal(await quick.next(), block);
  }
  assert.ok(published < 500, "100 MB are more than the kernel holds");
  slow.socket.resume();
  assert.equal((await slow.closed()).code, 1013);
});

test("on SIGTERM what was published is delivered, then 1001, and the exit status is 0", async (t) => {
  const server = await serve(t, "--drain", "200ms");
  const clients = [];
  for (let i = 0; i < 10; i++) clients.push(await openWebSocket(t, server.ws("/channels/news"), i % 2 ? [ENVELOPES] : []));
  const echo = await openWebSocket(t, server.ws("/echo"));
  await server.publish("/channels/news", "the last one");
  assert.equal(await server.stop(), 0);
  for (const client of clients) {
    assert.match(await client.next(), /the last one/);
    assert.equal((await client.closed()).code, 1001);
  }
  assert.equal((await echo.closed()).code, 1001);
});
