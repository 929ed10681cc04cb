// wss and https in Chromium and in node's `ws`, with an authority and a certificate that the README's lines make, and that the
// browser trusts as the README has it. No check of certificates is switched off.
//
// What else the README says of TLS is checked by tests/readme.rs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { chromium } from "playwright-core";
import WebSocket from "ws";

import { FLAGS } from "./browser.mjs";
import { Inbox, serve, within } from "./server.mjs";

const DEADLINE_MS = 20_000; // a browser's first page takes longest

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const section = /\n### wss\n([^]*?)\nnginx in front/.exec(readme)[1];
const lines = (start) => section.split("\n").filter((line) => line.startsWith(start));

const browsers = new Map(); // by home folder: a browser writes to it until it is closed

/** A home folder where the README's lines for an authority and a certificate were run. */
async function home(t) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-wss-"));
  t.after(async () => {
    await browsers.get(folder)?.close();
    // Its last processes end a little later.
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  });
  for (const line of lines("openssl")) run(folder, line);
  return folder;
}

function run(folder, line) {
  execFileSync("sh", ["-c", line], { cwd: folder, env: { ...process.env, HOME: folder }, stdio: "pipe" });
}

/** A server with this certificate. */
function serveTls(t, folder, ...flags) {
  const pair = ["--tls-cert", join(folder, "cert.pem"), "--tls-key", join(folder, "key.pem")];
  return serve(t, "--tls-listen", "127.0.0.1:0", ...pair, ...flags);
}

/** Chromium with this home folder, closed with it; what its page logs as an error or throws is in the page's `faults`. */
async function open(folder) {
  const browser = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: process.env.CHROMIUM,
    args: FLAGS,
    env: { ...process.env, HOME: folder },
    timeout: DEADLINE_MS,
  });
  browsers.set(folder, browser);
  browser.setDefaultTimeout(DEADLINE_MS);
  const page = await browser.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  return page;
}

/** Runs the README's line by which Chromium trusts the authority: on an empty database, as a new user has it. */
async function trust(folder) {
  await mkdir(join(folder, ".pki/nssdb"), { recursive: true });
  run(folder, "certutil -d sql:$HOME/.pki/nssdb -N --empty-password");
  run(folder, lines("certutil -d")[0]);
}

test("the demo page, its WebSockets and fanfare.js work over TLS in a browser that trusts the authority", async (t) => {
  const folder = await home(t);
  await trust(folder);
  const server = await serveTls(t, folder);
  const port = server.tlsAddress.split(":")[1];
  const page = await open(folder);
  await page.goto(`https://localhost:${port}/`);
  assert.equal(await page.evaluate(() => globalThis.isSecureContext && location.protocol), "https:");
  const echoed = await page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`wss://${location.host}/echo`);
        socket.onopen = () => socket.send("hello");
        socket.onmessage = ({ data }) => resolve(data);
        socket.onerror = () => reject(new Error("no echo"));
      }),
  );
  assert.equal(echoed, "hello");
  await page.evaluate(async () => {
    const { subscribe } = await import("/fanfare.mjs");
    globalThis.heard = [];
    const hear = (by, data) => globalThis.heard.push(`${by} ${data}`);
    new EventSource("/channels/news").onmessage = ({ data }) => hear("event stream", data);
    new WebSocket(`wss://${location.host}/channels/news`).onmessage = ({ data }) => hear("socket", data);
    subscribe("news", ({ data }) => hear("fanfare.js", data));
  });
  // Subscribers come at their time: what is published before is not for them.
  const publishing = setInterval(() => server.publish("/channels/news", "tick").catch(() => {}), 50);
  t.after(() => clearInterval(publishing));
  for (const by of ["event stream", "socket", "fanfare.js"]) {
    await page.waitForFunction((start) => globalThis.heard.some((line) => line === `${start} tick`), by);
  }
  clearInterval(publishing);
  assert.deepEqual(page.faults, []);
});

test("a browser that does not trust the authority opens neither the page nor a socket", async (t) => {
  const folder = await home(t);
  const server = await serveTls(t, folder);
  const page = await open(folder);
  const port = server.tlsAddress.split(":")[1];
  await assert.rejects(page.goto(`https://localhost:${port}/`), /ERR_CERT_AUTHORITY_INVALID/);
});

test("ws connects with the authority, gets what is published, and is refused without it", async (t) => {
  const folder = await home(t);
  const server = await serveTls(t, folder);
  const url = `wss://localhost:${server.tlsAddress.split(":")[1]}/channels/news`;
  const connect = (options) => {
    const socket = new WebSocket(url, options);
    t.after(() => socket.terminate());
    return socket;
  };
  const socket = connect({ ca: await readFile(join(folder, "ca.pem")) });
  const inbox = new Inbox();
  socket.on("message", (data) => inbox.push(data.toString()));
  await within(new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)), "the handshake");
  await server.publish("/channels/news", "hello");
  assert.equal(await inbox.next("the publication"), "hello");
  const distrusting = connect({});
  const error = await within(new Promise((resolve) => distrusting.on("error", resolve)), "the refusal");
  assert.match(error.code, /SELF_SIGNED|UNABLE_TO_/);
});

test("a plain WebSocket is not redirected and a page is", async (t) => {
  const folder = await home(t);
  await trust(folder);
  const server = await serveTls(t, folder, "--redirect-https");
  const page = await open(folder);
  await page.goto(`http://localhost:${server.address.split(":")[1]}/`);
  assert.equal(page.url(), `https://localhost:${server.tlsAddress.split(":")[1]}/`);
  assert.deepEqual(page.faults, []);
});
