// Subscribers that are not ours, one for each transport: npm's `ws` and `eventsource`, node's fetch for long polls.
// Publishing is fetch as well.
//
// What is expected of the server stands in the *.test.mjs files. All ends with the test that began it.

import { once } from "node:events";

import { EventSource } from "eventsource";
import WebSocket from "ws";

import { Inbox, within } from "./server.mjs";

export const ENVELOPES = "fanfare.v1.json";

/** An open WebSocket: its messages as strings or Buffers, and how it was closed. */
export async function openWebSocket(t, url, protocols = [], options = {}) {
  const socket = new WebSocket(url, protocols, options);
  t.after(() => socket.terminate());
  const messages = new Inbox();
  socket.on("message", (data, isBinary) => messages.push(isBinary ? data : data.toString()));
  const closed = new Promise((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  await within(once(socket, "open"), `the handshake with ${url}`);
  return {
    socket,
    next: () => messages.next("a message"),
    take: (count) => messages.take(count, "a message"),
    closed: () => within(closed, "the close"),
  };
}

/**
 * An open EventSource, which reconnects by itself: its events, those of `names` among them, and how often it opened
 * and lost its connection.
 */
export async function openEventSource(t, url, { names = [], headers = {} } = {}) {
  const source = new EventSource(url, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...headers, ...init.headers } }),
  });
  t.after(() => source.close());
  const [events, opened, lost] = [new Inbox(), new Inbox(), new Inbox()];
  for (const name of ["message", ...names]) {
    source.addEventListener(name, ({ type, lastEventId, data }) => events.push({ type, id: lastEventId, data }));
  }
  source.addEventListener("open", () => opened.push("open"));
  source.addEventListener("error", ({ code, message }) => lost.push({ code, message }));
  await opened.next(`an event stream from ${url}`);
  return {
    source,
    next: () => events.next("an event"),
    take: (count) => events.take(count, "an event"),
    opened: () => opened.next("the next connection of an event stream"),
    lost: () => lost.next("the end of an event stream's connection"),
    isUndisturbed: () => source.readyState === EventSource.OPEN && lost.isEmpty() && opened.isEmpty(),
  };
}

/** A client that polls, each time from where the answer before ended. */
export class LongPoll {
  #url;
  #ended = new AbortController();
  #messages = [];
  next;

  /** Begins at the channel's present end. */
  static async begin(t, url) {
    const poll = new LongPoll();
    poll.#url = url;
    t.after(() => poll.#ended.abort());
    await poll.ask("wait=0");
    return poll;
  }

  /** One answer; `next` is where the next one is to begin. */
  async ask(query) {
    const signal = this.#ended.signal;
    const response = await within(fetch(`${this.#url}?${query}`, { signal }), `an answer to ${query}`);
    if (response.status !== 200) throw new Error(`${query} was answered with ${response.status}`);
    const answer = await within(response.json(), `the body of the answer to ${query}`);
    this.next = answer.next;
    return answer;
  }

  /** Polls until so many messages have come. */
  async take(count) {
    while (this.#messages.length < count) {
      const { messages, gap } = await this.ask(`since=${this.next}&wait=5`);
      if (gap) throw new Error(`a gap: ${JSON.stringify(gap)}`);
      this.#messages.push(...messages);
    }
    return this.#messages.splice(0, count);
  }
}

/** Publishes by POST: the status, the fields and what the answer says, as an object if it is one. */
export async function post(url, body, type = "text/plain", headers = {}) {
  const request = { method: "POST", body, headers: { "Content-Type": type, ...headers } };
  const response = await within(fetch(url, request), `an answer to a publication of ${body.length} bytes`);
  const text = await within(response.text(), "the body of that answer");
  return { status: response.status, headers: response.headers, text };
}

/** The same where it is to succeed: the answer. */
export async function publish(url, body, type, headers) {
  const { status, text } = await post(url, body, type, headers);
  if (status !== 200) throw new Error(`publishing was answered with ${status}: ${text}`);
  return JSON.parse(text);
}
