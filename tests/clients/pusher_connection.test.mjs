// A connection of the Pusher protocol from its first message to its close code, as pusher-js and npm's `ws` see it.
//
// What is said on a connection that stands is in pusher_js.test.mjs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection } from "node:net";
import test from "node:test";

import {
  APP,
  ESTABLISHED,
  backendOf,
  clientOf,
  connect,
  errorsOf,
  hear,
  isRetrying,
  reaches,
  serveApps,
  settle,
  signing,
  subscribe,
  wire,
} from "./pusher.mjs";
import { proxy } from "./proxy.mjs";
import { Inbox, serve, within } from "./server.mjs";
import { severing } from "./severing.mjs";

/** What a refused connection is sent and closed with. */
async function refusalOf(t, server, path) {
  const raw = await wire(t, server, path);
  const { event, data } = await raw.message();
  assert.deepEqual([event, typeof data.message, Object.keys(data).sort()], ["pusher:error", "string", ["code", "message"]]);
  const { code, reason } = await raw.closed();
  assert.equal(code, data.code, "the close code is that of the error");
  assert.ok(data.message.startsWith(reason) && reason.length > 0, `the reason is the message: ${reason}`);
  return data;
}

// Connecting

test("pusher-js connects, and each connection has an identifier of its own that server libraries accept", async (t) => {
  const server = await serveApps(t);
  const pusher = clientOf(t, server);
  const states = [];
  pusher.connection.bind("state_change", ({ current }) => states.push(current));
  await reaches(pusher, "connected");
  const ids = [pusher.connection.socket_id];
  for (let i = 0; i < 20; i++) ids.push((await connect(t, server)).connection.socket_id);
  for (const id of ids) {
    assert.match(id, /^\d+\.\d+$/);
    backendOf(server).authorizeChannel(id, "private-a"); // throws if the library finds it invalid
  }
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual([states, pusher.connection.state], [["connected"], "connected"]);
});

test("the first message says the identifier and the activity timeout, as JSON in a string", async (t) => {
  const server = await serveApps(t);
  const paths = [
    "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false",
    "/app/app-key/?protocol=7",
    "/app/app-key?protocol=6&client=Pysher&version=1.0",
    "/app/app-key?protocol=5",
    "/app/app-key?protocol=4",
    "/app/app-key",
  ];
  for (const path of paths) {
    const raw = await wire(t, server, path);
    assert.match(await raw.text(), ESTABLISHED, path);
    assert.equal(raw.socket.protocol, "");
  }
});

test("what a proxy leaves in front of the path is passed over, on WebSockets and HTTP", async (t) => {
  const server = await serveApps(t);
  const prefixes = { wsPath: "/behind/a/proxy", httpPath: "/behind/a/proxy/pusher" };
  for (const transport of ["ws", "xhr_streaming", "xhr_polling"]) {
    const pusher = await connect(t, server, { ...prefixes, enabledTransports: [transport] });
    assert.equal(pusher.connection.connection.transport.name, transport);
    await subscribe(pusher, "news");
  }
});

test("--app names an app's credentials without a configuration file", async (t) => {
  const server = await serve(t, "--app", `${APP.id}:${APP.key}:${APP.secret}`, "--app", "2:second-key:second-secret");
  const backend = backendOf(server, { id: "2", key: "second-key", secret: "second-secret" });
  const pusher = clientOf(t, server, {}, "second-key");
  await reaches(pusher, "connected");
  const updates = hear(await subscribe(pusher, "news"), "update");
  await backend.trigger("news", "update", "there");
  assert.equal(await updates.next("the update"), "there");
});

test("in development mode an app is ready to use", async (t) => {
  const server = await serve(t);
  const updates = hear(await subscribe(await connect(t, server), "news"), "update");
  await backendOf(server).trigger("news", "update", "there");
  assert.equal(await updates.next("the update"), "there");
});

test("a connection that offers compression gets long messages whole", async (t) => {
  const server = await serveApps(t);
  const raw = await wire(t, server, `/app/${APP.key}?protocol=7`, { perMessageDeflate: true });
  assert.match(await raw.text(), ESTABLISHED);
  assert.ok(raw.socket.extensions.includes("permessage-deflate"));
  raw.send({ event: "pusher:subscribe", data: { channel: "news" } });
  await raw.text();
  const data = "compressible ".repeat(700);
  await backendOf(server).trigger("news", "update", data);
  assert.deepEqual(await raw.message(), { event: "update", channel: "news", data });
});

// Refusals

const REFUSALS = [
  ["of an app that there is not", "/app/other-key?protocol=7", 4001],
  ["of an app that is disabled", "/app/disabled-key?protocol=7", 4003],
  ["over the app's quota", "/app/full-key?protocol=7", 4004],
  ["of a version of the protocol that is no longer spoken", `/app/${APP.key}?protocol=3`, 4007],
  ["of a version of the protocol that is not spoken yet", `/app/${APP.key}?protocol=8`, 4007],
  ["whose version of the protocol is empty", `/app/${APP.key}?protocol=`, 4008],
];

for (const [what, path, code] of REFUSALS) {
  test(`a connection ${what} is refused with ${code}, as a message and as the close`, async (t) => {
    const server = await serveApps(t, [
      {},
      { id: "2", key: "disabled-key", enabled: false },
      { id: "3", key: "full-key", "max-connections": 1 },
    ]);
    const only = await wire(t, server, "/app/full-key?protocol=7");
    assert.match(await only.text(), ESTABLISHED);
    assert.equal((await refusalOf(t, server, path)).code, code);
  });
}

test("a version that is not a number is refused with 4006 or 4007", async (t) => {
  const server = await serveApps(t);
  for (const version of ["seven", "7.5", "-7", "99999999999999999999"]) {
    const { code } = await refusalOf(t, server, `/app/${APP.key}?protocol=${version}`);
    assert.ok([4006, 4007].includes(code), `${version}: ${code}`);
  }
});

for (const [what, key, code] of [["there is not", "other-key", 4001], ["is disabled", "disabled-key", 4003]]) {
  test(`pusher-js that is refused by an app that ${what} is disconnected, and does not try again`, async (t) => {
    const server = await serveApps(t, [{}, { id: "2", key: "disabled-key", enabled: false }]);
    const through = await proxy(t, server);
    const pusher = clientOf(t, through, {}, key);
    await reaches(pusher, "disconnected");
    const { error } = await pusher.faults.next("an error");
    assert.equal(error.data.code, code);
    assert.ok(error.data.message.length > 10, error.data.message);
    assert.deepEqual([isRetrying(pusher), through.seen.length], [false, 1]);
  });
}

test("pusher-js over the app's quota gives up with 4004, and connects when it is told to and there is room", async (t) => {
  const server = await serveApps(t, [{ "max-connections": 1 }]);
  const first = await connect(t, server);
  const through = await proxy(t, server);
  const second = clientOf(t, through);
  await reaches(second, "disconnected");
  assert.equal((await second.faults.next("an error")).error.data.code, 4004);
  assert.deepEqual([isRetrying(second), through.seen.length], [false, 1]);
  first.disconnect();
  for (let tries = 0; ; tries++) {
    assert.ok(tries < 500, "the first connection is still counted");
    second.connect();
    if (await reaches(second, "connected", "disconnected") === "connected") break;
  }
});

// Messages

test("messages that are no events are answered with an error, and the connection goes on", async (t) => {
  const server = await serveApps(t);
  const raw = await wire(t, server);
  await raw.text();
  const all = [
    "nonsense", "", "[]", "{}", "null", "7", '{"event":7}', '{"event":null}', '{"data":{}}', '{"event":""}',
    '{"event":"pusher:subscribe"}', '{"event":"pusher:subscribe","data":[]}', '{"event":"pusher:subscribe","data":"x"}',
    '{"event":"pusher:subscribe","data":{"channel":7}}', '{"event":"pusher:unsubscribe","data":{}}',
    '{"event":"client-x"}', '{"event":"client-x","channel":{}}', "[".repeat(10_000),
  ];
  for (const text of all) {
    raw.send(text);
    const answers = await raw.rest();
    assert.ok(answers.length > 0, `nothing is said about ${text.slice(0, 60)}`);
    const { event, data } = answers.at(-1);
    assert.deepEqual([event, data.code, data.message.length > 5], ["pusher:error", null, true], text.slice(0, 60));
  }
  raw.send({ event: "pusher:subscribe", data: { channel: "news" } });
  assert.equal((await raw.message()).event, "pusher_internal:subscription_succeeded");
});

test("data that comes as JSON in a string, as some libraries send it, is understood", async (t) => {
  const server = await serveApps(t);
  const raw = await wire(t, server);
  await raw.text();
  raw.send({ event: "pusher:subscribe", data: JSON.stringify({ channel: "news" }) });
  assert.equal(await raw.text(), '{"event":"pusher_internal:subscription_succeeded","channel":"news","data":"{}"}');
  raw.send({ event: "pusher:ping", data: "{}" });
  assert.equal(await raw.text(), '{"event":"pusher:pong","data":"{}"}');
});

test("a connection has as many channels as its app allows, and is told the number at one more", async (t) => {
  const server = await serveApps(t, [{ "max-channels": 3 }]);
  const pusher = await connect(t, server);
  for (const name of ["a", "b", "c"]) await subscribe(pusher, name);
  const errors = errorsOf(pusher);
  pusher.subscribe("d");
  assert.match((await errors.next("an error")).message, /3/);
  pusher.unsubscribe("a");
  await subscribe(pusher, "e");
});

// Liveness

test("a ping of pusher-js is answered, so that a quiet connection stays", async (t) => {
  const server = await serveApps(t);
  const pusher = await connect(t, server, { activityTimeout: 50, pongTimeout: 5000 });
  const id = pusher.connection.socket_id;
  await hear(pusher, "pusher:pong").take(5, "a pong");
  assert.deepEqual([pusher.connection.state, pusher.connection.socket_id], ["connected", id]);
});

test("a quiet client is asked whether it lives, and stays if it answers", async (t) => {
  const server = await serveApps(t, [{}], "--idle-timeout", "100ms", "--pong-timeout", "10s");
  const pusher = await connect(t, server);
  const id = pusher.connection.socket_id;
  const raw = await wire(t, server);
  const asked = new Inbox();
  raw.socket.on("ping", () => asked.push());
  raw.socket.on("message", (data) => {
    if (JSON.parse(data).event !== "pusher:ping") return;
    raw.send({ event: "pusher:pong", data: {} });
    asked.push();
  });
  await asked.take(5, "a ping");
  await settle(pusher);
  assert.equal(pusher.connection.socket_id, id);
});

test("a client that does not answer is closed with 4201", async (t) => {
  const server = await serveApps(t, [{}], "--idle-timeout", "50ms", "--pong-timeout", "100ms");
  const raw = await wire(t, server, `/app/${APP.key}?protocol=7`, { autoPong: false });
  assert.equal((await raw.closed()).code, 4201);
});

test("a client that sends anything lives, whether it answers pings or not", async (t) => {
  const server = await serveApps(t, [{}], "--idle-timeout", "200ms", "--pong-timeout", "200ms");
  const raw = await wire(t, server, `/app/${APP.key}?protocol=7`, { autoPong: false });
  const asked = new Inbox();
  raw.socket.on("ping", () => asked.push());
  const timer = setInterval(() => raw.send({ event: "pusher:ping", data: {} }), 40);
  t.after(() => clearInterval(timer));
  for (let pongs = 0; pongs < 25;) pongs += (await raw.text()).includes("pusher:pong") ? 1 : 0;
  assert.equal(raw.socket.readyState, 1);
});

test("who has to be authorized and is not in time is closed with 4009; a private channel or a sign-in is enough", async (t) => {
  const server = await serveApps(t, [{ "authorized-within": "300ms" }]);
  const backend = backendOf(server);
  const options = signing(backend, { user: { id: "ann" } });
  const [idle, subscribed, signedIn] = await Promise.all([0, 1, 2].map(() => connect(t, server, options)));
  const errors = errorsOf(idle);
  idle.subscribe("news");
  await subscribe(subscribed, "private-a");
  signedIn.signin();
  await reaches(idle, "disconnected");
  assert.equal((await errors.next("an error")).code, 4009);
  assert.equal(isRetrying(idle), false);
  await settle(subscribed);
  await settle(signedIn);
});

// Coming back

test("pusher-js that lost its connection comes back, subscribes again and hears what follows", async (t) => {
  const server = await serveApps(t);
  const through = await severing(t, server);
  const backend = backendOf(server);
  const member = { user_id: "ann" };
  const pusher = clientOf(t, through, signing(backend, { member }));
  await reaches(pusher, "connected");
  const id = pusher.connection.socket_id;
  const names = ["news", "private-a", "presence-a"];
  const updates = [];
  for (const name of names) updates.push(hear(await subscribe(pusher, name), "update"));
  const again = names.map((name) => hear(pusher.channel(name), "pusher:subscription_succeeded"));
  through.cut();
  for (const inbox of again) await inbox.next("a subscription after the cut");
  assert.notEqual(pusher.connection.socket_id, id);
  assert.equal(pusher.channel("presence-a").members.count, 1, "its old connection is not there beside it");
  await backend.trigger(names, "update", "after the cut");
  for (const inbox of updates) assert.equal(await inbox.next("an update"), "after the cut");
});

test("pusher-js is back within seconds of a restart of the server", async (t) => {
  const first = await serveApps(t);
  const pusher = await connect(t, first);
  const channel = await subscribe(pusher, "news");
  const again = hear(channel, "pusher:subscription_succeeded");
  const updates = hear(channel, "update");
  const address = first.address;
  await first.stop();
  const stopped = performance.now();
  const second = await serveApps(t, [{}], "--listen", address);
  await again.next("a subscription after the restart");
  assert.ok(performance.now() - stopped < 5000, "it has not waited for a second attempt, which comes after 15 s");
  await backendOf(second).trigger("news", "update", "after the restart");
  assert.equal(await updates.next("the update"), "after the restart");
});

test("pusher-js moves to the server that is started on the same address while the old one drains", async (t) => {
  const first = await serveApps(t, [{}], "--drain", "1s");
  const pushers = await Promise.all(Array.from({ length: 10 }, () => connect(t, first)));
  const again = [];
  for (const pusher of pushers) again.push(hear(await subscribe(pusher, "news"), "pusher:subscription_succeeded"));
  const stopping = first.stop();
  while (await accepts(first.address));
  const began = performance.now();
  const second = await serveApps(t, [{}], "--listen", first.address);
  for (const inbox of again) await inbox.next("a subscription to the new server");
  assert.ok(performance.now() - began < 5000, "none has waited for a second attempt, which comes after 15 s");
  await stopping;
  const updates = pushers.map((pusher) => hear(pusher.channel("news"), "update"));
  await backendOf(second).trigger("news", "update", "by the new server");
  for (const inbox of updates) assert.equal(await inbox.next("the update"), "by the new server");
});

/** Whether something listens there. */
async function accepts(address) {
  const [host, port] = address.split(":");
  const socket = createConnection({ host, port: Number(port) });
  const isAccepted = await within(once(socket, "connect").then(() => true, () => false), "an answer of the port");
  socket.destroy();
  return isAccepted;
}

test("connections of an app that is removed or disabled by a reload are closed for good, the others stay", async (t) => {
  const apps = [{}, { id: "2", key: "removed-key" }, { id: "3", key: "disabled-key" }];
  const server = await serveApps(t, apps);
  const [stays, removed, disabled] = apps.map(({ key }) => clientOf(t, server, {}, key));
  for (const pusher of [stays, removed, disabled]) await reaches(pusher, "connected");
  const updates = hear(await subscribe(stays, "news"), "update");
  const errors = [removed, disabled].map(errorsOf);
  await server.reloadApps([{}, { id: "3", key: "disabled-key", enabled: false }]);
  for (const [index, pusher] of [removed, disabled].entries()) {
    await reaches(pusher, "disconnected");
    assert.equal((await errors[index].next("an error")).code, [4001, 4003][index]);
    assert.equal(isRetrying(pusher), false);
  }
  await backendOf(server).trigger("news", "update", "still here");
  assert.equal(await updates.next("the update"), "still here");
});

test("a secret that a reload adds signs beside the old one, and no connection is lost", async (t) => {
  const server = await serveApps(t, [{ secrets: ["old-secret"] }]);
  const old = backendOf(server, { secret: "old-secret" });
  const pusher = await connect(t, server, signing(old));
  const updates = hear(await subscribe(pusher, "private-a"), "update");
  await server.reloadApps([{ secrets: ["new-secret", "old-secret"] }]);
  const renewed = backendOf(server, { secret: "new-secret" });
  for (let tries = 0; ; tries++) {
    assert.ok(tries < 500, "the new secret is not known");
    try {
      await renewed.trigger("private-a", "update", "by the new one");
      break;
    } catch (error) {
      assert.equal(error.status, 401);
    }
  }
  await old.trigger("private-a", "update", "by the old one");
  assert.deepEqual(await updates.take(2, "an update"), ["by the new one", "by the old one"]);
  await subscribe(await connect(t, server, signing(renewed)), "private-a");
});

// HTTP

for (const transport of ["xhr_streaming", "xhr_polling"]) {
  test(`over ${transport} pusher-js does what it does over a WebSocket`, async (t) => {
    const server = await serveApps(t, [{ "client-events": true }]);
    const backend = backendOf(server);
    const by = (id, enabledTransports) => {
      const options = signing(backend, { member: { user_id: id, user_info: { id } }, user: { id } });
      return connect(t, server, { ...options, enabledTransports });
    };
    const [ann, bob] = [await by("ann", [transport]), await by("bob", ["ws"])];
    assert.equal(ann.connection.connection.transport.name, transport);
    const room = await subscribe(ann, "presence-room");
    const [added, removed] = [hear(room, "pusher:member_added"), hear(room, "pusher:member_removed")];
    const others = await subscribe(bob, "presence-room");
    assert.deepEqual(await added.next("bob"), { id: "bob", info: { id: "bob" } });
    const counts = hear(await subscribe(ann, "news"), "count");
    for (let i = 0; i < 100; i += 10) {
      await backend.triggerBatch(Array.from({ length: 10 }, (_, j) => ({ channel: "news", name: "count", data: `${i + j}` })));
    }
    assert.deepEqual(await counts.take(100, "a count"), Array.from({ length: 100 }, (_, i) => i));
    const said = hear(others, "client-said");
    room.trigger("client-said", "grüße 🎺");
    assert.equal(await said.next("the client event"), "grüße 🎺");
    const done = hear(ann, "pusher:signin_success");
    const alerts = hear(ann.user, "alert");
    ann.signin();
    await done.next("a signin_success");
    await settle(ann);
    await backend.sendToUser("ann", "alert", "x");
    assert.equal(await alerts.next("the alert"), "x");
    bob.disconnect();
    assert.equal((await removed.next("bob")).id, "bob");
  });
}
