// Everything at once against a server that runs: node soak.mjs ADDRESS PID MINUTES BACKEND_PORT
//
// Which actors there are, how many, and how it is judged. Exits 1 if anything was lost, doubled, reordered, altered,
// refused or leaked, and says what. tests/soak.sh starts the server and calls this.

import { setTimeout as sleep } from "node:timers/promises";

import { fade, forge, knock, misspeak, revokeAgain, settleGuests, settleLocked } from "./access.mjs";
import { Chat, churn, idle, settle, tick } from "./healthy.mjs";
import { dawdle, floodAgain, offend, probe, publishAgain } from "./hostile.mjs";
import { Ledger, Report } from "./ledger.mjs";
import { ManyReturner, Repeaters, settleMany } from "./many.mjs";
import { Presence, Speakers, churnPusher, settlePusher, trigger } from "./pusher.mjs";
import { Returner } from "./returning.mjs";
import { Watch } from "./server.mjs";
import { lagAndBeClosed, lagAndSkip, readSlowly } from "./slow.mjs";
import { ENVELOPE, FORMS, RAW, World, within } from "./world.mjs";

const TICK_MS = process.env.FANFARE_TLS ? 50 : 20; // on each of three channels; decrypting, node keeps up with 20 a second
const STEADY_A_FORM = 12; // of each form on each of these channels
const SLOW_TICK_MS = 40; // 32 KiB each: past the kernel's buffers and --max-lag in seconds
const SLOW_PAUSE_COUNT = 200; // 6.4 MiB
const BIG_TICK_MS = 1_500;
const CHAT_MEMBERS = 12;
const CHAT_MS = 500;
const CHURN_LANES = 4;
const CHURN_MS = 200;
const RETURNERS = 6;
const RETURN_MS = 300;
const IDLE_COUNT = 40;
const PUSHER_STEADY = 8;
const PUSHER_TRIGGER_MS = 50;
const PUSHER_CHURN_LANES = 2;
const PRESENCE_USERS = 8;
const PRESENCE_MS = 150;
const SPEAKERS = 6;
const LISTENERS = 2;
const SPEAK_MS = 250; // of 100 ms that an app allows by default
const MANY_STEADY = 8;
const MANY_RETURNERS = 3;
const REPEAT_MS = 200;
const LOCKED_TICK_MS = 50;
const BEARERS = 6;
const GUESTS = 6;
const FADE_MS = 2_000;
const FORGE_MS = 150;
const REVOKE_MS = 3_000;
const KNOCK_MS = 100;
const MISSPEAK_MS = 500;
const OFFENDERS = 2;
const OFFENCE_MS = 400;
const DAWDLERS = 12;
const FLOOD_MS = 3_000;
const PUBLISHING_FLOOD_MS = 20_000;
const PROBE_MS = 250;
const PACED_BYTES_A_SECOND = 200_000; // a quarter of what the slow channels have
const SAMPLE_MS = 2_000;
const PROGRESS_MS = 60_000;
const BACKEND_CALLS_MAX = 32; // at once: so many connections are kept
const DESCRIPTORS_BACK_SECONDS_MAX = 60; // twice what a peer that does not answer may keep its connection

/** What is said to clients with and without proofs, each of which has to happen. */
const ACCESS = [
  ...["no_token", "bad_token", "expired", "forbidden", "revoked"].map((code) => `told ${code}`),
  ...["admitted", "forbidden", "unavailable"].map((told) => `backend: ${told}`),
  ...["stays of who comes back to many", "repeated under a key", "told 1007", "told 4408", "told 4429"],
];

async function main(address, pid, minutes, backendPort) {
  const report = new Report();
  const ending = new AbortController();
  const world = new World(address, report, ending.signal);
  const watch = new Watch(pid, [backendPort]);
  const before = await watch.sample();
  console.log(`soak: ${minutes} minutes against ${address}, process ${pid}: ${text(before)}`);

  const stage = await setUp(world, report);
  const timer = setTimeout(() => ending.abort(), minutes * 60_000);
  const actors = [...perform(world, stage), watch.follow(world, SAMPLE_MS), tell(world, watch, report)];
  try {
    await Promise.all(actors);
  } catch (error) {
    report.fault("stopped", error.stack);
  } finally {
    clearTimeout(timer);
    ending.abort();
  }
  await Promise.allSettled(actors);

  await judgeDeliveries(stage, report);
  await world.leaveAll();
  await judgeProcess(watch, before, report);
  summarise(watch, report);
  process.exit(report.faults.size === 0 ? 0 : 1);
}

/** The channels and those who have to hear everything, before anything is published. */
async function setUp(world, report) {
  const ledger = (channel, shortest, longest) => new Ledger(channel, [shortest, longest], report);
  const ticking = [ledger("tick-a", 20, 400), ledger("tick-b", 50, 300), ledger("tick-c", 0, 1000)];
  const [closing, skipping, latest] = ["slow-close", "slow-skip", "slow-latest"].map((name) => ledger(name, 32_000, 32_700));
  const big = new Ledger("big", [40_000, 60_000], report);
  const triggered = ledger("triggered", 20, 900);
  const [locked, asked] = ["locked-a", "asked-a"].map((name) => ledger(name, 10, 200));
  const rooms = { chat: new Chat(world), presence: new Presence(world), speakers: new Speakers(world), repeaters: new Repeaters(world) };
  const stage = { ticking, triggered, locked, asked, closing, skipping, latest, big, readers: [], returners: [], ...rooms, checkIdle: undefined };
  // While the backend is well, with which it begins.
  stage.readers.push(...(await settleGuests(world, asked, GUESTS)), ...(await settleLocked(world, locked, BEARERS)));
  stage.readers.push(...(await settleMany(world, [...ticking, triggered], MANY_STEADY)));
  for (const each of ticking) stage.readers.push(...(await settle(world, each, FORMS, STEADY_A_FORM)));
  for (const each of [closing, skipping, latest]) stage.readers.push(...(await settle(world, each, [RAW], 1)));
  stage.readers.push(...(await settle(world, big, FORMS, 1)), ...(await settle(world, triggered, FORMS, 1)));
  stage.readers.push(...(await settlePusher(world, [...ticking, triggered], PUSHER_STEADY)));
  for (let lane = 0; lane < RETURNERS; lane++) {
    const returner = new Returner(world, ticking[lane % ticking.length], lane);
    await returner.begin();
    stage.returners.push(returner);
    stage.readers.push(returner.reader);
  }
  for (let lane = 0; lane < MANY_RETURNERS; lane++) {
    const returner = new ManyReturner(world, ticking, lane);
    await returner.begin();
    stage.returners.push(returner);
    stage.readers.push(...returner.readers);
  }
  await stage.chat.join(CHAT_MEMBERS);
  await stage.presence.open();
  await stage.speakers.join(SPEAKERS, LISTENERS);
  await stage.repeaters.open();
  stage.checkIdle = await idle(world, IDLE_COUNT);
  return stage;
}

function perform(world, { ticking, triggered, locked, asked, closing, skipping, latest, big, returners, chat, presence, speakers, repeaters }) {
  const times = (count, actor) => Array.from({ length: count }, (_, lane) => actor(lane));
  return [
    ...ticking.map((ledger) => tick(world, ledger, TICK_MS)),
    ...[closing, skipping, latest].map((ledger) => tick(world, ledger, SLOW_TICK_MS)),
    tick(world, big, BIG_TICK_MS, { isBinary: true }),
    ...[locked, asked].map((ledger) => tick(world, ledger, LOCKED_TICK_MS)),
    repeaters.speak(REPEAT_MS),
    fade(world, FADE_MS),
    forge(world, FORGE_MS),
    revokeAgain(world, REVOKE_MS),
    knock(world, KNOCK_MS),
    misspeak(world, MISSPEAK_MS),
    chat.speak(CHAT_MS),
    trigger(world, triggered, PUSHER_TRIGGER_MS),
    speakers.speak(SPEAK_MS),
    ...times(PRESENCE_USERS, (lane) => presence.come(lane, PRESENCE_MS)),
    ...times(PUSHER_CHURN_LANES, () => churnPusher(world, [...ticking, triggered], CHURN_MS)),
    ...returners.map((returner) => returner.come(RETURN_MS)),
    ...times(CHURN_LANES, () => churn(world, ticking, CHURN_MS)),
    ...times(2, () => lagAndBeClosed(world, closing, SLOW_PAUSE_COUNT)),
    ...[skipping, latest].flatMap((ledger) => [RAW, ENVELOPE].map((form) => lagAndSkip(world, ledger, form, SLOW_PAUSE_COUNT))),
    ...times(OFFENDERS, () => offend(world, OFFENCE_MS)),
    ...times(DAWDLERS, (lane) => dawdle(world, lane)),
    ...[closing, skipping, latest].flatMap((ledger) => [RAW, ENVELOPE].map((form) => readSlowly(world, ledger, form, PACED_BYTES_A_SECOND))),
    floodAgain(world, FLOOD_MS),
    publishAgain(world, PUBLISHING_FLOOD_MS),
    probe(world, PROBE_MS),
  ];
}

/** A line a minute. */
async function tell(world, watch, report) {
  const started = performance.now();
  for await (const turn of world.every(PROGRESS_MS)) {
    const minutes = Math.round((performance.now() - started) / 60_000);
    const faults = [...report.faults.values()].reduce((sum, count) => sum + count, 0);
    const done = `${report.of("deliveries checked")} deliveries checked, ${report.of("connections")} connections`;
    if (turn > 1) console.log(`soak: minute ${minutes}: ${done}, ${faults} faults, ${text(await watch.sample())}`);
  }
}

async function judgeDeliveries(stage, report) {
  await Promise.all(stage.returners.map((returner) => within(returner.catchUp(), "what a returning client missed").catch(() => {})));
  const arrived = stage.readers.map((reader) => reader.reached(reader.ledger.published));
  await within(Promise.all(arrived), "what was published last").catch(() => {});
  stage.readers.forEach((reader) => reader.finish());
  await stage.chat.check();
  await stage.presence.check();
  await stage.speakers.check();
  await stage.repeaters.check();
  stage.checkIdle();
  for (const each of ["stays in presence", "pusher_internal:member_removed", "client-said", "slow: closed with 1013", "slow: passed over on slow-skip", "slow: passed over on slow-latest", "missed as told", ...ACCESS]) {
    if (report.of(each) === 0) report.fault("not tried", `"${each}" never happened`);
  }
}

async function judgeProcess(watch, before, report) {
  let after = await watch.sample();
  for (let second = 0; second < DESCRIPTORS_BACK_SECONDS_MAX && after.fds > before.fds; second++) {
    await sleep(1_000);
    after = await watch.sample();
  }
  console.log(`soak: all clients have gone: ${text(after)}`);
  if (after.fds > before.fds) report.fault("descriptors leaked", `${before.fds} at the start, ${after.fds} at the end`);
  if (after.toBackend > BACKEND_CALLS_MAX) report.fault("descriptors leaked", `${after.toBackend} connections to the backend`);
  const growth = watch.growth();
  const limit = Math.round(growth.before + growth.bound);
  if (growth.after > limit) report.fault("memory grew", `from ${growth.before} to ${growth.after} KiB; ${limit} is the bound`);
  if (after.rss > limit) report.fault("memory grew", `${after.rss} KiB with no client; ${limit} is the bound`);
}

function summarise(watch, report) {
  const growth = watch.growth();
  console.log("soak: counts");
  for (const [what, count] of [...report.counts].sort()) console.log(`  ${String(count).padStart(10)}  ${what}`);
  console.log(`soak: RSS in KiB, least, median, most: ${watch.range("rss").join(", ")}`);
  console.log(`soak: RSS median of the second quarter ${growth.before}, of the last ${growth.after}; at most ${Math.round(growth.bound)} more`);
  console.log(`soak: descriptors, least, median, most: ${watch.range("fds").join(", ")}`);
  for (const [kind, count] of report.faults) console.log(`soak: FAULT ${kind}: ${count}`);
}

function text({ rss, fds }) {
  return `${rss} KiB resident, ${fds} descriptors`;
}

await main(process.argv[2], ...process.argv.slice(3).map(Number));
