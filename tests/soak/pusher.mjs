// Clients that speak the Pusher protocol: steady ones, members that come and go, speakers, and a server that signs.
//
// The protocol is written out here, over `ws`, with the app of development mode. Who is in a presence channel follows from
// what its members did: each member_added and member_removed that comes is compared with that.

import { createHash, createHmac } from "node:crypto";

import { Agreement, Reader } from "./ledger.mjs";
import { url } from "./road.mjs";
import { Poster, RAW, within } from "./world.mjs";

const APP = { id: "1", key: "app-key", secret: "app-secret" };
const CONNECT = `/app/${APP.key}?protocol=7&client=soak&version=1.0.0`;
const ROOM = "presence-soak";
const FLOOR = "private-soak";
export const PLAIN = { protocols: [], isEnvelope: false, deflate: false };
export const DEFLATED = { ...PLAIN, deflate: true };
const OBSERVERS = 2;

const hmac = (text) => createHmac("sha256", APP.secret).update(text).digest("hex");

/** A connection. What is refused, comes unasked or is no message of the protocol is a fault. */
export class Client {
  socketId;
  connection;
  #world;
  #who;
  #channels = new Map();
  #succeeded = new Map();
  #pongs = [];
  #mayBeRefused = false;

  constructor(world, who) {
    this.#world = world;
    this.#who = who;
  }

  /** Connects, and waits for the first message. */
  async connect(form = PLAIN) {
    let greeted;
    const greeting = new Promise((resolve) => (greeted = resolve));
    this.connection = await this.#world.subscribe(this.#who, CONNECT, form, (data) => {
      const message = JSON.parse(data);
      if (this.socketId) return this.#take(message);
      if (message.event !== "pusher:connection_established") return this.#fault("altered", `${data} came first`);
      this.socketId = JSON.parse(message.data).socket_id;
      return greeted();
    });
    await within(greeting, `the greeting of ${this.#who}`);
    this.#world.report.count("Pusher connections");
    return this;
  }

  /**
   * Subscribes, as a member if `user` is given; `onMessage` has every event of the channel. Gives the members, if any; undefined
   * where it is refused for now, if it may be.
   */
  async subscribe(channel, onMessage, user, mayBeRefused = false) {
    this.#mayBeRefused = mayBeRefused;
    const data = { channel };
    if (user !== undefined) data.channel_data = JSON.stringify({ user_id: user, user_info: { name: user } });
    if (/^(private|presence)-/.test(channel)) {
      const signed = [this.socketId, channel, ...(data.channel_data ? [data.channel_data] : [])].join(":");
      data.auth = `${APP.key}:${hmac(signed)}`;
    }
    const succeeded = new Promise((resolve) => this.#succeeded.set(channel, resolve));
    this.#channels.set(channel, onMessage);
    this.send("pusher:subscribe", data);
    return within(succeeded, `${this.#who} on ${channel}`);
  }

  /** Unsubscribes, and waits until that is done: what comes after it is a fault. */
  async unsubscribe(channel) {
    this.send("pusher:unsubscribe", { channel });
    const pong = new Promise((resolve) => this.#pongs.push(resolve));
    this.send("pusher:ping", {});
    await within(pong, `a pong for ${this.#who}`);
    this.#channels.delete(channel);
  }

  send(event, data, channel) {
    this.connection.socket.send(JSON.stringify(channel === undefined ? { event, data } : { event, data, channel }));
  }

  /** Ends the connection in one of the ways in which connections end. */
  async end(way) {
    if (way % 3 === 0) return this.#world.reset(this.connection);
    if (way % 3 === 1) return this.#world.leave(this.connection);
    this.connection.isLeaving = true;
    this.connection.socket.terminate();
    return within(this.connection.closed, "the end of a destroyed connection");
  }

  #take(message) {
    const { event, channel, data } = message;
    if (event === "pusher:pong") return this.#pongs.shift()?.();
    if (event === "pusher_internal:subscription_succeeded") {
      const resolve = this.#succeeded.get(channel);
      if (!this.#succeeded.delete(channel)) return this.#fault("doubled", `a second success of ${channel}`);
      return resolve(JSON.parse(data));
    }
    if (this.#mayBeRefused && this.#isRefusal(event, data)) return this.#succeeded.get(channel)?.(undefined);
    if (this.#succeeded.has(channel)) return this.#fault("reordered", `${event} before the success of ${channel}`);
    const onMessage = this.#channels.get(channel);
    if (!onMessage) return this.#fault("refused", `${event} of ${channel}: ${JSON.stringify(data)}`);
    return onMessage(message);
  }

  /** A subscription that is refused is told so twice: of the channel, and as an error of the connection. */
  #isRefusal(event, data) {
    return event === "pusher:error" || (event === "pusher:subscription_error" && JSON.parse(data).status === 503);
  }

  #fault(kind, detail) {
    this.#world.report.fault(kind, `${this.#who}: ${detail}`);
  }
}

/** Publishes number after number by the HTTP API. */
export async function trigger(world, ledger, period) {
  const poster = new Poster(world);
  for await (const _ of world.every(period)) {
    const number = ++ledger.published;
    const body = JSON.stringify({ name: "tick", channels: [ledger.channel], data: ledger.payload(number) });
    await poster.post(eventsPath(body), body);
  }
  poster.end();
}

/** The path and query of a signed request that triggers an event. */
export const eventsPath = (body) => signed("POST", `/apps/${APP.id}/events`, body);

/** The path and query of a signed request for the members of a channel. */
export const usersPath = (channel) => signed("GET", `/apps/${APP.id}/channels/${channel}/users`);

function signed(method, path, body = "") {
  const md5 = body ? `&body_md5=${createHash("md5").update(body).digest("hex")}` : "";
  const query = `auth_key=${APP.key}&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0${md5}`;
  return `${path}?${query}&auth_signature=${hmac(`${method}\n${path}\n${query}`)}`;
}

/**
 * Connections that stay to the end and miss nothing. Gives their readers. Half have all of these channels; the other half,
 * with compression, have one each: `ws` inflates in turns, a message of each client, so one with many channels falls behind
 * on a busy machine.
 */
export async function settlePusher(world, ledgers, count) {
  const readers = [];
  for (let i = 0; i < count; i++) {
    const who = `steady Pusher ${i}`;
    const isDeflated = i % 2 === 1;
    const client = await new Client(world, who).connect(isDeflated ? DEFLATED : PLAIN);
    const own = isDeflated ? [ledgers[(i >> 1) % ledgers.length]] : ledgers;
    for (const ledger of own) readers.push(await read(client, ledger, who, { from: 1 }));
  }
  return readers;
}

async function read(client, ledger, who, options, onMessage = () => {}) {
  const reader = new Reader(ledger, who, options);
  await client.subscribe(ledger.channel, ({ data }) => {
    reader.take(data, RAW);
    onMessage();
  });
  return reader;
}

/** Comes, hears a few messages of two channels without a hole, leaves one and comes back to it, and goes; again and again. */
export async function churnPusher(world, ledgers, period) {
  for await (const turn of world.every(period)) {
    const who = `Pusher churn ${turn}`;
    const client = await new Client(world, who).connect(turn % 2 === 0 ? PLAIN : DEFLATED);
    const [first, second] = [ledgers[turn % ledgers.length], ledgers[(turn + 1) % ledgers.length]];
    await hearSome(world, client, first, who, turn % 4);
    await hearSome(world, client, second, who, 1);
    await client.unsubscribe(first.channel);
    await hearSome(world, client, first, who, turn % 3);
    await client.end(turn);
  }
}

async function hearSome(world, client, ledger, who, wanted) {
  let count = 0;
  let satisfied;
  const enough = new Promise((resolve) => (satisfied = resolve));
  await read(client, ledger, who, {}, () => ++count === wanted && satisfied());
  if (wanted > 0) await world.orOver(enough, `${wanted} messages of ${ledger.channel} for ${who}`);
}

/**
 * A presence channel. Its observers stay, and hear of every other user: once that it came, once that it went, in one order.
 * A stay of a user is one or more connections, which it has at the same time.
 */
export class Presence {
  #world;
  #agreement;
  #observers = [];
  #stays = new Map();
  #said = new Map();

  constructor(world) {
    this.#world = world;
    this.#agreement = new Agreement(world.report);
  }

  async open() {
    for (let index = 0; index < OBSERVERS; index++) {
      const name = `observer-${index}`;
      const observer = { name, users: new Map(), waiting: [] };
      const client = await new Client(this.#world, name).connect(index % 2 === 0 ? PLAIN : DEFLATED);
      await client.subscribe(ROOM, (message) => this.#observe(observer, message), name);
      this.#observers.push(observer);
      this.#agreement.join(name);
    }
  }

  /** One user comes and goes, with up to three connections, which leave in every way. */
  async come(lane, period) {
    const user = `user-${lane}`;
    for await (const turn of this.#world.every(period)) {
      this.#stays.set(user, turn);
      const clients = [];
      for (let index = 0; index <= (turn + lane) % 3; index++) {
        const client = await new Client(this.#world, `${user}.${index}`).connect();
        const { presence } = await client.subscribe(ROOM, () => this.#world.report.count("events of presence heard by members"), user);
        this.#checkMembers(user, presence);
        if (index === 0) await this.#all((observer) => observer.users.get(user)?.added === turn, `${user} to be added`);
        clients.push(client);
      }
      if (turn % 4 === 0) this.#say(clients[turn % clients.length], user);
      await this.#leave(clients, turn, user);
      await this.#all((observer) => observer.users.get(user).removed === turn, `${user} to be removed`);
      this.#world.report.count("stays in presence");
    }
  }

  async #leave(clients, turn, user) {
    for (const [index, client] of clients.entries()) {
      const isLast = index === clients.length - 1;
      const early = this.#observers.filter(({ users }) => users.get(user).removed === turn);
      if (early.length > 0) this.#world.report.fault("removed too early", `${user}, which had ${clients.length - index} connections`);
      if ((turn + index) % 2 === 0) await client.unsubscribe(ROOM);
      // It may have been the user's last place in the channel, but never the connection's end.
      if (!isLast || turn % 3 > 0) await client.end(turn + index);
      else await this.#world.leave(client.connection);
    }
  }

  #say(client, user) {
    const turn = (this.#said.get(user) ?? 0) + 1;
    this.#said.set(user, turn);
    client.send("client-said", { turn }, ROOM);
    this.#world.report.count("client events sent");
  }

  /** What a new member is told: itself, those who never leave, and the same three times. */
  #checkMembers(user, { ids, hash, count }) {
    const known = Object.keys(hash);
    const isWhole = [user, ...this.#observers.map(({ name }) => name)].every((id) => hash[id]?.name === id);
    const isSame = count === ids.length && count === known.length && ids.every((id) => id in hash);
    if (!isWhole || !isSame) this.#world.report.fault("altered", `the members that ${user} was told of: ${count} ${ids} ${known}`);
  }

  #observe(observer, { event, data, user_id: speaker }) {
    const { user_id: member, turn } = typeof data === "string" ? JSON.parse(data) : data;
    const user = member ?? speaker;
    if (user.startsWith("observer-")) return; // the second observer came while the first was there
    const known = observer.users.get(user) ?? { added: 0, removed: 0, said: 0 };
    observer.users.set(user, known);
    const isIn = known.added > known.removed;
    if (event === "pusher_internal:member_added") {
      if (isIn) this.#fault(observer, "doubled", `${user} was added, and had not been removed`);
      known.added++;
    } else if (event === "pusher_internal:member_removed") {
      if (!isIn) this.#fault(observer, "doubled", `${user} was removed, and had not been added`);
      known.removed++;
    } else {
      if (!isIn || turn !== known.said + 1) this.#fault(observer, "reordered", `event ${turn} of ${user} after ${known.said}`);
      known.said = turn;
    }
    this.#world.report.count(event);
    this.#agreement.hear(observer.name, `${event} ${user} ${turn ?? ""}`);
    observer.waiting = observer.waiting.filter((tell) => !tell());
  }

  /** Waits until this is so for all observers. */
  async #all(isSo, what) {
    for (const observer of this.#observers) {
      if (isSo(observer)) continue;
      const come = new Promise((resolve) => observer.waiting.push(() => isSo(observer) && (resolve(), true)));
      await within(come, `${what}, as ${observer.name} has to hear`);
    }
  }

  /** Everybody has left but the observers: nothing is missing, nothing was too much, and the HTTP API says the same. */
  async check() {
    for (const [user, stays] of this.#stays) {
      for (const observer of this.#observers) {
        const { added, removed, said } = observer.users.get(user);
        const sent = this.#said.get(user) ?? 0;
        if (added === stays && removed === stays && said === sent) continue;
        this.#fault(observer, "lost", `${user} came ${stays} times: added ${added}, removed ${removed}; ${said} events of ${sent}`);
      }
    }
    const answer = await fetch(url("http", this.#world.address, usersPath(ROOM)));
    const users = (await answer.json()).users.map(({ id }) => id).join();
    const due = this.#observers.map(({ name }) => name).join();
    if (users !== due) this.#world.report.fault("lost", `the users at the end are ${users}, and not ${due}`);
  }

  #fault(observer, kind, detail) {
    this.#world.report.fault(kind, `${observer.name}: ${detail}`);
  }
}

/** Subscribers of a private channel that send events to each other. Nobody hears itself, and listeners say nothing. */
export class Speakers {
  #world;
  #all = [];
  #sent = 0;
  #allHeard = () => {};

  constructor(world) {
    this.#world = world;
  }

  async join(speakers, listeners) {
    for (let name = 0; name < speakers + listeners; name++) {
      const one = { name, speaks: name < speakers, heard: new Map(), count: 0, sent: 0, client: undefined };
      one.client = await new Client(this.#world, `speaker ${name}`).connect(name % 2 === 0 ? PLAIN : DEFLATED);
      await one.client.subscribe(FLOOR, (message) => this.#hear(one, message));
      this.#all.push(one);
    }
  }

  async speak(period) {
    for await (const turn of this.#world.every(period)) {
      for (const one of this.#all.filter(({ speaks }) => speaks)) {
        one.client.send("client-said", { speaker: one.name, turn, text: "la".repeat((turn * 31 + one.name) % 200) }, FLOOR);
        one.sent++;
        this.#sent++;
        this.#world.report.count("client events sent");
      }
    }
  }

  async check() {
    const heard = new Promise((resolve) => (this.#allHeard = resolve));
    this.#tellIfDone();
    await within(heard, "all client events").catch(() => {
      const counts = this.#all.map(({ count, sent }) => `${count} of ${this.#sent - sent}`);
      this.#world.report.fault("lost", `client events heard: ${counts.join(", ")}`);
    });
  }

  #hear(one, { event, data: { speaker, turn, text } }) {
    const due = (one.heard.get(speaker) ?? 0) + 1;
    if (event !== "client-said" || speaker === one.name || text !== "la".repeat((turn * 31 + speaker) % 200)) {
      this.#world.report.fault("altered", `speaker ${one.name}: ${event} ${turn} of ${speaker}`);
    }
    if (turn !== due) {
      this.#world.report.fault(turn > due ? "lost" : "doubled", `speaker ${one.name}: ${turn} of ${speaker}, ${due} was due`);
    }
    one.heard.set(speaker, turn);
    one.count++;
    this.#world.report.count("deliveries checked");
    this.#tellIfDone();
  }

  #tellIfDone() {
    if (this.#world.isOver && this.#all.every(({ count, sent }) => count === this.#sent - sent)) this.#allHeard();
  }
}
