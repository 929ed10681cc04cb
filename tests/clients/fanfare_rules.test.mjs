// What /fanfare.js does by its own rules, with a pretend page and a pretend server: commands, answers, resuming, tokens
// and their renewal, refusals, waits and fallback. The clock is the test's.

import assert from "node:assert/strict";
import test from "node:test";

import { Page, message, notice, refusal, token } from "./pretend.mjs";

const CONNECT_MS_MAX = 10_000;

/** A connection with what it has heard, as `kind: value`. */
function connected(page, options = {}) {
  const connection = page.fanfare.connect(options);
  const heard = [];
  connection.on("state", ({ state, retryInMs }) => heard.push(retryInMs === undefined ? state : `${state} ${retryInMs}`));
  connection.on("error", ({ code, status, message, channel }) => heard.push({ code, status, message, channel }));
  return { connection, heard };
}

/** A subscription with what it has heard: the data of messages, and the rest by name. */
function subscribed(on, name, options) {
  const heard = [];
  const subscription = on.subscribe(name, ({ data }) => heard.push(data), options);
  for (const kind of ["gap", "paused", "resumed", "presence"]) subscription.on(kind, (value) => heard.push({ [kind]: value }));
  subscription.on("error", ({ code, status }) => heard.push({ error: { code, status } }));
  return { subscription, heard };
}

/** Opens the newest socket and answers each subscription of it, at a position of its own or the one asked for. */
async function accept(page, ...first) {
  await page.socket.open();
  await page.socket.say(...first);
  const commands = page.socket.take();
  for (const { event, ref, data } of commands) {
    if (event !== "fanfare:subscribe") continue;
    await page.socket.say(...data.map(({ channel, since }) => notice("subscribed", channel, { since: since ?? "a-1" }, ref)));
  }
  return commands;
}

test("several channels share one WebSocket, and each has its messages", async () => {
  const page = new Page();
  const { connection, heard } = connected(page);
  const news = subscribed(connection, "news");
  const chat = subscribed(connection, "chat-7", { last: 10 });
  await page.rest();
  assert.equal(page.sockets.length, 1);
  assert.equal(page.socket.url, "ws://server.test/channels");
  assert.deepEqual(page.socket.protocols, ["fanfare.v1.json"]);
  assert.deepEqual(await accept(page), [
    { event: "fanfare:subscribe", data: [{ channel: "news" }, { channel: "chat-7", last: 10 }], ref: 1 },
  ]);
  await page.socket.say(message("news", "a-2"), message("chat-7", "a-2"), message("other", "a-2"), message("news", "a-3"));
  assert.deepEqual([news.heard, chat.heard], [["a-2", "a-3"], ["a-2"]]);
  assert.deepEqual(heard, ["connecting", "open"]);
  assert.deepEqual([news.subscription.state, news.subscription.lastId], ["open", "a-3"]);

  const ops = subscribed(connection, "ops");
  await page.rest();
  const [{ ref, ...command }] = page.socket.take();
  assert.deepEqual(command, { event: "fanfare:subscribe", data: [{ channel: "ops" }] });
  assert.equal(ops.subscription.state, "connecting");
  await page.socket.say(notice("subscribed", "ops", { since: "a-1" }, ref));
  assert.equal(ops.subscription.state, "open");
  connection.close();
  assert.deepEqual([page.timers, page.listeners, page.socket.isClosed], [0, 0, true]);
  assert.deepEqual([news, chat, ops].map(({ subscription }) => subscription.state), ["closed", "closed", "closed"]);
});

test("after a loss one command subscribes to all, each after its newest id, and what comes twice is dropped", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const news = subscribed(connection, "news");
  const chat = subscribed(connection, "chat-7", { since: "b-5" });
  await page.rest();
  assert.deepEqual((await accept(page))[0].data, [{ channel: "news" }, { channel: "chat-7", since: "b-5" }]);
  await page.socket.say(message("news", "a-2"), message("chat-7", "b-6"), message("chat-7", "b-7"));
  await page.socket.end();
  assert.deepEqual([news.subscription.state, chat.subscription.state], ["waiting", "waiting"]);
  await page.run(25);
  assert.deepEqual((await accept(page))[0].data, [{ channel: "news", since: "a-2" }, { channel: "chat-7", since: "b-7" }]);
  await page.socket.say(message("news", "a-2"), message("news", "a-3"), message("chat-7", "b-7"));
  assert.deepEqual([news.heard, chat.heard], [["a-2", "a-3"], ["b-6", "b-7"]]);
  connection.close();
});

test("a gap is told of its channel alone, and begins a new position there", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const [news, chat] = [subscribed(connection, "news"), subscribed(connection, "chat")];
  await page.rest();
  await accept(page);
  await page.socket.say(notice("gap", "news", { missed: null, since: "b-1" }), message("news", "b-2"), message("chat", "a-2"));
  await page.socket.say(notice("lagged", "chat", { missed: 4 }), message("chat", "a-9"));
  assert.deepEqual(news.heard, [{ gap: { missed: null } }, "b-2"]);
  assert.deepEqual(chat.heard, ["a-2", { gap: { missed: 4 } }, "a-9"]);
  connection.close();
});

test("a pause and its end are told of their channel alone, and change no position", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const [news, chat] = [subscribed(connection, "news"), subscribed(connection, "chat")];
  await page.rest();
  await accept(page);
  await page.socket.say(message("news", "a-2"), notice("paused", "news", {}));
  assert.equal(news.subscription.lastId, "a-2");
  await page.socket.say(notice("gap", "news", { missed: 2, since: "a-4" }), message("news", "a-5"), notice("resumed", "news", {}));
  assert.deepEqual(news.heard, ["a-2", { paused: {} }, { gap: { missed: 2 } }, "a-5", { resumed: {} }]);
  assert.deepEqual([news.subscription.lastId, news.subscription.state, chat.heard], ["a-5", "open", []]);
  connection.close();
});

test("an unsubscribed channel is told to the server once nobody of the page listens, and may come back", async () => {
  const page = new Page();
  const { connection, heard } = connected(page);
  const [one, two] = [subscribed(connection, "news"), subscribed(connection, "news")];
  subscribed(connection, "chat");
  await page.rest();
  assert.deepEqual((await accept(page))[0].data, [{ channel: "news" }, { channel: "chat" }], "one for two subscribers");
  await page.socket.say(message("news", "a-2"));
  one.subscription.close();
  await page.rest();
  assert.deepEqual(page.socket.take(), []);
  await page.socket.say(message("news", "a-3"));
  assert.deepEqual([one.heard, two.heard], [["a-2"], ["a-2", "a-3"]]);
  two.subscription.close();
  const three = subscribed(connection, "news", { since: "a-1" });
  await page.rest();
  const sent = page.socket.take().map(({ event, data }) => [event, data]);
  assert.deepEqual(sent, [["fanfare:unsubscribe", ["news"]], ["fanfare:subscribe", [{ channel: "news", since: "a-1" }]]]);
  await page.socket.say(message("news", "a-4"), notice("unsubscribed", "news", undefined, 2));
  await page.socket.say(notice("subscribed", "news", { since: "a-1" }, 3), message("news", "a-2"));
  assert.deepEqual(three.heard, ["a-2"], "what is of the subscription before is not of this one");
  assert.deepEqual(heard, ["connecting", "open"]);
  connection.close();
});

test("a second subscriber of a channel that asks for what was before it has a socket of its own", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const first = subscribed(connection, "news");
  await page.rest();
  await accept(page);
  const second = subscribed(connection, "news", { last: 2 });
  await page.rest();
  assert.equal(page.sockets.length, 2);
  assert.deepEqual((await accept(page))[0].data, [{ channel: "news", last: 2 }]);
  await page.socket.say(message("news", "a-2"));
  assert.deepEqual([first.heard, second.heard], [[], ["a-2"]]);
  second.subscription.close();
  await page.rest();
  assert.deepEqual([page.sockets[0].isClosed, page.sockets[1].isClosed], [false, true]);
  connection.close();
  assert.equal(page.timers, 0);
});

test("without a subscription there is no socket, and the last one that is closed ends it", async () => {
  const page = new Page();
  const { connection, heard } = connected(page);
  await page.rest();
  assert.equal(page.sockets.length, 0);
  const news = subscribed(connection, "news");
  await page.rest();
  await accept(page);
  news.subscription.close();
  await page.rest();
  assert.deepEqual([page.socket.isClosed, page.timers], [true, 0]);
  assert.deepEqual(heard, ["connecting", "open", "idle"]);
  await page.wake("online");
  assert.equal(page.sockets.length, 1);
  subscribed(connection, "news");
  await page.rest();
  assert.equal(page.sockets.length, 2);
  connection.close();
  assert.throws(() => connection.subscribe("news"), /the connection is closed/);
});

test("subscriptions of a page share a connection by server, token, key and transports", async () => {
  const page = new Page();
  const { subscribe } = page.fanfare;
  const give = () => token(3600);
  const all = [
    subscribe("a"), subscribe("b"), subscribe("c", undefined, { server: "http://server.test" }),
    subscribe("d", undefined, { token: give }), subscribe("e", undefined, { token: give }),
    subscribe("f", undefined, { key: "k" }), subscribe("g", undefined, { server: "http://other.test/at/a/path" }),
    subscribe("h", undefined, { transports: ["websocket"] }),
  ];
  await page.rest();
  assert.deepEqual(page.sockets.map(({ url }) => url), [
    "ws://server.test/channels", "ws://server.test/channels", "ws://other.test/at/a/path/channels",
    "ws://server.test/channels", "ws://server.test/channels",
  ]);
  all.forEach((one) => one.close());
  await page.rest();
  assert.deepEqual([page.timers, page.listeners, page.sockets.every((one) => one.isClosed)], [0, 0, true]);
});

test("a publication is acknowledged by its ref, and goes over the socket that is open", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const { subscription } = subscribed(connection, "news");
  await page.rest();
  const early = connection.publish("chat-7", "hi", { event: "say", key: "7f3a" });
  await accept(page);
  const answers = [early, subscription.publish({ price: 1.5 }), connection.publish("raw", new Uint8Array([0, 255]).subarray(1))];
  await page.rest();
  const sent = page.socket.take();
  assert.deepEqual(sent.map(({ ref, key, ...rest }) => rest), [
    { channel: "chat-7", event: "say", data: "hi" },
    { channel: "news", data: { price: 1.5 } },
    { channel: "raw", data: "/w==", encoding: "base64" },
  ]);
  assert.equal(sent[0].key, "7f3a");
  assert.match(sent[1].key, /^\d+-\d+-\d+-\d+$/);
  for (const [at, { ref }] of sent.entries()) {
    await page.socket.say(notice("published", undefined, { id: `a-${at}`, subscribers: at }, ref));
  }
  assert.deepEqual(await Promise.all(answers), [0, 1, 2].map((at) => ({ id: `a-${at}`, subscribers: at })));
  assert.equal(page.requests.length, 0);
  connection.close();
});

test("a publication whose socket is lost is sent again with its key, and one that is refused fails with the sentence", async () => {
  const page = new Page();
  const { connection, heard } = connected(page, { transports: ["websocket"] });
  const news = subscribed(connection, "news");
  await page.rest();
  await accept(page);
  const outcome = connection.publish("news", "once");
  await page.rest();
  const [{ key }] = page.socket.take();
  await page.socket.end();
  await page.run(25);
  await accept(page);
  await page.run(25);
  const [again] = page.socket.take();
  assert.deepEqual([again.key, again.data], [key, "once"]);
  await page.socket.say(notice("published", undefined, { id: "a-2", subscribers: 1 }, again.ref));
  assert.equal((await outcome).id, "a-2");

  const refused = connection.publish("ops", "x").catch(({ message, status, code, channel }) => ({ message, status, code, channel }));
  await page.rest();
  const [{ ref }] = page.socket.take();
  await page.socket.say(refusal("forbidden", 403, "ops", ref));
  assert.deepEqual(await refused, { message: "forbidden, says the server", status: 403, code: "forbidden", channel: "ops" });
  assert.deepEqual(news.heard, [], "its refusal is no subscription's");
  assert.deepEqual(heard, ["connecting", "open", "waiting 25", "connecting", "open"]);

  const large = connection.publish("news", "large").catch(({ status, message }) => ({ status, message }));
  await page.rest();
  await page.socket.end(1009, "too large");
  assert.deepEqual(await large, { status: 413, message: "too large" }, "it would be so again");
  connection.close();
});

test("while nothing is subscribed to, and by key, publications are POSTs", async () => {
  const page = new Page();
  const { connection } = connected(page, { token: () => token(3600) });
  const outcome = connection.publish("a b", { x: 1 }, { event: "tick", key: "7f3a" });
  await page.rest();
  const { url, method, headers, body } = page.request;
  assert.deepEqual([url.href, method, body], ["http://server.test/channels/a%20b?event=tick", "POST", '{"x":1}']);
  assert.deepEqual(headers, { "Authorization": `Bearer ${token(3600)}`, "Content-Type": "application/json", "Idempotency-Key": "7f3a" });
  await page.request.json({ id: "a-1", subscribers: 0 });
  assert.equal((await outcome).id, "a-1");

  const holder = page.fanfare.subscribe("news", undefined, { key: "sesame" });
  await page.rest();
  await accept(page);
  const published = holder.publish("x");
  await page.rest();
  assert.equal(page.request.headers.Authorization, "Bearer sesame");
  await page.request.json({ id: "a-2", subscribers: 0 });
  assert.equal((await published).id, "a-2");
  holder.close();
  connection.close();
});

// ---- Tokens ----

/** What gives tokens of so many seconds, and how often it was called and is being. */
function backend(...lives) {
  const made = { calls: 0, atOnce: 0, most: 0, tokens: [] };
  made.give = async () => {
    made.most = Math.max(made.most, ++made.atOnce);
    const seconds = lives[Math.min(made.calls, lives.length - 1)];
    made.calls++;
    await new Promise((resolve) => setImmediate(resolve));
    made.atOnce--;
    if (seconds instanceof Error) throw seconds;
    made.tokens.push(token(seconds, `u42-${made.calls}`));
    return `${made.tokens.at(-1)}\n`;
  };
  return made;
}

const authorized = (seconds, ref) => notice("authorized", undefined, { sub: "u42", expires_in: seconds }, ref);

test("a token is asked for before the first connect, once for all channels, and offered as a subprotocol", async () => {
  const page = new Page();
  const made = backend(3600);
  const { connection } = connected(page, { token: made.give });
  for (const name of ["a", "b", "c"]) subscribed(connection, name);
  const published = connection.publish("d", "x"); // it needs one too
  assert.equal(page.sockets.length, 0);
  await page.rest();
  assert.deepEqual(page.socket.protocols, ["fanfare.v1.json", `bearer.${made.tokens[0]}`]);
  const publication = (await accept(page, authorized(3600))).at(-1);
  assert.deepEqual([made.calls, made.most, publication.channel], [1, 1, "d"]);
  await page.socket.say(notice("published", undefined, { id: "a-1", subscribers: 0 }, publication.ref));
  await published;
  connection.close();
});

test("a token that still lives is used again after a loss, and one that does not is not", async () => {
  const page = new Page();
  const made = backend(3600);
  const { connection } = connected(page, { token: made.give });
  subscribed(connection, "news");
  await page.rest();
  for (const losses of [0, 1, 2, 3, 4]) {
    await accept(page, authorized(3600 - losses * 60));
    assert.equal(made.calls, 1);
    await page.run(60_000);
    await page.socket.end();
    await page.run(1_000);
    assert.equal(page.socket.protocols[1], `bearer.${made.tokens[0]}`);
  }
  // While the machine sleeps, no timer runs.
  await accept(page, authorized(3300));
  page.sleep(3_400_000);
  await page.socket.end();
  await page.run(30_000);
  assert.equal(made.calls, 2);
  assert.equal(page.socket.protocols[1], `bearer.${made.tokens[1]}`);
  connection.close();
});

for (const [random, share] of [[0, 0.8], [0.5, 0.85], [0.999, 0.8999]]) {
  test(`a token is renewed on the connection at ${share * 100} % of its life where chance is ${random}`, async () => {
    const page = new Page();
    page.random = random;
    const made = backend(3600);
    const { connection, heard } = connected(page, { token: made.give });
    subscribed(connection, "news");
    await page.rest();
    await accept(page, authorized(1000)); // by the server's clock, which is the one that counts
    await page.run(share * 1_000_000 - 2);
    assert.equal(made.calls, 1);
    await page.run(4);
    assert.equal(made.calls, 2);
    const [{ event, data, ref }] = page.socket.take();
    assert.deepEqual([event, data], ["fanfare:authorize", { token: made.tokens[1] }]);
    await page.socket.say(authorized(2000, ref));
    await page.run(share * 2_000_000 - 10);
    assert.equal(made.calls, 2);
    await page.run(20);
    assert.equal(made.calls, 3);
    assert.equal(page.sockets.length, 1);
    assert.deepEqual(heard, ["connecting", "open"]);
    connection.close();
    assert.equal(page.timers, 0);
  });
}

test("on waking, a token that is over is renewed at once", async () => {
  const page = new Page();
  const made = backend(3600);
  const { connection } = connected(page, { token: made.give });
  subscribed(connection, "news");
  await page.rest();
  await accept(page, authorized(3600));
  page.sleep(4_000_000);
  await page.wake("visibilitychange");
  assert.equal(page.socket.take()[0].data.token, made.tokens[1]);
  await page.wake("online");
  assert.equal(page.sockets.length, 2);
  assert.equal(page.socket.protocols[1], `bearer.${made.tokens[1]}`, "and every connection has the newest");
  connection.close();
});

test("a renewal that fails is tried again and told, and the connection lives on", async () => {
  const page = new Page();
  const made = backend(100, new Error("the backend is away"), 100);
  const { connection, heard } = connected(page, { token: made.give });
  subscribed(connection, "news");
  await page.rest();
  await accept(page, authorized(100));
  await page.run(85_000);
  assert.equal(made.calls, 3);
  assert.deepEqual(heard.map((one) => one.message ?? one), ["connecting", "open", "the backend is away"]);
  assert.equal(page.socket.take()[0].data.token, made.tokens[1]);
  assert.equal(connection.state, "open");
  connection.close();
});

test("a renewed token of another user is refused by the server, and begins another connection", async () => {
  const page = new Page();
  const made = backend(100);
  const { connection } = connected(page, { token: made.give });
  const news = subscribed(connection, "news");
  await page.rest();
  await accept(page, authorized(100));
  await page.socket.say(message("news", "a-2"));
  await page.run(81_000);
  const [{ ref }] = page.socket.take();
  await page.socket.say(refusal("forbidden", 403, undefined, ref));
  assert.equal(page.sockets.length, 2);
  assert.equal(page.socket.protocols[1], `bearer.${made.tokens[1]}`);
  assert.deepEqual((await accept(page, authorized(100)))[0].data, [{ channel: "news", since: "a-2" }]);
  assert.deepEqual(news.heard, ["a-2"]);
  connection.close();
});

test("4401 asks for a token once anew at once, then waits longer each time, and says why", async () => {
  const page = new Page();
  const made = backend(3600);
  const { connection, heard } = connected(page, { token: made.give });
  const news = subscribed(connection, "news");
  await page.rest();
  await accept(page, authorized(3600));
  await page.run(20_000);
  const deny = async () => {
    await page.socket.open();
    await page.socket.say(refusal("expired", 401));
    await page.socket.end(4401, "expired, says the server");
    await page.rest();
  };
  await deny();
  assert.deepEqual([made.calls, page.sockets.length], [2, 2], "at once");
  for (const [denials, waitMs] of [25, 50, 100].entries()) {
    await deny();
    assert.equal(made.calls, denials + 2, "and not at once again");
    await page.run(waitMs);
    assert.equal(made.calls, denials + 3);
  }
  const error = { code: "expired", status: 401, message: "expired, says the server", channel: undefined };
  assert.deepEqual(heard, [
    "connecting", "open", "connecting",
    error, "waiting 25", "connecting", error, "waiting 50", "connecting", error, "waiting 100", "connecting",
  ]);
  assert.deepEqual(news.heard, Array(3).fill({ error: { code: "expired", status: 401 } }));
  assert.equal(made.most, 1);
  await accept(page, authorized(3600));
  assert.equal(connection.state, "open");
  assert.deepEqual(page.sockets.map(({ protocols }) => protocols[1]), made.tokens.map((one) => `bearer.${one}`), "each its own");
  connection.close();
});

test("a removed key ends subscriptions with 401, and a new token has them again at once", async () => {
  const page = new Page();
  const made = backend(3600);
  const { connection } = connected(page, { token: made.give });
  subscribed(connection, "news");
  await page.rest();
  await accept(page, authorized(3600));
  await page.socket.say(message("news", "a-2"), notice("unsubscribed", "news", { code: "bad_token", since: "a-2" }));
  await page.rest();
  assert.equal(made.calls, 2);
  assert.deepEqual((await accept(page, authorized(3600)))[0].data, [{ channel: "news", since: "a-2" }]);
  connection.close();
});

test("a token that is not to be had is told, and asked for again after a wait", async () => {
  const page = new Page();
  const made = backend(new Error("no session"), new Error("no session"), 60);
  const { connection, heard } = connected(page, { token: made.give });
  subscribed(connection, "news");
  await page.run(0);
  await page.run(25);
  await page.run(50);
  assert.deepEqual(heard.map((one) => one.message ?? one), ["connecting", "no session", "waiting 25", "connecting", "no session", "waiting 50", "connecting"]);
  assert.equal(page.sockets.length, 1);
  connection.close();

  const empty = connected(page, { token: () => undefined });
  subscribed(empty.connection, "news");
  await page.rest();
  assert.equal(empty.heard[1].message, "token() gave none");
  empty.connection.close();

  let calls = 0;
  const never = connected(page, { token: () => (calls++, new Promise(() => {})) });
  subscribed(never.connection, "news");
  await page.run(CONNECT_MS_MAX + 25);
  assert.deepEqual(never.heard.map((one) => one.code ?? one), ["connecting", "token", "waiting 25", "connecting"]);
  await page.run(5 * CONNECT_MS_MAX);
  assert.equal(calls, 1, "one call at a time");
  never.connection.close();
  assert.equal(page.timers, 0);
});

test("a backend that always gives the same token is asked no more than once a second at its end", async () => {
  const page = new Page();
  let calls = 0;
  const { connection } = connected(page, { token: () => (calls++, token(60)) });
  subscribed(connection, "news");
  await page.rest();
  await accept(page, authorized(60));
  await page.run(60_000);
  assert.ok(calls <= 15, `${calls}`);
  connection.close();
});

// ---- Refusals ----

test("403 is final for its channel and not for the connection, and is told to both", async () => {
  const page = new Page();
  const { connection, heard } = connected(page, { token: () => token(3600) });
  const [news, ops, locked] = ["news", "ops", "locked"].map((name) => subscribed(connection, name));
  await page.rest();
  await page.socket.open();
  await page.socket.say(authorized(3600), notice("subscribed", "news", { since: "a-1" }, 1),
    refusal("forbidden", 403, "ops", 1), refusal("no_token", 401, "locked", 1));
  assert.deepEqual([news, ops, locked].map(({ subscription }) => subscription.state), ["open", "closed", "closed"]);
  assert.deepEqual(ops.heard, [{ error: { code: "forbidden", status: 403 } }]);
  assert.deepEqual(heard, ["connecting", "open",
    { code: "forbidden", status: 403, message: "forbidden, says the server", channel: "ops" },
    { code: "no_token", status: 401, message: "no_token, says the server", channel: "locked" }]);
  await page.socket.end();
  await page.run(25);
  assert.deepEqual((await accept(page))[0].data, [{ channel: "news", since: "a-1" }]);
  assert.deepEqual(page.logged, [], "what is listened to is not in the console");
  connection.close();
});

test("a refusal that nobody listens to is in the console", async () => {
  const page = new Page();
  const connection = page.fanfare.connect();
  connection.subscribe("ops");
  await page.rest();
  await page.socket.open();
  await page.socket.say(refusal("forbidden", 403, "ops", 1));
  assert.deepEqual(page.logged.map(({ message }) => message), ["forbidden, says the server"]);
  assert.equal(connection.state, "idle");
  connection.close();
});

test("a refusal of the whole connection is final for its channels, and it is there for others", async () => {
  for (const [code, status, close] of [["revoked", 403, 4403], ["bad_command", 400, 4400], [undefined, 403, 1008]]) {
    const page = new Page();
    const { connection, heard } = connected(page);
    const news = subscribed(connection, "news");
    await page.rest();
    await page.socket.open();
    if (code) await page.socket.say(refusal(code, status));
    await page.socket.end(close, "the reason");
    assert.deepEqual(news.heard, [{ error: { code, status } }]);
    assert.deepEqual([news.subscription.state, connection.state, page.sockets.length], ["closed", "idle", 1]);
    assert.deepEqual(heard.at(-2).message, code ? `${code}, says the server` : "the reason");
    subscribed(connection, "news");
    await page.rest();
    assert.equal(page.sockets.length, 2);
    connection.close();
  }
});

test("without a token to ask for, 401 is final as well", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const news = subscribed(connection, "news");
  await page.rest();
  await page.socket.open();
  await page.socket.say(refusal("no_token", 401, "news", 1));
  assert.equal(news.subscription.state, "closed");
  connection.close();
});

test("what may pass is tried again: a channel after a wait that grows, the connection likewise", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const states = [];
  const news = connection.subscribe("news").on("state", ({ state, retryInMs }) => states.push(retryInMs === undefined ? state : `${state} ${retryInMs}`));
  news.on("error", ({ code }) => states.push(code));
  await page.rest();
  await page.socket.open();
  for (const [ref, waitMs] of [25, 50, 100].entries()) {
    await page.socket.say(refusal("unavailable", 503, "news", ref + 1));
    assert.equal(page.socket.take().length, 1);
    await page.run(waitMs);
  }
  await page.socket.say(notice("subscribed", "news", { since: "a-1" }, 4));
  assert.deepEqual(states, ["connecting", "unavailable", "waiting 25", "unavailable", "waiting 50", "unavailable", "waiting 100", "open"]);
  assert.equal(page.sockets.length, 1);

  await page.socket.say(message("news", "a-2"), notice("unsubscribed", "news", { code: "lagged", since: "a-2" }));
  page.socket.take();
  await page.run(25);
  assert.deepEqual(page.socket.take()[0].data, [{ channel: "news", since: "a-2" }]);

  await page.socket.say(refusal("unavailable", 503));
  await page.socket.end(1013, "later");
  await page.run(25);
  assert.equal(page.sockets.length, 2, "and no other transport: the server has answered");
  connection.close();
});

test("a command that the server finds too long is sent in parts", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const all = ["a", "b", "c"].map((name) => subscribed(connection, name));
  await page.rest();
  await page.socket.open();
  page.socket.take();
  await page.socket.say(refusal("too_many", 429, undefined, 1));
  assert.deepEqual(page.socket.take().map(({ data }) => data), [[{ channel: "a" }], [{ channel: "b" }], [{ channel: "c" }]]);
  await page.socket.say(notice("subscribed", "a", {}, 2), refusal("too_many", 429, "b", 3), notice("subscribed", "c", {}, 4));
  assert.deepEqual(all.map(({ subscription }) => subscription.state), ["open", "waiting", "open"]);
  connection.close();
  assert.equal(page.timers, 0);
});

test("more channels than a command may name are asked for in several", async () => {
  const page = new Page();
  const { connection } = connected(page);
  for (let at = 0; at < 250; at++) connection.subscribe(`c-${at}`);
  await page.rest();
  await page.socket.open();
  assert.deepEqual(page.socket.take().map(({ data }) => data.length), [100, 100, 50]);
  connection.close();
});

test("a connection that is silent for longer than the server says is given up, the next ones from the beginning on", async () => {
  const page = new Page();
  const { connection, heard } = connected(page);
  subscribed(connection, "news");
  await page.rest();
  await accept(page);
  await page.run(600_000);
  assert.deepEqual(heard, ["connecting", "open"], "it has said nothing of that");
  await page.socket.say(notice("alive", undefined, { idle: 10_000 }));
  await page.run(15_000);
  await page.socket.say(message("news", "a-2"));
  await page.run(20_900);
  assert.equal(page.sockets.length, 1);
  await page.run(200);
  assert.equal(page.sockets.length, 2);
  await accept(page);
  await page.run(21_100);
  assert.equal(page.sockets.length, 3);
  await page.socket.open();
  await page.socket.say(refusal("unavailable", 503));
  await page.run(CONNECT_MS_MAX);
  assert.equal(page.sockets.length, 4, "and one that says why it ends, and does not, is not waited for");
  connection.close();
  assert.equal(page.timers, 0);
});

// ---- Presence ----

test("presence is the list as it is after each change, or null where the server tells none", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const chat = subscribed(connection, "chat", { presence: true });
  await page.rest();
  assert.deepEqual((await accept(page))[0].data, [{ channel: "chat", presence: true }]);
  const [ada, bob] = [{ sub: "ada", info: { name: "Ada" }, connections: 2 }, { sub: "bob", info: {} }];
  await page.socket.say(
    notice("presence", "chat", { members: [ada], count: 1, anonymous: 4, since: "p-3" }),
    { ...notice("presence", "chat", { joined: [bob], left: [], count: 2, anonymous: 4 }), id: "p-4" },
    { ...notice("presence", "chat", { joined: [], left: ["ada"], count: 1, anonymous: 3 }), id: "p-5" },
    { ...notice("presence", "chat", { joined: null, left: null, count: 200, anonymous: 3 }), id: "p-6" },
    message("chat", "a-2"),
  );
  assert.deepEqual(chat.heard, [
    { presence: { members: [ada], joined: [], left: [], count: 1, anonymous: 4 } },
    { presence: { members: [ada, bob], joined: [bob], left: [], count: 2, anonymous: 4 } },
    { presence: { members: [bob], joined: [], left: ["ada"], count: 1, anonymous: 3 } },
    { presence: { members: null, joined: null, left: null, count: 200, anonymous: 3 } },
    "a-2",
  ]);
  assert.equal(chat.subscription.lastId, "a-2", "those ids are of another log");
  connection.close();
});

// ---- Event streams and polls ----

test("by event stream: the token in a header, positions in the URL, and duplicates dropped", async () => {
  const page = new Page();
  const made = backend(3600);
  const { connection, heard } = connected(page, { transports: ["sse"], token: made.give });
  const [news, chat] = [subscribed(connection, "news"), subscribed(connection, "chat,7", { last: 10, presence: true })];
  await page.rest();
  assert.equal(page.request.url.href, "http://server.test/channels?channel=news&since=&channel=chat%2C7&last=10&presence=1");
  assert.deepEqual(page.request.headers, { Authorization: `Bearer ${made.tokens[0]}`, Accept: "text/event-stream" });
  assert.deepEqual(heard, ["connecting"]);
  await page.request.write(': hello\n\nretry: 2000\nid: a-1,b-1\ndata: {"event":"fanfare:subscribed","channel":"news","data":{"since":"a-1"}}\n\n');
  assert.deepEqual(heard, ["connecting", "open"]);
  const text = 'data: {"event":"fanfare:subscribed","channel":"chat,7","data":{"since":"b-1"}}\n\ndata: {"channel":"news","id":"a-2","data":[1,\ndata: 2]}\n\nid: a-2,b-1\n\n';
  for (const char of text) await page.request.write(char);
  assert.deepEqual([news.heard, chat.subscription.state], [[[1, 2]], "open"]);
  await page.request.end();
  await page.run(25);
  assert.equal(page.request.url.search, "?channel=news&since=a-2&channel=chat%2C7&since=b-1&presence=1");
  await page.request.say(notice("subscribed", "news", { since: "a-1" }), message("news", "a-2"), message("news", "a-3"));
  assert.deepEqual(news.heard, [[1, 2], "a-3"]);
  assert.equal(made.calls, 1);
  connection.close();
  assert.deepEqual([page.request.isAborted, page.timers], [true, 0]);
});

test("by event stream, 17 channels are two requests, and a change remakes those that it concerns", async () => {
  const page = new Page();
  const { connection } = connected(page, { transports: ["sse"] });
  for (let at = 0; at < 16; at++) subscribed(connection, `c-${at}`);
  await page.rest();
  assert.equal(page.requests.length, 1);
  await page.request.say(...Array.from({ length: 16 }, (_, at) => notice("subscribed", `c-${at}`, { since: `a-${at}` })));
  const last = subscribed(connection, "c-16");
  await page.rest();
  assert.equal(page.requests.length, 2);
  assert.deepEqual(page.request.url.searchParams.getAll("channel"), ["c-16"]);
  assert.equal(page.requests[0].isAborted, false);
  await page.request.say(notice("subscribed", "c-16", { since: "a-1" }));
  subscribed(connection, "c-17");
  await page.rest();
  assert.equal(page.request.url.search, "?channel=c-16&since=a-1&channel=c-17&since=");
  assert.deepEqual(page.requests.map(({ isAborted }) => isAborted), [false, true, false]);
  assert.equal(last.subscription.state, "open", "it goes on");
  connection.close();
});

test("by event stream, a refused request says by one request each which channel it is", async () => {
  const page = new Page();
  const { connection, heard } = connected(page, { transports: ["sse"] });
  const [news, ops] = [subscribed(connection, "news"), subscribed(connection, "ops")];
  await page.rest();
  await page.request.answer(403, "The token of u42 subscribes to news; not to ops.");
  const [, first, second] = page.requests;
  assert.deepEqual([first, second].map(({ url }) => url.search), ["?channel=news&since=&wait=0", "?channel=ops&since=&wait=0"]);
  await first.json({ messages: [], next: { news: "a-1" } });
  await second.answer(403, "The token of u42 subscribes to news; not to ops.");
  assert.deepEqual(ops.heard, [{ error: { code: undefined, status: 403 } }]);
  assert.equal(heard.at(-1).message, "The token of u42 subscribes to news; not to ops.");
  assert.equal(page.request.url.search, "?channel=news&since=");
  await page.request.say(notice("subscribed", "news", { since: "a-1" }));
  assert.deepEqual([news.subscription.state, ops.subscription.state], ["open", "closed"]);
  connection.close();
});

test("by event stream, a token's end brings the next, and its renewal another request before", async () => {
  const page = new Page();
  const made = backend(1000);
  const { connection, heard } = connected(page, { transports: ["sse"], token: made.give });
  subscribed(connection, "news");
  await page.rest();
  await page.request.say(notice("subscribed", "news", { since: "a-1" }));
  await page.run(805_000 - 100);
  assert.equal(made.calls, 1);
  await page.run(200);
  assert.equal(made.calls, 2, "by what the token says of itself");
  assert.deepEqual([page.requests.length, page.requests[0].isAborted], [2, true]);
  assert.equal(page.request.headers.Authorization, `Bearer ${made.tokens[1]}`);
  await page.request.say(notice("subscribed", "news", { since: "a-1" }));
  assert.deepEqual(heard, ["connecting", "open"], "nobody notices");
  for (const text of ["event: fanfare:expired\n\n", 'data: {"event":"fanfare:expired"}\n\n']) {
    await page.run(20_000);
    const { calls } = made;
    await page.request.write(text);
    assert.equal(made.calls, calls + 1);
    await page.request.say(notice("subscribed", "news", { since: "a-1" }));
  }
  await page.request.end();
  await page.run(100);
  for (const status of [401, 401]) await page.request.answer(status, "no");
  assert.equal(heard.at(-2).status, 401);
  connection.close();
});

test("by long poll: all positions in each request, gaps and messages by channel", async () => {
  const page = new Page();
  const { connection } = connected(page, { transports: ["long-poll"], token: () => token(3600) });
  const [news, chat] = [subscribed(connection, "news"), subscribed(connection, "chat", { since: "b-1" })];
  await page.rest();
  assert.equal(page.request.url.search, "?channel=news&since=&channel=chat&since=b-1&wait=0");
  assert.equal(page.request.headers.Authorization, `Bearer ${token(3600)}`);
  await page.request.json({ messages: [message("chat", "c-8")], next: { news: "a-1", chat: "c-8" }, gap: { chat: { missed: null } } });
  assert.deepEqual([news.subscription.state, news.heard, chat.heard], ["open", [], [{ gap: { missed: null } }, "c-8"]]);
  assert.equal(page.request.url.search, "?channel=news&since=a-1&channel=chat&since=c-8&wait=25");
  await page.request.json({ messages: [message("news", "a-2"), message("chat", "c-9")], next: { news: "a-2", chat: "c-9" } });
  assert.deepEqual([news.heard, chat.heard.slice(1)], [["a-2"], ["c-8", "c-9"]]);
  subscribed(connection, "ops");
  await page.rest();
  assert.equal(page.requests.at(-2).isAborted, true);
  assert.equal(page.request.url.search, "?channel=news&since=a-2&channel=chat&since=c-9&channel=ops&since=&wait=0");
  connection.close();
  assert.equal(page.timers, 0);
});

test("by long poll: who is there at first, then what changes after what is known", async () => {
  const page = new Page();
  const { connection } = connected(page, { transports: ["long-poll"] });
  const [chat, ops] = ["chat", "ops"].map((name) => subscribed(connection, name, { presence: true }));
  const asked = (chat, ops, presence, wait) =>
    `?channel=chat&since=${chat}&presence=${presence}&channel=ops&since=${ops}&presence=1&wait=${wait}`;
  await page.rest();
  assert.equal(page.request.url.search, asked("", "", 1, 0));
  const [ada, bob] = ["ada", "bob"].map((sub) => ({ sub }));
  const next = { chat: "a-1", ops: "b-1" };
  const list = notice("presence", "chat", { members: [ada], count: 1, anonymous: 0, since: "p-3" });
  await page.request.json({ messages: [list], next, presence: { chat: "p-3", ops: false } });
  assert.equal(page.request.url.search, asked("a-1", "b-1", "p-3", 25));
  const change = { ...notice("presence", "chat", { joined: [bob], left: [], count: 2, anonymous: 0 }), id: "p-4" };
  await page.request.json({ messages: [change], next, presence: { chat: "p-4", ops: false } });
  assert.equal(page.request.url.search, asked("a-1", "b-1", "p-4", 25));
  assert.deepEqual(chat.heard, [
    { presence: { members: [ada], joined: [], left: [], count: 1, anonymous: 0 } },
    { presence: { members: [ada, bob], joined: [bob], left: [], count: 2, anonymous: 0 } },
  ]);
  assert.deepEqual(ops.heard, []);
  connection.close();
});

test("where the WebSocket does not open, the stream is tried, then the poll; publications are POSTs there", async () => {
  const page = new Page();
  const { connection } = connected(page);
  const tried = [];
  connection.on("state", ({ state, transport }) => tried.push(`${state} ${transport}`));
  subscribed(connection, "news");
  await page.rest();
  await page.socket.end();
  assert.equal(page.requests.length, 1);
  await page.run(CONNECT_MS_MAX);
  assert.equal(page.requests[0].isAborted, true, "a proxy holds the stream back");
  await page.request.json({ messages: [], next: { news: "a-1" } });
  assert.deepEqual(tried, ["connecting websocket", "connecting sse", "connecting long-poll", "open long-poll"]);
  const published = connection.publish("news", "x");
  await page.rest();
  assert.equal(page.request.method, "POST");
  await page.request.json({ id: "a-2", subscribers: 1 });
  assert.equal((await published).subscribers, 1);
  connection.close();
});

for (const status of [429, 503]) {
  test(`Retry-After of ${status} is honoured by connections, and of publications by them`, async () => {
    const page = new Page();
    const { connection, heard } = connected(page, { transports: ["sse"] });
    subscribed(connection, "news");
    await page.rest();
    await page.request.answer(status, "later", { "Retry-After": "7" });
    assert.equal(heard.at(-1), "waiting 7025");
    await page.wake("online");
    assert.equal(page.requests.length, 1);
    await page.run(7_025);
    assert.equal(page.requests.length, 2);
    await page.request.say(notice("subscribed", "news", { since: "a-1" }));
    const published = connection.publish("news", "x");
    await page.rest();
    await page.request.answer(status, "later", { "Retry-After": "5" });
    await page.run(5_000);
    assert.equal(page.requests.length, 3);
    await page.run(25);
    await page.request.json({ id: "a-2", subscribers: 1 });
    assert.equal((await published).id, "a-2");
    connection.close();
  });
}
