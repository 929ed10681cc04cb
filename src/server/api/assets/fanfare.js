// The browser's client: one connection for many channels, over WebSocket, Server-Sent Events or long poll, whichever
// opens. After a loss it goes on in each channel where it was, and it renews its token while it lives. Served without its
// comments at /fanfare.js as a plain script that sets the global `fanfare`, and at /fanfare.mjs with fanfare.module.js
// after it; what it offers is described in fanfare.d.mts. It draws nothing, stores nothing, and depends on nothing.

/** @import * as Types from "./fanfare.mjs" */

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
  const URL_CHANNELS_MAX = 16; // of the server
  const COMMAND_CHANNELS_MAX = 100; // of the server, unless it is configured otherwise
  // A token is renewed when this share of its life is over, and a random part of a tenth more.
  const RENEWAL_SHARE = 0.8;
  const RENEWAL_MS_MIN = 1000; // whatever little is left, the page's backend is asked no sooner
  const TOO_LARGE = 1009; // WebSocket's close code

  // Each starts one attempt to carry the channels of a link, and returns what stops it and what tells it that they have
  // changed. `receive` and `refuse` take what the server says; `end` takes an error if there is one.
  const carriers = {
    "websocket": (link) => {
      const token = link.token();
      const told = new Map(); // by name: the channels that the server was asked for
      const answers = new Map(); // by ref: who takes the answer
      let lastRef = 0;
      let refusal;
      const url = link.base.href.replace("http", "ws") + "channels";
      const socket = new WebSocket(url, token ? [PROTOCOL, `bearer.${token}`] : [PROTOCOL]);
      const pulse = link.guard();

      const command = (words, answer) => {
        answers.set(++lastRef, answer);
        socket.send(JSON.stringify({ ...words, ref: lastRef }));
      };
      const subscribe = (channels) =>
        command({ event: "fanfare:subscribe", data: channels.map(wanted) }, (error) => {
          if (!error || error.channel !== undefined || socket.readyState !== 1) return false;
          // Of several, the command may be too long for the server.
          if (channels.length > 1) channels.forEach((channel) => subscribe([channel]));
          else refuse(channels[0].name, error);
          return true;
        });
      const refuse = (name, error) => {
        told.delete(name);
        link.refuse(name, error);
      };
      const sync = () => {
        if (socket.readyState !== 1) return;
        const gone = [...told.keys()].filter((name) => link.channels.get(name) !== told.get(name));
        gone.forEach((name) => told.delete(name));
        for (const names of parts(gone, COMMAND_CHANNELS_MAX)) command({ event: "fanfare:unsubscribe", data: names });
        const missing = link.wanted().filter(({ name }) => !told.has(name));
        for (const channel of missing) told.set(channel.name, channel);
        parts(missing, COMMAND_CHANNELS_MAX).forEach(subscribe);
      };
      const receive = (envelope) => {
        const { event, channel, ref, data } = envelope;
        const isError = event === "fanfare:error";
        const error = isError && failure(data.message, { code: data.code, status: data.status, channel });
        const answer = answers.get(ref);
        answers.delete(ref);
        if (answer?.(error, data)) return;
        if (!isError) {
          if (event === "fanfare:unsubscribed" && data) told.delete(channel);
          link.receive(envelope);
        } else if (channel === undefined) {
          refusal = error; // the close comes next
        } else if (link.receive({})) { // what refuses a channel is open
          refuse(channel, error);
        }
      };
      const request = (words) => new Promise((resolve, reject) => {
        const stop = alarm(PUBLISH_TRY_MS_MAX, () => reject(failure("the server did not answer")));
        command(words, (error, data) => {
          stop();
          if (error) reject(error);
          resolve(data);
          return error;
        });
      });

      socket.onopen = sync;
      socket.onmessage = ({ data }) => {
        try {
          const envelope = JSON.parse(data);
          pulse.hear(envelope);
          receive(envelope);
        } catch {
          link.end();
        }
      };
      socket.onclose = ({ code, reason }) => {
        // A publication that is too large would be so again.
        const fault = failure(reason || `closed with ${code}`, { status: code === TOO_LARGE ? 413 : undefined });
        answers.forEach((answer) => answer?.(fault));
        const status = code === 1008 ? 403 : code > 4399 && code < 4500 ? code - 4000 : undefined;
        link.end(refusal ?? (status && failure(fault.message, { status })));
      };
      return {
        sync,
        authorize: (token) => request({ event: "fanfare:authorize", data: { token } }),
        publish: (name, data, event, key) => request({ channel: name, event, key, ...inJson(data) }),
        stop() {
          pulse.stop();
          socket.onopen = socket.onmessage = socket.onclose = null;
          socket.close();
          answers.forEach((answer) => answer?.(failure("the connection was lost")));
        },
      };
    },

    // Read by fetch, since EventSource sends no token, says no status, and reconnects without jitter.
    "sse": byHttp(async (link, group) => {
      const abort = new AbortController();
      const pulse = link.guard();
      group.stops.add(() => (abort.abort(), pulse.stop()));
      const headers = { ...link.headers(), Accept: "text/event-stream" };
      const response = await fetch(link.urlOf(group.channels), { headers, cache: "no-store", signal: abort.signal });
      if (!response.ok) throw await refusalOf(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "", name, data = [];
      for (;;) {
        const { value, done } = await reader.read();
        if (done || group.isStopped) return;
        const lines = (text + value).split("\n");
        text = lines.pop();
        for (const line of lines) {
          if (line.startsWith("data: ")) data.push(line.slice(6));
          if (line.startsWith("event: ")) name = line.slice(7);
          if (line || !(name ?? data[0])) continue;
          const envelope = name ? { event: name } : JSON.parse(data.join("\n"));
          name = undefined;
          data = [];
          pulse.hear(envelope);
          if (!link.receive(envelope) || group.isStopped) return;
        }
      }
    }),

    // The first poll does not wait, so that its answer says whether polling works. `known`: of when it is known who is there.
    "long-poll": byHttp(async (link, group) => {
      let known;
      for (let wait = 0; ; wait = POLL_SECONDS) {
        await link.live();
        const url = `${link.urlOf(group.channels, known)}&wait=${wait}`;
        const { messages, next, gap, presence } =
          await ask(url, { headers: link.headers() }, CONNECT_MS_MAX + wait * 1000, group.stops);
        if (group.isStopped) return;
        const receive = (words) => group.isStopped || link.receive(words);
        for (const { name } of group.channels) {
          receive({ event: gap?.[name] ? "fanfare:gap" : "fanfare:subscribed", channel: name, data: { ...gap?.[name] } });
        }
        messages.forEach(receive);
        known = presence;
        for (const { name } of group.channels) receive({ event: "fanfare:subscribed", channel: name, data: { since: next[name] } });
        if (group.isStopped) return;
      }
    }),
  };

  // A request for each 16 channels; one whose channels have changed is made anew, and goes on after what was heard.
  function byHttp(follow) {
    return (link) => {
      let groups = [];
      const start = (channels) => {
        const group = { channels, stops: new Set(), isStopped: false };
        // A stream that ends is as one that fails.
        follow(link, group).catch((error) => error).then((error) => group.isStopped || blame(group, error));
        return group;
      };
      const stop = (group) => {
        group.isStopped = true;
        group.stops.forEach((stop) => stop());
      };
      const sync = () => {
        const before = groups;
        groups = parts(link.wanted(), URL_CHANNELS_MAX).map((channels) => before.find((group) =>
          group.channels.length === channels.length && channels.every((one, at) => one === group.channels[at])) ?? start(channels));
        before.filter((group) => !groups.includes(group)).forEach(stop);
      };
      // One channel that is refused has all of a request refused; which one it is, a request for each says.
      const blame = async (group, error) => {
        if (group.channels.length > 1 && link.isForGood(error)) {
          const probe = (one) => ask(`${link.urlOf([one])}&wait=0`, { headers: link.headers() }, CONNECT_MS_MAX, group.stops);
          const refusals = await Promise.all(group.channels.map((one) => probe(one).then(() => undefined, (error) => error)));
          if (group.isStopped) return;
          const isRefused = refusals.map((one) => link.isForGood(one));
          if (isRefused.includes(false)) {
            groups = groups.filter((one) => one !== group);
            stop(group);
            group.channels.forEach(({ name }, at) => isRefused[at] && link.refuse(name, refusals[at]));
            return isRefused.includes(true) ? sync() : link.end();
          }
        }
        link.end(error);
      };
      sync();
      return {
        sync,
        // Asked for with the token that is the newest then.
        async authorize() {
          groups.splice(0).forEach(stop);
          sync();
        },
        stop: () => groups.forEach(stop),
      };
    };
  }

  // What a token is, for how long, and one call at a time of what gives one.
  function keep(fetchToken) {
    let token, asking, lifeMs, share, ageMs;
    const take = (fetched) => {
      token = String(fetched ?? "").trim();
      // An answer that says why there is none is not to be taken for one.
      if (!/^[\w.-]+$/.test(token)) throw new Error("token() gave none");
      ageMs = stopwatch();
      lifeMs = lifeOf(token);
      share = RENEWAL_SHARE + Math.random() / 10;
    };
    return {
      token: () => token,
      isFixed: !fetchToken,
      isGood: () => !fetchToken || (token && ageMs() < lifeMs),
      dueInMs: () => (token ? Math.max(0, share * lifeMs - ageMs()) : Infinity),
      /** What the server says, which has the only clock that counts. */
      lives: (seconds) => token && (lifeMs = ageMs() + seconds * 1000),
      drop: (used) => used === token && (token = undefined),
      ask() {
        asking ??= (async () => take(await fetchToken()))().finally(() => (asking = undefined));
        return asking;
      },
    };
  }

  // From when it was issued, in milliseconds, until the server says it.
  function lifeOf(token) {
    try {
      const { exp, iat } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
      return (exp - iat) * 1000 || Infinity;
    } catch {
      return Infinity;
    }
  }

  /**
   * @param {Types.ConnectOptions & { pass?: ReturnType<typeof keep> }} [options] with those of another connection whose
   *   token this one shares
   * @param {(connection: Types.Connection) => void} [onIdle] what is done when the last subscription is closed
   * @returns {Types.Connection}
   */
  function connect(options = {}, onIdle) {
    const base = serverUrl(options.url);
    const names = options.transports ?? /** @type {Types.Transport[]} */ (Object.keys(carriers));
    if (!names.length || !names.every((name) => Object.hasOwn(carriers, name))) {
      throw new TypeError(`fanfare: transports are some of ${Object.keys(carriers).join(", ")}`);
    }
    const pass = options.pass ?? keep(options.token);
    const channels = new Map(); // by name
    const stops = new Set(); // of what is under way beside the carrier
    const handlers = { state: [], error: [] };
    const emit = emitter(handlers);
    /** @type {Types.ConnectionState} */
    let state = "idle";
    let turn = 0; // which of the names is in use, or next
    let lastOpen; // which was open last
    let firstOpen = Infinity; // the first of those that ever were
    let loyalTries = 0;
    let failures = 0; // in a row
    let denials = 0; // of tokens, in a row
    let notBefore = 0; // the server asked for that
    let attempt; // the one under way; the others are not listened to
    let carrier;
    let used; // the token of the attempt
    let openedAt;
    let idleMs = 0; // the server is silent for no longer, since it last said so
    let dueAt; // when a wait is over
    let stopTimer = () => {}, stopRenewal = () => {};
    const pulses = new Set(); // of what the carrier listens to
    const unsettled = new Set(); // publications that wait for what becomes of the attempt

    const subscribers = () => [...channels.values()].flatMap((channel) => [...channel.subscribers]);
    const wantedChannels = () => [...channels.values()].filter(({ isHeld }) => !isHeld);
    const isClosed = () => state === "closed";
    const live = () => pass.isGood() || pass.ask();
    const headers = () => (pass.token() ? { Authorization: `Bearer ${pass.token()}` } : {});

    /**
     * @param {string} name
     * @param {(message: Types.Message) => void} [onMessage]
     * @param {Types.SubscribeOptions} [options]
     * @returns {Types.Subscription}
     */
    function subscribe(name, onMessage, { last, since, presence } = {}) {
      if (isClosed()) throw new Error("fanfare: the connection is closed");
      let channel = channels.get(name);
      // What another subscriber of the channel has asked for already cannot be asked for from elsewhere.
      if (channel && (last || since || presence)) {
        return connect({ ...options, pass }, (aside) => aside.close()).subscribe(name, onMessage, { last, since, presence });
      }
      if (!channel) {
        channel = { name, last, lastId: since || undefined, presence, isOpen: false, isHeld: false, failures: 0, subscribers: new Set() };
        channels.set(name, channel);
        queueMicrotask(sync);
      }
      const handlers = { message: [onMessage], gap: [], paused: [], resumed: [], presence: [], state: [], error: [] };
      const emit = emitter(handlers);
      /** @type {Types.SubscriptionState} */
      let own;
      const me = {
        emit,
        enter(next, more) {
          if (own === "closed") return;
          own = next;
          emit("state", { state: own, transport: names[turn], ...more });
        },
        close() {
          if (own === "closed") return;
          channel.subscribers.delete(me);
          if (!channel.subscribers.size && channels.get(name) === channel) {
            channels.delete(name);
            channel.stop?.();
            // Later, since another may come at once.
            queueMicrotask(sync);
          }
          me.enter("closed");
        },
      };
      channel.subscribers.add(me);
      // Later, so that `on` can be called before anything happens.
      queueMicrotask(() => {
        if (own) return;
        if (state === "waiting") me.enter(state, { retryInMs: dueAt - performance.now() });
        else me.enter(channel.isOpen ? "open" : "connecting");
      });
      return {
        get state() { return own ?? "connecting"; },
        get transport() { return names[turn]; },
        get lastId() { return channel.lastId; },
        on(name, handler) {
          listen(handlers, name, handler);
          return this;
        },
        publish: (data, more) => publish(name, data, more),
        close: me.close,
      };
    }

    // Has the carrier carry what is subscribed to, or none.
    function sync() {
      if (isClosed()) return;
      if (channels.size) return state === "idle" ? start() : carrier?.sync();
      leave();
      if (state !== "idle") enter("idle");
      onIdle?.(me);
    }

    // A token that still lives is used again, so that a mass return does not reach the page's backend.
    function start() {
      if (isClosed()) return;
      leave();
      if (!channels.size) return enter("idle");
      const heldBackMs = notBefore - performance.now();
      if (heldBackMs > 0) return wait(heldBackMs);
      const mine = (attempt = {});
      enter("connecting");
      if (attempt !== mine) return; // a handler closed it
      if (pass.isGood()) return launch(mine);
      const giveUp = (error) => attempt === mine && (report(error), wait(backoffMs(failures++)));
      stopTimer = alarm(CONNECT_MS_MAX, () => giveUp(failure("token() takes too long", { code: "token" })));
      pass.ask().then(() => attempt === mine && launch(mine), giveUp);
    }

    function launch(mine) {
      stopTimer();
      used = pass.token();
      const link = {
        base, urlOf, isForGood,
        channels,
        wanted: wantedChannels,
        token: pass.token,
        headers,
        live,
        receive: (envelope) => attempt === mine && (receive(envelope), attempt === mine),
        refuse: (name, error) => attempt === mine && refuse(channels.get(name), error),
        end: (error) => attempt === mine && end(error),
        guard: () => guard(() => link.end()),
      };
      try {
        mine.carrier = carriers[names[turn]](link);
      } catch {
        link.end(); // the browser does not have it, or not for this page
      }
      if (attempt === mine) carrier = mine.carrier;
      else mine.carrier?.stop();
    }

    function receive({ channel: name, id, event, data, encoding }) {
      if (state !== "open") opened();
      const channel = channels.get(name);
      const notice = event?.startsWith("fanfare:") && event.slice(8);
      const isGap = notice === "gap";
      if (notice === "authorized") {
        pass.lives(data.expires_in);
        renewLater();
      } else if (notice === "expired") {
        end(failure("The token expired.", { code: "expired", status: 401 }));
      } else if (!channel) {
        // Of the connection, or of what was unsubscribed meanwhile.
      } else if (isGap || notice === "subscribed") {
        // A gap begins a new position, which a long poll gives after the messages only.
        if (isGap || (data.since && isNewer(data.since, channel.lastId))) channel.lastId = data.since;
        channel.failures = 0;
        if (!channel.isOpen) {
          channel.isOpen = true;
          tell(channel, "enter", "open");
        }
        if (isGap) tell(channel, "emit", "gap", { missed: data.missed });
      } else if (notice === "lagged") {
        tell(channel, "emit", "gap", { missed: data.missed });
      } else if (notice === "unsubscribed") {
        if (data) dismiss(channel, data.code);
      } else if (notice === "presence") {
        showMembers(channel, data);
      } else if (notice === "paused" || notice === "resumed") {
        tell(channel, "emit", notice, data);
      } else if (channel.isOpen && (id ? isNewer(id, channel.lastId) : !notice)) {
        // What has no id is no publication, as what a channel that is watched tells of its subscribers, or a notice of the future.
        channel.lastId = id ?? channel.lastId;
        tell(channel, "emit", "message", { id, event, data: encoding === "base64" ? bytesOf(data) : data });
      }
    }

    const tell = (channel, method, ...words) => [...channel.subscribers].forEach((one) => one[method](...words));

    // The list as it is after a change; the server keeps none of those that have too many members.
    function showMembers(channel, { members, joined = [], left = [], count, anonymous }) {
      if (members !== undefined) channel.members = members && new Map(members.map((one) => [one.sub, one]));
      else if (!joined || !left) channel.members = null;
      left?.forEach((sub) => channel.members?.delete(sub));
      joined?.forEach((one) => channel.members?.set(one.sub, one));
      const list = channel.members && [...channel.members.values()];
      tell(channel, "emit", "presence", { members: list ?? null, joined, left, count, anonymous });
    }

    // The server ends a subscription: of a client that is too slow, which goes on after what it has, or without a right.
    function dismiss(channel, code) {
      const status = /token|expired/.test(code) ? 401 : /forbidden|revoked/.test(code) ? 403 : 503;
      const error = failure(`The subscription was ended: ${code}.`, { code, status, channel: channel.name });
      if (status === 401 && !pass.isFixed) end(error);
      else refuse(channel, error);
    }

    // For good, or for a while.
    function refuse(channel, error) {
      if (!channel) return;
      channel.isOpen = false;
      report(error, [...channel.subscribers]);
      if (error.status === 401 || isForGood(error)) return tell(channel, "close");
      const retryInMs = (error.retryAfterMs ?? 0) + backoffMs(channel.failures++);
      channel.isHeld = true;
      channel.stop = alarm(retryInMs, () => {
        channel.isHeld = false;
        sync();
      });
      tell(channel, "enter", "waiting", { retryInMs });
    }

    // To those whom it concerns, and else to the console.
    function report(error, concerned = subscribers()) {
      const isHeard = [{ emit }, ...concerned].map((one) => one.emit("error", error));
      if (!isHeard.includes(true)) console.error(error);
    }

    function opened() {
      openedAt = performance.now();
      settle();
      lastOpen = turn;
      firstOpen = Math.min(firstOpen, turn);
      loyalTries = LOYAL_TRIES;
      notBefore = 0;
      enter("open");
      renewLater();
    }

    function renewLater() {
      stopRenewal();
      const ms = pass.dueInMs();
      if (state === "open" && ms < Infinity) stopRenewal = alarm(Math.max(RENEWAL_MS_MIN, ms), renew);
    }

    // The connection lives by the old token meanwhile.
    async function renew() {
      const mine = attempt;
      try {
        if (!pass.dueInMs()) await pass.ask();
        if (attempt !== mine || state !== "open") return;
        if (used !== pass.token()) {
          used = pass.token();
          await carrier.authorize(used);
        }
        renewLater();
      } catch (error) {
        if (attempt !== mine) return;
        if (error.status === 401) pass.drop(used);
        // Another user's is for another connection.
        if (error.status === 403) return start();
        report(error);
        stopRenewal = alarm(Math.max(RENEWAL_MS_MIN, backoffMs(failures++)), renew);
      }
    }

    function end(error) {
      const wasOpen = state === "open";
      if (wasOpen && performance.now() - openedAt >= STABLE_MS_MIN) failures = denials = 0;
      leave();
      const heldBackMs = error?.retryAfterMs ?? 0;
      if (heldBackMs) {
        notBefore = performance.now() + heldBackMs;
        turn = 0;
      }
      if (error?.status === 401 && !pass.isFixed) {
        pass.drop(used);
        if (!denials++) return start();
        report(error);
      } else if (isForGood(error)) {
        return refuseAll(error);
      } else if (wasOpen) {
        turn = firstOpen;
      } else if (!heldBackMs && !error?.code && (turn !== lastOpen || --loyalTries <= 0)) {
        if (++turn < names.length) return start();
        turn = 0;
        if (`${names}` === "websocket") inquire();
      }
      wait(heldBackMs + backoffMs(failures++));
    }

    const isForGood = (error) =>
      error?.status === 401 ? pass.isFixed || denials > 0 : error?.status >= 400 && error.status < 500 && ![408, 429].includes(error.status);

    // Each channel is refused, and the connection is there for others.
    function refuseAll(error) {
      report(error);
      subscribers().forEach((one) => one.close());
    }

    // Why it does not open, a WebSocket keeps to itself; an answer to a poll says it.
    function inquire() {
      ask(`${urlOf(wantedChannels().slice(0, 1))}&wait=0`, { headers: headers() }, CONNECT_MS_MAX, stops).catch((error) => {
        if (state !== "waiting") return;
        if (isForGood(error)) return refuseAll(error);
        const ms = error.retryAfterMs ?? 0;
        notBefore = performance.now() + ms;
        if (dueAt < notBefore) wait(ms + backoffMs(0));
      });
    }

    function wait(retryInMs) {
      if (isClosed() || !channels.size) return;
      stopTimer();
      dueAt = performance.now() + retryInMs;
      stopTimer = alarm(retryInMs, start);
      enter("waiting", { retryInMs });
    }

    // Listens to one request or socket, and gives up what does not open, or was silent for too long. The clock is looked at
    // now and then, and never at once: what came while the machine slept is heard first.
    function guard(giveUp) {
      let silentMs; // once something was heard
      let stopTimer = alarm(CONNECT_MS_MAX, giveUp);
      const watch = () => {
        const silentMsMax = MISSED_MAX * idleMs + LATE_MS;
        const judge = () => (silentMs() < silentMsMax ? watch() : giveUp());
        stopTimer();
        stopTimer = alarm(Math.max(LATE_MS, Math.min(idleMs, silentMsMax - silentMs())), judge);
      };
      const pulse = {
        hear({ event = "", channel, data }) {
          if (event === "fanfare:error" && channel === undefined) return; // that is the end of it
          const isFirst = !silentMs;
          const isPromise = event.startsWith("fanfare:") && data?.idle > 0;
          silentMs = stopwatch();
          if (isPromise) idleMs = data.idle;
          if (isFirst) stopTimer();
          if (isFirst || isPromise) pulse.check();
        },
        check: () => silentMs && idleMs && watch(),
        stop() {
          stopTimer();
          pulses.delete(pulse);
        },
      };
      pulses.add(pulse);
      return pulse;
    }

    // Back on the network or from the back/forward cache, even what looks open may be dead; back in view, a wait is cut
    // short, and what was silent has a moment to say something.
    function wake({ type, persisted }) {
      if (state === "idle") return;
      if (type === "online" || persisted) start();
      else if (document.hidden) return;
      else if (state === "waiting") start();
      else if (state === "open") {
        pulses.forEach((pulse) => pulse.check());
        if (!pass.dueInMs()) renew();
      }
    }

    function leave() {
      const left = attempt;
      attempt = carrier = undefined;
      stopTimer();
      stopRenewal();
      channels.forEach((channel) => (channel.isOpen = false));
      left?.carrier?.stop();
      settle();
    }

    function settle() {
      unsettled.forEach((go) => go());
      unsettled.clear();
    }

    function enter(next, more) {
      state = next;
      emit("state", { state, transport: names[turn], ...more });
      if (next === "connecting" || next === "waiting") subscribers().forEach((one) => one.enter(next, more));
    }

    // Where from: what came last, or what is asked for at first.
    function urlOf(channels, known) {
      const url = new URL("channels", base);
      for (const channel of channels) {
        const { channel: name, since = "", last, presence } = wanted(channel);
        url.searchParams.append("channel", name);
        if (last) url.searchParams.append("last", `${last}`);
        else url.searchParams.append("since", since);
        if (presence) url.searchParams.append("presence", known?.[name] || 1);
      }
      return url.href;
    }

    // Every try has the same key, so that the server publishes once.
    /**
     * @param {string} name
     * @param {Types.Data} data
     * @param {Types.PublishOptions} [options]
     * @returns {Promise<Types.Published>}
     */
    async function publish(name, data, { event, key = crypto.getRandomValues(new Uint32Array(4)).join("-") } = {}) {
      const lastTryAt = performance.now() + PUBLISH_LAST_TRY_MS;
      let wasDenied = false;
      await null; // what was subscribed to just now connects first
      for (let failures = 0; ; failures++) {
        if (state === "connecting") await new Promise((go) => unsettled.add(go));
        if (isClosed()) throw failure("closed before the server answered");
        try {
          if (state === "open" && carrier.publish && !options.key) return await carrier.publish(name, data, event, key);
          await live();
          return await post(name, data, event, key);
        } catch (error) {
          if (error.status === 401 && !pass.isFixed && !wasDenied) {
            wasDenied = true;
            pass.drop(pass.token());
            continue;
          }
          const delay = (error.retryAfterMs ?? 0) + backoffMs(failures);
          if (error.status === 401 || isForGood(error) || performance.now() + delay > lastTryAt) throw error;
          if (!isClosed()) await pause(delay, stops);
        }
      }
    }

    function post(name, data, event, key) {
      const url = new URL(`channels/${encodeURIComponent(name)}`, base);
      if (event !== undefined) url.searchParams.set("event", event);
      const [type, body] = encode(data);
      const proof = options.key ? { Authorization: `Bearer ${options.key}` } : headers();
      const request = { method: "POST", body, headers: { ...proof, "Content-Type": type, "Idempotency-Key": key } };
      return ask(url.href, request, PUBLISH_TRY_MS_MAX, stops);
    }

    function close() {
      if (isClosed()) return;
      leave();
      const ended = subscribers();
      channels.forEach((channel) => channel.stop?.());
      channels.clear();
      enter("closed");
      ended.forEach((one) => one.close());
      stops.forEach((stop) => stop());
      listenForWaking("removeEventListener");
    }

    function listenForWaking(method) {
      for (const type of ["online", "pageshow"]) globalThis[method]?.(type, wake);
      for (const type of ["visibilitychange", "resume"]) globalThis.document?.[method](type, wake);
    }

    listenForWaking("addEventListener");

    const me = {
      get state() { return state; },
      get transport() { return names[turn]; },
      on(name, handler) {
        listen(handlers, name, handler);
        return this;
      },
      subscribe, publish, close,
    };
    return me;
  }

  // Connections for `subscribe`: one a server, token, key and transports, until its last subscription is closed.
  const shared = [];

  /**
   * @param {string} name
   * @param {(message: Types.Message) => void} [onMessage]
   * @param {Parameters<typeof Types.subscribe>[2]} [options]
   */
  function subscribe(name, onMessage, { server, token, key, transports, ...wanted } = {}) {
    const url = serverUrl(server).href;
    const isFit = (one) => one.url === url && one.token === token && one.key === key && `${one.transports}` === `${transports}`;
    let found = shared.find(isFit);
    if (!found) {
      found = { url, token, key, transports };
      found.connection = connect(found, (connection) => {
        shared.splice(shared.indexOf(found), 1);
        connection.close();
      });
      shared.push(found);
    }
    return found.connection.subscribe(name, onMessage, wanted);
  }

  function serverUrl(server) {
    const base = new URL(server?.replace(/\/?$/, "/") ?? api.server, globalThis.location?.href);
    if (!/^https?:$/.test(base.protocol)) throw new TypeError(`fanfare: ${base} is no server; give its URL`);
    return new URL(".", base);
  }

  /** @returns {Types.SubscribeOptions & { channel: string }} */
  const wanted = ({ name, last, lastId, presence }) =>
    ({ channel: name, ...(lastId ? { since: lastId } : last && { last }), ...(presence && { presence: true }) });

  function* split(list, lenMax) {
    for (let at = 0; at < list.length; at += lenMax) yield list.slice(at, at + lenMax);
  }
  const parts = (list, lenMax) => [...split(list, lenMax)];

  // Gives whether somebody was told.
  const emitter = (handlers) => (name, value) => {
    const those = handlers[name].filter(Boolean);
    for (const handler of those) {
      try {
        handler(value);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
    return those.length > 0;
  };

  function listen(handlers, name, handler) {
    if (!Object.hasOwn(handlers, name)) throw new TypeError(`fanfare: there is no event ${name}`);
    handlers[name].push(handler);
  }

  // What the server answers, parsed, unless it takes longer than `ms` or is stopped.
  async function ask(url, request, ms, stops) {
    const abort = new AbortController();
    const stop = () => (stopTimer(), abort.abort());
    const stopTimer = alarm(ms, stop);
    stops.add(stop);
    try {
      const response = await fetch(url, { ...request, cache: "no-store", signal: abort.signal });
      if (!response.ok) throw await refusalOf(response);
      return await response.json();
    } finally {
      stopTimer();
      stops.delete(stop);
    }
  }

  async function refusalOf(response) {
    const { status, headers } = response;
    const text = (await response.text()).trim();
    return failure(text || `the server answered with ${status}`, { status, retryAfterMs: msUntil(headers.get("Retry-After")) });
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

  // How long ago it was made. The clock of the day goes on while the machine sleeps.
  function stopwatch() {
    const [at, on] = [performance.now(), Date.now()];
    return () => Math.max(performance.now() - at, Date.now() - on);
  }

  // Of `Retry-After`: seconds or a date.
  function msUntil(value) {
    const ms = /^\d+$/.test(value) ? value * 1000 : Date.parse(value) - Date.now();
    return Math.min(RETRY_AFTER_MS_MAX, Math.max(0, ms || 0));
  }

  function pause(ms, stops) {
    return new Promise((/** @type {(nothing?: any) => void} */ resolve) => {
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

  // Ids are `epoch-sequence`; another epoch is another run of the server.
  function isNewer(id, than = "") {
    const [epoch, sequence] = id.split("-");
    const [thanEpoch, thanSequence] = than.split("-");
    return epoch !== thanEpoch || +sequence > +thanSequence;
  }

  const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

  /** @returns {boolean} */
  const isBinary = (data) => data instanceof ArrayBuffer || ArrayBuffer.isView(data);

  function inJson(data) {
    if (!isBinary(data)) return { data };
    const bytes = new Uint8Array(data.buffer ?? data, data.byteOffset, data.byteLength);
    return { data: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")), encoding: "base64" };
  }

  function encode(data) {
    if (typeof data === "string") return ["text/plain; charset=utf-8", data];
    return isBinary(data) ? ["application/octet-stream", data] : ["application/json", JSON.stringify(data)];
  }

  // Channels are beside the script.
  const script = /** @type {HTMLScriptElement | undefined} */ (globalThis.document?.currentScript);
  const api = { connect: (options) => connect(options), subscribe, server: script?.src || globalThis.location?.origin };
  return api;
})();
