// What /fanfare.mjs exports, for TypeScript and for editors. Save it beside your source, or as fanfare.d.mts next to a copy
// of /fanfare.mjs. With the plain script /fanfare.js the same is in the global `fanfare`.

/** How the server is reached. */
export type Transport = "websocket" | "sse" | "long-poll";

/** What a publication carries: a string for text, a `Uint8Array` for binary, else the JSON value. */
export type Data = unknown;

/** A publication as a subscriber gets it. */
export interface Message<T = any> {
  /** Identifies it in its channel; a page that stores it goes on there with `since`. */
  id: string;
  /** The name that the publisher gave it, if any. */
  event: string | undefined;
  data: T;
}

/** Publications are lost for this subscriber. */
export interface Gap {
  /** How many; `null` if it is not known, as after a restart of the server. */
  missed: number | null;
}

/** Where a connection or a subscription stands. */
export interface StateChange<S extends string> {
  state: S;
  /** The transport in use, or the next to be tried. */
  transport: Transport;
  /** With `waiting`: the next try is in this number of milliseconds, unless another state comes first. */
  retryInMs?: number;
}

export type SubscriptionState = "connecting" | "open" | "waiting" | "closed";

/** `idle`: nothing is subscribed to, and no connection is open. */
export type ConnectionState = "idle" | SubscriptionState;

/** What the server refused, or why a token could not be had. The message is the server's sentence. */
export interface Refusal extends Error {
  /** For programs, where the server gave one: `forbidden`, `expired`, `no_token` and others. `token`: `token()` failed. */
  code?: string;
  /** The HTTP status that says the same. */
  status?: number;
  /** The channel, if it is one that is refused. */
  channel?: string;
  /** The server asked not to be tried again for so long. */
  retryAfterMs?: number;
}

/** Who is in a channel. */
export interface Member {
  sub: string;
  info?: any;
  connections?: number;
}

/** Who is there now, and what has changed. */
export interface Presence {
  /** All members; `null` where they are not told: too many, or the channel only counts. */
  members: Member[] | null;
  /** Those that came since the event before; empty in the first. */
  joined: Member[] | null;
  /** The `sub` of those that left since the event before; empty in the first. */
  left: string[] | null;
  /** How many members there are. */
  count: number;
  /** How many connections are there without a `sub`. */
  anonymous: number;
}

export interface SubscriptionEvents<T = any> {
  message: Message<T>;
  gap: Gap;
  /** Messages may come late from now on: the server has lost its connection to the other servers. Not told by long polls. */
  paused: {};
  /** Messages come at once again, after those that were late. */
  resumed: {};
  presence: Presence;
  state: StateChange<SubscriptionState>;
  /** A refusal. If the state is `closed` next, it is final; else it is tried again. */
  error: Refusal;
}

export interface ConnectionEvents {
  state: StateChange<ConnectionState>;
  /** Every refusal, also those of channels, which `channel` names. */
  error: Refusal;
}

/** What a subscription is asked for. */
export interface SubscribeOptions {
  /** The last publications of the history are sent first: so many of them. */
  last?: number;
  /** The publications after this id are sent first; overrides `last`. */
  since?: string;
  /** Whether `presence` events are wanted. */
  presence?: boolean;
}

/** What a connection is made with. */
export interface ConnectOptions {
  /** The server's URL; channels are under its path. Where the script was loaded from, if left out. */
  url?: string;
  /** Gives a token (JWT): asked for when one is needed, one call at a time, and not before the last one is nearly over. */
  token?: () => string | Promise<string>;
  /** A publish key, sent with publications. Whoever has the page has the key. */
  key?: string;
  /** Which to try, in this order: all three if left out. */
  transports?: readonly Transport[];
}

export interface PublishOptions {
  /** The event's name. */
  event?: string;
  /** The idempotency key: what is published again with it within a minute is published once. A random one if left out. */
  key?: string;
}

/** That a publication has its id and is on its way. */
export interface Published {
  id: string;
  subscribers: number;
}

export interface Subscription<T = any> {
  readonly state: SubscriptionState;
  readonly transport: Transport;
  /** Where it goes on after a loss. */
  readonly lastId: string | undefined;
  on<E extends keyof SubscriptionEvents<T>>(event: E, handler: (value: SubscriptionEvents<T>[E]) => void): this;
  /** Publishes to its channel: settled when the server has answered; repeated, with one key, for up to a minute. */
  publish(data: Data, options?: PublishOptions): Promise<Published>;
  close(): void;
}

export interface Connection {
  readonly state: ConnectionState;
  readonly transport: Transport;
  on<E extends keyof ConnectionEvents>(event: E, handler: (value: ConnectionEvents[E]) => void): this;
  subscribe<T = any>(channel: string, onMessage?: (message: Message<T>) => void, options?: SubscribeOptions): Subscription<T>;
  publish(channel: string, data: Data, options?: PublishOptions): Promise<Published>;
  /** Ends it with all of its subscriptions. */
  close(): void;
}

/** One connection for many channels, open while there is a subscription. */
export function connect(options?: ConnectOptions): Connection;

/** A subscription over a connection that the page's subscriptions share if server, token, key and transports are the same. */
export function subscribe<T = any>(
  channel: string,
  onMessage?: (message: Message<T>) => void,
  options?: SubscribeOptions & Omit<ConnectOptions, "url"> & { server?: string },
): Subscription<T>;
