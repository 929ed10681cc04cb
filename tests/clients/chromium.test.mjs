// The server as Chromium sees it: the page at `/`, and pages of other origins.
//
// With SCREENSHOTS set to a folder, pictures of the page are left there.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { open, openElsewhere } from "./browser.mjs";
import { serve } from "./server.mjs";

/** The page at `/`, once it is subscribed. */
async function openHome(t, server, options) {
  const page = await open(t, server.http("/"), options);
  await page.getByText("connected", { exact: true }).waitFor();
  return page;
}

/** In the page: subscribes, and gives whether that went well. */
function subscribe(page, url) {
  return page.evaluate((url) => new Promise((resolve) => {
    window.received = [];
    window.socket = new WebSocket(url);
    socket.onmessage = async ({ data }) => {
      const text = data instanceof Blob ? await data.text() : data;
      received.push({ type: data.constructor.name, text });
    };
    socket.onopen = () => resolve(true);
    socket.onerror = () => resolve(false);
  }), url);
}

async function received(page, count) {
  await page.waitForFunction((count) => window.received.length >= count, count);
  return page.evaluate(() => window.received);
}

async function items(page, count) {
  await page.waitForFunction((count) => document.querySelectorAll("#messages li").length >= count, count);
  return page.locator("#messages li").allTextContents();
}

async function photograph(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}

test("the page shows what curl publishes, newest first, and markup as text", async (t) => {
  const server = await serve(t);
  const page = await openHome(t, server);
  await server.publish("/channels/news", "hello from curl");
  await server.publish("/channels/news", "<img src=x onerror=alert(1)> & <b>bold</b>");
  await server.publishAs("application/octet-stream", "/channels/news", "12345");
  assert.deepEqual(await items(page, 3), [
    "5 bytes",
    "<img src=x onerror=alert(1)> & <b>bold</b>",
    "hello from curl",
  ]);
  assert.equal(await page.locator("#curl").textContent(), `curl -d hello ${server.http("/channels/news")}`);
  assert.deepEqual(page.faults, []);
  await photograph(page, "home");
});

test("what is typed into the page's form is published, and shown in every page", async (t) => {
  const server = await serve(t);
  const page = await openHome(t, server);
  const other = await openHome(t, server, { viewport: { width: 360, height: 640 }, colorScheme: "dark" });
  await page.keyboard.type("typed without a click");
  await page.keyboard.press("Enter");
  await items(page, 1);
  await page.getByRole("textbox", { name: "Message" }).fill("grüß dich, 世界");
  await page.getByRole("button", { name: "Publish" }).click();
  const expected = ["grüß dich, 世界", "typed without a click"];
  assert.deepEqual(await items(page, 2), expected);
  assert.deepEqual(await items(other, 2), expected);
  assert.equal(await page.getByRole("textbox", { name: "Message" }).inputValue(), "");
  assert.deepEqual(page.faults, []);
  await photograph(other, "home-narrow-dark");
  const isTooWide = await other.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(isTooWide, false, "a narrow screen scrolls down only");
});

test("the page says so when the server is gone", async (t) => {
  const server = await serve(t, "--drain", "0s");
  const page = await openHome(t, server);
  assert.equal(await server.stop(), 0);
  await page.getByText("disconnected, trying again").waitFor();
});

test("a page of another origin gets text as a string and binary as a Blob", async (t) => {
  const server = await serve(t);
  const { page } = await openElsewhere(t);
  assert.equal(await subscribe(page, server.ws("/channels/news")), true);
  await server.publish("/channels/news", "as text");
  await server.publishAs("application/octet-stream", "/channels/news", "as binary");
  assert.deepEqual(await received(page, 2), [
    { type: "String", text: "as text" },
    { type: "Blob", text: "as binary" },
  ]);
  assert.deepEqual(page.faults, []);
});

test("a frame without an origin subscribes, publishes and closes with a code of its own", async (t) => {
  const server = await serve(t);
  const { frame } = await openElsewhere(t);
  assert.equal(await frame.evaluate(() => origin), "null");
  assert.equal(await subscribe(frame, server.ws("/channels/news")), true);
  await frame.evaluate(() => socket.send("from a frame"));
  assert.deepEqual(await received(frame, 1), [{ type: "String", text: "from a frame" }]);
  const closed = await frame.evaluate(() => new Promise((resolve) => {
    socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
    socket.close(4321, "enough");
  }));
  assert.deepEqual(closed, { code: 4321, wasClean: true });
});

test("with --allow-origin, the listed page is served and another is not", async (t) => {
  const { origin, page: listed, frame } = await openElsewhere(t);
  const { page: other } = await openElsewhere(t);
  const server = await serve(t, "--allow-origin", origin);
  assert.equal(await subscribe(listed, server.ws("/channels/news")), true);
  for (const refused of [other, frame]) {
    assert.equal(await subscribe(refused, server.ws("/channels/news")), false);
  }
  assert.equal((await server.publish("/channels/news", "for the listed")).subscribers, 1);
  assert.deepEqual(await received(listed, 1), [{ type: "String", text: "for the listed" }]);
});

test("the pages of the README, opened as files, show what its curl publishes", async (t) => {
  const server = await serve(t);
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const folder = await mkdtemp(join(tmpdir(), "fanfare-"));
  t.after(() => rm(folder, { recursive: true }));
  const pages = [...readme.matchAll(/```html\n(.*?)```/gs)].map(([, html]) => html);
  assert.ok(pages.length > 0);
  for (const [index, html] of pages.entries()) {
    assert.ok(html.includes("127.0.0.1:8080"));
    const file = join(folder, `news-${index}.html`);
    await writeFile(file, html.replaceAll("127.0.0.1:8080", new URL(server.http("/")).host));
    const page = await open(t, `file://${file}`);
    let subscribers = 0;
    for (let tries = 0; subscribers <= index; tries++) {
      assert.ok(tries < 500, "the page does not subscribe");
      ({ subscribers } = await server.publish("/channels/news", "hello"));
    }
    await page.getByText("hello", { exact: true }).first().waitFor();
    assert.deepEqual(page.faults, []);
  }
});
