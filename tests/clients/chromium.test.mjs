// The server as Chromium sees it: its WebSockets in pages of other origins, and the README's page.
//
// The server's own pages are in pages.test.mjs.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { open, openElsewhere } from "./browser.mjs";
import { serve } from "./server.mjs";
import { severing } from "./severing.mjs";

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

test("a frame without an origin that may subscribes, publishes and closes with a code of its own", async (t) => {
  const server = await serve(t, "--allow-origin", "null");
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

test("in development mode a frame without an origin reads, and is closed with 1008 if it sends", async (t) => {
  const server = await serve(t);
  const { frame } = await openElsewhere(t);
  assert.equal(await subscribe(frame, server.ws("/channels/news")), true);
  const { id } = await server.publish("/channels/news", "to a frame");
  assert.deepEqual(await received(frame, 1), [{ type: "String", text: "to a frame" }]);
  const closed = await frame.evaluate(() => new Promise((resolve) => {
    socket.onclose = ({ code, reason }) => resolve({ code, reason });
    socket.send("from a frame");
  }));
  assert.deepEqual([closed.code, /publishing/.test(closed.reason)], [1008, true]);
  assert.equal((await server.publish("/channels/news", "the next")).id, id.replace(/-1$/, "-2"));
});

test("an EventSource of two channels goes on in both from the positions that it was told last", async (t) => {
  const server = await serve(t);
  const proxy = await severing(t, server);
  const { page } = await openElsewhere(t);
  const url = proxy.http("/channels?channel=a&channel=b");
  await page.evaluate((url) => {
    window.heard = [];
    const source = new EventSource(url);
    source.onmessage = ({ lastEventId, data }) => heard.push({ positions: lastEventId, ...JSON.parse(data) });
  }, url);
  const heard = async (isEnough) => {
    await page.waitForFunction(isEnough);
    return page.evaluate(() => window.heard);
  };
  const [begun] = await heard(() => window.heard.length === 2);
  assert.match(begun.positions, /^\w+-0,\w+-0$/);
  assert.doesNotMatch(await proxy.head(), /last-event-id/i);
  await server.publish("/channels/b", "first");
  // The positions are told within a second; the next event has them.
  for (let tries = 0; ; tries++) {
    assert.ok(tries < 100, "it is told its positions");
    await server.publish("/channels/a", `${tries}`);
    await page.waitForFunction((data) => window.heard.some((one) => one.data === data), `${tries}`);
    const { positions } = (await heard(() => true)).at(-1);
    if (positions.endsWith("-1")) break;
    await page.waitForTimeout(50);
  }
  const before = await heard(() => true);
  const told = before.at(-1).positions;
  proxy.cut();
  const head = await proxy.head();
  const [sent] = /(?<=^last-event-id: )\S+/im.exec(head);
  const sequences = (positions) => positions.split(",").map((id) => Number(id.split("-")[1]));
  assert.ok(sequences(sent).every((sequence, at) => sequence >= sequences(told)[at]), `${told} or later, not ${sent}`);
  await server.publish("/channels/b", "last");
  const after = (await heard(() => window.heard.at(-1).data === "last")).slice(before.length);
  const [inA, inB] = sequences(sent);
  assert.deepEqual(after.slice(0, 2).map(({ event, channel }) => [event, channel]), [["fanfare:subscribed", "a"], ["fanfare:subscribed", "b"]]);
  const ids = (channel) => after.filter((one) => one.id && one.channel === channel).map(({ id }) => sequences(id)[0]);
  const newest = before.filter(({ channel, id }) => channel === "a" && id).length;
  assert.deepEqual(ids("a"), Array.from({ length: newest - inA }, (_, at) => inA + 1 + at));
  assert.deepEqual([ids("b"), inB], [[2], 1]);
});

test("with a key and --allow-origin, the listed page is served and another is not", async (t) => {
  const { origin, page: listed, frame } = await openElsewhere(t);
  const { page: other } = await openElsewhere(t);
  const open = ["--publish-key", "sesame", "--client-publish", "news"];
  const server = await serve(t, ...open, "--allow-origin", origin);
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
  const all = [...readme.matchAll(/```html\n(.*?)```/gs)].map(([, html]) => html);
  // That of pusher-js, which is loaded from elsewhere, has a suite of its own.
  // So has that which a backend serves with tokens.
  const ofOthers = (html) => html.includes("new Pusher(") || html.includes('fetch("/token")');
  const pages = all.filter((html) => html.includes("127.0.0.1:8080") && !ofOthers(html));
  assert.deepEqual(all.filter((html) => !pages.includes(html) && !ofOthers(html)), []);
  assert.ok(pages.length > 0);
  for (const [index, html] of pages.entries()) {
    const file = join(folder, `news-${index}.html`);
    await writeFile(file, html.replaceAll("127.0.0.1:8080", server.plain));
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
