// The server behind nginx, as the README configures it: npm's `ws` and `eventsource`, node's HTTP clients and curl.
//
// NGINX_PATH, CERTIFICATE and CERTIFICATE_KEY are paths; tests/nginx.sh sets them, and has node trust the certificate.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { Agent, get } from "node:https";
import test from "node:test";
import { promisify } from "node:util";

import WebSocket from "ws";

import { front, readmeBlock } from "./nginx.mjs";
import { serve, within } from "./server.mjs";
import { ENVELOPES, LongPoll, openEventSource, openWebSocket, post, publish } from "./transports.mjs";

const BINARY = "application/octet-stream";
const SILENCE_MS = 66_000; // past nginx's proxy_read_timeout, 60 s if nothing is configured
const PUBLICATION_LEN_MAX = 1024 * 1024; // the default of the server, and of nginx's client_max_body_size

/** A server, and nginx in front of it. */
async function serveBehindNginx(t, ...flags) {
  const server = await serve(t, ...flags);
  return { server, nginx: await front(t, server) };
}

/** curl through nginx, by HTTP/2 unless it is told otherwise: the status, the HTTP version and the body. */
async function curl(nginx, path, ...words) {
  const format = "\n%{http_code} %{http_version}";
  const trusting = ["--cacert", process.env.CERTIFICATE, "--noproxy", "*", "--max-time", "10"];
  const { stdout } = await promisify(execFile)("curl", ["-sS", ...trusting, "-w", format, ...words, nginx.http(path)]);
  const [, body, status, version] = /^(.*)\n(\d+) (\S+)$/s.exec(stdout);
  return { status: Number(status), version, body };
}

test("the README raises no timeout and switches no buffering off", async () => {
  assert.doesNotMatch(await readmeBlock(), /timeout|buffering|keepalive/);
});

test("a WebSocket, raw or of envelopes, and an EventSource hear what a POST through nginx publishes", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const url = nginx.http("/channels/news");
  const raw = await openWebSocket(t, nginx.ws("/channels/news"));
  const envelopes = await openWebSocket(t, nginx.ws("/channels/news"), ["other", ENVELOPES]);
  const source = await openEventSource(t, url, { names: ["price", "fanfare:binary"] });
  assert.equal(envelopes.socket.protocol, ENVELOPES);
  const hello = await publish(url, "hello");
  const price = await publish(`${url}?event=price`, '{"bid":1}', "application/json");
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const binary = await publish(url, bytes, BINARY);
  assert.deepEqual([hello.subscribers, price.subscribers, binary.subscribers], [3, 3, 3]);
  assert.deepEqual(await raw.take(3), ["hello", '{"bid":1}', bytes]);
  const base64 = bytes.toString("base64");
  assert.deepEqual((await envelopes.take(3)).map((text) => JSON.parse(text)), [
    { id: hello.id, data: "hello" },
    { id: price.id, event: "price", data: { bid: 1 } },
    { id: binary.id, data: base64, encoding: "base64" },
  ]);
  assert.deepEqual(await source.take(3), [
    { type: "message", id: hello.id, data: "hello" },
    { type: "price", id: price.id, data: '{"bid":1}' },
    { type: "fanfare:binary", id: binary.id, data: base64 },
  ]);
  assert.deepEqual(nginx.faults(), []);
});

test("each event is there before the next is published: nginx holds nothing back", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const url = nginx.http("/channels/news");
  const lines = await openEventSource(t, url);
  const envelopes = await openEventSource(t, `${url}?protocol=${ENVELOPES}`);
  assert.equal(JSON.parse((await envelopes.next()).data).event, "fanfare:subscribed");
  for (let i = 0; i < 20; i++) {
    const { id } = await publish(url, `${i}`);
    assert.deepEqual(await lines.next(), { type: "message", id, data: `${i}` });
    assert.equal((await envelopes.next()).id, id);
  }
  assert.deepEqual(nginx.faults(), []);
});

test("a long poll is answered when something is published, and nothing is lost between two", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const url = nginx.http("/channels/news");
  const poll = await LongPoll.begin(t, url);
  const ids = [];
  const polled = poll.take(50);
  for (let i = 0; i < 50; i++) ids.push((await publish(url, `${i}`)).id);
  assert.deepEqual(await polled, ids.map((id, i) => ({ id, data: `${i}` })));
  const empty = await poll.ask(`since=${poll.next}&wait=0`);
  assert.deepEqual(empty, { messages: [], next: ids.at(-1) });
  assert.deepEqual(nginx.faults(), []);
});

test("a client that comes back through nginx gets what it missed, by Last-Event-ID and by since", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const url = nginx.http("/channels/news");
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push((await publish(url, `${i}`)).id);
  const source = await openEventSource(t, url, { headers: { "Last-Event-ID": ids[1] } });
  const socket = await openWebSocket(t, `${nginx.ws("/channels/news")}?since=${ids[1]}`, [ENVELOPES]);
  const missed = [2, 3, 4].map((i) => ({ id: ids[i], data: `${i}` }));
  assert.deepEqual((await source.take(3)).map(({ id, data }) => ({ id, data })), missed);
  const [subscribed, ...others] = (await socket.take(4)).map((text) => JSON.parse(text));
  assert.deepEqual(subscribed, { event: "fanfare:subscribed", data: { since: ids[1], idle: 30_000 } });
  assert.deepEqual(others, missed);
  assert.deepEqual(nginx.faults(), []);
});

test("compression is agreed with the client through nginx, and both ways what was sent arrives", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const options = { perMessageDeflate: { threshold: 0 } };
  const channel = await openWebSocket(t, nginx.ws("/channels/news"), [], options);
  const echo = await openWebSocket(t, nginx.ws("/echo"), [], options);
  assert.deepEqual([channel, echo].map(({ socket }) => socket.extensions), Array(2).fill("permessage-deflate"));
  const quotes = JSON.stringify(Array.from({ length: 5_000 }, (_, bid) => ({ symbol: "ACME", bid })));
  await publish(nginx.http("/channels/news"), quotes);
  echo.socket.send(quotes);
  channel.socket.send("from the client");
  assert.equal(await echo.next(), quotes);
  assert.deepEqual(await channel.take(2), [quotes, "from the client"]);
  assert.deepEqual(nginx.faults(), []);
});

test("the longest publication passes nginx to every transport, and one that is longer gets 413", async (t) => {
  const { nginx } = await serveBehindNginx(t, "--history-bytes", "4MiB");
  const url = nginx.http("/channels/news");
  const socket = await openWebSocket(t, nginx.ws("/channels/news"));
  const source = await openEventSource(t, url);
  const poll = await LongPoll.begin(t, url);
  const longest = "x".repeat(PUBLICATION_LEN_MAX);
  const { id } = await publish(url, longest);
  assert.equal(await socket.next(), longest);
  assert.deepEqual(await source.next(), { type: "message", id, data: longest });
  assert.deepEqual(await poll.take(1), [{ id, data: longest }]);
  assert.equal((await post(url, `${longest}x`)).status, 413);
  const messages = "y".repeat(3 * 1024 * 1024);
  const echo = await openWebSocket(t, nginx.ws("/echo"));
  echo.socket.send(messages);
  assert.equal(await echo.next(), messages);
});

test("curl speaks HTTP/2 to nginx: it publishes, polls and reads an event stream", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const published = await curl(nginx, "/channels/news", "-d", "hello");
  assert.deepEqual([published.status, published.version], [200, "2"]);
  const { id } = JSON.parse(published.body);
  const polled = await curl(nginx, "/channels/news?last=1");
  assert.deepEqual(JSON.parse(polled.body), { messages: [{ id, data: "hello" }], next: id });
  // The stream has no end; curl gives up on it after a second and says so with its status.
  const words = ["-sSN", "--max-time", "1", "--noproxy", "*", "--cacert", process.env.CERTIFICATE];
  const stream = [...words, "-H", "Accept: text/event-stream", nginx.http("/channels/news?last=1")];
  const { code, stdout } = await promisify(execFile)("curl", stream).catch((error) => error);
  assert.equal(code, 28);
  assert.match(stdout, new RegExp(`^retry: 2000\nid: \\S+\n\nid: ${id}\ndata: hello\n\n$`));
});

test("with --allow-origin and a key, nginx hands on what is refused, and why", async (t) => {
  const { nginx } = await serveBehindNginx(t, "--allow-origin", "https://example.com", "--publish-key", "sesame");
  const url = nginx.http("/channels/news");
  const [evil, listed] = ["https://evil.example", "https://example.com"];
  for (const path of ["/channels/news", "/channels/news?since="]) {
    const socket = new WebSocket(nginx.ws(path), [ENVELOPES], { origin: evil });
    const [, response] = await within(once(socket, "unexpected-response"), "a refusal");
    t.after(() => response.destroy());
    assert.equal(response.statusCode, 403);
  }
  for (const accept of ["text/event-stream", "*/*"]) {
    const { status, body } = await curl(nginx, "/channels/news?wait=0", "-H", `Origin: ${evil}`, "-H", `Accept: ${accept}`);
    assert.equal(status, 403);
    assert.match(body, /--allow-origin/);
  }
  const socket = await openWebSocket(t, nginx.ws("/channels/news"), [], { origin: listed });
  assert.equal((await post(url, "hello")).status, 401);
  const key = { Authorization: "Bearer sesame", Origin: listed, "Idempotency-Key": "once" };
  const answers = [await post(url, "hello", "text/plain", key), await post(url, "hello", "text/plain", key)];
  assert.deepEqual(answers.map(({ status }) => status), [200, 200]);
  assert.equal(answers[0].headers.get("access-control-allow-origin"), listed);
  assert.deepEqual(answers.map(({ headers }) => headers.get("idempotent-replayed")), [null, "true"]);
  assert.equal((await post(url, "other", "text/plain", key)).status, 422);
  assert.equal(await socket.next(), "hello");
  assert.deepEqual(nginx.faults(), []);
});

test("without proxy_http_version 1.1, an event stream is refused with a sentence that names it", async (t) => {
  const server = await serve(t);
  const block = (await readmeBlock()).replace("proxy_http_version 1.1;", "");
  const nginx = await front(t, server, block);
  // With an Upgrade field, nginx would hand that on by HTTP/2 as well, where it is a fault (RFC 9113 §8.2.2).
  for (const version of ["--http1.1", "--http2"]) {
    const { status, body } = await curl(nginx, "/channels/news", version, "-H", "Accept: text/event-stream");
    assert.equal(status, 505);
    assert.match(body, /proxy_http_version 1\.1/);
  }
  assert.equal((await curl(nginx, "/channels/news?wait=0")).status, 200);
});

test("when the server stops, nginx hands on the Close frame and the end of a stream", async (t) => {
  const { server, nginx } = await serveBehindNginx(t);
  const url = nginx.http("/channels/news");
  const socket = await openWebSocket(t, nginx.ws("/channels/news"));
  const source = await openEventSource(t, url);
  const { id } = await publish(url, "the last one");
  assert.equal(await server.stop(), 0);
  assert.equal(await socket.next(), "the last one");
  assert.equal((await socket.closed()).code, 1001);
  assert.equal((await source.next()).id, id);
  assert.equal((await source.lost()).message, undefined, "the stream came to its end");
  assert.deepEqual(nginx.faults(), []);
});

/** Polls again and again over one connection, and counts connections and answers without a message. */
class IdlePoll {
  sockets = new Set();
  emptyAnswers = 0;
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #ended = false;
  heard;

  constructor(t, url, since) {
    t.after(() => {
      this.#ended = true;
      this.#agent.destroy();
    });
    this.heard = this.#poll(url, since);
  }

  async #poll(url, since) {
    while (!this.#ended) {
      const request = get(`${url}?since=${since}&wait=50`, { agent: this.#agent });
      const [response] = await once(request, "response");
      this.sockets.add(request.socket);
      let text = "";
      for await (const part of response.setEncoding("utf8")) text += part;
      const answer = JSON.parse(text);
      if (answer.messages.length > 0) return answer.messages;
      this.emptyAnswers++;
      since = answer.next;
    }
  }
}

test("connections on which nothing is said outlive nginx's timeout of 60 s, and then get the message", async (t) => {
  const { nginx } = await serveBehindNginx(t);
  const url = nginx.http("/channels/news");
  const socket = await openWebSocket(t, nginx.ws("/channels/news"));
  const source = await openEventSource(t, url);
  const { next } = await LongPoll.begin(t, url);
  const poll = new IdlePoll(t, url, next);
  let pings = 0;
  socket.socket.on("ping", () => pings++);
  await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
  assert.equal(socket.socket.readyState, WebSocket.OPEN);
  assert.ok(source.isUndisturbed(), "the stream is the first one");
  const { id, subscribers } = await publish(url, "after the silence");
  assert.equal(subscribers, 3);
  assert.equal(await socket.next(), "after the silence");
  assert.deepEqual(await source.next(), { type: "message", id, data: "after the silence" });
  assert.deepEqual(await within(poll.heard, "the poll's message"), [{ id, data: "after the silence" }]);
  assert.ok(source.isUndisturbed(), "still the first one");
  assert.deepEqual([pings, poll.emptyAnswers, poll.sockets.size], [2, 1, 1]);
  assert.deepEqual(nginx.faults(), []);
});
