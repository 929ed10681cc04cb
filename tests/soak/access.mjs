// Clients with proofs of who they are, good and bad, beside a backend that fails: who may stay is never closed, who may not
// come in never is, and each is told why.
//
// Channels `locked-*` are for tokens, `asked-*` for whom the backend of backend.mjs lets in.


import WebSocket from "ws";

import { Reader } from "./ledger.mjs";
import { Socket } from "./many.mjs";
import { BAD, KEY, good, offering } from "./proofs.mjs";
import { url, web } from "./road.mjs";
import { ENVELOPE, within } from "./world.mjs";

const LOCKED = "locked-a";
const ASKED = "asked-a";
const REFRESHED_TOKEN_S = 5; // and 30 s of leeway: who does not refresh in a minute is closed
const REFRESH_MS = 10_000;
const FADING_S = -27; // expired 27 s ago: good for 3 s more
const FADING_MS_MAX = 20_000;
const ADMISSION_ATTEMPTS_MAX = 60;
const ADMISSION_PAUSE_MS = 500;
const REFUSALS_MAX = 100; // of a client that goes on asking for what it may not have
const CLIENT_SUBSCRIPTIONS = 100;

/** The close code of a refusal with this code and status. */
const closeCode = (status) => ({ 401: 4401, 403: 4403, 408: 4408, 429: 4429, 503: 1013 })[status];

/**
 * Opens a WebSocket that may be refused: `{ error, closed }` with the data of the first `fanfare:error` and the close code,
 * or `{ socket }` once something else came, or `{ status, text }` if it was answered by HTTP.
 */
async function attempt(world, path, protocols, headers = {}) {
  const socket = new WebSocket(url("ws", world.address, path), protocols, { headers, perMessageDeflate: false });
  world.report.count("connections");
  const outcome = new Promise((resolve) => {
    let error;
    socket.on("message", (data) => {
      const envelope = JSON.parse(data);
      if (envelope.event !== "fanfare:error") return resolve({ socket });
      error = envelope.data;
    });
    socket.on("unexpected-response", (request, response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (data) => (text += data));
      response.on("end", () => resolve({ status: response.statusCode, text, headers: response.headers }));
      response.on("close", () => request.destroy());
    });
    socket.on("error", () => {});
    socket.once("close", (closed) => resolve({ error, closed }));
  });
  return within(outcome, `the outcome of a handshake for ${path}`);
}

/** Ends what was let in. */
async function end(socket) {
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.close(1000);
  await within(closed, "the end of a closed connection");
}

/** A request on a connection of its own. */
function request(world, method, path, headers, body = "") {
  const answered = new Promise((resolve, reject) => {
    const options = { ...world.endpoint, path, method, agent: false, headers: { ...headers, "Content-Length": body.length } };
    const sent = web.request(options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (data) => (text += data));
      response.on("end", () => resolve({ status: response.statusCode, text, headers: response.headers }));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
  world.report.count("connections");
  return within(answered, `the answer to ${method} ${path}`);
}

function expect(world, who, told, due) {
  if (JSON.stringify(told) === JSON.stringify(due)) world.report.count(`told ${due[0]}`);
  else world.report.fault("wrong answer", `${who}: told ${JSON.stringify(told)}, and ${JSON.stringify(due)} is due`);
}

// ---- Tokens ----

/** Readers of a locked channel with short tokens, which they renew on the living connection until the end. */
export async function settleLocked(world, ledger, count) {
  const readers = [];
  for (let i = 0; i < count; i++) {
    const who = `bearer ${i}`;
    const proof = () => good(who, { expiresIn: REFRESHED_TOKEN_S });
    const reader = new Reader(ledger, who, { from: 1 });
    readers.push(reader);
    let send;
    if (i % 2 === 0) {
      const socket = await new Socket(world, who).open({ protocols: offering(proof()) });
      socket.onChannel(ledger.channel, (_, text) => reader.take(text, ENVELOPE));
      await socket.subscribe([{ channel: ledger.channel }]);
      ({ socket: send } = socket.client);
    } else {
      const take = (data) => {
        const { event } = JSON.parse(data);
        if (event === "fanfare:authorized") return world.report.count("told fanfare:authorized");
        if (event === "fanfare:error") return world.report.fault("wrong answer", `${who} is told ${data}`);
        return reader.take(data, ENVELOPE);
      };
      ({ socket: send } = await world.subscribe(who, ledger.path, { protocols: offering(proof()), deflate: false }, take));
    }
    renew(world, send, proof);
  }
  return readers;
}

async function renew(world, socket, proof) {
  for await (const _ of world.every(REFRESH_MS)) {
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ event: "fanfare:authorize", data: { token: proof() } }));
  }
}

/** Comes with a token that is about to expire, and is to be told so and closed in time: over each transport in turn. */
export async function fade(world, period) {
  for await (const turn of world.every(period)) {
    const who = `fading ${turn}`;
    const proof = good(who, { expiresIn: FADING_S });
    const started = performance.now();
    if (turn % 3 === 0) expect(world, who, await fadeOnStream(world, proof), ["expired", 200]);
    else {
      const told = await (turn % 3 === 1 ? fadeOnOne(world, who, proof) : fadeOnMany(world, who, proof));
      expect(world, who, told, ["expired", 4401]);
    }
    const ms = performance.now() - started;
    if (ms > FADING_MS_MAX) world.report.fault("not timed out", `${who} stayed for ${Math.round(ms)} ms`);
  }
}

async function fadeOnOne(world, who, proof) {
  let told;
  const take = (data) => {
    const { event, data: said } = JSON.parse(data);
    if (event === "fanfare:error") told = said.code;
  };
  const form = { protocols: offering(proof), deflate: false };
  const client = await world.subscribe(who, `/channels/${LOCKED}`, form, take, (closed) => closed === 4401);
  const closed = await within(client.closed, `the end of ${who}`);
  return [told, closed];
}

async function fadeOnMany(world, who, proof) {
  const socket = await new Socket(world, who).openUnjudged({ protocols: offering(proof) }, (closed) => closed === 4401);
  await socket.subscribe([{ channel: LOCKED }]);
  const closed = await within(socket.client.closed, `the end of ${who}`);
  return [socket.lastError?.code, closed];
}

async function fadeOnStream(world, proof) {
  const headers = { Authorization: `Bearer ${proof}`, Accept: "text/event-stream" };
  const { status, text } = await request(world, "GET", `/channels/${LOCKED}`, headers);
  return [/\nevent: fanfare:expired\n/.test(text) ? "expired" : text.slice(-200), status];
}

/** Comes with a proof that is none, by each carrier in turn, and is to be told what is wrong with it. */
export async function forge(world, period) {
  for await (const turn of world.every(period)) {
    const [what, make, code, status] = BAD[turn % BAD.length];
    const proof = make();
    const headers = proof ? { Authorization: `Bearer ${proof}` } : {};
    const path = `/channels/${LOCKED}`;
    switch (Math.floor(turn / BAD.length) % 4) {
      case 0: {
        const { error, closed } = await attempt(world, path, proof ? offering(proof) : ENVELOPE.protocols);
        expect(world, `${what} in a handshake`, [error?.code, error?.status, closed], [code, status, closeCode(status)]);
        break;
      }
      case 1: {
        const refused = await attempt(world, path, [], headers);
        expect(world, `${what} in a field of a handshake`, [refused.status], [status]);
        break;
      }
      case 2: {
        const refused = await request(world, "GET", `${path}?wait=0`, headers);
        expect(world, `${what} in a request`, [refused.status], [status]);
        break;
      }
      default:
        await forgeCommand(world, what, proof, code, status);
    }
    world.report.count("proofs that are none");
  }
}

async function forgeCommand(world, what, proof, code, status) {
  const socket = await new Socket(world, what).open();
  if (proof) {
    const [told] = await socket.ask("authorize", { token: proof });
    const isGood = code === "forbidden"; // for other channels
    const due = isGood ? ["fanfare:authorized", undefined] : ["fanfare:error", code];
    expect(world, `${what} in a command`, [told?.event, isGood ? undefined : told?.data?.code], due);
  }
  const [refused] = await socket.subscribe([{ channel: LOCKED }], "fanfare:error");
  const due = code === "forbidden" ? ["forbidden", status] : ["no_token", 401];
  expect(world, `${what}, and then a subscription`, [refused?.data?.code, refused?.data?.status], due);
  await world.leave(socket.client);
}

/** Is let in, and revoked: its connection is to end at once, and its token to be refused from then on. */
export async function revokeAgain(world, period) {
  for await (const turn of world.every(period)) {
    const who = `doomed-${turn}`;
    const proof = good(who);
    const socket = await new Socket(world, who).openUnjudged({ protocols: offering(proof) }, (code) => code === 4403);
    await socket.subscribe([{ channel: LOCKED }]);
    const answer = await request(world, "POST", "/revoke", { Authorization: `Bearer ${KEY}` }, JSON.stringify({ sub: who }));
    expect(world, `who revokes ${who}`, [answer.status, answer.text.trim()], [200, '{"revoked":1}']);
    expect(world, who, ["closed", await within(socket.client.closed, `the end of ${who}`)], ["closed", 4403]);
    const { error, closed } = await attempt(world, `/channels/${LOCKED}`, offering(proof));
    expect(world, `${who} again`, [error?.code, error?.status, closed], ["revoked", 403, 4403]);
  }
}

// ---- The backend ----

/** Readers of a channel of the backend's that come in while it is well, and stay whatever becomes of it. */
export async function settleGuests(world, ledger, count) {
  const readers = [];
  for (let i = 0; i < count; i++) {
    const who = `guest-steady-${i}`;
    await untilAdmitted(world, who);
    const reader = new Reader(ledger, who, { from: 1 });
    readers.push(reader);
    const headers = { Cookie: `sid=${who}` };
    if (i % 2 === 0) {
      const socket = await new Socket(world, who).open({ headers });
      socket.onChannel(ledger.channel, (_, text) => reader.take(text, ENVELOPE));
      await socket.subscribe([{ channel: ledger.channel }]);
    } else {
      const form = { ...ENVELOPE, headers };
      await world.subscribe(who, ledger.path, form, (data) => reader.take(data, ENVELOPE));
    }
  }
  return readers;
}

/** Asks until the backend has let the client in: the answer is kept for as long as what follows takes. */
async function untilAdmitted(world, who) {
  for (let times = 0; times < ADMISSION_ATTEMPTS_MAX; times++) {
    const { status } = await request(world, "GET", `/channels/${ASKED}?wait=0`, { Cookie: `sid=${who}` });
    if (status === 200) return;
    await world.pause(ADMISSION_PAUSE_MS);
  }
  throw new Error(`the backend did not let ${who} in`);
}

/** Guests and strangers that nobody knows yet: let in, or refused, or told to come again; never the wrong one of these. */
export async function knock(world, period) {
  for await (const turn of world.every(period)) {
    const isGuest = turn % 2 === 0;
    const headers = { Cookie: `sid=${isGuest ? "guest" : "stranger"}-${turn}` };
    const who = headers.Cookie;
    const told = await (turn % 4 < 2 ? knockBySocket(world, headers) : knockByPoll(world, headers, who));
    if (told === "unavailable" || told === (isGuest ? "admitted" : "forbidden")) world.report.count(`backend: ${told}`);
    else world.report.fault("wrong answer", `${who} is ${told}`);
  }
}

async function knockBySocket(world, headers) {
  const socket = await new Socket(world, headers.Cookie).open({ headers });
  socket.onChannel(ASKED, () => {});
  const [answer] = await socket.ask("subscribe", [{ channel: ASKED }]);
  await world.leave(socket.client);
  if (answer?.event === "fanfare:subscribed") return "admitted";
  return answer?.data?.code ?? JSON.stringify(answer);
}

async function knockByPoll(world, headers, who) {
  const { status, headers: fields } = await request(world, "GET", `/channels/${ASKED}?wait=0`, headers);
  if (status === 503 && !fields["retry-after"]) world.report.fault("wrong answer", `${who}: 503 without Retry-After`);
  return { 200: "admitted", 403: "forbidden", 503: "unavailable" }[status] ?? `answered ${status}`;
}

// ---- Commands ----

/** What is no command, and the close code that has to answer it. */
const NONSENSE = [
  ["no JSON", "{", 1007],
  ["half a command", '{"event":"fanfare:subscribe","data":[{"channel":"a"', 1007],
  ["bytes", Buffer.from([1, 2, 3]), 1003],
];

/** What is wrong with a command, and the code that has to answer it. The connection goes on. */
const WRONG = [
  ["an unknown command", { event: "fanfare:dance" }, "bad_command"],
  ["no list", { event: "fanfare:subscribe", data: { channel: "a" } }, "bad_command"],
  ["a name that is none", { event: "fanfare:subscribe", data: [{ channel: "a b" }] }, "bad_command"],
  ["too many channels", { event: "fanfare:subscribe", data: named(CLIENT_SUBSCRIPTIONS + 1) }, "too_many"],
  ["a channel of the server's", { channel: "@fanfare.x", data: 1 }, "bad_command"],
  ["a channel for keys alone", { channel: "tick-a", data: "1 tick-a " }, "no_token"],
];

function named(count) {
  return Array.from({ length: count }, (_, n) => ({ channel: `crowd-${n}` }));
}

/** Sends what is no command, or wrong, or nothing, or wrong again and again. */
export async function misspeak(world, period) {
  for await (const turn of world.every(period)) {
    const [what, sent, code] = NONSENSE[turn % NONSENSE.length];
    expect(world, what, [await closedAfter(world, what, (socket) => socket.send(sent))], [code]);
    await sayWrong(world, WRONG[turn % WRONG.length]);
    if (turn % 10 === 1) expect(world, "silence", [await closedAfter(world, "silence", () => {})], [4408]);
    if (turn % 10 === 5) expect(world, "who insists", [await closedAfter(world, "who insists", insist)], [4429]);
    world.report.count("misspoken");
  }
}

async function closedAfter(world, what, act) {
  const { client } = await new Socket(world, what).openUnjudged({}, () => true);
  act(client.socket);
  return within(client.closed, `the close after ${what}`);
}

function insist(socket) {
  for (let times = 0; times < REFUSALS_MAX; times++) {
    socket.send(JSON.stringify({ event: "fanfare:subscribe", data: [{ channel: LOCKED }] }));
  }
}

async function sayWrong(world, [what, command, code]) {
  const socket = await new Socket(world, what).open();
  const told = await socket.say(command);
  expect(world, what, [told?.event, told?.data?.code], ["fanfare:error", code]);
  // It goes on: its next command is carried out.
  await socket.subscribe([{ channel: "crowd-0" }]);
  await world.leave(socket.client);
}
