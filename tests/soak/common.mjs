// What a channel has published over all nodes, and what each reader of it has to hear: every publication of an epoch in order,
// or a gap that says what is missing.
//
// Who reads where, and when Redis forgets, is not known here.

const TEXT = "abcdefghijklmnopqrstuvwxyz 0123456789 ".repeat(20);

/** A channel with many publishers at many nodes. */
export class Common {
  #report;
  /** By identifier, what was published under it: said by an answer or heard by anybody, on any node. */
  #payloads = new Map();
  /** By payload, where it was last. */
  #places = new Map();
  #epochs = new Set();
  readers = [];
  published = 0;

  constructor(channel, report) {
    this.channel = channel;
    this.#report = report;
  }

  get path() {
    return `/channels/${this.channel}`;
  }

  /** The n-th payload of a publisher. */
  payload(publisher, number) {
    const length = (number * 7919 + publisher * 31) % 400;
    return `${publisher} ${number} ${this.channel} ${TEXT.slice(number % 37, (number % 37) + length)}`;
  }

  /** A publication has this identifier, on every node and for ever; and in an epoch, a payload has one identifier. */
  note(id, payload, who) {
    const known = this.#payloads.get(id);
    if (known === payload) return;
    if (known !== undefined) {
      return this.#report.fault("two payloads", `${who}: ${id} of ${this.channel} is ${JSON.stringify(payload.slice(0, 30))}, and was ${JSON.stringify(known.slice(0, 30))}`);
    }
    const [publisher, number] = payload.split(" ", 2).map(Number);
    if (payload !== this.payload(publisher, number)) {
      return this.#report.fault("altered", `${who}: ${id} of ${this.channel} is ${JSON.stringify(payload.slice(0, 60))}`);
    }
    const { epoch } = placeOf(id);
    const before = this.#places.get(payload);
    if (before !== undefined && placeOf(before).epoch === epoch) {
      this.#report.fault("doubled", `${who}: ${JSON.stringify(payload.slice(0, 30))} of ${this.channel} is ${before} and ${id}`);
    }
    this.#places.set(payload, id);
    this.#payloads.set(id, payload);
    this.#epochs.add(epoch);
  }

  get epochs() {
    return this.#epochs.size;
  }
}

/** One subscriber, wherever it is: it goes from node to node with its place. */
export class Place {
  common;
  #who;
  #report;
  #id;
  #isPaused = false;
  #waiting = [];

  /** `id` is where it begins: what was published after that is due. */
  constructor(common, who, id, report) {
    this.common = common;
    this.#who = `${who} on ${common.channel}`;
    this.#id = id;
    this.#report = report;
    common.readers.push(this);
  }

  get id() {
    return this.#id;
  }

  /** Another connection hears nothing of what the one before was told; and who joins a paused channel is told when it resumes. */
  reconnected() {
    this.#isPaused = undefined;
  }

  /** Takes an envelope. */
  take(text) {
    const { id, event, data } = JSON.parse(text);
    if (event === "fanfare:alive") return;
    if (event === "fanfare:subscribed") return this.#subscribed(data.since);
    if (event === "fanfare:gap") return this.gap(data.missed, data.since);
    if (event === "fanfare:paused" || event === "fanfare:resumed") return this.#paused(event === "fanfare:paused");
    if (id === undefined) return this.#fault("altered", text.slice(0, 100));
    this.#report.count("deliveries checked");
    this.common.note(id, data, this.#who);
    const [was, is] = [placeOf(this.#id), placeOf(id)];
    if (is.epoch !== was.epoch) this.#fault("epoch unsaid", `${id} came after ${this.#id}, and no gap`);
    else if (is.sequence <= was.sequence) return this.#fault("doubled", `${id} came after ${this.#id}`);
    else if (is.sequence > was.sequence + 1) this.#fault("lost", `${id} came after ${this.#id}, and no gap`);
    this.#moveTo(id);
  }

  /** So many are missing, or nobody knows how many, and what comes is after `since`. */
  gap(missed, since) {
    const [was, is] = [placeOf(this.#id), placeOf(since)];
    if (missed === null) this.#report.count("gaps of a new epoch");
    else if (is.epoch !== was.epoch || is.sequence !== was.sequence + missed) {
      this.#fault("wrong gap", `${missed} up to ${since}, after ${this.#id}`);
    } else this.#fault("gap", `${missed} after ${this.#id}, though the history reaches back further`);
    this.#moveTo(since);
  }

  /** Resolves when this or something later has come. */
  reached(id) {
    if (this.#hasReached(id)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ id, resolve }));
  }

  finish(id) {
    if (!this.#hasReached(id)) this.#fault("lost", `at ${this.#id}, and ${id} was the last`);
    if (this.#isPaused) this.#fault("not resumed", "paused, and never resumed");
  }

  /** What it asked for, so that nothing is between. */
  #subscribed(since) {
    if (since !== this.#id) this.#fault("wrong answer", `subscribed from ${since} on, and ${this.#id} was asked for`);
  }

  #paused(isPaused) {
    this.#report.count(isPaused ? "told paused" : "told resumed");
    if (isPaused === this.#isPaused) this.#fault("wrong answer", `told twice that it is ${isPaused ? "paused" : "resumed"}`);
    this.#isPaused = isPaused;
  }

  #hasReached(id) {
    const [is, due] = [placeOf(this.#id), placeOf(id)];
    return is.epoch === due.epoch && is.sequence >= due.sequence;
  }

  #moveTo(id) {
    this.#id = id;
    if (this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.filter(({ id, resolve }) => {
      if (this.#hasReached(id)) resolve();
      return !this.#hasReached(id);
    });
  }

  #fault(kind, detail) {
    this.#report.fault(kind, `${this.#who}: ${detail}`);
  }
}

/** The two parts of an identifier. */
export function placeOf(id) {
  const [epoch, sequence] = id.split("-");
  return { epoch, sequence: Number(sequence) };
}
