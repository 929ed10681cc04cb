// Several nodes of one Redis that is killed, stopped and cut off: node nodes.mjs REDIS_PORTS MINUTES ADDRESS PID [ADDRESS PID …]
//
// REDIS_PORTS is that of a server, or those of a Sentinel, a master and a replica, with commas.
// Which actors there are, and how it is judged. Exits 1 if a reader misses something and is not told, hears something twice
// or out of order, if an identifier has two payloads on any nodes, if something is refused while Redis is well, or if a node
// leaks; and says what. tests/soak.sh starts the nodes and calls this, which starts Redis: after the nodes, which wait for it.

import { setTimeout as sleep } from "node:timers/promises";

import { Common } from "./common.mjs";
import { idle } from "./healthy.mjs";
import { Feed, Gathering } from "./gathering.mjs";
import { dawdle } from "./hostile.mjs";
import { Report } from "./ledger.mjs";
import { Redis, Watched, disturb, due } from "./redis.mjs";
import { Watch } from "./server.mjs";
import { Nodes, Publisher, Wanderer, askReady, begin, settleAt } from "./spread.mjs";
import { World, within } from "./world.mjs";

const REDIS_HOST = "127.0.0.2"; // no outgoing connection takes a port of it while Redis is away
const CHANNELS = ["nodes-a", "nodes-b", "nodes-c"];
const POSTERS = 3; // a channel
const POST_MS = 100;
const COMMANDERS = 1;
const COMMAND_MS = 150;
const WANDERERS = 4; // a channel
const WANDER_MS = 250;
const SIGN_MS = 100;
const MEMBERS = 4;
const MEMBER_MS = 500;
const IDLE_COUNT = 10; // a node
const DAWDLERS = 2; // a node
const READY_MS = 500;
const SAMPLE_MS = 2_000;
const PROGRESS_MS = 60_000;
const PAUSE_MS = 3_000; // between disturbances: with it, each is tried in a minute
const LONG_PAUSE_MS = 20_000; // where there is time: long enough that nothing may be refused any more
const DESCRIPTORS_BACK_SECONDS_MAX = 60;

async function main(redisPorts, minutes, ...nodesAndPids) {
  const report = new Report();
  const ending = new AbortController();
  const [redisPort, ...watched] = redisPorts;
  const redis = watched.length > 0 ? new Watched(REDIS_HOST, redisPort, report, watched) : new Redis(REDIS_HOST, redisPort, report);
  const pids = nodesAndPids.filter((_, i) => i % 2 === 1).map(Number);
  const worlds = nodesAndPids.filter((_, i) => i % 2 === 0).map((address) => new World(address, report, ending.signal));
  worlds.forEach((world) => Object.assign(world, { streams: new Set(), isLeaving: false }));
  const watches = pids.map((pid) => new Watch(pid, redisPorts));
  try {
    await redis.start();
    const nodes = new Nodes(worlds, redis, report);
    await within(Promise.all(worlds.map(ready)), "the nodes are ready");
    const before = await Promise.all(watches.map((watch) => watch.sample()));
    console.log(`soak: ${minutes} minutes against ${worlds.length} nodes: ${before.map(text).join("; ")}`);
    await run(nodes, watches, pids, minutes, ending);
    await judgeProcesses(watches, before, report);
    summarise(watches, report);
  } finally {
    redis.end();
  }
  process.exit(report.faults.size === 0 ? 0 : 1);
}

async function run(nodes, watches, pids, minutes, ending) {
  const { worlds, redis, report } = nodes;
  const commons = CHANNELS.map((channel) => new Common(channel, report));
  const stage = await setUp(nodes, commons);
  const timer = setTimeout(() => ending.abort(), minutes * 60_000);
  const pauseMs = minutes > 1 ? LONG_PAUSE_MS : PAUSE_MS;
  const actors = [
    ...stage.actors(),
    disturb(worlds[0], redis, CHANNELS, pids, pauseMs),
    ...worlds.map((world) => askReady(nodes, world, READY_MS)),
    ...worlds.flatMap((world) => Array.from({ length: DAWDLERS }, (_, lane) => dawdle(world, lane))),
    ...watches.map((watch) => watch.follow(worlds[0], SAMPLE_MS)),
    tell(worlds[0], watches, report),
  ];
  try {
    await Promise.all(actors);
  } catch (error) {
    report.fault("stopped", `${error.stack} ${error.cause ?? ""}`);
  } finally {
    clearTimeout(timer);
    ending.abort();
  }
  await Promise.allSettled(actors);
  await judgeDeliveries(stage, commons, redis, report);
  stage.publishers.forEach((publisher) => publisher.end());
  worlds.forEach((world) => {
    world.isLeaving = true;
    world.streams.forEach((request) => request.destroy());
  });
  await Promise.all(worlds.map((world) => world.leaveAll()));
}

/** Everybody that has to hear everything, before anything is published. */
async function setUp(nodes, commons) {
  const beginnings = await Promise.all(commons.map((common) => begin(nodes.worlds[0], common)));
  for (const [at, world] of nodes.worlds.entries()) await settleAt(nodes, world, at, commons, beginnings);
  const checks = [];
  for (const world of nodes.worlds) checks.push(await idle(world, IDLE_COUNT, ["fanfare:paused", "fanfare:resumed", "fanfare:gap"]));
  const lanes = POSTERS + COMMANDERS;
  const publishers = commons.flatMap((common) => Array.from({ length: lanes }, (_, lane) => new Publisher(nodes, common, lane)));
  const last = commons.map((common) => new Publisher(nodes, common, lanes));
  const feed = new Feed(nodes);
  await feed.open();
  const gathering = new Gathering(nodes);
  await gathering.open();
  const wanderers = commons.flatMap((common, i) => Array.from({ length: WANDERERS }, (_, lane) => new Wanderer(nodes, common, lane, beginnings[i])));
  const actors = () => [
    ...publishers.map((publisher, i) => (i % lanes < POSTERS ? publisher.publish(POST_MS, false) : publisher.publish(COMMAND_MS, true))),
    ...wanderers.map((wanderer) => wanderer.wander(WANDER_MS)),
    feed.publish(SIGN_MS),
    ...Array.from({ length: MEMBERS }, (_, lane) => gathering.come(lane, MEMBER_MS)),
  ];
  return { actors, publishers: [...publishers, ...last], last, wanderers, checks: [...checks, () => feed.check(), () => gathering.check()] };
}

/** A last publication to each channel is heard by all, and by it they have heard, or were told of, all before. */
async function judgeDeliveries(stage, commons, redis, report) {
  for (const [i, common] of commons.entries()) {
    const id = await stage.last[i].publishOnce();
    if (id === undefined) continue;
    const mine = stage.wanderers.filter((wanderer) => wanderer.common === common);
    const arrived = common.readers.map((place) => place.reached(id));
    await Promise.all(mine.map((wanderer) => wanderer.catchUp(id)));
    await within(Promise.all(arrived), "what was published last").catch(() => {});
    common.readers.forEach((place) => place.finish(id));
    report.count("publications", common.published);
    report.count("epochs", common.epochs);
    if (common.epochs > redis.epochsMax(common.channel)) {
      report.fault("new epoch", `${common.epochs} of ${common.channel}, and Redis has lost it ${redis.epochsMax(common.channel) - 1} times`);
    }
  }
  await Promise.all(stage.checks.map((check) => check()));
  const served = ["gaps of a new epoch", "stays of wanderers", "published by POST", "published by WebSocket", "published by signed requests", "stays of members", "/readyz answered with 200"];
  for (const each of [...due(redis), ...served]) {
    if (report.of(each) === 0) report.fault("not tried", `"${each}" never happened`);
  }
}

async function ready(world) {
  while ((await fetch(`http://${world.address}/readyz`).then((response) => response.status, () => 0)) !== 200) await sleep(50);
}

/** A line a minute. */
async function tell(world, watches, report) {
  for await (const turn of world.every(PROGRESS_MS)) {
    if (turn === 1) continue;
    const faults = [...report.faults.values()].reduce((sum, count) => sum + count, 0);
    const samples = await Promise.all(watches.map((watch) => watch.sample()));
    console.log(`soak: minute ${turn - 1}: ${report.of("deliveries checked")} deliveries checked, ${faults} faults, ${samples.map(text).join("; ")}`);
  }
}

async function judgeProcesses(watches, before, report) {
  for (const [at, watch] of watches.entries()) {
    let after = await watch.sample();
    for (let second = 0; second < DESCRIPTORS_BACK_SECONDS_MAX && after.fds > before[at].fds; second++) {
      await sleep(1_000);
      after = await watch.sample();
    }
    console.log(`soak: all clients of node ${at} have gone: ${text(after)}`);
    if (after.fds > before[at].fds) report.fault("descriptors leaked", `node ${at}: ${before[at].fds} at the start, ${after.fds} at the end`);
    const { before: second, after: last, bound } = watch.growth();
    if (last > second + bound) report.fault("memory grew", `node ${at}: from ${second} to ${last} KiB; ${Math.round(bound)} more is the bound`);
  }
}

function summarise(watches, report) {
  console.log("soak: counts");
  for (const [what, count] of [...report.counts].sort()) console.log(`  ${String(count).padStart(10)}  ${what}`);
  for (const [at, watch] of watches.entries()) {
    console.log(`soak: node ${at}: RSS in KiB, least, median, most: ${watch.range("rss").join(", ")}; descriptors: ${watch.range("fds").join(", ")}`);
  }
  for (const [kind, count] of report.faults) console.log(`soak: FAULT ${kind}: ${count}`);
}

function text({ rss, fds }) {
  return `${rss} KiB resident, ${fds} descriptors`;
}

const [ports, minutes, ...rest] = process.argv.slice(2);
await main(ports.split(",").map(Number), Number(minutes), ...rest);
