// Clients of several nodes: publishers that try again at the next node, readers that stay at one, and readers that go from
// node to node with their place.
//
// What arrives is judged in `common`; a refusal is a fault unless Redis is or was away.

import { setTimeout as sleep } from "node:timers/promises";

import { Place } from "./common.mjs";
import { Socket } from "./many.mjs";
import { KEY } from "./proofs.mjs";
import { url, web } from "./road.mjs";
import { ENVELOPE, FORMS, PATIENCE_MS, within } from "./world.mjs";

const TRY_AGAIN_MS = 200;
const TRY_TIME_MAX_MS = 40_000; // keys are known for a minute
const ENVELOPES = FORMS.filter(({ isEnvelope }) => isEnvelope);

/** Worlds, one a node, and what they share. */
export class Nodes {
  constructor(worlds, redis, report) {
    this.worlds = worlds;
    this.redis = redis;
    this.report = report;
  }

  /** The node of a turn. */
  at(turn) {
    return this.worlds[turn % this.worlds.length];
  }

  /** Notes a refusal, which must not be where all is well; then waits a moment. */
  async refused(what, detail) {
    this.report.count(what);
    if (!this.redis.isDisturbed) this.report.fault("refused", `${what}, and Redis is well: ${detail}`);
    await sleep(TRY_AGAIN_MS);
  }
}

/** The answer to a POST; without a status if a connection that was kept has ended meanwhile. */
export function post(world, agent, path, headers, body) {
  const options = { ...world.endpoint, path, method: "POST", agent, headers: { "Content-Length": Buffer.byteLength(body), ...headers } };
  const answer = new Promise((resolve, reject) => {
    const request = web.request(options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (data) => (text += data));
      response.on("end", () => resolve({ status: response.statusCode, text: text.trim() })).on("error", reject);
    });
    request.on("error", (error) => (request.reusedSocket ? resolve({}) : reject(error)));
    request.end(body);
  });
  return within(answer, `the answer to POST ${path}`);
}

/** Publishes number after number, by POST or by commands, until each is answered. */
export class Publisher {
  #nodes;
  #common;
  #lane;
  #number = 0;
  #agents;
  #socket;

  constructor(nodes, common, lane) {
    this.#nodes = nodes;
    this.#common = common;
    this.#lane = lane;
    this.#agents = nodes.worlds.map(() => new web.Agent({ keepAlive: true, maxSockets: 1 }));
  }

  async publish(period, byCommands) {
    for await (const turn of this.#nodes.worlds[0].every(period)) {
      await this.#untilAnswered(turn + this.#lane, byCommands ? this.#command.bind(this) : this.#post.bind(this));
    }
  }

  /** One more by POST; gives its identifier. */
  publishOnce() {
    return this.#untilAnswered(this.#lane, this.#post.bind(this));
  }

  end() {
    this.#agents.forEach((agent) => agent.destroy());
  }

  async #untilAnswered(first, attempt) {
    const { report } = this.#nodes;
    const number = ++this.#number;
    const payload = this.#common.payload(this.#lane, number);
    const key = `${this.#common.channel}-${this.#lane}-${number}`;
    const started = performance.now();
    const isInTime = () => performance.now() - started < TRY_TIME_MAX_MS;
    for (let turn = first; isInTime() || this.#nodes.redis.isDisturbed; turn++) {
      const id = await attempt(turn, payload, key);
      if (id === undefined) continue;
      report.most("slowest publication, ms", Math.round(performance.now() - started));
      this.#common.note(id, payload, `publisher ${this.#lane}`);
      this.#common.published++;
      return id;
    }
    report.fault("not published", `${key}: not within ${TRY_TIME_MAX_MS} ms`);
    return undefined;
  }

  async #post(turn, payload, key) {
    const { status, text } = await this.#request(turn, payload, key);
    if (status === undefined) {
      // As any client of HTTP has to: a connection that was kept may end just as it is used again.
      this.#nodes.report.count("kept connections that had ended");
      return undefined;
    }
    if (status === 200) {
      this.#nodes.report.count("published by POST");
      return JSON.parse(text).id;
    }
    if (status !== 503 && status !== 504) this.#nodes.report.fault("wrong answer", `POST: ${status} ${text}`);
    await this.#nodes.refused(`POST answered with ${status}`, text);
    return undefined;
  }

  #request(turn, payload, key) {
    const headers = { "Content-Type": "text/plain", Authorization: `Bearer ${KEY}`, "Idempotency-Key": key };
    return post(this.#nodes.at(turn), this.#agents[turn % this.#agents.length], this.#common.path, headers, payload);
  }

  async #command(turn, payload, key) {
    const world = this.#nodes.at(turn);
    if (!this.#socket || this.#socket.isGone) {
      this.#socket = new Socket(world, `publisher ${this.#lane}`);
      await this.#socket.open({ mayClose: (code) => code === 1013 });
      this.#socket.client.closed.then(() => (this.#socket.isGone = true));
    }
    const answer = await this.#socket.publish(this.#common.channel, payload, key);
    if (answer?.event === "fanfare:published") {
      this.#nodes.report.count("published by WebSocket");
      return answer.data.id;
    }
    const status = answer?.data?.status;
    if (answer && status !== 503 && status !== 504) this.#nodes.report.fault("wrong answer", `publishing: ${JSON.stringify(answer)}`);
    await this.#nodes.refused(answer ? `publishing answered with ${status}` : "publishing WebSocket closed", JSON.stringify(answer));
    return undefined;
  }
}

/** Where a channel is before anything is published to it. */
export async function begin(world, common) {
  const response = await fetch(url("http", world.address, `${common.path}?since=&wait=0`), { headers: { connection: "close" } });
  return (await response.json()).next;
}

/** Readers that stay at each node to the end: WebSockets, an event stream, and one that reads all channels at once. */
export async function settleAt(nodes, world, at, commons, beginnings) {
  const { report } = nodes;
  for (const [i, common] of commons.entries()) {
    const path = `${common.path}?since=${beginnings[i]}`;
    for (const form of ENVELOPES) {
      const who = `${form.name} at node ${at}`;
      const place = new Place(common, who, beginnings[i], report);
      await world.subscribe(who, path, form, (data) => place.take(data.toString()));
    }
    const place = new Place(common, `event stream at node ${at}`, beginnings[i], report);
    const stream = await streamOf(world, path, (text) => place.take(text));
    stream.ended.then(() => {
      if (!world.isLeaving) report.fault("closed", `an event stream of node ${at}`);
    });
  }
  const who = `reader of many at node ${at}`;
  const socket = new Socket(world, who);
  const places = commons.map((common, i) => new Place(common, who, beginnings[i], report));
  commons.forEach(({ channel }, i) => socket.onChannel(channel, (_, text) => places[i].take(text), { withNotices: true }));
  await socket.open();
  await socket.subscribe(commons.map(({ channel }, i) => ({ channel, since: beginnings[i] })));
}

/** Envelopes of an event stream. `ended` resolves when no more come. */
async function streamOf(world, path, take) {
  const options = { ...world.endpoint, path: `${path}&protocol=fanfare.v1.json`, headers: { accept: "text/event-stream" }, agent: false };
  const request = web.get(options);
  world.report.count("connections");
  const ended = new Promise((resolve) => request.once("close", resolve));
  request.on("error", () => {}); // it is cut off by its reader, or has ended
  const response = await within(new Promise((resolve) => { request.once("response", resolve); ended.then(() => resolve(undefined)); }), "an event stream");
  if (response?.statusCode !== 200) {
    request.destroy();
    return { ended, status: response?.statusCode, request };
  }
  let text = "";
  response.on("error", () => {}).setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data: "));
      text = text.slice(end + 2);
      if (data.length > 0) take(data.map((line) => line.slice(6)).join("\n"));
    }
  });
  world.streams.add(request);
  ended.then(() => world.streams.delete(request));
  return { ended, status: 200, request };
}

/** Stays at a node for a moment, goes without a word, and comes to the next one with its place. */
export class Wanderer {
  #nodes;
  #lane;
  #place;

  constructor(nodes, common, lane, beginning) {
    this.#nodes = nodes;
    this.#lane = lane;
    this.#place = new Place(common, `wanderer ${lane}`, beginning, nodes.report);
  }

  get common() {
    return this.#place.common;
  }

  async wander(period) {
    for await (const turn of this.#nodes.worlds[0].every(period)) {
      const before = this.#place.id;
      await this.#stay(turn + this.#lane, () => this.#place.id !== before);
      this.#nodes.report.count("stays of wanderers");
    }
  }

  async catchUp(id) {
    let isThere = false;
    this.#place.reached(id).then(() => (isThere = true));
    const started = performance.now();
    for (let turn = 0; !isThere && performance.now() - started < PATIENCE_MS; turn++) {
      await this.#stay(turn, () => isThere);
      await sleep(0);
    }
  }

  #stay(turn, isEnough) {
    const world = this.#nodes.at(turn);
    const ways = [this.#webSocket, this.#eventStream, this.#poll];
    this.#place.reconnected();
    return ways[turn % ways.length].call(this, world, isEnough);
  }

  get #path() {
    return `${this.#place.common.path}?since=${this.#place.id}`;
  }

  async #webSocket(world, isEnough) {
    const take = (data) => {
      if (!client?.isLeaving) this.#place.take(data.toString());
    };
    let client;
    const mayClose = (code) => code === 1006 || code === 1013;
    const who = `wanderer ${this.#lane}`;
    try {
      client = await world.subscribe(who, this.#path, ENVELOPE, take, mayClose);
    } catch (error) {
      // A node that is cut off cannot say whether what a wanderer has is lost.
      if (!error.message.includes("503")) throw error;
      return this.#nodes.refused("WebSocket of a wanderer refused or closed", this.#place.common.channel);
    }
    let isClosed = false;
    client.closed.then(() => (isClosed = true));
    await this.#until(() => isClosed || isEnough());
    if (isClosed) return this.#nodes.refused("WebSocket of a wanderer refused or closed", this.#place.common.channel);
    return world.reset(client);
  }

  async #eventStream(world, isEnough) {
    let isOver = false;
    const stream = await streamOf(world, this.#path, (text) => isOver || this.#place.take(text));
    let isEnded = false;
    stream.ended.then(() => (isEnded = true));
    await this.#until(() => isEnded || isEnough());
    isOver = true;
    stream.request.destroy();
    if (isEnded) await this.#nodes.refused("event stream of a wanderer refused or ended", `${stream.status}`);
  }

  async #poll(world, isEnough) {
    for (let turn = 0; turn < 10 && !isEnough(); turn++) {
      const path = `${this.#path}&wait=1`;
      const response = await within(fetch(url("http", world.address, path), { headers: { connection: "close" } }), "a long poll");
      world.report.count("connections");
      const text = await within(response.text(), "the rest of a long poll");
      if (response.status !== 200) {
        if (response.status !== 503) world.report.fault("wrong answer", `long poll: ${response.status} ${text}`);
        return this.#nodes.refused("long poll of a wanderer refused", text);
      }
      this.#takeAnswer(JSON.parse(text));
    }
    return undefined;
  }

  /** A gap is ahead of the messages: the first of them says from where on they are whole, or else the next place does. */
  #takeAnswer({ gap, messages, next }) {
    if (gap) this.#place.gap(gap.missed, messages.length > 0 ? before(messages[0].id) : next);
    messages.forEach((message) => this.#place.take(JSON.stringify(message)));
  }

  /** Waits until something holds, for as long as a stay may take. */
  async #until(holds) {
    const started = performance.now();
    while (!holds() && performance.now() - started < PATIENCE_MS) await sleep(20);
  }
}

function before(id) {
  const [epoch, sequence] = id.split("-");
  return `${epoch}-${Number(sequence) - 1}`;
}

/** Asks a node again and again whether it is ready: not always while Redis is away, and whether it lives: always. */
export async function askReady(nodes, world, period) {
  for await (const _ of world.every(period)) {
    for (const path of ["/readyz", "/healthz"]) {
      const response = await within(fetch(url("http", world.address, path), { headers: { connection: "close" } }), path);
      await response.text();
      world.report.count(`${path} answered with ${response.status}`);
      if (response.status === 200) continue;
      if (path === "/healthz" || response.status !== 503) world.report.fault("wrong answer", `${path}: ${response.status}`);
      else if (!nodes.redis.isDisturbed) world.report.fault("not ready", "and Redis is well");
    }
  }
}
