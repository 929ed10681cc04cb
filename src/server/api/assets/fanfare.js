// The browser's client: subscribes to a channel over WebSocket, Server-Sent Events or long poll, whichever opens, and
// after a loss goes on where it was. Served at /fanfare.js as a plain script that sets the global `fanfare`, and at
// /fanfare.mjs with fanfare.module.js after it. It draws nothing, stores nothing, and depends on nothing.

globalThis.fanfare = (() => {
  "use strict";

  const PROTOCOL = "fanfare.v1.json";
  const CONNECT_MS_MAX = 10_000; // then the next transport has its turn
  const BACKOFF_MS_BASE = 500;
  const BACKOFF_MS_MAX = 30_000;
  const STABLE_MS_MIN = 10_000; // what was open for so long starts its back-off anew
  const LOYAL_TRIES = 3; // of the transport that was lost, before the others have their turn
  const RETRY_AFTER_MS_MAX = 3_600_000; // a mistake in a proxy keeps a page away no longer
  const MISSED_MAX = 2; // of the notices that say that the server is there; then the connection is given up
  const LATE_MS = 1000; // so late is a notice no missed one; a timer that is later was held back, with all else
  const POLL_SECONDS = 25;
  // Their sum is how long the server remembers an Idempotency-Key.
  const PUBLISH_TRY_MS_MAX = 20_000;
  const PUBLISH_LAST_TRY_MS = 40_000;

  // Each starts one attempt to subscribe and returns what stops it. `receive` takes an envelope or notice (`hear` its
  // text) and says whether to go on; `end` takes an error if there is one.
  const transports = {
    "websocket": (url, { hear, end }) => {
      const socket = new WebSocket(url.href.replace("http", "ws"), PROTOCOL);
      socket.onmessage = ({ data }) => hear(data);
      socket.onclose = ({ code, reason }) => end(code === 1008 && failure(reason || "refused", { code }));
      return () => socket.close();
    },

    // EventSource's own reconnecting is not used: it has no jitter.
    "sse": (url, { hear, end }) => {
      url.searchParams.set("protocol", PROTOCOL);
      const source = new EventSource(url.href);
      source.onmessage = ({ data }) => hear(data);
      source.onerror = () => end();
      return () => source.close();
    },

    // The first poll does not wait, so that its answer says whether polling works.
    "long-poll": (url, { receive, end }) => {
      const stops = new Set();
      const poll = async () => {
        for (let wait = 0; ; wait = POLL_SECONDS) {
          url.searchParams.set("wait", wait);
          const { messages, next, gap } = await ask(url, {}, CONNECT_MS_MAX + wait * 1000, stops);
          receive({ event: gap ? "fanfare:gap" : "fanfare:subscribed", data: { ...gap } });
          messages.forEach(receive);
          if (!receive({ event: "fanfare:subscribed", data: { since: next } })) return;
          url.searchParams.delete("last");
          url.searchParams.set("since", next);
        }
      };
      poll().catch(end);
      return () => stops.forEach((stop) => stop());
    },
  };

  // By server and transports: what the subscriptions of the page learn together. After a loss, and while nothing opens,
  // one of them, the scout, looks for a way, a round each, and the others wait for what it finds.
  const ways = new Map();

  function wayTo(key) {
    if (!ways.has(key)) {
      ways.set(key, {
        turn: 0, // which of the names is next
        lastOpen: undefined, // which was open last
        firstOpen: Infinity, // the first of those that ever were
        loyalTries: 0,
        failures: 0, // in a row
        losses: 0, // those together count as one
        lostAt: 0, // the last of these
        notBefore: 0, // the server asked for that
        open: new Set(),
        scout: undefined,
        waiting: new Set(), // for the scout
        following: new Set(), // what it found, each in a moment
      });
    }
    return ways.get(key);
  }

  function sendScout(way) {
    if (way.scout) return;
    [way.scout] = way.waiting;
    way.scout?.connect();
  }

  function subscribe(name, onMessage, options = {}) {
    const channel = channelUrl(name, options.server);
    const names = options.transports ?? Object.keys(transports);
    if (!names.length || !names.every((name) => Object.hasOwn(transports, name))) {
      throw new TypeError(`fanfare: transports are some of ${Object.keys(transports).join(", ")}`);
    }
    const handlers = { message: [onMessage], gap: [], state: [], error: [] };
    const stops = new Set(); // of the requests that are not the subscription's own
    let state = "connecting";
    let lastId = options.since || undefined;
    const way = wayTo(`${new URL(".", channel)} ${names}`);
    let turn = 0; // which of the names is in use, or next
    let attempt; // the one under way; the others are not listened to
    let openedAt, openedIn; // when, and after how many losses
    let heardAt, heardOn;
    let dueAt; // when a wait is over
    let hasTried = false; // a round, as the scout, and did not open since
    let idleMs; // the server is silent for no longer, if it says so
    let stopTimer = () => {};
    // What the subscriptions of a way have each other do.
    const me = {
      connect, wait, standBy, follow,
      get isWaiting() { return state === "waiting"; },
      get isRelievable() { return state === "waiting" && hasTried; },
      get dueInMs() { return Math.max(0, dueAt - performance.now()); },
    };

    function connect() {
      if (state === "closed") return;
      const heldBackMs = way.notBefore - performance.now();
      if (way.scout && way.scout !== me && (heldBackMs > 0 || !way.open.size)) {
        if (way.waiting.has(me)) return;
        leave();
        return !hasTried && way.scout.isRelievable ? relieve(way.scout) : standBy();
      }
      leave();
      if (heldBackMs > 0) {
        way.scout = me;
        return wait(heldBackMs);
      }
      turn = way.turn;
      const mine = (attempt = { stop() {} });
      const link = {
        receive: (envelope) => attempt === mine && (receive(envelope), attempt === mine),
        end: (error) => attempt === mine && end(error),
        hear(text) {
          heardAt = performance.now();
          heardOn = Date.now();
          try {
            link.receive(JSON.parse(text));
          } catch {
            link.end();
          }
        },
      };
      idleMs = 0;
      stopTimer = alarm(CONNECT_MS_MAX, () => link.end());
      enter("connecting");
      if (attempt !== mine) return; // a handler closed it
      const url = new URL(channel);
      if (options.last && !lastId) url.searchParams.set("last", options.last);
      else url.searchParams.set("since", lastId ?? "");
      try {
        mine.stop = transports[names[turn]](url, link);
      } catch {
        link.end(); // the browser does not have it, or not for this page
      }
    }

    function receive({ id, event, data, encoding }) {
      if (state !== "open") opened();
      if (state !== "open") return;
      if (id) {
        if (!isNewer(id, lastId)) return;
        lastId = id;
        emit("message", { id, event, data: encoding === "base64" ? bytesOf(data) : data });
        return;
      }
      if (data?.idle > 0) {
        idleMs = data.idle;
        watch();
      }
      if (event === "fanfare:subscribed") {
        if (data.since && isNewer(data.since, lastId)) lastId = data.since;
      } else if (event === "fanfare:gap" || event === "fanfare:lagged") {
        // A gap begins a new position, which a long poll gives after the messages only.
        if (event === "fanfare:gap") lastId = data.since;
        emit("gap", { missed: data.missed });
      }
    }

    function opened() {
      stopTimer();
      openedAt = performance.now();
      openedIn = way.losses;
      hasTried = false;
      if (way.scout) way.waiting.add(way.scout);
      const others = [...way.waiting].filter((other) => other !== me);
      way.waiting.clear();
      way.open.add(me);
      way.turn = way.lastOpen = turn;
      way.firstOpen = Math.min(way.firstOpen, turn);
      way.loyalTries = LOYAL_TRIES;
      way.notBefore = 0;
      way.scout = undefined;
      enter("open");
      others.forEach((other) => other.follow());
    }

    // Gives up what was silent for too long. The clock of the day goes on while the machine sleeps; it is looked at now
    // and then, and never at once: what came meanwhile is heard first.
    function watch() {
      const silentMs = () => Math.max(performance.now() - heardAt, Date.now() - heardOn);
      const silentMsMax = MISSED_MAX * idleMs + LATE_MS;
      const judge = () => (silentMs() < silentMsMax ? watch() : end());
      stopTimer();
      stopTimer = alarm(Math.max(LATE_MS, Math.min(idleMs, silentMsMax - silentMs())), judge);
    }

    function end(error) {
      const wasOpen = state === "open";
      leave();
      if (error && isForGood(error)) return close(error);
      const heldBackMs = holdBack(error);
      if (wasOpen) return lose(heldBackMs);
      if (way.scout && way.scout !== me) return standBy();
      way.scout = me;
      if (turn !== way.turn) return connect(); // another subscription has found what works since
      if (turn !== way.lastOpen || --way.loyalTries <= 0) {
        if (++way.turn < names.length) return connect();
        way.turn = 0;
        if (!names.includes("long-poll")) inquire();
      }
      endRound(heldBackMs + backoffMs(way.failures++));
    }

    // What was opened before the last loss belongs to that one for a while, and waits with it or follows.
    function lose(heldBackMs) {
      const now = performance.now();
      const isAnother = openedIn === way.losses || (!way.scout && now - way.lostAt >= STABLE_MS_MIN);
      if (isAnother) {
        if (now - openedAt >= STABLE_MS_MIN) way.failures = 0;
        way.failures++;
        way.losses++;
        way.lostAt = now;
        way.turn = way.firstOpen;
      }
      if (way.scout) return standBy();
      if (!isAnother && !heldBackMs) return follow();
      way.scout = me;
      [...way.following].forEach((other) => other.standBy());
      wait(heldBackMs + backoffMs(way.failures - 1));
    }

    // For how long the server wants to be left alone.
    function holdBack(error) {
      const ms = error?.retryAfterMs ?? 0;
      if (ms) way.notBefore = performance.now() + ms;
      if (way.scout?.isWaiting && way.scout.dueInMs < ms) way.scout.wait(ms + backoffMs(0));
      return ms;
    }

    // The next round is another's: no channel holds up the others.
    function endRound(retryInMs) {
      const [next = me] = way.waiting;
      way.scout = next;
      hasTried = true;
      if (next !== me) way.waiting.add(me);
      next.wait(retryInMs);
      if (way.waiting.has(me)) enter("waiting");
    }

    // Takes the next round, at the time that was said, of a scout that has had one.
    function relieve(scout) {
      const { dueInMs } = scout;
      way.scout = me;
      scout.standBy();
      wait(dueInMs);
    }

    function standBy() {
      if (state === "closed") return;
      leave();
      way.waiting.add(me);
      enter("waiting");
    }

    // Pages that have waited for the server find it at the same time, all of their subscriptions.
    function follow() {
      if (state === "closed") return;
      leave();
      if (!way.failures) return connect();
      way.following.add(me);
      wait(backoffMs(0));
    }

    function wait(retryInMs) {
      if (state === "closed") return;
      stopTimer();
      way.waiting.delete(me);
      dueAt = performance.now() + retryInMs;
      const timer = setTimeout(connect, retryInMs);
      stopTimer = () => clearTimeout(timer);
      turn = way.turn;
      enter("waiting", { retryInMs });
    }

    // Why neither opens, WebSocket and EventSource keep to themselves; an answer to a poll says it.
    function inquire() {
      const url = new URL(channel);
      url.search = "?since=&wait=0";
      ask(url, {}, CONNECT_MS_MAX, stops).catch((error) => {
        if (state === "open") return;
        if (isForGood(error)) close(error);
        else if (way.scout) holdBack(error);
      });
    }

    // Back on the network or from the back/forward cache, even what looks open may be dead; back in view, a wait is cut
    // short, and what was silent has a moment to say something.
    function wake({ type, persisted }) {
      if (type === "online" || persisted) connect();
      else if (document.hidden) return;
      else if (state === "waiting") connect();
      else if (state === "open" && idleMs) watch();
    }

    function leave() {
      const left = attempt;
      attempt = undefined;
      stopTimer();
      for (const those of [way.open, way.waiting, way.following]) those.delete(me);
      left?.stop();
    }

    function enter(next, more) {
      state = next;
      emit("state", { state, transport: names[turn], ...more });
    }

    function emit(name, value) {
      for (const handler of handlers[name]) {
        try {
          handler?.(value);
        } catch (error) {
          (globalThis.reportError ?? console.error)(error);
        }
      }
    }

    // Every try has the same key, so that the server publishes once.
    async function publish(data, { event } = {}) {
      const url = new URL(channel);
      if (event !== undefined) url.searchParams.set("event", event);
      const [type, body] = encode(data);
      const headers = { "Content-Type": type, "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") };
      if (options.key) headers.Authorization = `Bearer ${options.key}`;
      const lastTryAt = performance.now() + PUBLISH_LAST_TRY_MS;
      for (let failures = 0; state !== "closed"; failures++) {
        try {
          return await ask(url, { method: "POST", headers, body }, PUBLISH_TRY_MS_MAX, stops);
        } catch (error) {
          const delay = (error.retryAfterMs ?? 0) + backoffMs(failures);
          if (isForGood(error) || performance.now() + delay > lastTryAt) throw error;
          if (state !== "closed") await pause(delay, stops);
        }
      }
      throw failure("closed before the server answered");
    }

    // With an error if the server refuses for good.
    function close(error) {
      if (state === "closed") return;
      state = "closed";
      leave();
      stops.forEach((stop) => stop());
      listenForWaking("removeEventListener");
      if (way.scout === me) {
        way.scout = undefined;
        way.turn = 0;
        queueMicrotask(() => sendScout(way)); // and not to one that is closed with this one
      }
      if (error && !handlers.error.length) console.error(error);
      if (error) emit("error", error);
      enter("closed");
    }

    function listenForWaking(method) {
      for (const type of ["online", "pageshow"]) globalThis[method]?.(type, wake);
      for (const type of ["visibilitychange", "resume"]) globalThis.document?.[method](type, wake);
    }

    listenForWaking("addEventListener");
    // Later, so that `on` can be called before anything happens.
    queueMicrotask(connect);

    return {
      get state() { return state; },
      get transport() { return names[turn]; },
      get lastId() { return lastId; },
      on(name, handler) {
        if (!Object.hasOwn(handlers, name)) throw new TypeError(`fanfare: there is no event ${name}`);
        handlers[name].push(handler);
        return this;
      },
      publish,
      close: () => close(),
    };
  }

  function channelUrl(name, server) {
    const base = new URL(server?.replace(/\/?$/, "/") ?? api.server, globalThis.location?.href);
    if (!/^https?:$/.test(base.protocol)) throw new TypeError(`fanfare: ${base} is no server; give options.server`);
    return new URL(`channels/${encodeURIComponent(name)}`, base);
  }

  // What the server answers, parsed, unless it takes longer than `ms` or is stopped.
  async function ask(url, request, ms, stops) {
    const abort = new AbortController();
    const stop = () => abort.abort();
    const stopTimer = alarm(ms, stop);
    stops.add(stop);
    try {
      const response = await fetch(url.href, { ...request, cache: "no-store", signal: abort.signal });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      const { status, headers } = response;
      const retryAfterMs = msUntil(headers.get("Retry-After"));
      throw failure(text.trim() || `the server answered with ${status}`, { status, retryAfterMs });
    } finally {
      stopTimer();
      stops.delete(stop);
    }
  }

  // Acts after `ms`, and gives what prevents that. After a page was frozen or busy, timers and messages come at once and
  // in any order: what came in time is heard first.
  function alarm(ms, act) {
    const due = performance.now() + ms;
    let timer = setTimeout(() => {
      if (performance.now() - due < LATE_MS) act();
      else timer = setTimeout(act, LATE_MS);
    }, ms);
    return () => clearTimeout(timer);
  }

  // Of `Retry-After`: seconds or a date.
  function msUntil(value) {
    const ms = /^\d+$/.test(value) ? value * 1000 : Date.parse(value) - Date.now();
    return Math.min(RETRY_AFTER_MS_MAX, Math.max(0, ms || 0));
  }

  function pause(ms, stops) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        stops.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      stops.add(end);
    });
  }

  // Full jitter: those that were cut off together do not come back together.
  const backoffMs = (failures) => Math.random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_BASE * 2 ** failures);

  const failure = (sentence, more) => Object.assign(new Error(sentence), more);

  const isForGood = ({ status, code }) =>
    code === 1008 || (status >= 400 && status < 500 && status !== 408 && status !== 429);

  // Ids are `epoch-sequence`; another epoch is another run of the server.
  function isNewer(id, than = "") {
    const [epoch, sequence] = id.split("-");
    const [thanEpoch, thanSequence] = than.split("-");
    return epoch !== thanEpoch || Number(sequence) > Number(thanSequence);
  }

  const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

  function encode(data) {
    if (typeof data === "string") return ["text/plain; charset=utf-8", data];
    if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return ["application/octet-stream", data];
    return ["application/json", JSON.stringify(data)];
  }

  // Channels are beside the script.
  const api = { subscribe, server: globalThis.document?.currentScript?.src || globalThis.location?.origin };
  return api;
})();
