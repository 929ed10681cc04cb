// Event streams and long polls as npm's `eventsource`, node's fetch and node's HTTP client see them, beside `ws`.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";

import { createParser } from "eventsource-parser";

import { serve, web, within } from "./server.mjs";
import { severing } from "./severing.mjs";
import { ENVELOPES, LongPoll, openEventSource, openWebSocket, post, publish } from "./transports.mjs";

const BINARY = "application/octet-stream";
const KEPT = ["--history", "100000", "--history-bytes", "64MiB"]; // nobody here comes back too late for these

/** The sequence of an id, and the channel's epoch. */
function parts(id) {
  const [epoch, sequence] = id.split("-");
  return { epoch, sequence: Number(sequence) };
}

/** A stream that is read by node's HTTP client: paused until `read`, which gives all of it. */
async function openStream(t, url) {
  const request = web.get(url, { agent: false, headers: { Accept: "text/event-stream" } });
  t.after(() => request.destroy());
  const [response] = await within(once(request, "response"), `the head of the stream ${url}`);
  response.setEncoding("utf8");
  response.pause();
  return { response, read: (isEnough) => readStream(response, isEnough) };
}

/** The text of a stream, its events and its comments: to its end, or until it is enough. */
async function readStream(response, isEnough = () => false) {
  const [events, comments] = [[], []];
  let text = "";
  const parser = createParser({
    onEvent: ({ id, event = "message", data }) => events.push({ id, type: event, data }),
    onComment: (comment) => comments.push(comment),
  });
  const reading = (async () => {
    for await (const part of response) {
      text += part;
      parser.feed(part);
      if (isEnough({ events, comments })) break;
    }
    return { text, events, comments, isComplete: response.complete };
  })();
  return within(reading, "the end of the stream, or enough of it");
}

/** Publishes numbers, one after the other, until it is told to stop; gives their ids. */
function publishEndlessly(url) {
  let isOver = false;
  const ids = (async () => {
    const published = [];
    while (!isOver) published.push((await publish(url, `${published.length}`)).id);
    return published;
  })();
  ids.catch(() => {}); // told to who stops it
  return {
    stop: () => {
      isOver = true;
      return within(ids, "the last publication");
    },
  };
}

/** What a client that missed nothing has heard: all numbers in order, each with the id that its publisher was told. */
async function assertHeardAll(client, ids) {
  const heard = await client.take(ids.length);
  assert.deepEqual(heard, ids.map((id, number) => ({ type: "message", id, data: `${number}` })));
}

test("what several publish at once reaches all transports with the same ids in the same order", async (t) => {
  const server = await serve(t, "--threads", "3", ...KEPT);
  const url = server.http("/channels/news");
  const [publishers, each] = [6, 60];
  const socket = await openWebSocket(t, server.ws("/channels/news"), [ENVELOPES]);
  const lines = await openEventSource(t, url);
  const envelopes = await openEventSource(t, `${url}?protocol=${ENVELOPES}`);
  const poll = await LongPoll.begin(t, url);
  const ids = new Map();
  const heard = Promise.all([socket, lines, envelopes, poll].map((client, index) => {
    return client.take(publishers * each + (client === envelopes ? 1 : 0));
  }));
  await Promise.all(Array.from({ length: publishers }, async (_, publisher) => {
    for (let i = 0; i < each; i++) {
      const data = `${publisher}:${i}`;
      ids.set(data, (await publish(url, data)).id);
    }
  }));
  const [bySocket, byLines, byEnvelopes, byPoll] = await heard;
  const expected = bySocket.map((text) => JSON.parse(text));
  for (const { id, data } of expected) assert.equal(id, ids.get(data));
  const sequences = expected.map(({ id }) => parts(id).sequence);
  assert.deepEqual(sequences, Array.from({ length: publishers * each }, (_, i) => i + 1));
  assert.deepEqual(byLines, expected.map(({ id, data }) => ({ type: "message", id, data })));
  const [subscribed, ...rest] = byEnvelopes;
  assert.equal(JSON.parse(subscribed.data).event, "fanfare:subscribed");
  assert.deepEqual(rest.map(({ id, data }) => [id, JSON.parse(data)]), expected.map((one) => [one.id, one]));
  assert.deepEqual(byPoll, expected);
});

test("LF, CRLF and CR end a line in an event stream, and in envelopes they stay what they are", async (t) => {
  const server = await serve(t);
  const url = server.http("/channels/news");
  const lines = await openEventSource(t, url);
  const envelopes = await openEventSource(t, `${url}?protocol=${ENVELOPES}`);
  const poll = await LongPoll.begin(t, url);
  await envelopes.next();
  const texts = ["a\nb", "a\r\nb", "a\rb", "\n", "\r\n\r\n", "a\n", "", " a", ":a", "data: a\n\nid: 1", "\u0000", "\ufeffa", "a\u2028b"];
  for (const text of texts) await publish(url, text);
  const asLines = texts.map((text) => text.replaceAll(/\r\n|\r/g, "\n"));
  assert.deepEqual((await lines.take(texts.length)).map(({ data }) => data), asLines);
  assert.deepEqual((await envelopes.take(texts.length)).map(({ data }) => JSON.parse(data).data), texts);
  assert.deepEqual((await poll.take(texts.length)).map(({ data }) => data), texts);
});

test("an event's name is its type, JSON arrives as it was written, and binary says that it is", async (t) => {
  const server = await serve(t);
  const url = server.http("/channels/news");
  const names = ["price", "größe ü:b", "fanfare:binary", "fanfare:binary:price"];
  const lines = await openEventSource(t, url, { names });
  const envelopes = await openEventSource(t, `${url}?protocol=${ENVELOPES}`, { names });
  await envelopes.next();
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 31) % 256));
  const base64 = bytes.toString("base64");
  const ids = [];
  const say = async (query, body, type) => ids.push((await publish(`${url}${query}`, body, type)).id);
  await say("?event=price", "2");
  await say("?event=gr%C3%B6%C3%9Fe%20%C3%BC:b", "3");
  await say("", '{ "a":\n[1, 2] }', "application/json");
  await say("", bytes, BINARY);
  await say("?event=price", bytes, BINARY);
  assert.deepEqual(await lines.take(5), [
    { type: "price", id: ids[0], data: "2" },
    { type: "größe ü:b", id: ids[1], data: "3" },
    { type: "message", id: ids[2], data: '{ "a":\n[1, 2] }' },
    { type: "fanfare:binary", id: ids[3], data: base64 },
    { type: "fanfare:binary:price", id: ids[4], data: base64 },
  ]);
  const heard = await envelopes.take(5);
  assert.deepEqual(heard.map(({ type, id }) => ({ type, id })), ids.map((id) => ({ type: "message", id })));
  assert.deepEqual(heard.map(({ data }) => JSON.parse(data)), [
    { id: ids[0], event: "price", data: "2" },
    { id: ids[1], event: "größe ü:b", data: "3" },
    { id: ids[2], data: { a: [1, 2] } },
    { id: ids[3], data: base64, encoding: "base64" },
    { id: ids[4], event: "price", data: base64, encoding: "base64" },
  ]);
});

test("nobody can publish an event that reads like one of the server's own", async (t) => {
  const server = await serve(t);
  const url = server.http("/channels/news");
  for (const name of ["fanfare:gap", "fanfare:binary", "a%0Ab", "a%0Db", "x".repeat(201)]) {
    const { status, text } = await post(`${url}?event=${name}`, "forged");
    assert.equal(status, 400, name);
    assert.match(text, /event name/i, name);
  }
});

test("last=N gives the last N first on every transport, and what comes after them once", async (t) => {
  const server = await serve(t);
  const url = server.http("/channels/news");
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push((await publish(url, `${i}`)).id);
  const lines = await openEventSource(t, `${url}?last=3`);
  const socket = await openWebSocket(t, `${server.ws("/channels/news")}?last=3`, [ENVELOPES]);
  const raw = await openWebSocket(t, `${server.ws("/channels/news")}?last=3`);
  const answer = await (await LongPoll.begin(t, url)).ask("last=3&wait=0");
  ids.push((await publish(url, "5")).id);
  const expected = [2, 3, 4, 5].map((i) => ({ id: ids[i], data: `${i}` }));
  assert.deepEqual((await lines.take(4)).map(({ id, data }) => ({ id, data })), expected);
  const begun = { event: "fanfare:subscribed", data: { since: ids[1], idle: 30_000 } };
  assert.deepEqual((await socket.take(5)).map((text) => JSON.parse(text)), [begun, ...expected]);
  assert.deepEqual(await raw.take(4), ["2", "3", "4", "5"]);
  assert.deepEqual(answer, { messages: expected.slice(0, 3), next: ids[4] });
});

test("an EventSource whose connection is cut comes back by itself and has missed nothing", async (t) => {
  const server = await serve(t, ...KEPT);
  const proxy = await severing(t, server);
  const client = await openEventSource(t, proxy.http("/channels/news"));
  assert.doesNotMatch(await proxy.head(), /last-event-id/i);
  const publisher = publishEndlessly(server.http("/channels/news"));
  proxy.cutAfter(700);
  for (const bytes of [1_500, Infinity]) {
    await client.lost();
    // The second cut is where it is sent what it missed.
    proxy.cutAfter(bytes);
    const lostAt = performance.now();
    await client.opened();
    // It is told to wait 2 s. Timers of node and the server's clock may differ by some milliseconds.
    assert.ok(performance.now() - lostAt > 1_900, "it waits as long as `retry` says");
    assert.match(await proxy.head(), /^last-event-id: \w+-\d+\r$/im);
  }
  await assertHeardAll(client, await publisher.stop());
});

test("a page that reads three channels by one EventSource and drops the ids that it has has missed nothing after cuts", async (t) => {
  const server = await serve(t, ...KEPT);
  const proxy = await severing(t, server);
  const names = ["news", "chat-7", "a,b"];
  const query = names.map((name) => `channel=${encodeURIComponent(name)}`).join("&");
  const client = await openEventSource(t, proxy.http(`/channels?${query}`));
  assert.doesNotMatch(await proxy.head(), /last-event-id/i);
  const publishers = names.map((name) => publishEndlessly(server.http(`/channels/${encodeURIComponent(name)}`)));
  const heard = new Map(names.map((name) => [name, []]));
  let begun = 0;
  // What a page does: it keeps the newest id of each channel, and drops what it has.
  const hear = ({ data }) => {
    const { channel, event, id: own } = JSON.parse(data);
    if (event) {
      assert.equal(event, "fanfare:subscribed", "nothing is lost");
      return begun++;
    }
    const ids = heard.get(channel);
    const { sequence } = parts(own);
    assert.ok(sequence <= ids.length + 1, `no hole in ${channel}`);
    if (sequence > ids.length) return ids.push(own);
    // This EventSource takes no id from a block without data: it goes on from the one before, and gets more twice.
    assert.equal(ids[sequence - 1], own);
  };
  proxy.cutAfter(1_500);
  for (const bytes of [6_000, Infinity]) {
    await client.lost();
    proxy.cutAfter(bytes);
    await client.opened();
    assert.match(await proxy.head(), /^last-event-id: \w+-\d+,\w+-\d+,\w+-\d+\r$/im);
  }
  const published = await Promise.all(publishers.map((publisher) => publisher.stop()));
  const isOver = () => names.every((name, at) => heard.get(name).length >= published[at].length);
  while (!isOver()) hear(await client.next());
  names.forEach((name, at) => assert.deepEqual(heard.get(name), published[at]));
  assert.equal(begun, 9);
  assert.ok(client.isUndisturbed());
});

test("a client that is cut off every some hundred bytes and comes back with Last-Event-ID hears all once", async (t) => {
  const server = await serve(t, "--threads", "2", ...KEPT);
  const proxy = await severing(t, server);
  const url = server.http("/channels/news");
  const ids = [];
  const heard = [];
  const since = (await (await LongPoll.begin(t, url)).ask("wait=0")).next;
  const publishing = (async () => {
    while (ids.length < 300) ids.push((await publish(url, `${ids.length}`)).id);
  })();
  let last = since;
  for (let round = 0; heard.length < 300; round++) {
    assert.ok(round < 2_000, "it gets on");
    // The head and the first block are more than half of that; the rest ends anywhere in an event.
    proxy.cutAfter(480 + ((round * 97) % 800));
    const abort = new AbortController();
    const options = { headers: { Accept: "text/event-stream", "Last-Event-ID": last }, signal: abort.signal };
    try {
      const response = await within(fetch(proxy.http("/channels/news"), options), "the head of a stream");
      const decoder = new TextDecoder();
      const parser = createParser({
        onEvent: ({ id, event, data }) => {
          assert.equal(event, undefined);
          heard.push({ type: "message", id, data });
          last = id;
          if (heard.length === 300) abort.abort();
        },
      });
      const reading = (async () => {
        for await (const part of response.body) parser.feed(decoder.decode(part, { stream: true }));
      })();
      await within(reading, "a cut");
    } catch (error) {
      if (error instanceof assert.AssertionError || error.message.startsWith("not within")) throw error;
    }
  }
  await publishing;
  assert.deepEqual(heard, ids.map((id, number) => ({ type: "message", id, data: `${number}` })));
});

test("who comes back to a server that was restarted is told of a gap of unknown length, on every transport", async (t) => {
  const first = await serve(t);
  const proxy = await severing(t, first);
  const names = ["fanfare:gap"];
  const client = await openEventSource(t, proxy.http("/channels/news"), { names });
  const { id } = await publish(first.http("/channels/news"), "before");
  assert.equal((await client.next()).id, id);
  const second = await serve(t);
  const kept = await publish(second.http("/channels/news"), "already there");
  proxy.server = second;
  assert.equal(await first.stop(), 0);
  const gap = await client.next();
  const since = `${parts(kept.id).epoch}-0`;
  assert.deepEqual({ ...gap, data: JSON.parse(gap.data) }, { type: "fanfare:gap", id: since, data: { missed: null, since } });
  assert.deepEqual(await client.next(), { type: "message", id: kept.id, data: "already there" });
  assert.equal((await publish(second.http("/channels/news"), "after")).subscribers, 1);
  assert.equal((await client.next()).data, "after");

  const poll = await LongPoll.begin(t, second.http("/channels/news"));
  const answer = await poll.ask(`since=${id}&wait=50`);
  assert.deepEqual([answer.gap, answer.messages.length], [{ missed: null }, 2]);
  const socket = await openWebSocket(t, `${second.ws("/channels/news")}?since=${id}`, [ENVELOPES]);
  assert.deepEqual(JSON.parse(await socket.next()), { event: "fanfare:gap", data: { missed: null, since, idle: 30_000 } });
});

test("who was away for longer than the history reaches is told how many are lost, and gets the rest", async (t) => {
  const server = await serve(t, "--history", "3");
  const proxy = await severing(t, server);
  const url = server.http("/channels/news");
  const client = await openEventSource(t, proxy.http("/channels/news"), { names: ["fanfare:gap"] });
  const first = await publish(url, "0");
  assert.equal((await client.next()).id, first.id);
  proxy.isDown = true;
  proxy.cut();
  await client.lost();
  const ids = [first.id];
  for (let i = 1; i <= 8; i++) ids.push((await publish(url, `${i}`)).id);
  proxy.isDown = false;
  const gap = await client.next();
  const told = { missed: 5, since: ids[5] };
  assert.deepEqual({ ...gap, data: JSON.parse(gap.data) }, { type: "fanfare:gap", id: ids[5], data: told });
  const rest = [6, 7, 8].map((i) => ({ id: ids[i], data: `${i}` }));
  assert.deepEqual((await client.take(3)).map(({ id, data }) => ({ id, data })), rest);

  const answer = await (await LongPoll.begin(t, url)).ask(`since=${first.id}`);
  assert.deepEqual(answer, { gap: { missed: 5 }, messages: rest, next: ids[8] });
  const socket = await openWebSocket(t, `${server.ws("/channels/news")}?since=${first.id}`, [ENVELOPES]);
  const [notice, ...others] = (await socket.take(4)).map((text) => JSON.parse(text));
  assert.deepEqual([notice, others], [{ event: "fanfare:gap", data: { ...told, idle: 30_000 } }, rest]);
});

test("a stream on which nothing is published gets a comment every --idle-timeout", async (t) => {
  const server = await serve(t, "--idle-timeout", "200ms");
  const quiet = await openEventSource(t, server.http("/channels/news"));
  const stream = await openStream(t, server.http("/channels/news"));
  const began = performance.now();
  const { events, comments } = await stream.read(({ comments }) => comments.length === 6);
  assert.deepEqual([events, comments], [[], ["", "", "", "", "", ""]]);
  // The first was due 200 ms after the stream began, which was before it was looked at.
  assert.ok(performance.now() - began > 5 * 190, "no sooner");
  assert.ok(quiet.isUndisturbed());
  assert.equal((await publish(server.http("/channels/news"), "still there")).subscribers >= 1, true);
  assert.equal((await quiet.next()).data, "still there");
});

/** Publishes blocks until `isEnough` for the answer, and gives how many there were. */
async function fill(url, isEnough) {
  const block = "x".repeat(200_000);
  for (let published = 1; published <= 200; published++) {
    if (isEnough(await publish(url, block), published)) return published;
  }
  assert.fail("40 MB are more than the kernel holds");
}

test("the longest publication reaches who reads, also where its form makes it several times as long", async (t) => {
  const server = await serve(t, "--max-lag", "2MiB");
  const url = server.http("/channels/news");
  const lines = await openEventSource(t, url);
  const envelopes = await openWebSocket(t, server.ws("/channels/news"), [ENVELOPES], { perMessageDeflate: false });
  // 14 MiB as lines and 12 MiB as escapes: more than the kernel takes at once.
  for (const text of ["\n", "\u0001"].map((character) => character.repeat(2 * 1024 * 1024))) {
    const { id } = await publish(url, text);
    const event = await lines.next();
    assert.deepEqual([event.id, event.data === text], [id, true]);
    const envelope = JSON.parse(await envelopes.next());
    assert.deepEqual([envelope.id, envelope.data === text], [id, true]);
  }
  assert.ok(lines.isUndisturbed());
});

test("behind its last chunk a stream's connection is not offered for another request", async (t) => {
  const server = await serve(t, "--max-lag", "256KiB");
  const url = server.http("/channels/news");
  const agent = new web.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const request = web.get(url, { agent, headers: { Accept: "text/event-stream" } });
  const [response] = await within(once(request, "response"), "the head of a stream");
  response.pause();
  await fill(url, ({ subscribers }) => subscribers === 0);
  response.resume();
  await within(once(response, "end"), "the end of the stream");
  const [answer] = await within(once(web.get(server.http("/healthz"), { agent }), "response"), "the next answer");
  assert.equal(answer.statusCode, 200);
  assert.equal(response.headers.connection, "close");
  answer.resume();
});

test("a stalled stream under the policy close ends with the sentence and the last chunk, after whole events", async (t) => {
  const server = await serve(t, "--max-lag", "256KiB");
  const url = server.http("/channels/news");
  const stream = await openStream(t, url);
  const published = await fill(url, ({ subscribers }) => subscribers === 0);
  const { events, comments, text, isComplete } = await stream.read();
  assert.ok(isComplete, "the last chunk came");
  assert.match(comments.at(-1), /too far behind/);
  assert.ok(text.endsWith("\n\n"));
  assert.ok(events.length > 0 && events.length < published);
  assert.deepEqual(events.map(({ id }) => parts(id).sequence), events.map((_, i) => i + 1));
  assert.ok(events.every(({ data }) => data.length === 200_000));
});

for (const policy of ["skip", "latest"]) {
  test(`a stalled stream under the policy ${policy} is told how many publications were passed over`, async (t) => {
    const server = await serve(t, "--max-lag", "256KiB", "--lag-policy", policy);
    const url = server.http("/channels/news");
    const lines = await openStream(t, url);
    const envelopes = await openStream(t, `${url}?protocol=${ENVELOPES}`);
    const count = await fill(url, (_, published) => published === 150);
    const last = (await publish(url, "the last one")).id;
    const isLast = ({ events }) => events.at(-1)?.id === last;
    const [byLines, byEnvelopes] = await Promise.all([lines.read(isLast), envelopes.read(isLast)]);
    const notices = byEnvelopes.events.map(({ id, data }) => ({ id, ...JSON.parse(data) }));
    assert.equal(notices.shift().event, "fanfare:subscribed");
    for (const events of [byLines.events.map(({ type, ...rest }) => ({ event: type, ...rest })), notices]) {
      let [sequence, missed] = [0, 0];
      for (const { event, id, data } of events) {
        if (event === "fanfare:lagged") {
          assert.equal(id, undefined, "a notice has no id");
          missed += (typeof data === "string" ? JSON.parse(data) : data).missed;
          continue;
        }
        assert.equal(parts(id).sequence, sequence + missed + 1, "what is missing was told, and nothing else is");
        [sequence, missed] = [parts(id).sequence, 0];
      }
      assert.equal(sequence, count + 1);
      assert.ok(events.some(({ event }) => event === "fanfare:lagged"));
    }
  });
}

/** A long poll that node's HTTP client has sent: its answer, with the fields of the head. */
async function sendPoll(t, url) {
  const request = web.get(url, { agent: false });
  t.after(() => request.destroy());
  const answered = once(request, "response").then(async ([response]) => {
    let text = "";
    for await (const part of response.setEncoding("utf8")) text += part;
    return { status: response.statusCode, fields: response.headers, answer: JSON.parse(text) };
  });
  const [socket] = await within(once(request, "socket"), "a socket");
  await within(once(socket, "connect"), "a connection for a long poll");
  return { answered: () => within(answered, "the answer to a long poll") };
}

test("on SIGTERM a stream is sent what is owed, then a sentence and the last chunk; a poll gets no messages", async (t) => {
  const server = await serve(t, "--drain", "300ms", "--threads", "1");
  const url = server.http("/channels/news");
  const streams = await Promise.all(Array.from({ length: 8 }, () => openStream(t, url)));
  const { id } = await publish(url, "the last one");
  const polls = [];
  for (let i = 0; i < 8; i++) polls.push(await sendPoll(t, `${url}?since=${id}&wait=50`));
  // What comes on a later connection is answered later: the polls wait by then.
  assert.equal((await server.curl("/healthz")).status, 200);
  const stopped = server.stop();
  for (const stream of streams) {
    const { events, comments, text, isComplete } = await stream.read();
    assert.deepEqual(events, [{ id, type: "message", data: "the last one" }]);
    assert.match(comments.join(), /the server is stopping/);
    assert.ok(isComplete && text.endsWith("\n\n"), "the last chunk came");
  }
  for (const poll of polls) {
    const { status, fields, answer } = await poll.answered();
    assert.deepEqual([status, answer], [200, { messages: [], next: id }]);
    assert.equal(fields.connection, "close");
  }
  assert.equal(await stopped, 0);
});

test("HTTP/1.0 asks for an event stream and is told with 505 what it takes", async (t) => {
  const server = await serve(t);
  const words = ["--http1.0", "-H", "Accept: text/event-stream"];
  const { status, body } = await server.curl("/channels/news", ...words);
  assert.deepEqual([status, body], [505, "An event stream needs HTTP/1.1; in nginx: proxy_http_version 1.1.\n"]);
  const polled = await server.curl("/channels/news?wait=0", "--http1.0");
  assert.deepEqual([polled.status, JSON.parse(polled.body).messages], [200, []]);
});
