// Clients that stay for a moment, go without a word and come back with the last id that they have: over WebSocket, over
// an event stream, by long poll, each in turn. Nothing between two stays may be missing or come twice.

import { Reader } from "./ledger.mjs";
import { url, web } from "./road.mjs";
import { ENVELOPE, within } from "./world.mjs";

/** One client. `come` goes on until the soak ends; `catchUp` then waits for what was published last. */
export class Returner {
  #world;
  #lane;
  #since = "";

  constructor(world, ledger, lane) {
    this.#world = world;
    this.#lane = lane;
    this.reader = new Reader(ledger, `returning ${lane}`, { from: 1 });
  }

  /** Learns where the channel is before anything is published to it. */
  async begin() {
    await this.#poll(0, () => true);
  }

  async come(period) {
    for await (const turn of this.#world.every(period)) {
      const wanted = this.reader.last + 1 + (turn % 7);
      await this.#stay(turn + this.#lane, wanted);
      this.#world.report.count("stays of who comes back");
    }
  }

  async catchUp() {
    const { published } = this.reader.ledger;
    for (let turn = 0; this.reader.last < published; turn++) await this.#stay(turn, published);
  }

  /** One stay, until the number has come. */
  #stay(turn, wanted) {
    const isEnough = () => this.reader.last >= wanted;
    if (turn % 3 === 0) return this.#webSocket(isEnough);
    return turn % 3 === 1 ? this.#eventStream(isEnough) : this.#poll(5, isEnough);
  }

  get #path() {
    return `${this.reader.ledger.path}?since=${this.#since}`;
  }

  #take(text) {
    const { id, event, data } = JSON.parse(text);
    if (event === "fanfare:gap") this.#world.report.fault("gap", `returning ${this.#lane}: ${text}`);
    else if (event === "fanfare:subscribed") this.#since = data.since;
    else if (event !== "fanfare:alive") {
      this.reader.take(text, ENVELOPE);
      this.#since = id;
    }
  }

  async #webSocket(isEnough) {
    let enough;
    const done = new Promise((resolve) => (enough = resolve));
    const take = (data) => {
      if (isEnough()) return;
      this.#take(data.toString());
      if (isEnough()) enough();
    };
    const client = await this.#world.subscribe(`returning ${this.#lane}`, this.#path, ENVELOPE, take);
    await this.#world.orOver(done, "what a returning WebSocket missed");
    await this.#world.reset(client);
  }

  async #eventStream(isEnough) {
    const request = web.get({
      ...this.#world.endpoint,
      path: `${this.#path}&protocol=fanfare.v1.json`,
      headers: { accept: "text/event-stream" },
      agent: false,
    });
    request.on("error", () => {}); // it is cut off below
    this.#world.report.count("connections");
    const response = await within(new Promise((resolve) => request.once("response", resolve)), "an event stream");
    let [text, enough] = ["", undefined];
    const done = new Promise((resolve) => (enough = resolve));
    response.on("error", () => {}).setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0 && !isEnough(); end = text.indexOf("\n\n")) {
        const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data: "));
        if (data.length > 0) this.#take(data.map((line) => line.slice(6)).join("\n"));
        text = text.slice(end + 2);
      }
      if (isEnough()) enough();
    });
    await this.#world.orOver(done, "what a returning event stream missed");
    request.destroy();
  }

  async #poll(wait, isEnough) {
    do {
      const response = await within(
        fetch(url("http", this.#world.address, `${this.#path}&wait=${wait}`), { headers: { connection: "close" } }),
        "a long poll",
      );
      this.#world.report.count("connections");
      const text = await response.text();
      const { gap, messages, next } = JSON.parse(text);
      if (gap) this.#world.report.fault("gap", `returning ${this.#lane}: ${text.slice(0, 100)}`);
      messages.forEach((message) => this.#take(JSON.stringify(message)));
      this.#since = next;
    } while (!isEnough() && !this.#world.isOver);
  }
}
