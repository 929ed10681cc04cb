// The server from outside: its memory and its descriptors, from /proc.

import { readFile, readdir, readlink } from "node:fs/promises";

const GROWTH_KIB_MIN = 4 * 1024; // under that it is the allocator's mood
const FILLING_KIB_MIN = 8 * 1024; // in a run shorter than that, histories are still being filled
const HISTORY_MS = 300_000; // the server's --history-age
const GROWTH_SHARE = 0.1;

export class Watch {
  samples = [];
  #pid;
  #backendPorts;
  #since = performance.now();

  /** `backendPorts`: connections to them are kept or dialled again, so they are counted by themselves. */
  constructor(pid, backendPorts) {
    this.#pid = pid;
    this.#backendPorts = backendPorts;
  }

  async sample() {
    const [status, descriptors, backend] = await Promise.all([
      readFile(`/proc/${this.#pid}/status`, "utf8"),
      readdir(`/proc/${this.#pid}/fd`),
      this.#backendSockets(),
    ]);
    const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/${this.#pid}/fd/${fd}`).catch(() => "")));
    const toBackend = targets.filter((target) => backend.has(target)).length;
    return { rss: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]), fds: descriptors.length - toBackend, toBackend };
  }

  /** What the descriptors of connections to the backend are links to. */
  async #backendSockets() {
    const lines = (await readFile(`/proc/${this.#pid}/net/tcp`, "utf8")).trim().split("\n").slice(1);
    const fields = lines.map((line) => line.trim().split(/\s+/));
    const ports = this.#backendPorts.map((port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`);
    return new Set(fields.filter(([, , remote]) => ports.includes(remote.slice(-5))).map((each) => `socket:[${each[9]}]`));
  }

  /** Samples once a period, until the world ends. */
  async follow(world, period) {
    for await (const _ of world.every(period)) this.samples.push(await this.sample());
  }

  quarter(index) {
    const length = this.samples.length / 4;
    return this.samples.slice(Math.floor(index * length), Math.floor((index + 1) * length));
  }

  /** The medians of the second and of the last quarter in KiB, and how much more the last may have. */
  growth() {
    const [before, after] = [1, 3].map((index) => median(this.quarter(index).map(({ rss }) => rss)));
    const isFilling = performance.now() - this.#since < 2 * HISTORY_MS;
    return { before, after, bound: Math.max(isFilling ? FILLING_KIB_MIN : GROWTH_KIB_MIN, before * GROWTH_SHARE) };
  }

  /** The least, the median and the most of `rss` or `fds`. */
  range(field) {
    const values = this.samples.map((sample) => sample[field]);
    return [Math.min(...values), median(values), Math.max(...values)];
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
