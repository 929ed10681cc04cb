// Tokens for a test, made by npm's `jose`, and a server that takes them.
//
// What the server makes of them stands in the *.test.mjs files.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { SignJWT } from "jose";

import { serve } from "./server.mjs";

export const SECRET = "0123456789abcdef0123456789abcdef";
export const LEEWAY_S = 30; // of the server, for each time in a token

const nowS = () => Math.floor(Date.now() / 1000);

/** The path of a file with this text, which ends with the test. */
export async function file(t, name, text) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-tokens-"));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

/** A server that takes tokens signed with `SECRET`, whose key is called `app`; `ops-key` is a key with all rights. */
export async function serveTokens(t, ...flags) {
  const key = await file(t, "app.key", SECRET);
  const origin = flags.includes("--allow-origin") ? [] : ["--allow-origin", "*"];
  return serve(t, "--token-key", key, "--publish-key", "ops-key", ...origin, "--close-timeout", "100ms", ...flags);
}

/** A token that lives for so many seconds from `issuedInS` on; `grants` are its fanfare claim. */
export function token({ sub = "u42", lifeS = 3600, issuedInS = 0, secret = SECRET, alg = "HS256", kid, claims = {}, ...grants } = {}) {
  const iat = nowS() + issuedInS;
  const fanfare = { subscribe: ["news", "chat-*"], publish: ["chat-*"], presence: ["chat-*"], ...grants };
  const payload = { sub, iat, exp: iat + lifeS, fanfare, ...claims };
  for (const name of Object.keys(payload)) if (payload[name] === null) delete payload[name];
  return new SignJWT(payload).setProtectedHeader({ alg, typ: "JWT", ...(kid && { kid }) }).sign(new TextEncoder().encode(secret));
}
