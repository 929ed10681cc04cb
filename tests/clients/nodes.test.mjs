// Two servers that share a Redis, as the clients see them: each transport, Pusher's libraries, and the client that the server
// serves, which goes from one to the other.

import assert from "node:assert/strict";
import test from "node:test";

import { openElsewhere } from "./browser.mjs";
import { backendOf, connect, hear, settle, signing, subscribe } from "./pusher.mjs";
import { serveRedis } from "./redis.mjs";
import { serve } from "./server.mjs";
import { severing } from "./severing.mjs";
import { ENVELOPES, LongPoll, openEventSource, openWebSocket } from "./transports.mjs";

const NEWS = "/channels/news";
/** So that a Redis that is away is noticed while the test waits. */
const TIMEOUT = ["--redis-timeout", "1s"];

/** A Redis, and two servers that share it. */
async function nodes(t, ...flags) {
  const redis = await serveRedis(t);
  const start = () => serve(t, "--redis", redis.url, ...TIMEOUT, "--close-timeout", "100ms", ...flags);
  const [one, other] = await Promise.all([start(), start()]);
  return { redis, one, other };
}

/** Asks again until the answer is what is wanted: what nodes tell each other takes a moment. */
async function until(ask, is, what) {
  for (let left = 100; left > 0; left--) {
    const answer = await ask();
    if (is(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within 5 s: ${what}`);
}

test("what is published to one node reaches subscribers of the other by every transport, under the same identifier", async (t) => {
  const { one, other } = await nodes(t);
  const raw = await openWebSocket(t, one.ws(NEWS));
  const enveloped = await openWebSocket(t, one.ws(NEWS), [ENVELOPES]);
  const stream = await openEventSource(t, one.http(NEWS));
  const poll = await LongPoll.begin(t, one.http(NEWS));
  const ids = [];
  for (const text of ["a", "b", "c"]) ids.push((await other.publish(NEWS, text)).id);
  ids.push((await one.publish(NEWS, "d")).id);
  assert.deepEqual(await raw.take(4), ["a", "b", "c", "d"]);
  assert.deepEqual((await enveloped.take(4)).map((text) => JSON.parse(text).id), ids);
  assert.deepEqual((await stream.take(4)).map(({ id }) => id), ids);
  assert.deepEqual((await poll.take(4)).map(({ id }) => id), ids);
  const history = JSON.parse((await other.curl(`${NEWS}?last=9`)).body);
  assert.deepEqual(history.messages.map(({ id }) => id), ids);
});

test("a publication is repeated with its key on another node without being made again, and counts subscribers of both", async (t) => {
  const { one, other } = await nodes(t);
  const here = await openWebSocket(t, one.ws(NEWS));
  await openWebSocket(t, other.ws(NEWS));
  const publish = (server, key, text) => server.curl(NEWS, "-H", `Idempotency-Key: ${key}`, "-d", text);
  let keys = 0;
  const counted = await until(
    async () => ({ key: ++keys, ...(await publish(one, keys, "x")) }),
    ({ body }) => JSON.parse(body).subscribers === 2,
    "both subscribers are counted",
  );
  const again = await publish(other, counted.key, "x");
  assert.equal(JSON.parse(again.body).id, JSON.parse(counted.body).id);
  assert.equal((await publish(other, counted.key, "y")).status, 422);
  await one.publish(NEWS, "end");
  assert.deepEqual(await here.take(keys + 1), [...Array(keys).fill("x"), "end"]);
});

test("pusher-js on one node gets what pusher sends to the other, and the client that is left out gets nothing", async (t) => {
  const { one, other } = await nodes(t);
  const [sender, reader] = [await connect(t, one), await connect(t, other)];
  const heard = [];
  for (const pusher of [sender, reader]) heard.push(hear(await subscribe(pusher, "scores"), "goal"));
  const backend = backendOf(other);
  await backend.trigger("scores", "goal", { by: "A" });
  for (const inbox of heard) assert.deepEqual(await inbox.next("a goal"), { by: "A" });
  await backend.trigger("scores", "goal", { by: "B" }, { socket_id: sender.connection.socket_id });
  assert.deepEqual(await heard[1].next("the goal of another"), { by: "B" });
  await backend.trigger("scores", "goal", { by: "C" });
  assert.deepEqual(await heard[0].next("a goal that it did not make"), { by: "C" });
});

test("a client event of one node reaches the clients of the other and not its sender", async (t) => {
  const { one, other } = await nodes(t);
  const backend = backendOf(one);
  const options = signing(backend);
  const [sender, reader] = [await connect(t, one, options), await connect(t, other, options)];
  const channels = [await subscribe(sender, "private-room"), await subscribe(reader, "private-room")];
  const [own, others] = channels.map((channel) => hear(channel, "client-typing"));
  assert.ok(channels[0].trigger("client-typing", { who: "A" }));
  assert.deepEqual(await others.next("who types"), { who: "A" });
  await settle(sender);
  assert.ok(own.isEmpty());
});

test("the page's client goes on at another node without losing or repeating a message", async (t) => {
  const { one, other } = await nodes(t);
  const front = await severing(t, one);
  const { page } = await openElsewhere(t);
  await page.addScriptTag({ url: front.http("/fanfare.js") });
  await page.evaluate(() => {
    window.heard = [];
    window.gaps = [];
    window.news = fanfare.subscribe("news", ({ data }) => heard.push(data));
    news.on("gap", (gap) => gaps.push(gap));
  });
  await page.waitForFunction(() => news.state === "open", null, { polling: 10 });
  for (let n = 1; n <= 20; n++) await other.publish(NEWS, String(n));
  await page.waitForFunction(() => heard.length === 20, null, { polling: 10 });
  front.server = other;
  await one.stop();
  for (let n = 21; n <= 40; n++) await other.publish(NEWS, String(n));
  await page.waitForFunction(() => heard.length >= 40, null, { polling: 10 });
  const [heard, gaps] = await page.evaluate(() => [window.heard, window.gaps]);
  assert.deepEqual(heard, Array.from({ length: 40 }, (_, at) => String(at + 1)));
  assert.deepEqual(gaps, []);
});

test("subscribers hear that Redis is away and back, and miss nothing that was published meanwhile by its word", async (t) => {
  const { redis, one, other } = await nodes(t);
  const names = ["fanfare:paused", "fanfare:resumed", "fanfare:gap"];
  const stream = await openEventSource(t, one.http(NEWS), { names });
  const { id } = await other.publish(NEWS, "before");
  assert.deepEqual(await stream.next(), { type: "message", id, data: "before" });
  redis.stop();
  assert.equal((await stream.next()).type, "fanfare:paused");
  assert.equal((await one.curl("/readyz")).status, 503);
  assert.equal((await one.curl("/healthz")).status, 200);
  const refused = await other.curl(NEWS, "-d", "lost");
  assert.ok([503, 504].includes(refused.status), `${refused.status}: ${refused.body}`);
  assert.equal((await other.curl("/channels/unknown?last=1")).status, 503);
  redis.wake();
  const heard = [];
  for (let type; type !== "fanfare:resumed"; heard.push(type)) type = (await stream.next()).type;
  assert.ok(!heard.includes("fanfare:gap"), heard.join());
  await until(() => one.curl("/readyz"), ({ status }) => status === 200, "it is ready again");
  const after = await other.publish(NEWS, "after");
  let event;
  do event = await stream.next();
  while (event.data !== "after");
  assert.equal(event.id, after.id);
  assert.ok(stream.isUndisturbed());
});

test("a Redis that comes back without its memory is told as a gap, and goes on under other identifiers", async (t) => {
  const { redis, one, other } = await nodes(t);
  const client = await openWebSocket(t, one.ws(NEWS), [ENVELOPES]);
  const before = await other.publish(NEWS, "before");
  assert.equal(JSON.parse(await client.next()).id, before.id);
  await redis.kill();
  await redis.start();
  const told = [];
  for (let message; message?.event !== "fanfare:gap"; told.push(message.event)) message = JSON.parse(await client.next());
  const after = await until(
    () => other.curl(NEWS, "-d", "after"),
    ({ status }) => status === 200,
    "publishing goes on",
  );
  const { id } = JSON.parse(after.body);
  assert.notEqual(id.split("-")[0], before.id.split("-")[0]);
  let message;
  do message = JSON.parse(await client.next());
  while (message.data !== "after");
  assert.equal(message.id, id);
});
