// Clients that break the rules, each with what the server has to answer: the code of a Close frame, or the end of TCP.
//
// All of it but the flood of publications goes to channels that nobody publishes to, so that the first frame that comes is
// the Close frame.

import { constants, deflateRawSync } from "node:zlib";

import { closed, within } from "./world.mjs";

const PATH = "/channels/hostile";
const FLOODED_PATH = "/channels/flooded";
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const SLOW_BYTE_MS = 700;
const FLOOD_BYTES_MAX = 8 * 1024 * 1024;
const FLOOD_STEPS_MAX = 64;
const PUBLISHING_FLOOD_MS = 4_000; // long enough that a starved bystander would miss a ping's deadline in several floods
const PUBLISHING_FLOOD_BATCH = 1_000; // messages a write: 106 KB, more than one read of the server
const HEALTH_MS_MAX = 2_000; // a fraction of a second, and what this process itself may be late on two busy cores

/** A client's frame; `first` is the first byte. */
function frame(first, payload, { masked = true } = {}) {
  const length = payload.length;
  const head = [first];
  if (length < 126) head.push(length);
  else if (length < 65_536) head.push(126, length >> 8, length & 255);
  else head.push(127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255);
  if (!masked) return Buffer.concat([Buffer.from(head), payload]);
  head[1] |= 0x80;
  return Buffer.concat([Buffer.from(head), MASK, payload.map((byte, i) => byte ^ MASK[i % 4])]);
}

const bytes = (...values) => Buffer.from(values);
const zeros = Buffer.alloc(32 * 1024 * 1024);
const BOMB = deflateRawSync(zeros, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const HALF_A_MIB = Buffer.alloc(512 * 1024, 0x61);

/** What is sent after the handshake, and the close code that has to answer it. */
const FAULTS = [
  ["an unmasked frame", frame(0x81, bytes(0x61), { masked: false }), 1002],
  ["RSV2", frame(0xa1, bytes(0x61)), 1002],
  ["a reserved opcode", frame(0x83, bytes()), 1002],
  ["a reserved control opcode", frame(0x8b, bytes()), 1002],
  ["a continuation of nothing", frame(0x80, bytes(0x61)), 1002],
  ["a message inside a message", Buffer.concat([frame(0x01, bytes(0x61)), frame(0x81, bytes(0x61))]), 1002],
  ["a fragmented ping", frame(0x09, bytes()), 1002],
  ["a ping of 126 bytes", frame(0x89, Buffer.alloc(126)), 1002],
  ["a length in too many bytes", bytes(0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0x61), 1002],
  ["a length with the top bit", bytes(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 1002],
  ["half a close code", frame(0x88, bytes(3)), 1002],
  ["close code 1005", frame(0x88, bytes(0x03, 0xed)), 1002],
  ["a reason that is not UTF-8", frame(0x88, bytes(0x03, 0xe8, 0xff)), 1007],
  ["text that is not UTF-8", frame(0x81, bytes(0x61, 0xc0, 0x80)), 1007],
  ["the beginning of text that is not UTF-8", frame(0x01, bytes(0xed, 0xa0)), 1007],
  ["2^62 bytes declared", bytes(0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 1009],
  ["fragments over the limit", Buffer.concat([frame(0x02, HALF_A_MIB), frame(0x00, HALF_A_MIB), frame(0x00, HALF_A_MIB)]), 1009],
  ["no DEFLATE", frame(0xc1, bytes(0x07, 0xff, 0xff, 0xff, 0xff)), 1007, "permessage-deflate"],
  ["a bomb of 32 MiB", frame(0xc2, BOMB), 1009, "permessage-deflate"],
  ["noise", Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 197 + (i >> 3) * 31) | 0x70)), 1002],
];

/** What is no request, and the status that has to answer it. */
const REQUESTS = [
  ["noise for a request", "\x01\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["two lengths", "POST /channels/hostile HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400],
  ["a body over the limit", "POST /channels/hostile HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413],
  ["no such path", "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404],
  ["WebSocket version 7", `${upgrade()}`.replace("Version: 13", "Version: 7"), 426],
];

function upgrade(extensions = "", path = PATH) {
  const fields = ["Host: localhost", "Upgrade: websocket", "Connection: Upgrade"];
  fields.push("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
  if (extensions) fields.push(`Sec-WebSocket-Extensions: ${extensions}`);
  return `GET ${path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`;
}

/** Everything that comes until TCP ends. */
function drained(tcp) {
  const chunks = [];
  tcp.on("data", (data) => chunks.push(data)).resume();
  return closed(tcp).then(() => Buffer.concat(chunks));
}

/** An upgraded bare connection that is paused. */
async function handshake(world, extensions, path) {
  const tcp = await world.dial();
  const answered = new Promise((resolve) => tcp.once("data", resolve));
  tcp.write(upgrade(extensions, path));
  const answer = await within(Promise.race([answered, closed(tcp)]), "the answer to a handshake");
  if (!String(answer).startsWith("HTTP/1.1 101")) {
    world.report.fault("refused", `a handshake: ${String(answer).slice(0, 40)}`);
  }
  tcp.pause();
  return tcp;
}

async function commit(world, [name, sent, code, extensions]) {
  const tcp = await handshake(world, extensions);
  const rest = drained(tcp);
  tcp.write(sent);
  const answer = await within(rest, `the close after ${name}`);
  // The server's Close frame is the first frame, and unmasked: 0x88, a length, the code.
  const told = answer[0] === 0x88 && answer.length >= 4 ? answer.readUInt16BE(2) : undefined;
  world.report.count(`hostile: told ${told}`);
  if (told !== code) world.report.fault("wrong answer", `${name}: close code ${told}, and ${code} is due`);
}

async function misrequest(world, [name, sent, status]) {
  const tcp = await world.dial();
  const rest = drained(tcp);
  tcp.write(sent, "latin1");
  const answer = String(await within(rest, `the answer to ${name}`)).slice(0, 40);
  world.report.count(`hostile: told ${status}`);
  if (!answer.startsWith(`HTTP/1.1 ${status}`)) {
    world.report.fault("wrong answer", `${name}: ${JSON.stringify(answer)}, and ${status} is due`);
  }
}

const RESETS = [
  ["half a request", "GET /channels/hos"],
  ["half a body", "POST /channels/hostile HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"],
];

/** Goes away in the middle of something: with RST, or with FIN alone. */
async function vanish(world, turn) {
  const kind = turn % 4;
  const tcp = kind < 2 ? await world.dial() : await handshake(world);
  tcp.resume();
  if (kind < 2) tcp.write(RESETS[kind][1]);
  else tcp.write(frame(0x82, Buffer.alloc(50_000)).subarray(0, kind === 2 ? 3 : 20_000));
  await world.pause(20); // so that a part of it is there
  if (turn % 8 < 4) tcp.resetAndDestroy();
  else tcp.end();
  await within(closed(tcp), "the end after a reset or FIN in the middle");
  world.report.count("hostile: vanished");
}

/** Pings as long as the kernel takes them, and reads nothing. */
async function flood(world) {
  const tcp = await handshake(world);
  const pings = Buffer.concat(Array.from({ length: 1000 }, () => frame(0x89, Buffer.alloc(125))));
  for (let step = 0; step < FLOOD_STEPS_MAX && tcp.bytesWritten < FLOOD_BYTES_MAX && !tcp.destroyed; step++) {
    if (!tcp.write(pings)) await Promise.race([world.pause(250), closed(tcp)]);
  }
  tcp.resetAndDestroy();
  await within(closed(tcp), "the end of a ping flood");
  world.report.count("hostile: ping floods");
}

/** Publishes messages of 100 bytes as quickly as the kernel takes them, and reads what comes back. */
async function floodByPublishing(world) {
  const tcp = await handshake(world, "", FLOODED_PATH);
  tcp.resume(); // it may be closed with 1013 for reading too slowly: that is what it deserves
  const messages = Buffer.concat(Array.from({ length: PUBLISHING_FLOOD_BATCH }, () => frame(0x82, Buffer.alloc(100))));
  const end = performance.now() + PUBLISHING_FLOOD_MS;
  while (performance.now() < end && !tcp.destroyed && !world.isOver) {
    world.report.count("hostile: flooded publications", PUBLISHING_FLOOD_BATCH);
    if (!tcp.write(messages)) await Promise.race([new Promise((resolve) => tcp.once("drain", resolve)), closed(tcp)]);
    await world.pause(0); // the bystanders are in this process too
  }
  tcp.resetAndDestroy();
  await within(closed(tcp), "the end of a flood of publications");
  world.report.count("hostile: floods of publications");
}

/** Floods with publications, again and again. Bystanders are judged by whether they are closed, and by `probe`. */
export async function publishAgain(world, period) {
  for await (const _ of world.every(period)) await floodByPublishing(world);
}

/** Asks for /healthz on a connection of its own each time: a flood must not keep it waiting. */
export async function probe(world, period) {
  for await (const _ of world.every(period)) {
    const started = performance.now();
    const tcp = await world.dial();
    const rest = drained(tcp);
    tcp.write(`GET /healthz HTTP/1.1\r\nHost: ${world.address}\r\nConnection: close\r\n\r\n`);
    const answer = String(await within(rest, "the answer to /healthz"));
    const ms = Math.round(performance.now() - started);
    world.report.count("health checks");
    world.report.most("slowest health check, ms", ms);
    if (!answer.startsWith("HTTP/1.1 200")) world.report.fault("wrong answer", `/healthz: ${answer.slice(0, 40)}`);
    if (ms > HEALTH_MS_MAX) world.report.fault("starved", `/healthz took ${ms} ms`);
  }
}

/** A message in thousands of one-byte fragments that never ends. */
async function crumble(world) {
  const tcp = await handshake(world);
  tcp.resume();
  tcp.write(frame(0x02, bytes(1)));
  tcp.write(Buffer.concat(Array.from({ length: 20_000 }, () => frame(0x00, bytes(1)))));
  await world.pause(100);
  tcp.resetAndDestroy();
  await within(closed(tcp), "the end of a message in crumbs");
  world.report.count("hostile: crumbs");
}

/** Fault after fault. */
export async function offend(world, period) {
  for await (const turn of world.every(period)) {
    await commit(world, FAULTS[turn % FAULTS.length]);
    await misrequest(world, REQUESTS[turn % REQUESTS.length]);
    await vanish(world, turn);
    if (turn % 10 === 0) await crumble(world);
  }
}

export async function floodAgain(world, period) {
  for await (const _ of world.every(period)) await flood(world);
}

/** Half a handshake or a body byte by byte, until the server has had enough. */
export async function dawdle(world, lane) {
  const isBody = lane % 2 === 0;
  const head = isBody ? `POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n` : `GET ${PATH} HTTP/1.1\r\nX: `;
  for await (const _ of world.every(1_000)) {
    const tcp = await world.dial();
    const rest = drained(tcp);
    tcp.write(head);
    let isClosed = false;
    rest.then(() => (isClosed = true));
    const started = performance.now();
    while (!isClosed && !world.isOver) {
      if (!tcp.destroyed && tcp.writable) tcp.write("x");
      await Promise.race([world.pause(SLOW_BYTE_MS), rest]);
      if (performance.now() - started > 30_000) {
        world.report.fault("not timed out", isBody ? "a slow body" : "half a handshake");
        tcp.destroy();
      }
    }
    if (!isClosed) tcp.resetAndDestroy();
    const answer = String(await within(rest, "the end of a slow request"));
    if (!world.isOver) world.report.count(`hostile: slow, told ${answer.slice(9, 12) || "nothing"}`);
  }
}
