// Pusher clients at several nodes: events by signed requests to any of them, and a presence channel whose members come, have
// connections at two nodes, and go.
//
// The protocol does not say what is missing, so an event may be lost where Redis has forgotten, and nowhere else; and it comes
// twice only where the answer to its request was that nobody knows. Who is a member is not lost at all, and nobody is said to
// have gone who is there.

import { setTimeout as sleep } from "node:timers/promises";

import { Client, DEFLATED, PLAIN, eventsPath, usersPath } from "./pusher.mjs";
import { url, web } from "./road.mjs";
import { post } from "./spread.mjs";
import { within } from "./world.mjs";

const FEED = "private-nodes";
const ROOM = "presence-nodes";
const HEARD_MS_MAX = 60_000; // Redis may be away twice in that time
const STAY_MS = 300;

/** One channel in which a server publishes number after number. */
export class Feed {
  #nodes;
  #published = 0;
  #answeredAt = [0];
  /** Numbers that may come twice. */
  #uncertain = new Set();
  #readers = [];

  constructor(nodes) {
    this.#nodes = nodes;
  }

  /** Two readers at each node, which stay. */
  async open() {
    for (const [at, world] of this.#nodes.worlds.entries()) {
      for (const form of [PLAIN, DEFLATED]) {
        const reader = { who: `Pusher at node ${at}`, last: 0, missing: [] };
        const client = await new Client(world, reader.who).connect(form);
        await client.subscribe(FEED, ({ data }) => this.#hear(reader, Number(data)));
        this.#readers.push(reader);
      }
    }
  }

  async publish(period) {
    const agents = this.#nodes.worlds.map(() => new web.Agent({ keepAlive: true, maxSockets: 1 }));
    for await (const turn of this.#nodes.worlds[0].every(period)) await this.#untilAnswered(turn, agents);
    agents.forEach((agent) => agent.destroy());
  }

  async #untilAnswered(first, agents) {
    const number = ++this.#published;
    const body = JSON.stringify({ name: "tick", channels: [FEED], data: String(number) });
    for (let turn = first; ; turn++) {
      const agent = agents[turn % agents.length];
      const { status, text } = await post(this.#nodes.at(turn), agent, eventsPath(body), {}, body);
      if (status === undefined || status === 504) this.#uncertain.add(number);
      if (status === 200) break;
      if (status === undefined) continue;
      if (status !== 503 && status !== 504) this.#fault("wrong answer", `an event: ${status} ${text}`);
      await this.#nodes.refused(`signed request answered with ${status}`, text);
    }
    this.#answeredAt[number] = performance.now();
    this.#nodes.report.count("published by signed requests");
  }

  #hear(reader, number) {
    this.#nodes.report.count("events of Pusher checked");
    if (number <= reader.last && !this.#uncertain.has(number)) this.#fault("doubled", `${reader.who}: ${number} after ${reader.last}`);
    for (let missing = reader.last + 1; missing < number; missing++) reader.missing.push(missing);
    if (number < reader.last) this.#fault("reordered", `${reader.who}: ${number} after ${reader.last}`);
    reader.last = number;
  }

  /** Everything has been published: what is missing was published when Redis forgot. */
  async check() {
    await within(this.#arrived(), "the last event").catch(() => {});
    for (const { who, last, missing } of this.#readers) {
      for (let number = last + 1; number <= this.#published; number++) missing.push(number);
      const excused = missing.filter((number) => this.#nodes.redis.mayHaveForgotten(this.#answeredAt[number]));
      this.#nodes.report.count("events of Pusher lost with Redis's memory", excused.length);
      if (excused.length < missing.length) this.#fault("lost", `${who}: ${missing.filter((number) => !excused.includes(number))} of ${FEED}`);
    }
  }

  async #arrived() {
    while (this.#readers.some(({ last }) => last < this.#published)) await sleep(20);
  }

  #fault(kind, detail) {
    this.#nodes.report.fault(kind, detail);
  }
}

/** A presence channel over all nodes. */
export class Gathering {
  #nodes;
  #observers = [];
  /** Who is there for certain. */
  #here = new Set();

  constructor(nodes) {
    this.#nodes = nodes;
  }

  /** An observer at each node, which is a member too, and stays. */
  async open() {
    for (const [at, world] of this.#nodes.worlds.entries()) {
      const observer = { name: `observer-${at}`, members: new Set(), waiting: [] };
      const client = await new Client(world, observer.name).connect(at % 2 === 0 ? PLAIN : DEFLATED);
      const { presence } = await client.subscribe(ROOM, (message) => this.#observe(observer, message), observer.name);
      presence.ids.forEach((id) => observer.members.add(id));
      this.#observers.push(observer);
    }
    await this.#all(({ members }) => members.size === this.#observers.length, "the observers to hear of each other");
    this.#observers.forEach(({ name }) => this.#here.add(name));
  }

  /** A user comes to a node, and to another one, leaves the first, and then the other. */
  async come(lane, period) {
    const user = `user-${lane}`;
    for await (const turn of this.#nodes.worlds[0].every(period)) {
      const first = await this.#join(turn + lane, user);
      await this.#heard(({ members }) => members.has(user), `${user} to be added`, "slowest member_added, ms");
      this.#here.add(user);
      const second = await this.#join(turn + lane + 1, user);
      await first.end(turn);
      await sleep(STAY_MS);
      this.#here.delete(user);
      await second.end(turn + 1);
      await this.#heard(({ members }) => !members.has(user), `${user} to be removed`, "slowest member_removed, ms");
      this.#nodes.report.count("stays of members");
    }
  }

  /** Joins, at this node or at the next that lets it in. */
  async #join(first, user) {
    for (let turn = first; ; turn++) {
      const client = await new Client(this.#nodes.at(turn), user).connect();
      const before = [...this.#here];
      const succeeded = await client.subscribe(ROOM, () => this.#nodes.report.count("events of presence heard by members"), user, true);
      if (succeeded) {
        this.#checkMembers(user, succeeded.presence, before);
        return client;
      }
      await client.end(1);
      await this.#nodes.refused("Pusher subscription refused", ROOM);
    }
  }

  /** A new member is told of itself, and of who was there before and is there after. */
  #checkMembers(user, { ids, hash, count }, before) {
    const due = [user, ...before.filter((other) => this.#here.has(other))];
    const isSame = count === ids.length && ids.every((id) => hash[id]?.name === id);
    if (!isSame || !due.every((id) => ids.includes(id))) this.#fault("altered", `the members that ${user} was told of are ${ids}, and not ${due}`);
  }

  #observe(observer, { event, data }) {
    const { user_id: user } = JSON.parse(data);
    const isIn = observer.members.has(user);
    this.#nodes.report.count(event);
    if (event === "pusher_internal:member_added") {
      if (isIn) this.#fault("doubled", `${observer.name}: ${user} was added, and had not been removed`);
      observer.members.add(user);
    } else if (event === "pusher_internal:member_removed") {
      if (!isIn) this.#fault("doubled", `${observer.name}: ${user} was removed, and had not been added`);
      if (this.#here.has(user)) this.#fault("removed too early", `${observer.name}: ${user}, who is there`);
      observer.members.delete(user);
    } else this.#fault("altered", `${observer.name}: ${event} ${data}`);
    observer.waiting = observer.waiting.filter((tell) => !tell());
  }

  async #heard(isSo, what, slowest) {
    const started = performance.now();
    await this.#all(isSo, what);
    this.#nodes.report.most(slowest, Math.round(performance.now() - started));
  }

  async #all(isSo, what) {
    for (const observer of this.#observers) {
      if (isSo(observer)) continue;
      const come = new Promise((resolve) => observer.waiting.push(() => isSo(observer) && (resolve(), true)));
      await within(come, `${what}, as ${observer.name} has to hear`, HEARD_MS_MAX);
    }
  }

  /** Everybody has left but the observers, and each node says so. */
  async check() {
    const due = this.#observers.map(({ name }) => name).sort().join();
    for (const world of this.#nodes.worlds) {
      const answer = await fetch(url("http", world.address, usersPath(ROOM)), { headers: { connection: "close" } });
      const users = (await answer.json()).users.map(({ id }) => id).sort().join();
      if (users !== due) this.#fault("lost", `the users at the end are ${users}, and not ${due}`);
    }
    for (const { name, members } of this.#observers) {
      if ([...members].sort().join() !== due) this.#fault("lost", `${name} knows ${[...members]}, and there are ${due}`);
    }
  }

  #fault(kind, detail) {
    this.#nodes.report.fault(kind, detail);
  }
}
