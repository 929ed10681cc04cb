// A pretend page for /fanfare.js: its clock, its WebSockets and its requests are the test's, which says what the server
// answers and when. Nothing here waits, and nothing leaves the process.
//
// The client with a browser and a server is in fanfare_js.test.mjs and fanfare_connect.test.mjs.

import { readFile } from "node:fs/promises";

const SOURCE = new URL("../../src/server/api/assets/fanfare.js", import.meta.url);
const script = await readFile(SOURCE, "utf8");

/** A page of http://page.test that has loaded the client from http://server.test. */
export class Page {
  /** Milliseconds since it was loaded; the clock of the day, and a sleep moves that alone. */
  nowMs = 0;
  dayMs = 1_790_000_000_000;
  /** What every draw gives. */
  random = 0.05;
  /** Those that were made, the newest last. */
  sockets = [];
  requests = [];
  /** What the console and `reportError` got. */
  logged = [];
  #timers = new Map();
  #lastTimer = 0;
  #listeners = new Map();

  constructor() {
    const page = this;
    const listening = {
      addEventListener: (type, listener) => this.#listeners.set(type, listener),
      removeEventListener: (type) => this.#listeners.delete(type),
    };
    this.document = { hidden: false, currentScript: { src: "http://server.test/fanfare.js" }, ...listening };
    this.global = {
      ...listening,
      document: this.document,
      location: { href: "http://page.test/a/page", origin: "http://page.test" },
      reportError: (error) => this.logged.push(error),
    };
    const values = {
      globalThis: this.global,
      document: this.document,
      WebSocket: class extends Socket {
        constructor(...words) {
          super(...words);
          page.sockets.push(this);
        }
      },
      fetch: (url, options) => this.#fetch(url, options),
      setTimeout: (act, ms) => (this.#timers.set(++this.#lastTimer, { act, at: this.nowMs + Math.max(0, ms) }), this.#lastTimer),
      clearTimeout: (timer) => this.#timers.delete(timer),
      performance: { now: () => this.nowMs },
      Date: { now: () => this.dayMs + this.nowMs, parse: Date.parse },
      Math: Object.assign(Object.create(Math), { random: () => this.random }),
      console: { error: (error) => this.logged.push(error) },
    };
    new Function(...Object.keys(values), script)(...Object.values(values));
    this.fanfare = this.global.fanfare;
  }

  get timers() {
    return this.#timers.size;
  }

  get listeners() {
    return this.#listeners.size;
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get request() {
    return this.requests.at(-1);
  }

  /** Lets promises settle. */
  async rest() {
    for (let round = 0; round < 5; round++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Moves the clock, timer by timer. */
  async run(ms) {
    const end = this.nowMs + ms;
    for (;;) {
      await this.rest();
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.nowMs = due[1].at;
      due[1].act();
    }
    this.nowMs = end;
    await this.rest();
  }

  /** Time goes by while timers stand still, as in a machine that sleeps. */
  sleep(ms) {
    this.dayMs += ms;
  }

  async wake(type, more = {}) {
    this.#listeners.get(type)?.({ type, ...more });
    await this.rest();
  }

  #fetch(url, { method = "GET", headers = {}, body, signal }) {
    return new Promise((resolve, reject) => {
      const request = { url: new URL(url), method, headers, body, isAborted: false };
      const abort = () => {
        request.isAborted = true;
        const error = new Error("aborted");
        reject(error);
        request.stream?.error(error);
      };
      signal.addEventListener("abort", abort);
      request.answer = async (status, text, fields = {}) => {
        resolve(new Response(text, { status, headers: fields }));
        await this.rest();
      };
      request.json = (value) => request.answer(200, JSON.stringify(value));
      request.fail = async () => (reject(new TypeError("Failed to fetch")), await this.rest());
      /** Answers with an event stream, and sends on it. */
      request.say = async (...envelopes) => request.write(envelopes.map((one) => `data: ${JSON.stringify(one)}\n\n`).join(""));
      request.write = async (text) => {
        if (!request.stream) resolve(new Response(new ReadableStream({ start: (stream) => (request.stream = stream) })));
        request.stream.enqueue(new TextEncoder().encode(text));
        await this.rest();
      };
      request.end = async () => (request.stream.close(), await this.rest());
      this.requests.push(request);
    });
  }
}

/** A WebSocket whose server is the test. */
class Socket {
  readyState = 0;
  isClosed = false; // by the page
  /** What the page has sent, parsed. */
  sent = [];

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text) {
    if (this.readyState !== 1) throw new Error("not open");
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 2;
    this.isClosed = true;
  }

  async open() {
    this.readyState = 1;
    this.onopen?.();
    await settle();
  }

  /** What the page has sent since the last call. */
  take() {
    return this.sent.splice(0);
  }

  async say(...envelopes) {
    for (const envelope of envelopes) this.onmessage?.({ data: JSON.stringify(envelope) });
    await settle();
  }

  async end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
    await settle();
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

export const notice = (name, channel, data, ref) => ({ event: `fanfare:${name}`, channel, ref, data });
export const refusal = (code, status, channel, ref, message = `${code}, says the server`) =>
  notice("error", channel, { code, status, message }, ref);
export const message = (channel, id, data = id) => ({ channel, id, data });

/** A token that lives for so many seconds. */
export function token(seconds, name = "u42") {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub: name, iat: 1_790_000_000, exp: 1_790_000_000 + seconds })}.c2ln`;
}
