// Clients of /channels: sockets that read many channels at once, stay or come back, and publish to many.
//
// What arrives in each channel is judged by its ledger. Who may read what is the matter of `access`.

import { Reader } from "./ledger.mjs";
import { ENVELOPE, within } from "./world.mjs";

const PATH = "/channels";
const QUIET_COUNT = 90; // channels of a client that nobody publishes to
const SAYING = "said-by-many";

/** A socket at /channels: sends commands, and hands on what comes, by channel. What is refused unasked is a fault. */
export class Socket {
  client;
  /** The data of the last `fanfare:error` that was no answer. */
  lastError;
  #isJudged = true;
  #world;
  #who;
  #answers = new Map();
  #ref = 0;
  #readers = new Map();
  #noticed = new Set();
  #onEnd;

  /** `onEnd(channel, data)` hears of subscriptions that the server ends. */
  constructor(world, who, onEnd = undefined) {
    this.#world = world;
    this.#who = who;
    this.#onEnd = onEnd;
  }

  async open({ protocols = ENVELOPE.protocols, headers = {}, deflate = false, mayClose = () => false } = {}) {
    const form = { protocols, headers, deflate };
    this.client = await this.#world.subscribe(this.#who, PATH, form, (data) => this.#take(data), mayClose);
    return this;
  }

  /** The same for who is to be refused or closed: `lastError` has what it was told, and what else comes is not looked at. */
  async openUnjudged(form, mayClose) {
    this.#isJudged = false;
    return this.open({ ...form, mayClose });
  }

  /** Hands on what comes of a channel: `take(envelope, text)`; gaps and pauses too if they may come. */
  onChannel(channel, take, { withNotices = false } = {}) {
    this.#readers.set(channel, take);
    if (withNotices) this.#noticed.add(channel);
  }

  /** Sends a command. Gives its answers, of which there are `count`. */
  ask(event, data, count = 1) {
    return this.#send({ event: `fanfare:${event}`, data }, count);
  }

  /** Subscribes by one command. Every channel has one answer, in their order, which is `event`. */
  async subscribe(channels, event = "fanfare:subscribed") {
    const answers = await this.ask("subscribe", channels, channels.length);
    answers.forEach((answer, i) => {
      if (answer.event !== event || answer.channel !== channels[i].channel) {
        this.#world.report.fault("wrong answer", `${this.#who}: ${JSON.stringify(answer).slice(0, 200)} to ${JSON.stringify(channels[i])}`);
      }
    });
    if (answers.length < channels.length && !this.client.isLeaving) {
      this.#world.report.fault("wrong answer", `${this.#who}: ${answers.length} answers for ${channels.length} channels`);
    }
    return answers;
  }

  /** Publishes, and gives the answer. */
  publish(channel, data, key) {
    return this.say({ channel, data, key });
  }

  /** Sends a message as it is, with a `ref`, and gives the answer. */
  async say(message) {
    const [answer] = await this.#send(message, 1);
    return answer;
  }

  #send(message, count) {
    const ref = ++this.#ref;
    const answered = new Promise((resolve) => this.#answers.set(ref, { count, got: [], resolve }));
    this.client.socket.send(JSON.stringify({ ...message, ref }));
    const ended = this.client.closed.then(() => []);
    return within(Promise.race([answered, ended]), `the answer to ${JSON.stringify(message).slice(0, 60)} of ${this.#who}`);
  }

  #take(data) {
    const text = data.toString();
    const envelope = JSON.parse(text);
    const waiting = envelope.ref !== undefined && this.#answers.get(envelope.ref);
    if (waiting) {
      waiting.got.push(envelope);
      if (waiting.got.length < waiting.count) return undefined;
      this.#answers.delete(envelope.ref);
      return waiting.resolve(waiting.got);
    }
    const { event, channel } = envelope;
    if (event === "fanfare:unsubscribed" && this.#onEnd) return this.#onEnd(channel, envelope.data);
    if (event === "fanfare:alive" || event === "fanfare:authorized") return this.#world.report.count(`many: ${event}`);
    if (event === "fanfare:error") this.lastError = envelope.data;
    const isNotice = event?.startsWith("fanfare:") && event !== "fanfare:lagged" && !this.#noticed.has(channel);
    const take = isNotice ? undefined : this.#readers.get(channel);
    if (!this.#isJudged) return undefined;
    if (take) return take(envelope, text);
    return this.#world.report.fault("altered", `${this.#who} was sent ${text.slice(0, 200)}`);
  }
}

/** Clients that read these channels and many quiet ones to the end, and miss nothing. Gives their readers. */
export async function settleMany(world, ledgers, count) {
  const readers = [];
  for (let i = 0; i < count; i++) {
    const who = `many ${i}`;
    const socket = await new Socket(world, who).open({ deflate: i % 4 === 3 });
    for (const ledger of ledgers) {
      const reader = new Reader(ledger, who, { from: 1 });
      socket.onChannel(ledger.channel, (_, text) => reader.take(text, ENVELOPE));
      readers.push(reader);
    }
    const quiet = Array.from({ length: QUIET_COUNT }, (_, n) => `quiet-${n}`);
    await socket.subscribe([...quiet, ...ledgers.map((ledger) => ledger.channel)].map((channel) => ({ channel })));
  }
  return readers;
}

/** A client that reads several channels for a while, goes, and comes back to all of them by one command. */
export class ManyReturner {
  #world;
  #who;
  #lane;
  #since = new Map();

  constructor(world, ledgers, lane) {
    this.#world = world;
    this.#lane = lane;
    this.#who = `returning to many ${lane}`;
    this.readers = ledgers.map((ledger) => new Reader(ledger, this.#who, { from: 1 }));
  }

  /** Learns where the channels are before anything is published to them. */
  async begin() {
    await this.#stay(0, () => true);
  }

  async come(period) {
    for await (const turn of this.#world.every(period)) {
      const wanted = this.readers[0].last + 1 + (turn % 7);
      await this.#stay(turn + this.#lane, () => this.readers[0].last >= wanted);
      this.#world.report.count("stays of who comes back to many");
    }
  }

  async catchUp() {
    const isDone = () => this.readers.every((reader) => reader.last >= reader.ledger.published);
    for (let turn = 0; !isDone(); turn++) await this.#stay(turn, isDone);
  }

  async #stay(turn, isEnough) {
    let enough;
    const satisfied = new Promise((resolve) => (enough = resolve));
    const socket = new Socket(this.#world, this.#who);
    for (const reader of this.readers) {
      const { channel } = reader.ledger;
      socket.onChannel(channel, (envelope, text) => {
        // What the kernel still hands on after the end has begun is taken as well: the place is what was taken last.
        reader.take(text, ENVELOPE);
        this.#since.set(channel, envelope.id);
        if (isEnough()) enough();
      });
    }
    await socket.open({ deflate: turn % 5 === 0 });
    const wanted = this.readers.map(({ ledger: { channel } }) => ({ channel, since: this.#since.get(channel) }));
    const answers = await socket.subscribe(wanted);
    // Until something has come, the beginning is where to go on.
    for (const { channel, data } of answers) if (!this.#since.has(channel)) this.#since.set(channel, data.since);
    if (isEnough()) enough();
    await this.#world.orOver(satisfied, `what ${this.#who} waits for`);
    if (turn % 3 === 1) await this.#leaveOneByOne(socket);
    if (turn % 3 === 0) await this.#world.reset(socket.client);
    else await this.#world.leave(socket.client);
  }

  /** After its answer nothing more comes of a channel: what would, has no reader and is a fault. */
  async #leaveOneByOne(socket) {
    for (const { ledger } of this.readers) {
      await socket.ask("unsubscribe", [ledger.channel]);
      socket.onChannel(ledger.channel, undefined);
    }
  }
}

/** Publishes to the channel of another by commands, each twice under one key, and over reconnects: one hears each once. */
export class Repeaters {
  #world;
  #due = 1;
  #sent = 0;
  #allHeard = () => {};

  constructor(world) {
    this.#world = world;
  }

  async open() {
    const listener = await new Socket(this.#world, "listener of many").open();
    listener.onChannel(SAYING, ({ data }) => {
      if (data.number !== this.#due) {
        const kind = data.number > this.#due ? "lost" : "doubled";
        this.#world.report.fault(kind, `${SAYING}: ${data.number} came where ${this.#due} was due`);
      }
      this.#due = data.number + 1;
      if (this.#due > this.#sent) this.#allHeard();
    });
    await listener.subscribe([{ channel: SAYING }]);
  }

  async speak(period) {
    let socket = await new Socket(this.#world, "repeater").open();
    for await (const turn of this.#world.every(period)) {
      const number = ++this.#sent;
      const first = await socket.publish(SAYING, { number }, `repeated-${number}`);
      if (turn % 10 === 0) {
        await this.#world.reset(socket.client);
        socket = await new Socket(this.#world, "repeater").open();
      }
      const again = await socket.publish(SAYING, { number }, `repeated-${number}`);
      if (first?.event !== "fanfare:published" || again?.data?.id !== first.data.id) {
        this.#world.report.fault("wrong answer", `repeater: ${JSON.stringify(first)}, then ${JSON.stringify(again)}`);
      }
      this.#world.report.count("repeated under a key");
    }
  }

  async check() {
    if (this.#due > this.#sent) return;
    await within(new Promise((resolve) => (this.#allHeard = resolve)), "all that was repeated").catch(() => {
      this.#world.report.fault("lost", `${SAYING}: ${this.#sent} sent, ${this.#due - 1} heard`);
    });
  }
}
