// What every actor works with: connections that are counted, publishing by POST, and time that ends.
//
// Nothing is judged here but that a well-behaved client is served.

import { once, setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import WebSocket from "ws";

import { KEY } from "./proofs.mjs";
import { READY, dial, resettable, url, web } from "./road.mjs";

export const PATIENCE_MS = 30_000; // far past what a served client waits, on a busy machine too

/** The ways to subscribe. */
export const FORMS = [
  { name: "raw", protocols: [], isEnvelope: false, deflate: false },
  { name: "envelope", protocols: ["fanfare.v1.json"], isEnvelope: true, deflate: false },
  { name: "raw deflated", protocols: [], isEnvelope: false, deflate: true },
  { name: "envelope deflated", protocols: ["fanfare.v1.json"], isEnvelope: true, deflate: true },
];
export const [RAW, ENVELOPE] = FORMS;

/** What `promise` gives, or an error that says what did not come. */
export async function within(promise, what, ms = PATIENCE_MS) {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).then(
    () => { throw new Error(`not within ${ms} ms: ${what}`); },
    () => {},
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** Resolves when nothing more comes from a TCP connection, or goes. */
export function closed(tcp) {
  return tcp.closed ? Promise.resolve() : new Promise((resolve) => tcp.once("close", resolve));
}

export class World {
  /** Aborted when the actors are to come to an end. */
  over;
  #open = new Set();

  constructor(address, report, over) {
    this.address = address;
    this.report = report;
    this.over = over;
    setMaxListeners(0, over);
    const [host, port] = address.split(":");
    this.endpoint = { host, port: Number(port) };
  }

  get isOver() {
    return this.over.aborted;
  }

  /** Waits, less long if the soak ends. */
  async pause(ms) {
    await sleep(ms, undefined, { signal: this.over }).catch(() => {});
  }

  /** Waits for what may no longer come when the soak ends; or until then. */
  async orOver(promise, what) {
    const done = new AbortController();
    const over = new Promise((resolve) => {
      if (this.isOver) resolve();
      this.over.addEventListener("abort", resolve, { signal: done.signal });
    });
    try {
      await within(Promise.race([promise, over]), what);
    } finally {
      done.abort();
    }
  }

  /** One turn a period until the soak ends. Who is late does not catch up in a burst. */
  async *every(period) {
    let next = performance.now();
    for (let turn = 1; !this.isOver; turn++) {
      yield turn;
      next = Math.max(next + period, performance.now());
      await this.pause(next - performance.now());
    }
  }

  /**
   * Subscribes and gives the open client. `onMessage(data, isBinary)` has every message, the first too. `mayClose(code)`
   * says with which codes the server may end it.
   */
  async subscribe(who, path, form, onMessage, mayClose = () => false) {
    const options = { perMessageDeflate: form.deflate, headers: form.headers, ...resettable };
    const socket = new WebSocket(url("ws", this.address, path), form.protocols, options);
    const client = { socket, tcp: undefined, isLeaving: false, closed: undefined };
    this.#open.add(client);
    socket.on("message", onMessage);
    socket.on("upgrade", (response) => (client.tcp = response.socket));
    let error = "";
    socket.on("error", ({ message }) => (error = `: ${message}`));
    client.closed = once(socket, "close").then(([code]) => {
      this.#open.delete(client);
      this.report.count(`closed ${code}`);
      if (!client.isLeaving && !mayClose(code)) this.report.fault("closed", `${who} on ${path} with ${code}${error}`);
      return code;
    });
    const opened = new Promise((resolve) => socket.once("open", resolve));
    try {
      await within(Promise.race([opened, client.closed]), `the handshake of ${who}`);
    } catch (error) {
      this.#open.delete(client);
      throw error;
    }
    this.report.count("connections");
    if (form.deflate !== (socket.extensions === "permessage-deflate")) {
      this.report.fault("wrong handshake", `${who}: the extensions are "${socket.extensions}"`);
    }
    return client;
  }

  /** Ends a client as it should be: Close frames both ways. */
  async leave(client) {
    client.isLeaving = true;
    client.socket.resume();
    client.socket.close(1000);
    await within(client.closed, "the end of a closed connection");
  }

  /** Ends a client with a TCP reset. */
  async reset(client) {
    client.isLeaving = true;
    client.tcp.resetAndDestroy();
    await within(client.closed, "the end of a reset connection");
  }

  /** Ends all that are still there. */
  async leaveAll() {
    await Promise.all([...this.#open].map((client) => this.leave(client)));
  }

  /** A bare TCP connection, for who does not keep the rules. Errors on it are expected. */
  async dial() {
    const tcp = dial(this.endpoint);
    tcp.on("error", () => {});
    await within(Promise.race([new Promise((resolve) => tcp.once(READY, resolve)), closed(tcp)]), "a TCP connection");
    this.report.count("connections");
    return tcp;
  }
}

/** A keep-alive connection that publishes, one message after the other. */
export class Poster {
  #world;
  #agent = new web.Agent({ keepAlive: true, maxSockets: 1 });

  constructor(world) {
    this.#world = world;
  }

  /** Publishes a text, or a Buffer as binary; gives the answer, or undefined after a fault. */
  async post(path, body) {
    const type = typeof body === "string" ? "text/plain" : "application/octet-stream";
    const answer = await within(this.#send(path, type, body), `the answer to POST ${path}`);
    if (answer.status !== 200) {
      this.#world.report.fault("refused", `POST ${path}: ${answer.status} ${answer.text}`);
      return undefined;
    }
    this.#world.report.count("published by POST");
    return JSON.parse(answer.text);
  }

  #send(path, type, body) {
    return new Promise((resolve, reject) => {
      const headers = { "Content-Type": type, "Content-Length": Buffer.byteLength(body), Authorization: `Bearer ${KEY}` };
      const options = { ...this.#world.endpoint, path, method: "POST", agent: this.#agent, headers };
      const request = web.request(options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (data) => (text += data));
        response.on("end", () => resolve({ status: response.statusCode, text }));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  end() {
    this.#agent.destroy();
  }
}
