// Clients that keep the rules: tickers, steady subscribers, chat members, idle ones, and those that come and go.
//
// Each function is one actor; it ends when the world says so. What arrives is judged by the ledger.

import { Agreement, Reader } from "./ledger.mjs";
import { FORMS, Poster, within } from "./world.mjs";

/** Publishes number after number by POST. */
export async function tick(world, ledger, period, { isBinary = false } = {}) {
  const poster = new Poster(world);
  for await (const _ of world.every(period)) {
    const number = ++ledger.published;
    const payload = ledger.payload(number);
    const answer = await poster.post(ledger.path, isBinary ? Buffer.from(payload) : payload);
    if (answer) ledger.checkId(answer.id, number, "the publisher");
  }
  poster.end();
}

/** Subscribers that stay to the end and miss nothing, `count` of each form. Gives their readers. */
export async function settle(world, ledger, forms, count) {
  const readers = [];
  for (const form of forms) {
    for (let i = 0; i < count; i++) {
      const who = `steady ${form.name} ${i}`;
      const reader = new Reader(ledger, who, { from: 1 });
      await world.subscribe(who, ledger.path, form, (data) => reader.take(data, form));
      readers.push(reader);
    }
  }
  return readers;
}

/** Connections that say nothing and hear nothing but pings and that the server is there; and these notices, if any. */
export async function idle(world, count, notices = []) {
  const pings = [];
  for (let i = 0; i < count; i++) {
    const form = FORMS[i % FORMS.length];
    const onMessage = (data) => {
      const event = form.isEnvelope ? JSON.parse(data).event : undefined;
      if (event === "fanfare:alive" || notices.includes(event)) return world.report.count("notices of a silent channel");
      world.report.fault("altered", `idle ${i} was sent a message`);
    };
    const client = await world.subscribe(`idle ${i}`, "/channels/idle", form, onMessage);
    client.socket.on("ping", () => {
      world.report.count("pings answered");
      pings[i] = (pings[i] ?? 0) + 1;
    });
    pings.push(0);
  }
  return () => {
    const silent = pings.filter((count) => count === 0).length;
    if (silent > 0) world.report.fault("not pinged", `${silent} of ${count} idle connections`);
  };
}

/** Members that publish over WebSocket. `speak` goes on to the end; `check` waits until all have heard all. */
export class Chat {
  #world;
  #members = [];
  #agreement;
  #sent = 0;
  #allHeard = () => {};

  constructor(world) {
    this.#world = world;
    this.#agreement = new Agreement(world.report);
  }

  async join(count) {
    for (let name = 0; name < count; name++) {
      const form = FORMS[name % FORMS.length];
      const member = { name, form, heard: new Map(), id: undefined };
      this.#agreement.join(name);
      const client = await this.#world.subscribe(`chat ${name}`, "/channels/chat", form, (data) => this.#hear(member, data));
      this.#members.push(Object.assign(member, { client }));
    }
  }

  async speak(period) {
    for await (const turn of this.#world.every(period)) {
      for (const { name, form, client } of this.#members) {
        const text = `${name} ${turn} ${"la".repeat((turn * 31 + name) % 200)}`;
        client.socket.send(form.isEnvelope ? JSON.stringify({ event: "said", data: text }) : text);
        this.#sent++;
        this.#world.report.count("published by WebSocket");
      }
    }
  }

  async check() {
    const heard = new Promise((resolve) => (this.#allHeard = resolve));
    this.#tellIfDone();
    await within(heard, "all of the chat").catch(() => {
      const counts = this.#members.map(({ name }) => this.#agreement.heard(name));
      this.#world.report.fault("lost", `chat: ${this.#sent} sent, heard ${counts.join(" ")}`);
    });
  }

  #hear(member, data) {
    let text = data.toString();
    if (member.form.isEnvelope) {
      const envelope = JSON.parse(text);
      if (envelope.event === "fanfare:alive") return;
      this.#checkId(member, envelope.id);
      text = envelope.data;
    }
    const [speaker, turn] = text.split(" ", 2).map(Number);
    const due = (member.heard.get(speaker) ?? 0) + 1;
    if (turn !== due) {
      this.#world.report.fault(turn > due ? "lost" : "doubled", `chat ${member.name}: ${turn} of ${speaker}, ${due} was due`);
    }
    member.heard.set(speaker, turn);
    this.#agreement.hear(member.name, text);
    this.#tellIfDone();
  }

  #checkId(member, id) {
    const sequence = Number(id.split("-")[1]);
    if (member.id !== undefined && sequence !== member.id + 1) {
      this.#world.report.fault("wrong id", `chat ${member.name}: ${sequence} after ${member.id}`);
    }
    member.id = sequence;
  }

  #tellIfDone() {
    if (this.#world.isOver && this.#members.every(({ name }) => this.#agreement.heard(name) === this.#sent)) this.#allHeard();
  }
}

/** Comes, hears a few messages without a hole, and goes; again and again. */
export async function churn(world, ledgers, period) {
  for await (const turn of world.every(period)) {
    const ledger = ledgers[turn % ledgers.length];
    const form = FORMS[turn % 7 === 0 ? 2 + (turn % 2) : turn % 2];
    const who = `churn ${turn}`;
    const reader = new Reader(ledger, who);
    const wanted = turn % 5;
    let count = 0;
    let satisfied;
    const enough = new Promise((resolve) => (satisfied = resolve));
    const onMessage = (data) => {
      reader.take(data, form);
      if (++count >= wanted) satisfied();
    };
    const client = await world.subscribe(who, ledger.path, form, onMessage);
    if (wanted > 0) await world.orOver(enough, `${wanted} messages for ${who}`);
    if (turn % 3 === 0) await world.reset(client);
    else if (turn % 3 === 1) await world.leave(client);
    else {
      client.isLeaving = true;
      client.socket.terminate();
      await within(client.closed, "the end of a destroyed connection");
    }
  }
}
