// A Redis of the soak's own: a process that is killed, started again, stopped for a while, and told to cut its clients off.
//
// What its clients make of that is judged elsewhere.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { within } from "./world.mjs";

/** `--redis-timeout` of the nodes. */
export const TIMEOUT_MS = 5_000;

/** After a disturbance, nodes dial again within two seconds, and what waited has its time: so long may be refused, on a busy machine. */
const AFTERMATH_MS = TIMEOUT_MS + 5_000;

/** So long before a disturbance something may have been answered that not all nodes have heard when it begins. */
const IN_FLIGHT_MS = 1_000;

const STOP_MS = 2_000;
const DOWN_AFTER_MS = 2_500;
const FAILOVER_TIMEOUT_MS = 5_000;
const FAILOVER_MS_MAX = 90_000; // a Sentinel whose machine is late does nothing for 30 s, and then tries again

/** A process on a port that does not change. */
class Process {
  port;
  #host;
  #program;
  #settings;
  #child;

  constructor(host, port, program, settings) {
    this.#host = host;
    this.port = port;
    this.#program = program;
    this.#settings = settings;
  }

  /** Starts it, with settings besides, and waits until it answers. */
  async start(...more) {
    this.#child = spawn(this.#program, [...this.#settings, ...more].map(String), { stdio: "ignore" });
    const ended = once(this.#child, "exit").then(([code]) => { throw new Error(`${this.#program} has ended with ${code}`); });
    ended.catch(() => {});
    const answers = async () => {
      while (!(await this.ask("PING").catch(() => "")).startsWith("+PONG")) await sleep(20);
    };
    await within(Promise.race([answers(), ended]), `the start of ${this.#program}`);
  }

  async kill() {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await within(ended, `the end of ${this.#program}`);
  }

  signal(name) {
    this.#child?.kill(name);
  }

  /** Sends a command of words without spaces, and gives the beginning of the answer. */
  async ask(command) {
    const tcp = net.connect({ host: this.#host, port: this.port });
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
}

/** One server, and what it has made its clients suffer. */
export class Redis {
  host;
  folder = mkdtempSync(join(tmpdir(), "fanfare-soak-redis-"));
  master;
  report;
  /** How often everything was forgotten, and by channel how often that was. */
  losses = 0;
  lossesOf = new Map();
  #disturbedUntil = 0;
  /** When everything was forgotten: from when on, and until when. */
  #forgetting = [];

  constructor(host, port, report) {
    this.host = host;
    this.report = report;
    this.master = this.server(port);
  }

  /** A server that keeps nothing in files. */
  server(port) {
    const keepsNothing = ["--save", "", "--appendonly", "no", "--dir", this.folder];
    const asReplica = ["--replica-announce-ip", this.host, "--repl-diskless-sync-delay", "0"];
    return new Process(this.host, port, "redis-server", ["--port", port, "--bind", this.host, ...keepsNothing, ...asReplica]);
  }

  /** Starts it empty. */
  async start() {
    const started = performance.now();
    await this.master.start();
    this.report.most("slowest start of Redis, ms", Math.round(performance.now() - started));
  }

  /** How it is killed, by name. */
  kills() {
    const [short, long] = [1_000, TIMEOUT_MS + 3_000];
    return [["Redis killed, back after 1 s", () => this.#restart(short)], ["Redis killed, back after 8 s", () => this.#restart(long)]];
  }

  /** What has to happen to clients because it is away for longer than they wait. */
  get consequences() {
    return ["told paused", "told resumed", "POST answered with 503", "/readyz answered with 503"];
  }

  /** Kills it, and starts it again after a while. */
  async #restart(awayMs) {
    await this.master.kill();
    this.noteLoss();
    await sleep(awayMs);
    await this.start();
  }

  ask(command) {
    return this.master.ask(command);
  }

  signal(name) {
    this.master.signal(name);
  }

  end() {
    this.master.signal("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
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

  /** A disturbance begins, and is over when `act` is. */
  async disturb(act) {
    const [from, lossesBefore] = [performance.now(), this.losses];
    this.#disturbedUntil = Infinity;
    await act();
    this.#disturbedUntil = performance.now() + AFTERMATH_MS;
    if (this.losses > lossesBefore) this.#forgetting.push({ from: from - IN_FLIGHT_MS, until: this.#disturbedUntil });
  }

  /** Whether what was answered then may have been forgotten before all had heard it. */
  mayHaveForgotten(at) {
    return this.#forgetting.some(({ from, until }) => from < at && at < until);
  }

  /** Whether nodes may refuse something at present, since Redis is or was away. */
  get isDisturbed() {
    return performance.now() < this.#disturbedUntil;
  }
}

/** A master with a replica and a Sentinel: the port is the Sentinel's. Where the master is killed, the replica takes its place. */
export class Watched extends Redis {
  #replica;
  #sentinel;

  constructor(host, port, report, [masterPort, replicaPort]) {
    super(host, masterPort, report);
    this.#replica = this.server(replicaPort);
    const file = join(this.folder, "sentinel.conf");
    writeFileSync(file, [
      `port ${port}`, `bind ${host}`, `dir ${this.folder}`, `sentinel monitor soaked ${host} ${masterPort} 1`,
      `sentinel down-after-milliseconds soaked ${DOWN_AFTER_MS}`, `sentinel failover-timeout soaked ${FAILOVER_TIMEOUT_MS}`, "",
    ].join("\n"));
    this.#sentinel = new Process(host, port, "redis-sentinel", [file]);
  }

  async start() {
    await super.start();
    await this.#follow();
    await this.#sentinel.start();
    await within(this.#knows("num-slaves", "1"), "the Sentinel knows the replica");
  }

  kills() {
    return [["master killed, replica promoted", () => this.#failOver()], ["master killed again", () => this.#failOver()]];
  }

  /** A failover may be quicker than they wait. */
  get consequences() {
    return [];
  }

  /** Kills the master, and waits until the replica is in its place; the old one comes back as the replica of that. */
  async #failOver() {
    await this.master.kill();
    this.noteLoss();
    [this.master, this.#replica] = [this.#replica, this.master];
    const started = performance.now();
    await within(this.#knows("port", String(this.master.port)), "the failover", FAILOVER_MS_MAX);
    this.report.most("slowest failover, ms", Math.round(performance.now() - started));
    await this.#follow();
  }

  signal(name) {
    // Stopped for long enough it is failed over, on a machine that is late: the epoch may change.
    if (name === "SIGSTOP") this.noteLoss();
    super.signal(name);
  }

  end() {
    this.#sentinel.signal("SIGKILL");
    this.#replica.signal("SIGKILL");
    super.end();
  }

  async #follow() {
    await this.#replica.start("--replicaof", this.host, this.master.port);
    const isSynced = async () => {
      while (!(await this.#replica.ask("INFO replication")).includes("master_link_status:up")) await sleep(50);
    };
    await within(isSynced(), "the replica is in step");
  }

  /** Resolves when the Sentinel says so of its master. */
  async #knows(field, value) {
    for (;;) {
      const words = (await this.#sentinel.ask("SENTINEL MASTER soaked")).split("\r\n");
      if (words[words.indexOf(field) + 2] === value) return;
      await sleep(50);
    }
  }
}

/** What may happen to Redis and to nodes. Each ends as it has begun: all is there. */
function disturbances(redis, channels, pids) {
  const stop = async (send) => {
    send("SIGSTOP");
    await sleep(STOP_MS);
    send("SIGCONT");
  };
  const [killed, killedAgain] = redis.kills();
  return [
    ["subscribing connections cut", () => redis.ask("CLIENT KILL TYPE pubsub")],
    ["publishing connections cut", () => redis.ask("CLIENT KILL TYPE normal SKIPME yes")],
    ["Redis stopped for 2 s", () => stop((signal) => redis.signal(signal))],
    ["script forgotten", () => redis.ask("SCRIPT FLUSH")],
    killed,
    ["a channel deleted", async (turn) => {
      const channel = channels[turn % channels.length];
      redis.noteLoss(channel);
      await redis.ask(`DEL fanfare:{${channel}}`);
    }],
    ["a node stopped for 2 s", (turn) => stop((signal) => process.kill(pids[turn % pids.length], signal))],
    killedAgain,
  ];
}

/** One disturbance after the other, with pauses between, until the soak ends. */
export async function disturb(world, redis, channels, pids, pauseMs) {
  const all = disturbances(redis, channels, pids);
  for (let turn = 0; !world.isOver; turn++) {
    await world.pause(pauseMs);
    if (world.isOver) return;
    const [name, act] = all[turn % all.length];
    await redis.disturb(() => act(Math.floor(turn / all.length)));
    world.report.count(`disturbed: ${name}`);
  }
}

/** What has to have happened: each disturbance, and what follows for clients. */
export function due(redis) {
  return [...disturbances(redis, [], []).map(([name]) => `disturbed: ${name}`), ...redis.consequences];
}
