// Subscribers that stop reading for a while, and what each policy owes them then.
//
// `close`: a beginning without a hole, then 1013. `skip` and `latest`: envelopes say how many were passed over, and
// that is exact; the raw form only goes forward.

import { Reader } from "./ledger.mjs";
import { RAW, within } from "./world.mjs";

const CYCLES_A_CONNECTION = 3; // a kernel gives one that reads much a buffer that is never full again
const PAUSE_STEP_MS = 100;
const PACE_STEP_MS = 50;
const PACED_STAY_MS = 45_000; // several pings and their deadlines

/** Stops reading until `count` were published past it. */
async function stopReading(world, client, ledger, count) {
  const end = ledger.published + count;
  client.socket.pause();
  while (ledger.published < end && !world.isOver) await world.pause(PAUSE_STEP_MS);
  client.socket.resume();
}

/** Under `close`: pauses until it is too far behind, is closed with 1013, comes back. */
export async function lagAndBeClosed(world, ledger, pauseCount) {
  for await (const turn of world.every(1_000)) {
    const who = `slow closed ${turn}`;
    const reader = new Reader(ledger, who);
    const started = once();
    const onMessage = (data) => {
      reader.take(data, RAW);
      started.resolve();
    };
    const client = await world.subscribe(who, ledger.path, RAW, onMessage, (code) => code === 1013);
    await world.orOver(started.promise, `a first message for ${who}`);
    await stopReading(world, client, ledger, pauseCount);
    const caughtUp = reader.reached(ledger.published).then(() => undefined);
    const code = await within(Promise.race([client.closed, caughtUp]), `1013 for ${who}`);
    world.report.count(code === 1013 ? "slow: closed with 1013" : "slow: caught up under close");
    if (code === undefined) await world.leave(client);
  }
}

/** Under `skip` or `latest`: pauses, then reads to the present; a few times a connection. */
export async function lagAndSkip(world, ledger, form, pauseCount) {
  for await (const turn of world.every(1_000)) {
    const who = `slow ${form.name} ${turn}`;
    const reader = new Reader(ledger, who, { mayMiss: !form.isEnvelope });
    const started = once();
    const onMessage = (data) => {
      reader.take(data, form);
      started.resolve();
    };
    const client = await world.subscribe(who, ledger.path, form, onMessage);
    await world.orOver(started.promise, `a first message for ${who}`);
    for (let cycle = 0; cycle < CYCLES_A_CONNECTION && !world.isOver; cycle++) {
      await stopReading(world, client, ledger, pauseCount);
      await within(reader.reached(ledger.published), `the present for ${who}`);
    }
    const missed = reader.missedAsTold + reader.missedUnsaid;
    world.report.count(missed > 0 ? `slow: passed over on ${ledger.channel}` : `slow: caught up on ${ledger.channel}`);
    world.report.count("missed unsaid (raw form)", reader.missedUnsaid);
    await world.leave(client);
  }
}

/**
 * Reads at `bytesPerSecond`, which is less than its channel has, and never stops. Under `skip` and `latest` it stays for as
 * long as it likes; under `close` it may be closed with 1013, and comes back.
 */
export async function readSlowly(world, ledger, form, bytesPerSecond) {
  for await (const turn of world.every(1_000)) {
    const who = `paced ${form.name} ${turn}`;
    const reader = new Reader(ledger, who, { mayMiss: !form.isEnvelope });
    let allowance = 0;
    const onMessage = (data) => {
      reader.take(data, form);
      allowance -= data.length;
      if (allowance < 0) client?.socket.pause();
    };
    let client;
    const mayClose = (code) => ledger.channel === "slow-close" && code === 1013;
    client = await world.subscribe(who, ledger.path, form, onMessage, mayClose);
    const end = performance.now() + PACED_STAY_MS;
    let isClosed = false;
    client.closed.then(() => (isClosed = true));
    for await (const _ of world.every(PACE_STEP_MS)) {
      if (isClosed || performance.now() > end) break;
      allowance = Math.min(allowance + (bytesPerSecond * PACE_STEP_MS) / 1_000, bytesPerSecond);
      if (allowance > 0) client.socket.resume();
    }
    allowance = Infinity; // the rest, and the Close frame after it, as quickly as they come
    world.report.count(isClosed ? `paced: closed on ${ledger.channel}` : `paced: stayed on ${ledger.channel}`);
    if (!isClosed) await world.leave(client);
  }
}

/** A promise and its resolve. */
function once() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
