// A page's code that uses all of /fanfare.mjs, and what is a mistake in such code: types.test.mjs has the TypeScript
// compiler read it. It is never run.

import { connect, subscribe } from "./fanfare.mjs";
import type { Connection, Gap, Member, Message, Presence, Published, Refusal, Subscription, Transport } from "./fanfare.mjs";

interface Tick { symbol: string; price: number }

const transports: Transport[] = ["websocket", "sse", "long-poll"];
const connection: Connection = connect({
  url: "https://push.example/",
  token: () => fetch("/token").then((response) => response.text()),
  transports,
  key: "SECRET",
});
connect();
connect({ token: () => "eyJ" });

connection
  .on("state", ({ state, transport, retryInMs }) => {
    const all: "idle" | "connecting" | "open" | "waiting" | "closed" = state;
    const next: number | undefined = retryInMs;
    console.log(all, transport satisfies Transport, next);
  })
  .on("error", (error) => console.error(error.code, error.status, error.message, error.channel, error.retryAfterMs));

const prices: Subscription<Tick> = connection.subscribe<Tick>("prices", ({ id, event, data }) => {
  const words: [string, string | undefined, string, number] = [id, event, data.symbol, data.price];
  console.log(words);
}, { last: 10, since: "8c1f5d0e7a21-7", presence: true });

prices
  .on("message", (message: Message<Tick>) => console.log(message.data.price.toFixed(2)))
  .on("gap", ({ missed }: Gap) => console.log(missed?.toFixed() ?? "some"))
  .on("presence", ({ members, joined, left, count, anonymous }: Presence) => {
    const names: string[] | undefined = members?.map((member: Member) => `${member.sub} ${member.connections ?? 1}`);
    console.log(names, joined?.length, left?.[0]?.length, count + anonymous);
  })
  .on("state", ({ state }) => console.log(state === "closed"))
  .on("error", (refusal: Refusal) => console.log(refusal.code));

const place: string | undefined = prices.lastId;
const by: Transport = prices.transport;
console.log(place, by, prices.state === "open", connection.state === "idle", connection.transport === "sse");

const { id, subscribers }: Published = await prices.publish({ symbol: "PEAR", price: 1.5 }, { event: "tick", key: "7f3a" });
await connection.publish("chat-7", "hi");
await connection.publish("chat-7", new Uint8Array([1, 2]), { event: "raw" });
console.log(id.length + subscribers);
prices.close();
connection.close();

connection.subscribe("news", ({ data }) => console.log(data.anything));
const news = subscribe("news", undefined, { server: "https://push.example", token: async () => "eyJ", key: "SECRET", last: 5, transports: ["sse"] });
subscribe<Tick>("prices", ({ data }) => console.log(data.symbol)).close();
await news.publish("hello");

// @ts-expect-error there is no such transport
connect({ transports: ["pigeon"] });
// @ts-expect-error a token is a string
connect({ token: () => 7 });
// @ts-expect-error of a connection it is `url`
connect({ server: "https://push.example" });
// @ts-expect-error and of a subscription `server`
subscribe("news", undefined, { url: "https://push.example" });
// @ts-expect-error there is no such event
news.on("mesage", () => {});
// @ts-expect-error a connection has no messages of its own
connection.on("message", () => {});
// @ts-expect-error a channel is needed
subscribe();
// @ts-expect-error where it stands is not the page's to say
news.state = "open";
// @ts-expect-error what was published has no data
(await news.publish("hello")).data;
// @ts-expect-error the data is a Tick
subscribe<Tick>("prices", ({ data }) => data.volume);
