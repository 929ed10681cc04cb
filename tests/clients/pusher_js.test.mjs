// Channels, presence, users and events as pusher-js sees them, in its build for node. npm's `pusher` publishes and signs.
//
// Connecting and closing are in pusher_connection.test.mjs, browsers in pusher_web.test.mjs.

import assert from "node:assert/strict";
import test from "node:test";

import {
  backendOf,
  clientOf,
  connect,
  endpoints,
  errorsOf,
  hear,
  isRetrying,
  reaches,
  refused,
  serveApps,
  settle,
  signing,
  subscribe,
  wire,
} from "./pusher.mjs";
import { within } from "./server.mjs";

const CLIENT_EVENTS = { "client-events": true };

/** A server, the application's own server, and `member` to connect pusher-js as a member or a user of that name. */
async function setUp(t, app = {}, ...flags) {
  const server = await serveApps(t, [app], ...flags);
  const backend = backendOf(server);
  const as = (id, info = { name: id }, user = {}) => connect(t, server, signing(backend, {
    member: { user_id: id, user_info: info },
    user: { id: String(id), user_info: info, ...user },
  }));
  return { server, backend, as };
}

/** The identifiers of a presence channel's members as pusher-js has them. */
function idsOf(channel) {
  const ids = [];
  channel.members.each(({ id }) => ids.push(id));
  return ids.sort();
}

// Public channels

test("an event reaches every subscriber of its channel with its data, and nobody else", async (t) => {
  const { server, backend } = await setUp(t);
  const pushers = await Promise.all([1, 2, 3].map(() => connect(t, server)));
  const news = await Promise.all(pushers.slice(0, 2).map((pusher) => subscribe(pusher, "news")));
  const other = hear(await subscribe(pushers[2], "other"), "update");
  const inboxes = news.map((channel) => hear(channel, "update"));
  await backend.trigger("news", "update", { bid: 1.5, who: "grüß dich, 世界 🎺" });
  await backend.trigger("other", "update", "elsewhere");
  for (const inbox of inboxes) assert.deepEqual(await inbox.next("the event"), { bid: 1.5, who: "grüß dich, 世界 🎺" });
  assert.equal(await other.next("the other event"), "elsewhere");
  for (const [index, pusher] of pushers.entries()) {
    await settle(pusher);
    assert.equal([...inboxes, other][index].isEmpty(), true);
  }
});

test("data arrives as it was published: objects, text, JSON in text, nothing, and what looks like an escape", async (t) => {
  const { server, backend } = await setUp(t);
  const texts = await wire(t, server);
  await texts.text();
  texts.send({ event: "pusher:subscribe", data: { channel: "news" } });
  await texts.text();
  const updates = hear(await subscribe(await connect(t, server), "news"), "update");
  const all = [
    ['{"b":1,  "a":[true,null,1e400]}', undefined],
    ["plain text, \"quoted\" \\ and a / and </script>", "plain text, \"quoted\" \\ and a / and </script>"],
    ["", ""],
    ["\u2028 \u0000 \u001f \n \t \\u0041", "\u2028 \u0000 \u001f \n \t \\u0041"],
    ['"a string in JSON"', "a string in JSON"],
    ["17.50", 17.5],
    ["null", null],
    ["12345678901234567890", 12345678901234567890],
  ];
  for (const [text, value] of all) {
    await backend.trigger("news", "update", text);
    assert.deepEqual(JSON.parse(await texts.text()), { event: "update", channel: "news", data: text });
    const heard = await updates.next(`the data ${text}`);
    assert.deepEqual(heard, value === undefined ? JSON.parse(text) : value);
  }
});

test("2,000 events of one publisher arrive in its order, on the channel and globally", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const globally = [];
  pusher.bind_global((event, data) => event === "count" && globally.push(data));
  const counts = hear(await subscribe(pusher, "news"), "count");
  for (let i = 0; i < 2000; i += 10) {
    const batch = Array.from({ length: 10 }, (_, j) => ({ channel: "news", name: "count", data: String(i + j) }));
    await backend.triggerBatch(batch);
  }
  const expected = Array.from({ length: 2000 }, (_, i) => i);
  assert.deepEqual(await counts.take(2000, "a count"), expected);
  assert.deepEqual(globally, expected);
});

test("names of channels and events keep every character that Pusher allows, up to 200", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const name = "aZ09_-=@,.;".padEnd(200, "x");
  const event = "App\\Events\\Ünïcode \"quoted\" {}".padEnd(200, ".");
  const events = hear(await subscribe(pusher, name), event);
  await backend.trigger(name, event, "there");
  assert.equal(await events.next("the event"), "there");
});

test("a channel whose name is not allowed is refused, and the connection goes on", async (t) => {
  const { server } = await setUp(t);
  const pusher = await connect(t, server);
  const errors = errorsOf(pusher);
  for (const channel of ["a b", "#server", "ä", "x".repeat(201), "", "@fanfare.dashboard"]) {
    pusher.send_event("pusher:subscribe", { channel, auth: "" });
    const { code, message } = await errors.next(`an error about ${channel}`);
    assert.deepEqual([code, message.length > 10], [null, true], message);
  }
  await subscribe(pusher, "news");
  assert.equal(pusher.connection.state, "connected");
});

test("subscribing and unsubscribing on one socket is done in the order in which it was sent", async (t) => {
  const { server, backend } = await setUp(t);
  const raw = await wire(t, server);
  await raw.text();
  const expected = [];
  for (let i = 0; i < 200; i++) {
    raw.send({ event: "pusher:subscribe", data: { channel: "news" } });
    raw.send({ event: "pusher:unsubscribe", data: { channel: "news" } });
    expected.push({ event: "pusher_internal:subscription_succeeded", channel: "news", data: "{}" });
  }
  raw.send({ event: "pusher:subscribe", data: { channel: "news" } });
  expected.push({ event: "pusher_internal:subscription_succeeded", channel: "news", data: "{}" });
  assert.deepEqual(await raw.rest(), expected);
  await backend.trigger("news", "update", "1");
  assert.deepEqual(await raw.message(), { event: "update", channel: "news", data: "1" });
});

test("a page that leaves a channel and comes back at once is subscribed, and hears each event once", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const succeeded = hear(pusher, "pusher_internal:subscription_succeeded");
  await subscribe(pusher, "news");
  for (let i = 0; i < 20; i++) {
    pusher.unsubscribe("news");
    await subscribe(pusher, "news");
  }
  const updates = hear(pusher.channel("news"), "update");
  await backend.trigger("news", "update", "once");
  await backend.trigger("news", "update", "twice");
  assert.deepEqual(await updates.take(2, "an update"), ["once", "twice"]);
  assert.equal(succeeded.isEmpty(), true, "internal events are not told globally");
});

test("after unsubscribing nothing more of the channel arrives", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const all = hear(pusher, "update");
  await subscribe(pusher, "news");
  await subscribe(pusher, "other");
  pusher.unsubscribe("news");
  await settle(pusher);
  await backend.trigger(["news", "other"], "update", "x");
  assert.equal(await all.next("the update of the other channel"), "x");
  await settle(pusher);
  assert.equal(all.isEmpty(), true);
});

test("a second subscription to a channel is an error that changes nothing, as is leaving one that is not there", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server);
  const errors = errorsOf(pusher);
  const updates = hear(await subscribe(pusher, "news"), "update");
  pusher.send_event("pusher:subscribe", { channel: "news", auth: "" });
  const first = await errors.next("an error");
  assert.deepEqual([first.code, first.message.startsWith("Existing subscription to channel news")], [null, true]);
  pusher.send_event("pusher:unsubscribe", { channel: "other" });
  const second = await errors.next("an error");
  assert.equal(second.code, null);
  assert.match(second.message, /^No current subscription to channel other, or subscription in progress/);
  await backend.trigger("news", "update", "once");
  assert.equal(await updates.next("the update"), "once");
  await settle(pusher);
  assert.equal(updates.isEmpty(), true);
  assert.equal(pusher.connection.state, "connected");
});

test("an event excludes the connection whose socket_id its publisher names", async (t) => {
  const { server, backend } = await setUp(t);
  const [sender, other] = await Promise.all([connect(t, server), connect(t, server)]);
  const [own, others] = [hear(await subscribe(sender, "news"), "update"), hear(await subscribe(other, "news"), "update")];
  await backend.trigger("news", "update", "not to the sender", { socket_id: sender.connection.socket_id });
  await backend.trigger("news", "update", "to both", { socket_id: "1.1" });
  assert.deepEqual(await others.take(2, "an update"), ["not to the sender", "to both"]);
  assert.equal(await own.next("an update"), "to both");
});

// Private channels

test("a private channel is open to whom the application's endpoint signs for", async (t) => {
  const { server, backend } = await setUp(t);
  const options = await endpoints(t, backend);
  const pusher = await connect(t, server, options("ann"));
  const updates = hear(await subscribe(pusher, "private-orders"), "update");
  await backend.trigger("private-orders", "update", { id: 7 });
  assert.deepEqual(await updates.next("the update"), { id: 7 });
});

test("a signature for another secret, another channel or another connection is refused with the text that was expected", async (t) => {
  const { server, backend } = await setUp(t);
  const stranger = backendOf(server, { secret: "another" });
  const forOther = (sign) => ({ channelAuthorization: { customHandler: (asked, done) => done(null, sign(asked)) } });
  const cases = [
    ({ socketId, channelName }) => stranger.authorizeChannel(socketId, channelName),
    ({ socketId }) => backend.authorizeChannel(socketId, "private-other"),
    ({ channelName }) => backend.authorizeChannel("1.1", channelName),
  ];
  for (const sign of cases) {
    const pusher = await connect(t, server, forOther(sign));
    const errors = errorsOf(pusher);
    const { type, status, error } = await refused(pusher, "private-orders");
    assert.deepEqual([type, status], ["AuthError", 401]);
    const expected = `${pusher.connection.socket_id}:private-orders`;
    assert.ok(error.startsWith(`Invalid signature: Expected HMAC SHA256 hex digest of ${expected}, but got `), error);
    assert.equal((await errors.next("the pusher:error beside it")).code, null);
    await subscribe(pusher, "news");
  }
});

test("a key of another app and no signature at all are refused, and the connection goes on", async (t) => {
  const { server, backend } = await setUp(t);
  const auths = [["other-key:abcdef", /Invalid key in subscription auth data: 'other-key'/], ["", /./], [undefined, /./]];
  for (const [auth, sentence] of auths) {
    const pusher = await connect(t, server, {
      channelAuthorization: { customHandler: (_, done) => done(null, { auth }) },
    });
    const { type, error } = await refused(pusher, "private-orders");
    assert.equal(type, "AuthError");
    assert.match(error, sentence);
    const updates = hear(await subscribe(pusher, "news"), "update");
    await backend.trigger("news", "update", "still here");
    assert.equal(await updates.next("the update"), "still here");
  }
});

test("the channel_data of a private channel is signed too", async (t) => {
  const { server, backend } = await setUp(t);
  const signed = ({ socketId, channelName }) => backend.authorizeChannel(socketId, channelName, { user_id: "ann" });
  const changed = (asked) => ({ ...signed(asked), channel_data: JSON.stringify({ user_id: "bob" }) });
  const by = (sign) => ({ channelAuthorization: { customHandler: (asked, done) => done(null, sign(asked)) } });
  await subscribe(await connect(t, server, by(signed)), "private-orders");
  assert.equal((await refused(await connect(t, server, by(changed)), "private-orders")).type, "AuthError");
});

test("only a prefix at the beginning of the name, as it is written, makes a channel private", async (t) => {
  const { server } = await setUp(t);
  const pusher = await connect(t, server);
  for (const name of ["my-private-orders", "privateer", "Private-orders", "cache", "presenceful"]) {
    await subscribe(pusher, name);
  }
});

// Presence channels

test("a presence channel tells the joiner of all members, itself among them", async (t) => {
  const { as } = await setUp(t);
  await subscribe(await as("ann", { name: "Ann", age: 7 }), "presence-room");
  const channel = await subscribe(await as("bob"), "presence-room");
  assert.deepEqual(channel.members.me, { id: "bob", info: { name: "bob" } });
  assert.deepEqual(channel.members.get("ann"), { id: "ann", info: { name: "Ann", age: 7 } });
  assert.deepEqual([channel.members.count, idsOf(channel)], [2, ["ann", "bob"]]);
});

test("members who join and leave are told to the others, by unsubscribing and by disconnecting", async (t) => {
  const { as } = await setUp(t);
  const room = await subscribe(await as("ann"), "presence-room");
  const [added, removed] = [hear(room, "pusher:member_added"), hear(room, "pusher:member_removed")];
  const bob = await as("bob");
  await subscribe(bob, "presence-room");
  assert.deepEqual(await added.next("bob"), { id: "bob", info: { name: "bob" } });
  assert.equal(room.members.count, 2);
  bob.unsubscribe("presence-room");
  assert.deepEqual(await removed.next("bob"), { id: "bob", info: { name: "bob" } });
  await subscribe(bob, "presence-room");
  assert.equal((await added.next("bob again")).id, "bob");
  bob.disconnect();
  assert.equal((await removed.next("bob again")).id, "bob");
  assert.deepEqual([room.members.count, idsOf(room)], [1, ["ann"]]);
  assert.equal(added.isEmpty(), true, "the joiner is not told of itself");
});

test("a user with several connections joins with the first and leaves with the last", async (t) => {
  const { as } = await setUp(t);
  const room = await subscribe(await as("ann"), "presence-room");
  const [added, removed] = [hear(room, "pusher:member_added"), hear(room, "pusher:member_removed")];
  const bobs = await Promise.all([1, 2, 3].map(() => as("bob")));
  for (const bob of bobs) assert.equal((await subscribe(bob, "presence-room")).members.count, 2);
  assert.equal((await added.next("bob")).id, "bob");
  bobs[0].disconnect();
  bobs[1].unsubscribe("presence-room");
  await settle(bobs[1]);
  await subscribe(await as("eve"), "presence-room");
  assert.equal((await added.next("eve")).id, "eve");
  assert.equal(removed.isEmpty(), true, "bob is still there");
  bobs[2].disconnect();
  assert.equal((await removed.next("bob")).id, "bob");
});

test("a member's number is its text, and a member without info is in the list", async (t) => {
  const { server, backend } = await setUp(t);
  const numbered = (id, user_info) => connect(t, server, signing(backend, { member: { user_id: id, user_info } }));
  const room = await subscribe(await numbered(10), "presence-room");
  assert.deepEqual(room.members.me, { id: 10, info: null });
  const added = hear(room, "pusher:member_added");
  const raw = await wire(t, server);
  const socketId = await raw.socketId();
  const { auth, channel_data } = backend.authorizeChannel(socketId, "presence-room", { user_id: 11, user_info: [] });
  raw.send({ event: "pusher:subscribe", data: { channel: "presence-room", auth, channel_data } });
  const { data } = await raw.message();
  assert.deepEqual(JSON.parse(data), { presence: { ids: ["10", "11"], hash: { 10: null, 11: [] }, count: 2 } });
  assert.deepEqual(await added.next("11"), { id: "11", info: [] });
});

test("a signed-in user needs no channel_data to be a member", async (t) => {
  const { server, backend } = await setUp(t);
  const pusher = await connect(t, server, signing(backend, { user: { id: "ann", user_info: { name: "Ann" } } }));
  pusher.signin();
  const room = await subscribe(pusher, "presence-room");
  assert.deepEqual(room.members.me, { id: "ann", info: { name: "Ann" } });
});

test("who is not signed in and has no channel_data is refused in a presence channel", async (t) => {
  const { server, backend } = await setUp(t);
  const raw = await wire(t, server);
  const { auth } = backend.authorizeChannel(await raw.socketId(), "presence-room");
  raw.send({ event: "pusher:subscribe", data: { channel: "presence-room", auth } });
  const [told, error] = await raw.rest();
  assert.deepEqual([told.event, told.channel], ["pusher:subscription_error", "presence-room"]);
  assert.deepEqual([error.event, error.data.code], ["pusher:error", null]);
  assert.match(error.data.message, /channel_data|sign/);
});

test("a full presence channel refuses a new member, not another connection of one, and says so", async (t) => {
  const { as } = await setUp(t, { "max-members": 2 });
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  await subscribe(ann, "presence-room");
  await subscribe(bob, "presence-room");
  const { type, status } = await refused(await as("eve"), "presence-room");
  assert.deepEqual([type, status], ["LimitReached", 4004]);
  assert.equal((await subscribe(await as("bob"), "presence-room")).members.count, 2);
  ann.unsubscribe("presence-room");
  await settle(ann);
  assert.equal((await subscribe(await as("eve"), "presence-room")).members.count, 2);
});

test("a member with an identifier over 128 characters or info over 1 KiB is refused with the limit", async (t) => {
  const { as } = await setUp(t);
  assert.match((await refused(await as("x".repeat(129)), "presence-room")).error, /128/);
  assert.match((await refused(await as("ann", "x".repeat(1025)), "presence-room")).error, /1,?024|1 KiB/);
  await subscribe(await as("x".repeat(128), "x".repeat(1022)), "presence-room");
});

// Encrypted channels

test("an encrypted channel is read by its members, and the server passes on what it cannot read", async (t) => {
  const { server, backend, as } = await setUp(t);
  const updates = hear(await subscribe(await as("ann"), "private-encrypted-orders"), "update");
  const raw = await wire(t, server);
  const { auth } = backend.authorizeChannel(await raw.socketId(), "private-encrypted-orders");
  raw.send({ event: "pusher:subscribe", data: { channel: "private-encrypted-orders", auth } });
  await raw.message();
  await backend.trigger("private-encrypted-orders", "update", { secret: "grüße" });
  assert.deepEqual(await updates.next("the update"), { secret: "grüße" });
  const { event, data } = await raw.message();
  assert.equal(event, "update");
  assert.deepEqual(Object.keys(JSON.parse(data)).sort(), ["ciphertext", "nonce"]);
});

// Cache channels

test("a cache channel without an event says so, with one it replays the last to each who subscribes", async (t) => {
  const { backend, as } = await setUp(t);
  for (const name of ["cache-p", "private-cache-p", "presence-cache-p", "private-encrypted-cache-p"]) {
    const first = await as("ann");
    const misses = hear(first.subscribe(name), "pusher:cache_miss");
    assert.equal(await misses.next(`a cache miss of ${name}`), undefined);
    for (const price of [1, 2, 3]) await backend.trigger(name, "price", { price });
    const second = await as("bob");
    const channel = second.subscribe(name);
    const order = [];
    channel.bind_global((event, data) => order.push(event === "price" ? data : event));
    const prices = hear(channel, "price");
    assert.deepEqual(await prices.next(`the last price of ${name}`), { price: 3 });
    await settle(second);
    assert.deepEqual(order, ["pusher:subscription_succeeded", { price: 3 }], "after the subscription, and once");
  }
});

test("a cache channel keeps what was published while nobody was there", async (t) => {
  const { server, backend } = await setUp(t);
  await backend.trigger("cache-p", "price", "41");
  await backend.trigger("cache-p", "price", "42");
  const pusher = await connect(t, server);
  assert.equal(await hear(pusher.subscribe("cache-p"), "price").next("the last price"), 42);
});

test("a cache channel does not replay client events", async (t) => {
  const { backend, as } = await setUp(t, CLIENT_EVENTS);
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const mine = await subscribe(ann, "private-cache-p");
  const typed = hear(await subscribe(bob, "private-cache-p"), "client-typing");
  await backend.trigger("private-cache-p", "price", "1");
  mine.trigger("client-typing", {});
  await typed.next("the client event");
  const eve = await as("eve");
  const all = [];
  eve.subscribe("private-cache-p").bind_global((event) => all.push(event));
  await hear(eve.channel("private-cache-p"), "price").next("the cached price");
  await settle(eve);
  assert.deepEqual(all, ["pusher:subscription_succeeded", "price"]);
});

test("a channel that is no cache channel replays nothing and reports no miss", async (t) => {
  const { server, backend } = await setUp(t);
  await backend.trigger("news", "price", "1");
  const pusher = await connect(t, server);
  const all = [];
  pusher.subscribe("news").bind_global((event) => all.push(event));
  await settle(pusher);
  assert.deepEqual(all, ["pusher:subscription_succeeded"]);
});

// Client events

test("a client event reaches the others as it was sent, and not its sender", async (t) => {
  const { as } = await setUp(t, CLIENT_EVENTS);
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const [mine, others] = [await subscribe(ann, "private-chat"), await subscribe(bob, "private-chat")];
  const [own, heard] = [hear(mine, "client-said"), hear(others, "client-said")];
  const all = [{ text: "grüße", n: [1, { a: null }] }, "plain", 7, true, null, [], {}];
  for (const data of all) mine.trigger("client-said", data);
  assert.deepEqual(await heard.take(all.length, "a client event"), all);
  others.trigger("client-said", "answer");
  assert.equal(await own.next("the answer"), "answer");
});

test("a client event of a presence channel names its sender, one of a private channel does not", async (t) => {
  const { as } = await setUp(t, CLIENT_EVENTS);
  const [ann, bob] = await Promise.all([as("ann"), as(7)]);
  for (const [name, sender] of [["presence-room", "7"], ["private-room", undefined]]) {
    const listening = await subscribe(ann, name);
    const speaking = await subscribe(bob, name);
    const heard = within(new Promise((resolve) => {
      listening.bind("client-said", (data, metadata) => resolve([data, metadata?.user_id]));
    }), "the client event");
    speaking.trigger("client-said", "hello");
    assert.deepEqual(await heard, ["hello", sender]);
  }
});

test("client events are refused in public and encrypted channels, and by who is not subscribed", async (t) => {
  const { backend, as } = await setUp(t, CLIENT_EVENTS);
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const errors = errorsOf(ann);
  for (const name of ["news", "private-encrypted-a", "private-chat"]) {
    if (name !== "private-chat") await subscribe(ann, name);
    const heard = await subscribe(bob, name);
    const said = [];
    heard.bind_global((event) => said.push(event));
    ann.send_event("client-said", { nonce: "x", ciphertext: "y" }, name);
    const { message } = await errors.next(`an error about ${name}`);
    assert.ok(message.length > 10, message);
    await settle(bob);
    assert.deepEqual(said, []);
  }
  await backend.trigger("news", "client-of-the-server", "x");
  assert.equal(ann.connection.state, "connected");
});

test("client events of an app that has not enabled them are refused, and the connection goes on", async (t) => {
  const { as } = await setUp(t);
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const errors = errorsOf(ann);
  const heard = hear(await subscribe(bob, "private-chat"), "client-said");
  (await subscribe(ann, "private-chat")).trigger("client-said", "x");
  assert.match((await errors.next("an error")).message, /client.events/i);
  await settle(bob);
  assert.deepEqual([heard.isEmpty(), ann.connection.state], [true, "connected"]);
});

test("more client events than the rate are refused with 4301, and the socket stays open", async (t) => {
  const { as } = await setUp(t, { ...CLIENT_EVENTS, "client-event-rate": 3 });
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const errors = errorsOf(ann);
  const heard = hear(await subscribe(bob, "private-chat"), "client-said");
  const mine = await subscribe(ann, "private-chat");
  for (let i = 0; i < 20; i++) mine.trigger("client-said", i);
  assert.equal((await errors.next("an error")).code, 4301);
  assert.deepEqual(await heard.take(3, "a client event"), [0, 1, 2]);
  await settle(ann);
  assert.equal(ann.connection.state, "connected");
});

test("a client event over the app's limit is refused with it", async (t) => {
  const { as } = await setUp(t, { ...CLIENT_EVENTS, "max-event": 100 });
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const errors = errorsOf(ann);
  const heard = hear(await subscribe(bob, "private-chat"), "client-said");
  const mine = await subscribe(ann, "private-chat");
  mine.trigger("client-said", "x".repeat(101));
  assert.match((await errors.next("an error")).message, /100/);
  mine.trigger("client-said", "short");
  assert.equal(await heard.next("the short one"), "short");
});

test("events that only the server may send are not passed on from a client", async (t) => {
  const { as } = await setUp(t, CLIENT_EVENTS);
  const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
  const errors = errorsOf(ann);
  const heard = [];
  (await subscribe(bob, "private-chat")).bind_global((event) => heard.push(event));
  await subscribe(ann, "private-chat");
  for (const event of ["pusher:cache_miss", "pusher_internal:member_added", "pusher:anything", "said"]) {
    ann.send_event(event, {}, "private-chat");
    assert.match((await errors.next(`an error about ${event}`)).message, /^Unsupported event received on socket: /);
  }
  await settle(bob);
  assert.deepEqual(heard, []);
});

// Users

test("a signed-in user gets what is sent to the user, on each of its connections and on no other's", async (t) => {
  const { backend, as } = await setUp(t);
  const [first, second, other] = await Promise.all([as("ann@example.com"), as("ann@example.com"), as("bob")]);
  const inboxes = [first, second, other].map((pusher) => hear(pusher.user, "alert"));
  for (const pusher of [first, second, other]) {
    const own = hear(pusher, "pusher:signin_success");
    pusher.signin();
    await own.next("a signin_success");
    await settle(pusher);
    assert.equal(pusher.user.serverToUserChannel.subscribed, true);
  }
  await backend.sendToUser("ann@example.com", "alert", { level: 3 });
  await backend.sendToUser("bob", "alert", "bob's");
  for (const inbox of inboxes.slice(0, 2)) assert.deepEqual(await inbox.next("the alert"), { level: 3 });
  assert.equal(await inboxes[2].next("bob's alert"), "bob's");
});

test("a sign-in is answered with the data that was signed", async (t) => {
  const { server, backend } = await setUp(t);
  const raw = await wire(t, server);
  const { auth, user_data } = backend.authenticateUser(await raw.socketId(), { id: "ann", note: "\"grüße\" \\" });
  raw.send({ event: "pusher:signin", data: { auth, user_data } });
  const { event, data } = await raw.message();
  assert.deepEqual([event, JSON.parse(data)], ["pusher:signin_success", { user_data }]);
});

test("a sign-in with a false signature is closed with 4009, and pusher-js does not come back", async (t) => {
  const { server } = await setUp(t);
  const pusher = await connect(t, server, signing(backendOf(server, { secret: "another" }), { user: { id: "ann" } }));
  const errors = errorsOf(pusher);
  pusher.signin();
  await reaches(pusher, "disconnected");
  const { code, message } = await errors.next("an error");
  assert.deepEqual([code, isRetrying(pusher)], [4009, false]);
  assert.match(message, /::user::/);
});

test("a second sign-in as another user is refused, and the first stays", async (t) => {
  const { server, backend } = await setUp(t);
  const raw = await wire(t, server);
  const socketId = await raw.socketId();
  const signIn = (id) => raw.send({ event: "pusher:signin", data: backend.authenticateUser(socketId, { id }) });
  signIn("ann");
  assert.equal((await raw.message()).event, "pusher:signin_success");
  signIn("bob");
  assert.equal((await raw.message()).event, "pusher:error");
  raw.send({ event: "pusher:subscribe", data: { channel: "#server-to-user-ann", auth: "" } });
  assert.equal((await raw.message()).event, "pusher_internal:subscription_succeeded");
});

test("the channel of a user is open to that user alone", async (t) => {
  const { server, backend, as } = await setUp(t);
  const [stranger, bob] = [await connect(t, server), await as("bob")];
  const done = hear(bob, "pusher:signin_success");
  bob.signin();
  await done.next("a signin_success");
  for (const pusher of [stranger, bob]) {
    const errors = errorsOf(pusher);
    pusher.send_event("pusher:subscribe", { channel: "#server-to-user-ann", auth: "" });
    assert.equal((await errors.next("an error")).code, null);
  }
  const alerts = hear(bob, "alert");
  await backend.sendToUser("ann", "alert", "ann's");
  await backend.sendToUser("bob", "alert", "bob's");
  assert.equal(await alerts.next("bob's alert"), "bob's");
});

test("a watchlist tells who is online at sign-in, and every change after it", async (t) => {
  const { as } = await setUp(t, { watchlist: true });
  const signIn = (pusher) => {
    const done = hear(pusher, "pusher:signin_success");
    pusher.signin();
    return done.next("a signin_success");
  };
  await signIn(await as("bob"));
  const ann = await as("ann", {}, { watchlist: ["bob", "eve"] });
  const [online, offline] = [hear(ann.user.watchlist, "online"), hear(ann.user.watchlist, "offline")];
  await signIn(ann);
  assert.deepEqual(await online.next("who is online"), { name: "online", user_ids: ["bob"] });
  assert.deepEqual(await offline.next("who is offline"), { name: "offline", user_ids: ["eve"] });
  const eves = await Promise.all([as("eve"), as("eve")]);
  for (const eve of eves) await signIn(eve);
  assert.deepEqual(await online.next("eve"), { name: "online", user_ids: ["eve"] });
  eves[0].disconnect();
  await signIn(await as("stranger"));
  eves[1].disconnect();
  assert.deepEqual(await offline.next("eve"), { name: "offline", user_ids: ["eve"] });
  await settle(ann);
  assert.deepEqual([online.isEmpty(), offline.isEmpty()], [true, true], "once, whatever number of connections");
});

test("a watchlist of over 100 users is kept to the first 100 and said with 4302, and the socket stays open", async (t) => {
  const { as } = await setUp(t, { watchlist: true });
  const watched = Array.from({ length: 101 }, (_, i) => `user-${i}`);
  const ann = await as("ann", {}, { watchlist: watched });
  const [errors, offline] = [errorsOf(ann), hear(ann.user.watchlist, "offline")];
  ann.signin();
  assert.equal((await errors.next("an error")).code, 4302);
  assert.deepEqual((await offline.next("who is offline")).user_ids, watched.slice(0, 100));
  await settle(ann);
  assert.equal(ann.connection.state, "connected");
});

// Subscription count

test("subscribers are told how many they are, if the app says so", async (t) => {
  const { server } = await setUp(t, { "subscription-count": true });
  const [first, second] = await Promise.all([connect(t, server), connect(t, server)]);
  const channel = first.subscribe("news");
  const counts = hear(channel, "pusher:subscription_count");
  assert.deepEqual(await counts.next("a count"), { subscription_count: 1 });
  await subscribe(second, "news");
  assert.deepEqual(await counts.next("a count"), { subscription_count: 2 });
  assert.equal(channel.subscriptionCount, 2);
  second.disconnect();
  assert.deepEqual(await counts.next("a count"), { subscription_count: 1 });
});

test("presence channels, and apps that do not say so, have no subscription count", async (t) => {
  for (const app of [{ "subscription-count": true }, {}]) {
    const { as } = await setUp(t, app);
    const [ann, bob] = await Promise.all([as("ann"), as("bob")]);
    const all = [];
    const name = app["subscription-count"] ? "presence-room" : "news";
    (await subscribe(ann, name)).bind_global((event) => all.push(event));
    await subscribe(bob, name);
    await settle(ann);
    assert.deepEqual(all.filter((event) => event.includes("count")), []);
  }
});

// Apps

test("channels of one name in two apps are two channels", async (t) => {
  const second = { id: "2", key: "second-key", secret: "second-secret" };
  const server = await serveApps(t, [{}, second]);
  const pushers = [clientOf(t, server), clientOf(t, server, {}, "second-key")];
  const inboxes = [];
  for (const pusher of pushers) {
    await reaches(pusher, "connected");
    inboxes.push(hear(await subscribe(pusher, "news"), "update"));
  }
  await backendOf(server).trigger("news", "update", "first");
  await backendOf(server, second).trigger("news", "update", "second");
  assert.equal(await inboxes[0].next("the first app's"), "first");
  assert.equal(await inboxes[1].next("the second app's"), "second");
  for (const [index, pusher] of pushers.entries()) {
    await settle(pusher);
    assert.equal(inboxes[index].isEmpty(), true);
  }
});

test("either of two secrets signs, so that one is replaced while the other is in use", async (t) => {
  const secrets = ["new-secret", "old-secret"];
  const server = await serveApps(t, [{ secrets }]);
  for (const secret of secrets) {
    const backend = backendOf(server, { secret });
    const pusher = await connect(t, server, signing(backend));
    const updates = hear(await subscribe(pusher, "private-orders"), "update");
    await backend.trigger("private-orders", "update", secret);
    assert.equal(await updates.next("the update"), secret);
  }
  const pusher = await connect(t, server, signing(backendOf(server, { secret: "older" })));
  assert.equal((await refused(pusher, "private-orders")).type, "AuthError");
});
