// A Redis of a test's own, which can be stopped for a while and begun again without its memory.
//
// What is expected of servers that share it stands in the *.test.mjs files. It ends with the test.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

import { listen, within } from "./server.mjs";

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** An empty Redis on a free port of loopback. */
export async function serveRedis(t) {
  const free = createServer();
  const port = Number((await listen(free, "a free port")).split(":")[1]);
  free.close();
  const redis = new Redis(port);
  t.after(() => redis.kill());
  await redis.start();
  return redis;
}

class Redis {
  #port;
  #child;
  #exited;

  constructor(port) {
    this.#port = port;
  }

  /** What `--redis` is given. */
  get url() {
    return `redis://127.0.0.1:${this.#port}`;
  }

  /** Starts it, without what it had. */
  async start() {
    const words = ["--port", this.#port, "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp", "--dbfilename", `${this.#port}.rdb`];
    this.#child = spawn("redis-server", words.map(String), { stdio: ["ignore", "pipe", "ignore"] });
    running.add(this.#child);
    this.#exited = once(this.#child, "exit").finally(() => running.delete(this.#child));
    const lines = createInterface({ input: this.#child.stdout });
    const isReady = new Promise((resolve) => lines.on("line", (line) => line.includes("Ready to accept") && resolve()));
    await within(isReady, "redis-server is ready");
  }

  /** Ends it as a machine that fails does. */
  async kill() {
    this.#child.kill("SIGKILL");
    await within(this.#exited, "the end of redis-server");
  }

  /** Has it do nothing until it is woken: its connections stay. */
  stop() {
    this.#child.kill("SIGSTOP");
  }

  wake() {
    this.#child.kill("SIGCONT");
  }
}
