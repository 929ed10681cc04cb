// Proofs of who a client is: tokens made here, good and bad, and what each has to be told.
//
// No socket is known here.

import { createHmac } from "node:crypto";

/** What the server signs and knows: tests/soak.sh writes the one to a file and gives the other as a flag. */
export const TOKEN_SECRET = "a secret of the soak: 32 bytes and more";
export const KEY = "the-key-of-the-soak";

/** After its `exp` a token still counts for so long. */
export const LEEWAY_MS = 30_000;

const base64url = (text) => Buffer.from(text).toString("base64url");

/** A token: what it allows, and how it differs from a good one of an hour. */
export function token(sub, fanfare, { secret = TOKEN_SECRET, alg = "HS256", expiresIn = 3600, more = {} } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub, iat: now - 60, exp: now + expiresIn, fanfare, ...more };
  const signed = `${base64url(JSON.stringify({ alg, typ: "JWT" }))}.${base64url(JSON.stringify(claims))}`;
  const signature = alg === "none" ? "" : createHmac("sha256", secret).update(signed).digest("base64url");
  return `${signed}.${signature}`;
}

/** A token for the channels `locked-*`. */
export const good = (sub, options) => token(sub, { subscribe: ["locked-*"] }, options);

/** The subprotocols of a WebSocket that brings a token. */
export const offering = (text) => ["fanfare.v1.json", `bearer.${text}`];

/** Tokens that let nobody into `locked-a`: what each is, and the code and the status that it is refused with. */
export const BAD = [
  ["no token", () => undefined, "no_token", 401],
  ["an expired token", () => good("late", { expiresIn: -31 }), "expired", 401],
  ["a token by another secret", () => good("forger", { secret: "a secret of somebody else, as long" }), "bad_token", 401],
  ["a token that nobody signed", () => good("nobody", { alg: "none" }).concat("AAAA"), "bad_token", 401],
  ["a token by a public key that is none", () => good("mixer", { alg: "RS256" }), "bad_token", 401],
  ["a token with another payload", () => altered(good("liar")), "bad_token", 401],
  ["a token of a day and more", () => good("eternal", { expiresIn: 25 * 3600 }), "bad_token", 401],
  ["a token without what it allows", () => token("vague", undefined), "bad_token", 401],
  ["a token for something else", () => token("stray", { subscribe: ["unlocked-*"] }), "forbidden", 403],
];

/** The same signature under other claims. */
function altered(text) {
  const [head, claims, signature] = text.split(".");
  const said = JSON.parse(Buffer.from(claims, "base64url").toString());
  return [head, base64url(JSON.stringify({ ...said, sub: "somebody" })), signature].join(".");
}
