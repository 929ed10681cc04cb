// Laravel Echo with its Pusher connector over pusher-js, as a Laravel application's page uses it.
//
// What Laravel's server does, npm's `pusher` does here: the names of channels and events are those of Laravel.

import assert from "node:assert/strict";
import test from "node:test";

import Echo from "laravel-echo";
import Pusher from "pusher-js";

import { APP, addressFor, backendOf, endpoints, reaches, serveApps, settle } from "./pusher.mjs";
import { Inbox } from "./server.mjs";

/** A server, Laravel's backend, and `open` for an Echo of a user. */
async function setUp(t, app = { "client-events": true }) {
  const server = await serveApps(t, [app]);
  const backend = backendOf(server);
  const optionsOf = await endpoints(t, backend);
  const open = async (name, more = {}) => {
    const echo = new Echo({
      broadcaster: "pusher",
      Pusher,
      key: APP.key,
      ...addressFor(server),
      enabledTransports: ["ws", "wss"],
      ...optionsOf(name),
      ...more,
    });
    t.after(() => echo.disconnect());
    await reaches(echo.connector.pusher, "connected");
    return echo;
  };
  return { backend, open };
}

/** What a channel's listener of Echo is given, one by one; once it is subscribed. */
async function listened(channel, listen) {
  const inbox = new Inbox();
  const subscribed = new Inbox();
  channel.subscribed(() => subscribed.push());
  channel.error((error) => assert.fail(JSON.stringify(error)));
  listen(channel, (data) => inbox.push(data));
  await subscribed.next(`a subscription to ${channel.name}`);
  return inbox;
}

test("events of an application's classes reach listen, with and without a namespace", async (t) => {
  const { backend, open } = await setUp(t);
  const channel = (await open("ann")).channel("orders");
  const shipped = await listened(channel, (channel, heard) => {
    channel.listen("OrderShipped", heard);
    channel.listen(".order.named", heard);
  });
  await backend.trigger("orders", "App\\Events\\OrderShipped", { order: { id: 7, note: "grüße" } });
  await backend.trigger("orders", "order.named", { id: 8 });
  assert.deepEqual(await shipped.take(2, "an event"), [{ order: { id: 7, note: "grüße" } }, { id: 8 }]);
});

test("private and encrypted channels are authorized by the application and heard", async (t) => {
  const { backend, open } = await setUp(t);
  const echo = await open("ann");
  const listen = (channel, heard) => channel.listen("OrderShipped", heard);
  const closed = await listened(echo.private("orders.1"), listen);
  const encrypted = await listened(echo.encryptedPrivate("orders.1"), listen);
  await backend.trigger("private-orders.1", "App\\Events\\OrderShipped", { id: 1 });
  await backend.trigger("private-encrypted-orders.1", "App\\Events\\OrderShipped", { id: 2 });
  assert.deepEqual(await closed.next("the event"), { id: 1 });
  assert.deepEqual(await encrypted.next("the encrypted event"), { id: 2 });
});

test("a refused channel is told to error, with its status", async (t) => {
  const { open } = await setUp(t);
  const echo = await open("ann", {
    channelAuthorization: { customHandler: (_, done) => done(null, { auth: `${APP.key}:${"0".repeat(64)}` }) },
  });
  const errors = new Inbox();
  echo.private("orders.1").error((error) => errors.push(error));
  const { type, status, error } = await errors.next("the error");
  assert.deepEqual([type, status], ["AuthError", 401]);
  assert.match(error, /Invalid signature/);
});

test("join tells who is here, who joins and who leaves", async (t) => {
  const { open } = await setUp(t);
  const [ann, bob] = [await open("ann"), await open("bob")];
  const heard = new Inbox();
  const room = ann.join("room.1")
    .here((members) => heard.push(["here", members]))
    .joining((member) => heard.push(["joining", member]))
    .leaving((member) => heard.push(["leaving", member]))
    .error((error) => assert.fail(JSON.stringify(error)));
  assert.deepEqual(await heard.next("who is here"), ["here", [{ name: "ann" }]]);
  const here = new Inbox();
  bob.join("room.1").here((members) => here.push(members.map(({ name }) => name).sort()));
  assert.deepEqual(await here.next("who is here"), ["ann", "bob"]);
  assert.deepEqual(await heard.next("who joins"), ["joining", { name: "bob" }]);
  bob.leave("room.1");
  assert.deepEqual(await heard.next("who leaves"), ["leaving", { name: "bob" }]);
  assert.equal(room.subscription.members.count, 1);
});

test("a whisper reaches the others of a private channel and of a room, and not its sender", async (t) => {
  const { open } = await setUp(t);
  const [ann, bob] = [await open("ann"), await open("bob")];
  const listen = (channel, heard) => channel.listenForWhisper("typing", heard);
  for (const channelOf of [(echo) => echo.private("chat"), (echo) => echo.join("room")]) {
    const [mine, own] = [channelOf(ann), await listened(channelOf(ann), listen)];
    const [others, heard] = [channelOf(bob), await listened(channelOf(bob), listen)];
    mine.whisper("typing", { name: "ann" });
    assert.deepEqual(await heard.next("the whisper"), { name: "ann" });
    others.whisper("typing", { name: "bob" });
    assert.deepEqual(await own.next("the answer"), { name: "bob" });
    assert.equal(own.isEmpty(), true);
  }
});

test("broadcasting to others leaves out the connection of the socket ID that Echo says", async (t) => {
  const { backend, open } = await setUp(t);
  const [ann, bob] = [await open("ann"), await open("bob")];
  const listen = (channel, heard) => channel.listen(".posted", heard);
  const [own, others] = [await listened(ann.channel("news"), listen), await listened(bob.channel("news"), listen)];
  await backend.trigger("news", "posted", "to others", { socket_id: ann.socketId() });
  await backend.trigger("news", "posted", "to all");
  assert.deepEqual(await others.take(2, "an event"), ["to others", "to all"]);
  assert.equal(await own.next("an event"), "to all");
});

test("notifications of a user arrive on the user's private channel, and listenToAll hears every event by name", async (t) => {
  const { backend, open } = await setUp(t);
  const channel = (await open("ann")).private("App.Models.User.1");
  const all = new Inbox();
  const notifications = await listened(channel, (channel, heard) => {
    channel.notification(heard);
    channel.listenToAll((event, data) => all.push([event, data]));
  });
  const event = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated";
  await backend.trigger("private-App.Models.User.1", event, { id: "n1", type: "invoice" });
  await backend.trigger("private-App.Models.User.1", "App\\Events\\Paid", { id: 3 });
  assert.deepEqual(await notifications.next("the notification"), { id: "n1", type: "invoice" });
  assert.deepEqual((await all.take(2, "an event"))[1], ["Paid", { id: 3 }]);
});

test("after leaveChannel nothing more is heard, and the rest of the connection goes on", async (t) => {
  const { backend, open } = await setUp(t);
  const echo = await open("ann");
  const listen = (channel, heard) => channel.listen(".posted", heard);
  const [left, kept] = [await listened(echo.channel("left"), listen), await listened(echo.channel("kept"), listen)];
  echo.leaveChannel("left");
  await settle(echo.connector.pusher);
  await backend.trigger(["left", "kept"], "posted", 1);
  assert.equal(await kept.next("an event"), 1);
  assert.equal(left.isEmpty(), true);
  assert.equal(echo.connectionStatus(), "connected");
});

test("a user who signs in by Echo is reached by what is sent to the user", async (t) => {
  const { backend, open } = await setUp(t);
  const echo = await open("ann");
  const { pusher } = echo.connector;
  const [done, alerts] = [new Inbox(), new Inbox()];
  pusher.bind("pusher:signin_success", () => done.push());
  pusher.user.bind("alert", (data) => alerts.push(data));
  echo.connector.signin();
  await done.next("a signin_success");
  await settle(pusher);
  await backend.sendToUser("ann", "alert", { level: 2 });
  assert.deepEqual(await alerts.next("the alert"), { level: 2 });
});
