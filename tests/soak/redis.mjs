// A Redis of the soak's own: a process that is killed, started again, stopped for a while, and told to cut its clients off.
//
// What its clients make of that is judged elsewhere.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { within } from "./world.mjs";

/** `--redis-timeout` of the nodes. */
export const TIMEOUT_MS = 5_000;

/** After a disturbance, nodes may dial again only after two seconds, and what waited has its time: so long may be refused. */
const AFTERMATH_MS = TIMEOUT_MS + 3_000;

const LOST_PAUSE_MS = 300;

/** A process on a port that does not change. */
export class Redis {
  #port;
  #host;
  #folder = mkdtempSync(join(tmpdir(), "fanfare-soak-redis-"));
  #child;
  #report;
  /** How often everything was forgotten, and by channel how often that was. */
  losses = 0;
  lossesOf = new Map();
  #disturbedUntil = 0;

  constructor(host, port, report) {
    this.#host = host;
    this.#port = port;
    this.#report = report;
  }

  /** Starts it empty, and waits until it answers. */
  async start() {
    const started = performance.now();
    const settings = ["--port", this.#port, "--bind", this.#host, "--save", "", "--appendonly", "no", "--dir", this.#folder];
    this.#child = spawn("redis-server", settings.map(String), { stdio: "ignore" });
    const ended = once(this.#child, "exit").then(([code]) => { throw new Error(`redis-server has ended with ${code}`); });
    ended.catch(() => {});
    const answers = async () => {
      while (!(await this.ask("PING").catch(() => ""))?.startsWith("+PONG")) await sleep(20);
    };
    await within(Promise.race([answers(), ended]), "the start of redis-server");
    this.#report.most("slowest start of Redis, ms", Math.round(performance.now() - started));
  }

  async kill() {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await within(ended, "the end of redis-server");
  }

  signal(name) {
    this.#child.kill(name);
  }

  end() {
    this.#child?.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Sends a command of words without spaces, and gives the beginning of the answer. */
  async ask(command) {
    const tcp = net.connect({ host: this.#host, port: this.#port });
    try {
      const answered = once(tcp, "data");
      const failed = once(tcp, "close").then(() => { throw new Error("the connection was closed"); });
      failed.catch(() => {});
      tcp.write(`${command}\r\n`);
      const [answer] = await within(Promise.race([answered, failed]), `the answer of Redis to ${command}`);
      return String(answer);
    } finally {
      tcp.destroy();
    }
  }

  /** Everything is forgotten, or one channel. */
  noteLoss(channel = undefined) {
    if (channel === undefined) this.losses++;
    else this.lossesOf.set(channel, (this.lossesOf.get(channel) ?? 0) + 1);
  }

  /** The epochs that a channel may have had. */
  epochsMax(channel) {
    return 1 + this.losses + (this.lossesOf.get(channel) ?? 0);
  }

  /** A disturbance goes on for so long from now on at most. */
  noteDisturbance(ms) {
    this.#disturbedUntil = Math.max(this.#disturbedUntil, performance.now() + ms + AFTERMATH_MS);
  }

  /** Whether nodes may refuse something at present, since Redis is or was away. */
  get isDisturbed() {
    return performance.now() < this.#disturbedUntil;
  }
}

/** What may happen to Redis and to nodes. Each ends as it has begun: all is there. */
function disturbances(redis, channels, pids) {
  const stop = async (ms, send) => {
    send("SIGSTOP");
    await sleep(ms);
    send("SIGCONT");
  };
  const restart = async (awayMs) => {
    await redis.kill();
    redis.noteLoss();
    await sleep(awayMs);
    await redis.start();
  };
  return [
    ["subscribing connections cut", 0, () => redis.ask("CLIENT KILL TYPE pubsub")],
    ["publishing connections cut", 0, () => redis.ask("CLIENT KILL TYPE normal SKIPME yes")],
    ["Redis stopped for 2 s", 2_000, () => stop(2_000, (signal) => redis.signal(signal))],
    ["script forgotten", 0, () => redis.ask("SCRIPT FLUSH")],
    ["Redis killed, back after 1 s", 1_000, () => restart(1_000)],
    ["a channel deleted", 0, async (turn) => {
      const channel = channels[turn % channels.length];
      redis.noteLoss(channel);
      await redis.ask(`DEL fanfare:{${channel}}`);
    }],
    ["a node stopped for 2 s", 2_000, (turn) => stop(2_000, (signal) => process.kill(pids[turn % pids.length], signal))],
    ["Redis killed, back after 8 s", TIMEOUT_MS + 3_000, () => restart(TIMEOUT_MS + 3_000)],
  ];
}

/** One disturbance after the other, with pauses between, until the soak ends. */
export async function disturb(world, redis, channels, pids, pauseMs) {
  const all = disturbances(redis, channels, pids);
  for (let turn = 0; !world.isOver; turn++) {
    await world.pause(pauseMs);
    if (world.isOver) return;
    const [name, ms, act] = all[turn % all.length];
    redis.noteDisturbance(ms + LOST_PAUSE_MS);
    await act(Math.floor(turn / all.length));
    redis.noteDisturbance(0);
    world.report.count(`disturbed: ${name}`);
  }
}

/** The names, for who judges whether each was tried. */
export const DISTURBANCES = disturbances(undefined, [], []).map(([name]) => `disturbed: ${name}`);
