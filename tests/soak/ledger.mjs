// What was published and what has to arrive: payloads that can be foretold, and readers that check their order.
//
// No socket is known here. A fault is told to the `Report` that is handed in.

const FILLER = Array.from({ length: 64 * 1024 }, (_, i) => "abcdefghijklmnopqrstuvwxyz0123456789 "[(i * i + (i >> 5)) % 37]).join("");
const MISSING_MAX = 10_000; // so many holes of one reader are remembered; past that they count as lost all the same
const FAULTS_SHOWN_MAX = 20;

/** Counts, and the faults: what makes the soak fail. */
export class Report {
  counts = new Map();
  faults = new Map();
  #shown = 0;

  count(what, by = 1) {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  of(what) {
    return this.counts.get(what) ?? 0;
  }

  fault(kind, detail) {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    if (this.#shown++ < FAULTS_SHOWN_MAX) {
      console.error(`soak: ${new Date().toISOString().slice(11, 19)} FAULT ${kind}: ${detail}`);
    }
  }
}

/** The publications of one channel that has one publisher. The n-th payload follows from n alone. */
export class Ledger {
  published = 0;
  #lengths;
  #epoch;
  #offset;

  /** `lengths`: the shortest filler and the longest. */
  constructor(channel, lengths, report) {
    this.channel = channel;
    this.report = report;
    this.#lengths = lengths;
  }

  get path() {
    return `/channels/${this.channel}`;
  }

  payload(number) {
    const [shortest, longest] = this.#lengths;
    const length = shortest + ((number * 7919) % (longest - shortest + 1));
    const start = number % (FILLER.length - longest);
    return `${number} ${this.channel} ${FILLER.slice(start, start + length)}`;
  }

  /** An id `EPOCH-SEQUENCE` came with the n-th payload: the distance of the two never changes. */
  checkId(id, number, who) {
    const [epoch, sequence] = id.split("-");
    const offset = Number(sequence) - number;
    this.#epoch ??= epoch;
    this.#offset ??= offset;
    if (epoch !== this.#epoch || offset !== this.#offset) {
      this.report.fault("wrong id", `${who}: ${id} came with number ${number} of ${this.channel}`);
    }
  }
}

/** One subscriber's place in a channel. */
export class Reader {
  ledger;
  #who;
  #expected;
  #mayMiss;
  #missing = new Set();
  #waiting = [];
  /** How many publications the server said that it passed over. */
  missedAsTold = 0;
  /** How many were passed over unsaid, where the form cannot say it. */
  missedUnsaid = 0;

  /** `from`: the number to begin with; undefined takes the first that comes. `mayMiss`: holes are no fault. */
  constructor(ledger, who, { from, mayMiss = false } = {}) {
    this.ledger = ledger;
    this.#who = `${who} on ${ledger.channel}`;
    this.#expected = from;
    this.#mayMiss = mayMiss;
  }

  /** Takes what a message event of `ws` has. */
  take(data, form) {
    const envelope = form.isEnvelope ? JSON.parse(data) : {};
    if (envelope.event === "fanfare:alive") return;
    this.ledger.report.count("deliveries checked");
    if (!form.isEnvelope) return this.#payload(data.toString());
    if (envelope.event === "fanfare:lagged") return this.#missed(envelope.data.missed);
    const text = envelope.encoding === "base64" ? Buffer.from(envelope.data, "base64").toString() : envelope.data;
    this.#payload(text, envelope.id);
  }

  /** Resolves when the number has come or was passed over. */
  reached(number) {
    if (this.#expected > number) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ number, resolve }));
  }

  get last() {
    return (this.#expected ?? 1) - 1;
  }

  /** All is over: what did not come is lost. */
  finish() {
    const left = this.ledger.published - this.last;
    if (left > 0) this.#fault("lost", `the last ${left} of ${this.ledger.published} did not come`);
  }

  #payload(text, id) {
    const number = Number(text.slice(0, text.indexOf(" ")));
    if (!Number.isInteger(number) || text !== this.ledger.payload(number)) {
      return this.#fault("altered", `${text.length} characters, ${JSON.stringify(text.slice(0, 60))}`);
    }
    if (id !== undefined) this.ledger.checkId(id, number, this.#who);
    this.#expected ??= number;
    if (number > this.#expected) this.#hole(number);
    if (number < this.#expected) this.#backwards(number);
    else this.#moveTo(number + 1);
  }

  #hole(number) {
    if (this.#mayMiss) {
      this.missedUnsaid += number - this.#expected;
      return;
    }
    this.#fault("lost", `${number} came where ${this.#expected} was due`);
    for (let hole = this.#expected; hole < number && this.#missing.size < MISSING_MAX; hole++) this.#missing.add(hole);
  }

  #backwards(number) {
    const kind = this.#missing.delete(number) ? "reordered" : "doubled";
    this.#fault(kind, `${number} came where ${this.#expected} was due`);
  }

  #missed(count) {
    this.missedAsTold += count;
    this.ledger.report.count("missed as told", count);
    // Before the first message nothing says what is due: the next one does.
    if (this.#expected !== undefined) this.#moveTo(this.#expected + count);
  }

  #moveTo(expected) {
    this.#expected = expected;
    if (this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.filter(({ number, resolve }) => {
      if (number < expected) resolve();
      return number >= expected;
    });
  }

  #fault(kind, detail) {
    this.ledger.report.fault(kind, `${this.#who}: ${detail}`);
  }
}

/** A channel with many publishers: every member has to hear the same in the same order. */
export class Agreement {
  #report;
  #order = []; // from the slowest member's place to the quickest one's
  #start = 0;
  #places = new Map();

  constructor(report) {
    this.#report = report;
  }

  join(member) {
    this.#places.set(member, 0);
  }

  /** The member's next message. The first to hear it at this place sets it for all. */
  hear(member, text) {
    const place = this.#places.get(member);
    this.#places.set(member, place + 1);
    this.#report.count("deliveries checked");
    if (place - this.#start === this.#order.length) this.#order.push(text);
    else if (this.#order[place - this.#start] !== text) {
      this.#report.fault("reordered", `chat member ${member} heard ${JSON.stringify(text.slice(0, 40))} at place ${place}`);
    }
    if (this.#order.length % 1000 === 0) this.#trim();
  }

  heard(member) {
    return this.#places.get(member);
  }

  #trim() {
    const slowest = Math.min(...this.#places.values());
    this.#order.splice(0, slowest - this.#start);
    this.#start = slowest;
  }
}
