// A fanfare server for a test, curl to publish with, and promises that do not outlive their deadline.
//
// What is expected of the server stands in the *.test.mjs files. Nothing here waits a fixed time.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { createInterface } from "node:readline";

/** Where run.sh has put an authority and a certificate for 127.0.0.1, if clients are to talk TLS. */
const TLS = process.env.FANFARE_TLS;
/** `get`, `request` and `Agent` for what the server says where it is. */
export const web = TLS ? https : http;
const DEADLINE_MS = 10_000; // far past what anything here takes; a test that hangs ends with it
const running = new Set();

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** What `promise` gives, or an error that says what did not come. */
export async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${DEADLINE_MS} ms: ${what}`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Has a listener of a test's own listen on a free port, and gives the address. */
export async function listen(listener, what) {
  listener.listen(0, "127.0.0.1");
  await within(once(listener, "listening"), what);
  return `127.0.0.1:${listener.address().port}`;
}

/** Values that come in at any time and are asked for one by one. */
export class Inbox {
  #values = [];
  #waiting = [];

  push(value) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  isEmpty() {
    return this.#values.length === 0;
  }

  next(what) {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  async take(count, what) {
    const values = [];
    while (values.length < count) values.push(await this.next(`${what}, ${values.length + 1} of ${count}`));
    return values;
  }
}

/**
 * Starts a server, on a free port of loopback if no flag says where; it is stopped when the test is over. Over TLS it has a
 * plain address beside, which is at `plain`.
 */
export async function serve(test, ...flags) {
  const words = [...flags];
  const at = words.indexOf("--listen");
  const [, address] = at < 0 ? ["--listen", "127.0.0.1:0"] : words.splice(at, 2);
  if (TLS) words.push("--tls-listen", address, "--tls-cert", `${TLS}/server.pem`, "--tls-key", `${TLS}/server.key`);
  words.push("--listen", TLS ? "127.0.0.1:0" : address);
  if (!flags.includes("--drain")) words.push("--drain", "0s");
  const child = spawn(process.env.FANFARE, words, { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let log = "";
  child.stderr.on("data", (data) => (log += data));
  const exited = once(child, "exit").finally(() => running.delete(child));
  const server = new Server(child, exited, () => log);
  test.after(() => server.stop());
  const said = new Inbox();
  createInterface({ input: child.stdout }).on("line", (line) => said.push(line));
  const next = () => Promise.race([said.next("the line that says an address"), exited.then(() => log)]);
  server.plain = addressIn(await next(), "http");
  if (TLS || flags.includes("--tls-listen")) server.tlsAddress = addressIn(await next(), "https");
  server.address = TLS ? server.tlsAddress : server.plain;
  return server;
}

function addressIn(line, scheme) {
  const match = /^listening on (https?):\/\/(127\.0\.0\.1:\d+)$/.exec(line);
  if (match?.[1] !== scheme) throw new Error(`the server did not say where it listens: ${line}`);
  return match[2];
}

class Server {
  #child;
  #exited;
  #log;

  constructor(child, exited, log) {
    this.#child = child;
    this.#exited = exited;
    this.#log = log;
  }

  /** Whether its address speaks TLS. */
  get isTls() {
    return Boolean(TLS);
  }

  http(path) {
    return `http${TLS ? "s" : ""}://${this.address}${path}`;
  }

  ws(path) {
    return `ws${TLS ? "s" : ""}://${this.address}${path}`;
  }

  /** Sends SIGHUP: the server reads its configuration file again. */
  reload() {
    this.#child.kill("SIGHUP");
  }

  /** Sends SIGTERM and gives the exit status, or throws what the server said if it panicked. */
  async stop() {
    this.#child.kill("SIGTERM");
    const [code, signal] = await within(this.#exited, "the end of the server after SIGTERM");
    if (this.#log().includes("panicked")) throw new Error(this.#log());
    return code ?? signal;
  }

  /** Runs curl against a path and gives the status and the body. */
  curl(path, ...words) {
    return this.#curl(path, words, "");
  }

  /** `curl -d text`: what the answer says, as an object. */
  async publish(path, text) {
    return this.#published(await this.curl(path, "-d", text));
  }

  /** `curl --data-binary @-` with a media type: what the answer says, as an object. */
  async publishAs(mediaType, path, data) {
    const words = ["-H", `Content-Type: ${mediaType}`, "--data-binary", "@-"];
    return this.#published(await this.#curl(path, words, data));
  }

  async #curl(path, words, input) {
    const all = ["-sS", "--noproxy", "*", "--max-time", "10", "-w", "\n%{http_code}", ...words, this.http(path)];
    const printed = await new Promise((resolve, reject) => {
      const curl = execFile("curl", all, (error, stdout) => (error ? reject(error) : resolve(stdout)));
      curl.stdin.on("error", () => {}); // without --data-binary it may be done before this is
      curl.stdin.end(input);
    });
    const end = printed.lastIndexOf("\n");
    return { status: Number(printed.slice(end + 1)), body: printed.slice(0, end) };
  }

  #published({ status, body }) {
    if (status !== 200) throw new Error(`publishing was answered with ${status}: ${body}`);
    return JSON.parse(body);
  }
}
