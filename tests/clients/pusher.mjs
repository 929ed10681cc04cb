// A server with Pusher apps for a test, pusher-js to reach it, and the application's own server, which signs for its users.
//
// What is expected of them stands in the *.test.mjs files. Nothing here waits a fixed time.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import Backend from "pusher";
import Pusher from "pusher-js";
import WebSocket from "ws";

import { Inbox, listen, serve, within } from "./server.mjs";

/** An app's credentials. */
export const APP = { id: "1", key: "app-key", secret: "app-secret" };
/** What encrypted channels are encrypted with; the server never has it. */
const MASTER_KEY = Buffer.alloc(32, "k").toString("base64");
/** What the first message of every connection looks like. */
export const ESTABLISHED = /^\{"event":"pusher:connection_established","data":"\{\\"socket_id\\":\\"(\d+\.\d+)\\",\\"activity_timeout\\":[1-9]\d*\}"\}$/;

/** The WebSockets of pusher-js. */
const sockets = new Set();
const { createWebSocket } = Pusher.Runtime;
Pusher.Runtime.createWebSocket = function (url) {
  const socket = createWebSocket.call(this, url);
  sockets.add(socket);
  return socket;
};

// Its WebSocket for node begins a timer of 30 s when it is told to close what is closed, which would keep the process.
test.after(() => sockets.forEach(({ _closeTimer }) => clearTimeout(_closeTimer)));

/** Starts a server with these apps, each with the credentials of `APP` where it does not say others. */
export async function serveApps(t, apps = [{}], ...flags) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "fanfare.toml");
  const write = (apps) => writeFile(file, apps.map(appTable).join("\n"));
  await write(apps);
  const server = await serve(t, "--config", file, ...flags);
  /** Replaces the apps, by SIGHUP. */
  server.reloadApps = async (apps) => {
    await write(apps);
    server.reload();
  };
  return server;
}

/** An `[[app]]` table of the configuration file. */
function appTable(app) {
  const { secret, ...rest } = { ...APP, ...app };
  const settings = rest.secrets ? rest : { ...rest, secret };
  return ["[[app]]", ...Object.entries(settings).map(([key, value]) => `${key} = ${toml(value)}`), ""].join("\n");
}

function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{ ${Object.entries(value).map(([key, value]) => `${key} = ${toml(value)}`).join(", ")} }`;
}

/** npm's `pusher` for an app: what the application's server publishes and signs with. */
export function backendOf(server, app = {}) {
  const { id: appId, key, secret } = { ...APP, ...app };
  const { hostname: host, port } = new URL(server.http("/"));
  return new Backend({ appId, key, secret, host, port, useTLS: Boolean(server.isTls), encryptionMasterKeyBase64: MASTER_KEY, timeout: 10_000 });
}

/** The options of pusher-js that say where a server is. */
export function addressFor(server) {
  const { hostname: host, port } = new URL(server.http("/"));
  const ports = { wsPort: port, wssPort: port, httpPort: port, httpsPort: port };
  return { cluster: "", forceTLS: Boolean(server.isTls), wsHost: host, httpHost: host, ...ports };
}

/** pusher-js for `APP`; over WebSocket if the options do not say otherwise. It is disconnected when the test is over. */
export function clientOf(t, server, options = {}, key = APP.key) {
  const pusher = new Pusher(key, {
    ...addressFor(server),
    enabledTransports: ["ws"], // with forceTLS it is wss
    ...options,
  });
  pusher.faults = hear(pusher.connection, "error");
  t.after(() => pusher.disconnect());
  return pusher;
}

/** pusher-js for `APP` once it is connected. */
export async function connect(t, server, options) {
  const pusher = clientOf(t, server, options);
  await reaches(pusher, "connected");
  return pusher;
}

/** Waits until the connection is in one of these states, and says in which. */
export async function reaches(pusher, ...states) {
  if (states.includes(pusher.connection.state)) return pusher.connection.state;
  const reached = new Promise((resolve) => {
    const onChange = ({ current }) => {
      if (!states.includes(current)) return;
      pusher.connection.unbind("state_change", onChange);
      resolve(current);
    };
    pusher.connection.bind("state_change", onChange);
  });
  return within(reached, `pusher-js in the state ${states.join(" or ")}; it is ${pusher.connection.state}`);
}

/** Whether pusher-js tries to connect, or is going to. */
export function isRetrying({ connection }) {
  return Boolean(connection.retryTimer?.isRunning() || connection.runner);
}

/** The data of an event of a channel, a user, a watchlist or a connection, as it comes. */
export function hear(emitter, event) {
  const inbox = new Inbox();
  emitter.bind(event, (data) => inbox.push(data));
  return inbox;
}

/** Subscribes, and waits for the server's word. */
export async function subscribe(pusher, name) {
  const channel = pusher.subscribe(name);
  await within(new Promise((resolve, reject) => {
    channel.bind("pusher:subscription_succeeded", resolve);
    channel.bind("pusher:subscription_error", (error) => reject(new Error(JSON.stringify(error))));
  }), `a subscription to ${name}`);
  return channel;
}

/** Subscribes, and gives what the channel is told: that it is refused. */
export async function refused(pusher, name) {
  const channel = pusher.subscribe(name);
  channel.bind("pusher:subscription_succeeded", () => assertNever(`${name} was subscribed to`));
  return hear(channel, "pusher:subscription_error").next(`a refused subscription to ${name}`);
}

function assertNever(what) {
  throw new Error(what);
}

/** Waits until all that the server sent so far has come, and what was sent to it has been done. */
export async function settle(pusher) {
  const pong = hear(pusher, "pusher:pong");
  pusher.send_event("pusher:ping", {});
  await pong.next("a pusher:pong");
}

/** The data of the `pusher:error` messages that pusher-js gets on an established connection. */
export function errorsOf(pusher) {
  return hear(pusher, "pusher:error");
}

/** Options of pusher-js that sign without a server of the application: for this member, and as this user. */
export function signing(backend, { member, user } = {}) {
  return {
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => {
        const isPresence = channelName.startsWith("presence-");
        done(null, backend.authorizeChannel(socketId, channelName, isPresence ? member : undefined));
      },
    },
    userAuthentication: {
      customHandler: ({ socketId }, done) => done(null, backend.authenticateUser(socketId, user)),
    },
  };
}

/**
 * The endpoints of an application's server that sign, as its manual has them: options of pusher-js that use them. Who
 * asks says so in the parameter `name`, where a session would. Pages of other origins may ask.
 */
export async function endpoints(t, backend) {
  const application = createServer(async (request, response) => {
    let form = "";
    for await (const part of request) form += part;
    const { socket_id, channel_name, name } = Object.fromEntries(new URLSearchParams(form));
    const member = channel_name?.startsWith("presence-") ? { user_id: name, user_info: { name } } : undefined;
    const answer = request.url === "/user"
      ? backend.authenticateUser(socket_id, { id: name, name })
      : backend.authorizeChannel(socket_id, channel_name, member);
    response.writeHead(200, { "Access-Control-Allow-Origin": "*" }).end(JSON.stringify(answer));
  });
  const address = await listen(application, "the application's server");
  t.after(() => application.close());
  t.after(() => application.closeAllConnections());
  return (name) => ({
    channelAuthorization: { endpoint: `http://${address}/channel`, transport: "ajax", params: { name } },
    userAuthentication: { endpoint: `http://${address}/user`, transport: "ajax", params: { name } },
  });
}

/** A WebSocket whose messages a test reads and writes itself, to see them as they are. */
export async function wire(t, server, path = `/app/${APP.key}?protocol=7&client=test&version=1.0.0`, options = {}) {
  const socket = new WebSocket(server.ws(path), { perMessageDeflate: false, ...options });
  t.after(() => socket.terminate());
  const texts = new Inbox();
  socket.on("message", (data, isBinary) => texts.push(isBinary ? data : data.toString()));
  const closed = new Promise((resolve) => {
    socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  await within(once(socket, "open"), `an open WebSocket at ${path}`);
  return new Wire(socket, texts, closed);
}

class Wire {
  socket;
  texts;
  #closed;

  constructor(socket, texts, closed) {
    this.socket = socket;
    this.texts = texts;
    this.#closed = closed;
  }

  /** The identifier in the first message. */
  async socketId() {
    return ESTABLISHED.exec(await this.text())[1];
  }

  send(message) {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The next message, as it was sent. */
  text() {
    return this.texts.next("a message");
  }

  /** The next message, as an object. */
  async message() {
    return JSON.parse(await this.text());
  }

  /** The messages up to the answer to a ping, as objects: everything that was sent so far. */
  async rest() {
    this.send({ event: "pusher:ping", data: {} });
    const messages = [];
    for (;;) {
      const message = await this.message();
      if (message.event === "pusher:pong") return messages;
      messages.push(message);
    }
  }

  /** The code and the reason of the close. */
  closed() {
    return within(this.#closed, "a close");
  }
}
