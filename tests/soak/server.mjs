// The server from outside: its memory and its descriptors, from /proc.

import { readFile, readdir } from "node:fs/promises";

const GROWTH_KIB_MIN = 4 * 1024; // under that it is the allocator's mood
const FILLING_KIB_MIN = 8 * 1024; // in a run shorter than that, histories are still being filled
const HISTORY_MS = 300_000; // the server's --history-age
const GROWTH_SHARE = 0.1;

export class Watch {
  samples = [];
  #pid;
  #since = performance.now();

  constructor(pid) {
    this.#pid = pid;
  }

  async sample() {
    const [status, descriptors] = await Promise.all([
      readFile(`/proc/${this.#pid}/status`, "utf8"),
      readdir(`/proc/${this.#pid}/fd`),
    ]);
    return { rss: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]), fds: descriptors.length };
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
