// Chromium for the suites that need one: pages in profiles of their own, and a page of another origin.
//
// What is expected of the pages stands in the *.test.mjs files. The browser is started before a file's first test.

import { createServer } from "node:http";
import test from "node:test";

import { chromium } from "playwright-core";

import { listen } from "./server.mjs";

const DEADLINE_MS = 20_000; // a browser's first page takes longest
export const FLAGS = [
  "--no-sandbox",
  "--no-proxy-server",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP *.example 127.0.0.1", // sites elsewhere, and names that are rebound
];

const HOME = process.env.FANFARE_TLS && `${process.env.FANFARE_TLS}/home`; // its .pki has the authority of server.mjs

let browser;

test.before(async () => {
  const env = { ...process.env, ...(HOME && { HOME }) };
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS, timeout: DEADLINE_MS, env });
});

test.after(() => browser?.close());

/** A page in a profile of its own; what it logs as an error or throws is in its `faults`. */
export async function open(t, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 600 }, ...options });
  t.after(() => context.close());
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  await page.goto(url);
  return page;
}

/**
 * A page of another origin with `html` in it, and a frame that has no origin: what it runs says `Origin: null`. The
 * page is of this machine, from another port, unless `name` is that of a site elsewhere: `evil.example` and the like.
 */
export async function openElsewhere(t, html = "", name = "127.0.0.1") {
  const whole = `<!doctype html><link rel=icon href=data:,><iframe sandbox=allow-scripts srcdoc=empty></iframe>${html}`;
  const elsewhere = createServer((_, response) => response.setHeader("Content-Type", "text/html").end(whole));
  const address = await listen(elsewhere, "a page's server");
  const origin = `http://${address.replace("127.0.0.1", name)}`;
  t.after(() => elsewhere.close());
  t.after(() => elsewhere.closeAllConnections());
  const page = await open(t, origin);
  const frame = await (await page.waitForSelector("iframe")).contentFrame();
  return { origin, page, frame };
}
