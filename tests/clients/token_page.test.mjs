// A page that fetches its token from a backend of its own: the page and both backends of the README, node's and Python's,
// as they stand in token_page/ and there. Only the ports are the test's.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { open } from "./browser.mjs";
import { listen, serve, within } from "./server.mjs";

const PYTHON = fileURLToPath(new URL("../.venv-clients/bin/python", import.meta.url));
const LINES_MAX = 12;

const text = (name) => readFile(new URL(`token_page/${name}`, import.meta.url), "utf8");

/** A port that was free a moment ago. */
async function freePort() {
  const listener = createServer();
  const address = await listen(listener, "a free port");
  await new Promise((resolve) => listener.close(resolve));
  return address.split(":")[1];
}

/** Runs a backend as a person would: in a folder with the page, and the secret in the environment. */
async function run(t, command, file, server, secret) {
  const folder = await mkdtemp(fileURLToPath(new URL("../node_modules/.token-page-", import.meta.url)));
  t.after(() => rm(folder, { recursive: true }));
  const port = await freePort();
  await writeFile(join(folder, "page.html"), (await text("page.html")).replace("127.0.0.1:8080", server.address));
  await writeFile(join(folder, file), (await text(file)).replace("3000", port));
  const env = { ...process.env, TOKEN_SECRET: secret, PYTHONDONTWRITEBYTECODE: "1" };
  const child = spawn(command, [file], { cwd: folder, env, stdio: ["ignore", "inherit", "pipe"] });
  t.after(() => child.kill());
  const said = [];
  child.stderr.on("data", (data) => said.push(data.toString()));
  const answers = async () => {
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/token`).catch(() => undefined);
      if (answer?.ok) return;
      if (child.exitCode !== null) throw new Error(said.join(""));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await within(answers(), "a backend that answers");
  return `http://127.0.0.1:${port}`;
}

for (const [name, command, file] of [["node", process.execPath, "backend.mjs"], ["Python", PYTHON, "backend.py"]]) {
  test(`a page with a token of a backend in ${name} subscribes and publishes`, async (t) => {
    const secret = randomBytes(32).toString("hex");
    const folder = await mkdtemp(fileURLToPath(new URL("../node_modules/.token-key-", import.meta.url)));
    t.after(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, "app.key"), secret);
    const server = await serve(t, "--token-key", join(folder, "app.key"));
    assert.ok((await text(file)).trim().split("\n").length <= LINES_MAX, "it fits a README");
    const origin = await run(t, command, file, server, secret);
    const page = await open(t, "about:blank");
    await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
    for (const visit of [1, 2]) {
      await page.goto(`${origin}/page.html`);
      await page.waitForFunction((visit) => document.querySelectorAll("#chat li").length === visit, visit);
    }
    assert.deepEqual(await page.locator("#chat li").allTextContents(), ["hello", "hello"]);
    assert.deepEqual(page.faults, []);
    assert.equal((await server.curl("/channels/chat-7?wait=0")).status, 401, "without a token there is nothing");
  });
}
