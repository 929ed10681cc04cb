// Who may what, as a page sees it: every way in which a proof travels, times every refusal, in Chromium, by curl, and by
// EventSource; with tokens of npm's `jose` and `jsonwebtoken` and of PyPI's `PyJWT`. Each refusal says what to do.
//
// What the server makes of a token in detail is in its own tests; the client of the server is in fanfare_connect.test.mjs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac, generateKeyPairSync } from "node:crypto";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { SignJWT, exportJWK } from "jose";
import jsonwebtoken from "jsonwebtoken";

import { openElsewhere } from "./browser.mjs";
import { within } from "./server.mjs";
import { SECRET, file, serveTokens, token } from "./tokens.mjs";

const PYTHON = fileURLToPath(new URL("../.venv-clients/bin/python", import.meta.url));
const COOKIE = "session-token";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token with a header of the test's own, signed as HS256. */
function signed(header, payload) {
  const text = `${part(header)}.${part(payload)}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

const claims = (more = {}) => {
  const iat = Math.floor(Date.now() / 1000);
  return { sub: "u42", iat, exp: iat + 600, fanfare: { subscribe: ["news", "chat-*"], publish: ["chat-*"] }, ...more };
};

/** What is refused: the token, if there is one, and what is said of it. */
const REFUSED = [
  ["no token", () => undefined, "no_token", 401, 4401, /^Channel news needs a token: Authorization: Bearer JWT, or new WebSocket\(url, \["fanfare\.v1\.json", "bearer\.JWT"\]\)\.$/],
  ["a forged token", () => token({ secret: "f".repeat(32) }), "bad_token", 401, 4401, /^The signature does not fit key app \(HS256\)\.$/],
  ["an unsigned token", () => `${part({ alg: "none" })}.${part(claims())}.`, "bad_token", 401, 4401, /alg/],
  ["another algorithm", () => signed({ alg: "RS256" }, claims()), "bad_token", 401, 4401, /^alg is RS256, no such key is configured\.$/],
  ["a token without exp", () => token({ claims: { exp: null } }), "bad_token", 401, 4401, /^It has no exp\.$/],
  ["a session's token", () => token({ claims: { fanfare: null } }), "bad_token", 401, 4401, /^It has no fanfare claim; is it a session's token\?$/],
  ["a token for more than a day", () => token({ lifeS: 90_000 }), "bad_token", 401, 4401, /^From iat to exp are 90000 s; 86400 at most\.$/],
  ["an expired token", () => token({ issuedInS: -3642 }), "expired", 401, 4401, /^The token expired 4[2-9] s ago: exp \d+, this server's clock \d+\.$/],
  ["a token for other channels", () => token({ subscribe: ["chat-*"], publish: ["x"] }), "forbidden", 403, 4403, /^The token of u42 subscribes to chat-\*; not to news\.$/],
];

/** In the page: each way to bring a token, which gives what came of it as { status?, code?, close?, message? } or "open". */
function carry() {
  const socket = (path, protocols, begin) => new Promise((resolve) => {
    const made = new WebSocket(`${server.replace("http", "ws")}${path}`, protocols);
    let refusal;
    made.onopen = () => begin?.(made);
    made.onmessage = ({ data }) => {
      const { event, data: said } = JSON.parse(data);
      if (event === "fanfare:error") refusal = { code: said.code, status: said.status, message: said.message };
      if (event === "fanfare:error" && begin) made.close();
      if (event === "fanfare:subscribed") resolve("open"), made.close();
    };
    made.onclose = ({ code, reason }) => resolve({ ...refusal, ...(!begin && { close: code, reason }), protocol: made.protocol });
  });
  const read = async (path, options) => {
    const abort = new AbortController();
    const response = await fetch(`${server}${path}`, { ...options, signal: abort.signal });
    if (response.ok) return abort.abort(), "open";
    return { status: response.status, message: (await response.text()).trim() };
  };
  // Of a refusal EventSource says nothing; who wants to know asks for the same by fetch.
  const stream = (path, options) => new Promise((resolve) => {
    const source = new EventSource(`${server}${path}`, options);
    source.onopen = () => (source.close(), resolve("open"));
    source.onerror = () => {
      const isFinal = source.readyState === EventSource.CLOSED;
      source.close();
      const headers = { Accept: "text/event-stream" };
      read(path, { headers, ...(options?.withCredentials && { credentials: "include" }) }).then((told) => resolve({ ...told, isFinal }));
    };
  });
  const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});
  const offer = (token) => ["fanfare.v1.json", ...(token ? [`bearer.${token}`] : [])];
  const subscribe = (made) => made.send('{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"news"}]}');
  window.carriers = {
    "a subprotocol at one channel": (token) => socket("/channels/news?since=", offer(token)),
    "a subprotocol at /channels": (token) => socket("/channels", offer(token), subscribe),
    "fanfare:authorize": (token) => socket("/channels", ["fanfare.v1.json"], (made) => {
      if (token) made.send(JSON.stringify({ event: "fanfare:authorize", ref: 0, data: { token } }));
      subscribe(made);
    }),
    "a header of a poll": (token) => read("/channels/news?since=&wait=0", { headers: bearer(token) }),
    "a header of a poll of many": (token) => read("/channels?channel=news&since=&wait=0", { headers: bearer(token) }),
    "a header of a stream": (token) => read("/channels/news", { headers: { ...bearer(token), Accept: "text/event-stream" } }),
    "a header of a stream of many": (token) => read("/channels?channel=news", { headers: { ...bearer(token), Accept: "text/event-stream" } }),
    "the query of a stream": (token) => stream(`/channels/news${token ? `?access_token=${token}` : ""}`),
    "the query of a stream of many": (token) => stream(`/channels?channel=news${token ? `&access_token=${token}` : ""}`),
    "the cookie of a stream": () => stream("/channels/news", { withCredentials: true }),
    "the cookie of a stream of many": () => stream("/channels?channel=news", { withCredentials: true }),
  };
}

/** A page of an origin that is listed, and a server that takes a token by every way there is. */
async function openCarriers(t, ...flags) {
  const { page, origin } = await openElsewhere(t);
  const server = await serveTokens(t, "--token-in-query", "--token-cookie", COOKIE, "--allow-origin", origin, ...flags);
  await page.evaluate((url) => (window.server = url), server.http(""));
  await page.evaluate(carry);
  const ways = await page.evaluate("Object.keys(carriers)");
  const bring = async (way, value) => {
    await page.context().clearCookies();
    if (way.includes("cookie") && value) await page.context().addCookies([{ name: COOKIE, value, url: server.http("") }]);
    return within(page.evaluate(([way, value]) => carriers[way](value), [way, value]), `what comes of ${way}`);
  };
  return { page, origin, server, ways, bring };
}

test("a good token opens a channel by each way in which it travels", async (t) => {
  const { ways, bring } = await openCarriers(t);
  const good = await token();
  for (const way of ways) assert.equal(await bring(way, good), "open", way);
});

for (const [name, make, code, status, close, sentence] of REFUSED) {
  test(`${name} is refused with a sentence that a page can read, by each way in which it travels`, async (t) => {
    const { page, ways, bring } = await openCarriers(t);
    const value = await make();
    for (const way of ways) {
      const told = await bring(way, value);
      assert.match(told.message ?? JSON.stringify(told), sentence, way);
      assert.equal(told.status, status, way);
      if (/subprotocol|authorize/.test(way)) assert.deepEqual([told.code, told.protocol], [code, "fanfare.v1.json"], way);
      if (way === "a subprotocol at one channel") {
        assert.equal(told.close, close, way);
        assert.ok(told.message.startsWith(told.reason.replace(/…$/, "")), told.reason);
      }
      if (way.includes("query") || way.includes("cookie")) assert.equal(told.isFinal, true, `${way}: EventSource does not come back`);
    }
    const consoleText = page.faults.join("\n");
    if (value) assert.ok(!page.faults.some((text) => /bearer\./i.test(text)), consoleText);
  });

  test(`${name} is refused with the same sentence by curl, and WWW-Authenticate`, async (t) => {
    const server = await serveTokens(t);
    const value = await make();
    const proof = value ? ["-H", `Authorization: Bearer ${value}`] : [];
    for (const accept of ["*/*", "text/event-stream"]) {
      const { status: was, body } = await server.curl("/channels/news?since=&wait=0", "-i", "-H", `Accept: ${accept}`, ...proof);
      const [head, text] = body.split("\r\n\r\n");
      assert.equal(was, status);
      assert.match(text.trim(), sentence);
      assert.match(head, /^WWW-Authenticate: Bearer/m);
    }
    const words = ["-i", "-N", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    const upgrade = await server.curl("/channels/news", ...words, ...proof);
    assert.equal(upgrade.status, status, "without fanfare.v1.json, the handshake is refused");
    assert.match(upgrade.body, new RegExp(sentence.source.replace(/^\^|\$$/g, "")));
  });
}

test("the client shows a refusal in the console of a page that does not listen, with what to do", async (t) => {
  const { page } = await openElsewhere(t);
  const server = await serveTokens(t);
  await page.addScriptTag({ url: server.http("/fanfare.js") });
  const logged = page.waitForEvent("console", (message) => message.type() === "error" && message.text().includes("needs a token"));
  await page.evaluate(() => void fanfare.connect().subscribe("news"));
  assert.match((await within(logged, "the sentence")).text(), /Channel news needs a token: Authorization: Bearer JWT, or new WebSocket\(url, \["fanfare\.v1\.json", "bearer\.JWT"\]\)/);
});

test("two tokens that differ are refused with 400, and the same twice is one", async (t) => {
  const { server } = await openCarriers(t);
  const [one, other] = [await token(), await token({ sub: "u7" })];
  const ask = (header, query) => server.curl(`/channels/news?wait=0&access_token=${query}`, "-H", `Authorization: Bearer ${header}`);
  assert.equal((await ask(one, one)).status, 200);
  const { status, body } = await ask(one, other);
  assert.equal(status, 400);
  assert.match(body, /two proofs that differ/);
});

test("a revoked user is put out of every connection with a sentence, and stays out", async (t) => {
  const { page, server, ways, bring } = await openCarriers(t);
  const made = await token();
  await page.evaluate((token) => {
    window.told = [];
    for (const path of ["/channels/news?since=", "/channels"]) {
      const socket = new WebSocket(`${server.replace("http", "ws")}${path}`, ["fanfare.v1.json", `bearer.${token}`]);
      socket.onopen = () => path === "/channels" && socket.send('{"event":"fanfare:subscribe","data":[{"channel":"news"}]}');
      socket.onmessage = ({ data }) => data.includes("fanfare:subscribed") && told.push(path);
      socket.onclose = ({ code }) => told.push(code);
    }
  }, made);
  await page.waitForFunction("told.length === 2");
  const { body } = await server.curl("/revoke", "-d", '{"sub":"u42"}', "-H", "Authorization: Bearer ops-key");
  assert.equal(JSON.parse(body).revoked, 2);
  await page.waitForFunction("told.length === 4");
  assert.deepEqual((await page.evaluate("told")).slice(2), [4403, 4403]);
  for (const way of ways) assert.match((await bring(way, made)).message, /^The token of u42 was revoked at \d{4}-\d\d-\d\dT[\d:]+Z\.$/, way);
});

test("publishing is refused with a sentence by POST and on a socket, and what a token allows is published", async (t) => {
  const { page, server } = await openCarriers(t);
  const value = await token();
  const post = (name, proof) => page.evaluate(async ([name, proof]) => {
    const response = await fetch(`${server}/channels/${name}`, { method: "POST", body: "x", headers: proof && { Authorization: `Bearer ${proof}` } });
    return { status: response.status, text: (await response.text()).trim() };
  }, [name, proof]);
  assert.equal((await post("chat-7", value)).status, 200);
  assert.equal((await post("chat-7")).status, 401);
  const refused = await post("news", value);
  assert.deepEqual([refused.status, refused.text], [403, "The token of u42 publishes to chat-*; not to news."]);
  const { status } = await server.curl("/channels/news", "-d", "x", "-H", "Authorization: Bearer ops-key");
  assert.equal(status, 200, "a key with all rights");
});

test("each rule lets in whom it names, and says to the others what is missing", async (t) => {
  const { bring, server } = await openCarriers(t, "--auth", "news=open", "--auth", "ops=key");
  assert.equal(await bring("a subprotocol at one channel"), "open");
  const told = await bring("a subprotocol at one channel", await token({ secret: "f".repeat(32) }));
  assert.equal(told.code, "bad_token", "a proof that is sent must be good, on an open channel too");
  const { status, body } = await server.curl("/channels/ops?wait=0", "-H", `Authorization: Bearer ${await token({ subscribe: ["*"] })}`);
  assert.deepEqual([status, body.trim()], [401, "Channel ops is for holders of a key: Authorization: Bearer KEY."]);
  assert.equal((await server.curl("/channels/ops?wait=0", "-H", "Authorization: Bearer ops-key")).status, 200);
});

/** A token as PyJWT makes it. */
async function byPython(payload, key, alg) {
  const code = "import json, sys, jwt; print(jwt.encode(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]))";
  const { stdout } = await promisify(execFile)(PYTHON, ["-c", code, JSON.stringify(payload), key, alg]);
  return stdout.trim();
}

test("tokens of jose, jsonwebtoken and PyJWT are good in every algorithm that each of them has of ours", async (t) => {
  const pairs = { RS256: generateKeyPairSync("rsa", { modulusLength: 2048 }), ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }), EdDSA: generateKeyPairSync("ed25519") };
  const keys = [{ kty: "oct", kid: "shared", alg: "HS256", k: Buffer.from(SECRET).toString("base64url") }];
  for (const [alg, { publicKey }] of Object.entries(pairs)) keys.push({ ...(await exportJWK(publicKey)), kid: alg, alg });
  const { bring } = await openCarriers(t, "--token-key", await file(t, "keys.json", JSON.stringify({ keys })));
  const pem = (alg) => pairs[alg].privateKey.export({ type: "pkcs8", format: "pem" });
  const made = {};
  for (const alg of ["HS256", "RS256", "ES256", "EdDSA"]) {
    const key = alg === "HS256" ? new TextEncoder().encode(SECRET) : pairs[alg].privateKey;
    made[`jose ${alg}`] = await new SignJWT(claims()).setProtectedHeader({ alg }).sign(key);
    const text = alg === "HS256" ? SECRET : pem(alg);
    if (alg !== "EdDSA") made[`jsonwebtoken ${alg}`] = jsonwebtoken.sign(claims(), text, { algorithm: alg });
    made[`PyJWT ${alg}`] = await byPython(claims(), text, alg);
  }
  assert.equal(Object.keys(made).length, 11);
  for (const [name, value] of Object.entries(made)) {
    for (const way of ["a subprotocol at one channel", "a subprotocol at /channels", "a header of a poll"]) {
      assert.equal(await bring(way, value), "open", `${name} by ${way}`);
    }
  }
});
