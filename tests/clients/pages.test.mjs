// The server's own pages in Chromium: the demo at `/` and the dashboard, by pointer and by keyboard, on wide and narrow
// screens, light and dark, and through what a network does to them.
//
// With SCREENSHOTS set to a folder, pictures of the pages are left there.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import WebSocket from "ws";

import { open } from "./browser.mjs";
import { FORWARD, REFUSE, proxy } from "./proxy.mjs";
import { backendOf, connect, serveApps, signing, subscribe, wire } from "./pusher.mjs";
import { Inbox, serve, within } from "./server.mjs";

const CHAT = "/channels/demo-chat";
const PHONE = { width: 320, height: 640 };
const HOSTILE = "<img src=x onerror=\"document.title='taken'\">";

/** The demo page once both of its channels and the echo are open. */
async function openDemo(t, server, options) {
  const page = await open(t, server.http("/"), options);
  for (const tile of ["#prices", "#chat", "#echo"]) await says(page, tile, "Open by WebSocket");
  return page;
}

const status = (page, tile) => page.locator(`${tile} [role=status]`);

/** Waits until a tile's state is told in these words. */
const says = (page, tile, sentence) => status(page, tile).getByText(sentence, { exact: true }).waitFor();

/** Waits for the last lines of the chat, names and times left out. */
async function chatEndsWith(page, ...expected) {
  await page.waitForFunction((expected) => {
    const lines = [...document.querySelectorAll("#chat .log > li")].map((li) => (li.querySelector(".text") ?? li).textContent);
    return JSON.stringify(lines.slice(-expected.length)) === JSON.stringify(expected);
  }, expected);
}

async function photograph(page, name) {
  if (!process.env.SCREENSHOTS) return;
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}

/** A subscriber that is no page; gives the texts that it gets. */
async function subscriber(t, server, path) {
  const socket = new WebSocket(server.ws(path));
  t.after(() => socket.terminate());
  const texts = new Inbox();
  socket.on("message", (data) => texts.push(data.toString()));
  await within(new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject)), "an open WebSocket");
  return texts;
}

/** Presses Tab until what has the focus is named so. */
async function tabTo(page, name) {
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press("Tab");
    const label = await page.evaluate(() => {
      const element = document.activeElement;
      return element.ariaLabel ?? element.labels?.[0]?.textContent.trim() ?? element.textContent.trim();
    });
    if (label === name) return;
  }
  assert.fail(`Tab does not lead to ${name}`);
}

/** Texts whose contrast to what is behind them is under 4.5 (WCAG 2.2 §1.4.3). */
function paleTexts(page) {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = (colour) => {
      const [r, g, b] = [...rgba(colour)].map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = (element) => {
      const colour = getComputedStyle(element).backgroundColor;
      return rgba(colour)[3] === 255 ? colour : background(element.parentElement);
    };
    document.getAnimations().forEach((animation) => animation.finish());
    const pale = [];
    for (const element of document.querySelectorAll("body *:not(script, style, noscript, template)")) {
      const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!hasText || !element.checkVisibility()) continue;
      const pair = [luminance(getComputedStyle(element).color), luminance(background(element))];
      const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
      if (contrast < 4.5) pale.push(`${element.textContent.trim()}: ${contrast.toFixed(2)}`);
    }
    return pale;
  });
}

const scrollsSideways = (page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

test("what curl publishes is in the chat, and markup is shown as text", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  await server.publish(CHAT, "hello from curl");
  await server.publish(CHAT, "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>");
  await server.publishAs("application/octet-stream", CHAT, "12345");
  await server.publishAs("application/json", CHAT, '{"name":"<b>Ada</b>","text":"<i>in JSON</i>","at":1e300}');
  await server.publishAs("application/json", CHAT, "[null]");
  await chatEndsWith(page, "hello from curl", "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>",
    "5 bytes", "<i>in JSON</i>", "[null]");
  assert.equal(await page.locator("#chat .by").nth(3).textContent(), "<b>Ada</b>");
  assert.equal(await page.locator("#chat .log :is(script, img, b, i)").count(), 0);
  assert.equal(await page.title(), "Fanfare");
  assert.deepEqual(page.faults, []);
});

test("a page shows what was said before it was opened, the last 50 lines", async (t) => {
  const server = await serve(t);
  for (let line = 1; line <= 60; line++) await server.publish(CHAT, `line ${line}`);
  const page = await openDemo(t, server);
  await chatEndsWith(page, "line 59", "line 60");
  assert.equal(await page.locator("#chat .text").first().textContent(), "line 11");
  assert.equal(await page.locator("#chat time").first().textContent(), "earlier");
});

test("what is said in one page is in the other, with name and time, and marked as one's own", async (t) => {
  const server = await serve(t);
  const [page, other] = [await openDemo(t, server), await openDemo(t, server)];
  await page.getByRole("textbox", { name: "Your name" }).fill("Grüße");
  await page.getByRole("textbox", { name: "Message" }).fill("世界 hello");
  await page.locator("#chat").getByRole("button", { name: "Send" }).click();
  for (const reader of [page, other]) {
    await chatEndsWith(reader, "世界 hello");
    assert.equal(await reader.locator("#chat .by").textContent(), "Grüße");
    assert.match(await reader.locator("#chat time").textContent(), /^\d\d:\d\d/);
  }
  await page.locator("#chat .own").waitFor();
  assert.equal(await other.locator("#chat .own").count(), 0);
  assert.equal(await page.getByRole("textbox", { name: "Message" }).inputValue(), "");
});

test("the chat keeps its last 200 lines", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  for (let line = 1; line <= 205; line++) await server.publish(CHAT, `line ${line}`);
  await chatEndsWith(page, "line 204", "line 205");
  assert.equal(await page.locator("#chat .log > li").count(), 200);
});

test("every price is there at once, goes on moving, and says its direction in signs", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  await page.waitForFunction(() => document.querySelectorAll("#prices tbody tr").length === 8);
  const cells = (column) => page.locator(`#prices tbody ${column}`).allTextContents();
  const symbols = await cells("th");
  assert.deepEqual(symbols, symbols.toSorted());
  for (const change of await cells(".change")) assert.match(change, /^(▲ \+|▼ −)\d+\.\d\d[+−]\d+\.\d\d %$/);
  const before = await cells(".price");
  await page.waitForFunction((before) =>
    [...document.querySelectorAll("#prices .price")].filter((cell, at) => cell.textContent !== before[at]).length >= 4, before);
  assert.deepEqual(page.faults, []);
});

test("a second page has the prices of the first from history, before the next tick", async (t) => {
  const server = await serve(t);
  const first = await openDemo(t, server);
  await first.waitForFunction(() => document.querySelectorAll("#prices tbody tr").length === 8);
  const second = await openDemo(t, server);
  await second.waitForFunction(() =>
    [...document.querySelectorAll("#prices path")].filter((path) => path.getAttribute("d").length > 0).length === 8);
});

test("each tile is switched to another transport, says so, and goes on where it was", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  const said = [];
  for (const [choice, sentence] of [["SSE", "SSE"], ["Long poll", "Long poll"], ["WebSocket", "WebSocket"], ["Automatic", "WebSocket"]]) {
    for (const tile of ["#prices", "#chat"]) await page.locator(tile).getByRole("radio", { name: choice }).check();
    for (const tile of ["#prices", "#chat"]) await says(page, tile, `Open by ${sentence}`);
    said.push(`by ${choice}`);
    await server.publish(CHAT, said.at(-1));
    await chatEndsWith(page, ...said);
  }
  assert.equal(await page.locator(".gap:visible").count(), 0);
  assert.deepEqual(page.faults, []);
});

test("one connection feeds both channels of the page, and a tile that is switched has one of its own", async (t) => {
  const server = await serve(t);
  const network = await proxy(t, server);
  const page = await openDemo(t, network);
  const feeds = () => network.seen.filter(({ url }) => url.startsWith("/channels")).map(({ url }) => url);
  assert.deepEqual(feeds(), ["/channels"]);
  await page.locator("#chat").getByRole("radio", { name: "SSE" }).check();
  await says(page, "#chat", "Open by SSE");
  assert.match(feeds()[1], /^\/channels\?channel=demo-chat&(since|last)=/);
  await page.locator("#chat").getByRole("radio", { name: "Automatic" }).check();
  await says(page, "#chat", "Open by WebSocket");
  assert.equal(feeds().length, 2, "back on the first");
});

test("the prices come by the Pusher protocol too, if there is an app, also after a loss", async (t) => {
  const server = await serve(t);
  const network = await proxy(t, server);
  const page = await openDemo(t, network);
  await page.locator("#prices").getByRole("radio", { name: "Pusher protocol" }).check();
  await says(page, "#prices", "Open by Pusher protocol");
  const moves = async () => {
    const before = await page.locator("#prices tbody .price").allTextContents();
    await page.waitForFunction((before) =>
      [...document.querySelectorAll("#prices .price")].filter((cell, at) => cell.textContent !== before[at]).length >= 4, before);
  };
  await moves();
  network.cut();
  await says(page, "#prices", "Connection lost");
  await says(page, "#prices", "Open by Pusher protocol");
  await moves();
  await page.locator("#prices").getByRole("radio", { name: "SSE" }).check();
  await says(page, "#prices", "Open by SSE");
  await moves();
  assert.equal(await page.locator(".gap:visible").count(), 0);
});

test("without an app the prices have no choice of the Pusher protocol", async (t) => {
  const server = await serve(t, "--demo", "--publish-key", "secret");
  const page = await open(t, server.http("/"));
  await page.waitForFunction(() => document.querySelectorAll("#prices tbody tr").length === 8);
  const fields = await page.evaluate(async () => [...(await fetch("/", { method: "HEAD" })).headers.keys()]);
  assert.deepEqual(fields.filter((name) => name.startsWith("fanfare-")), []);
  assert.equal(await page.locator("#prices").getByRole("radio").count(), 4);
});

test("the page is used by the keyboard alone", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  await tabTo(page, "Dashboard");
  await tabTo(page, "Automatic");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await says(page, "#prices", "Open by SSE");
  await tabTo(page, "Automatic");
  await tabTo(page, "Message");
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await chatEndsWith(page, "typed");
  await page.keyboard.type("twice");
  await page.keyboard.press("Enter");
  await chatEndsWith(page, "typed", "twice");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid", "the focus is seen");
});

test("the echo says how long the round took, once and every second", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  await page.getByText(/^“hello” came back; median of 1: \d+\.\d ms$/).waitFor();
  await page.getByRole("textbox", { name: "What to send" }).fill("<b>ping</b>");
  await page.locator("#echo").getByRole("button", { name: "Send" }).click();
  await page.getByText(/^“<b>ping<\/b>” came back; median of 2/).waitFor();
  await page.getByRole("checkbox", { name: "Once a second" }).check();
  await page.getByText(/median of 4/).waitFor();
  assert.match(await page.getByLabel("Round trip").textContent(), /^\d+\.\d ms$/);
});

test("with a key and --demo, the page says why the chat is not sent and that there is no echo", async (t) => {
  const server = await serve(t, "--demo", "--publish-key", "secret");
  const page = await open(t, server.http("/"));
  await says(page, "#chat", "Open by WebSocket");
  await page.waitForFunction(() => document.querySelectorAll("#prices tbody tr").length === 8);
  await page.getByRole("textbox", { name: "Message" }).fill("refused");
  await page.keyboard.press("Enter");
  await page.getByText("Not sent. Publishing needs the key").waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Message" }).inputValue(), "refused");
  await says(page, "#echo", "Closed: The echo is served in development mode only, or with the server's --echo.");
});

test("messages that are lost for good are a line that counts them", async (t) => {
  const server = await serve(t, "--history", "demo-chat=5");
  const network = await proxy(t, server);
  const page = await openDemo(t, network);
  await server.publish(CHAT, "before");
  await chatEndsWith(page, "before");
  network.treat = () => REFUSE;
  network.cut();
  for (let line = 1; line <= 22; line++) await server.publish(CHAT, `line ${line}`);
  await says(page, "#chat", "Connection lost");
  network.treat = () => FORWARD;
  await chatEndsWith(page, "before", "17 messages missed", "line 18", "line 19", "line 20", "line 21", "line 22");
});

test("a page outlives a restart of the server: it waits, says so, and goes on", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  await server.publish(CHAT, "before");
  await chatEndsWith(page, "before");
  assert.equal(await server.stop(), 0);
  for (const tile of ["#prices", "#chat", "#echo"]) await says(page, tile, "Connection lost");
  await page.locator("#chat .countdown").getByText(/^, next try in \d+ s$/).waitFor();
  const next = await serve(t, "--listen", server.address);
  for (const tile of ["#prices", "#chat", "#echo"]) await says(page, tile, "Open by WebSocket");
  await next.publish(CHAT, "after");
  await chatEndsWith(page, "before", "Some messages were missed", "after");
  await page.locator("#prices .gap").getByText(/^Some messages were missed at/).waitFor();
});

test("the lines to copy are those of this server, and what they say works", async (t) => {
  const server = await serve(t);
  const page = await openDemo(t, server);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy: Publish from a shell" }).click();
  await page.getByText("Copied", { exact: true }).waitFor();
  const line = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(line, `curl -d hello ${server.http(CHAT)}`);
  await page.getByRole("button", { name: "Copy: Subscribe in a page" }).click();
  const logged = page.waitForEvent("console", (message) => message.text().includes("data"));
  await page.evaluate(await page.evaluate(() => navigator.clipboard.readText()));
  assert.ok(await logged);
});

test("the dashboard's figures follow what is known to happen", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.http("/dashboard"));
  await page.getByText("Live, once a second").waitFor();
  const readers = [];
  for (let reader = 0; reader < 3; reader++) readers.push(await subscriber(t, server, "/channels/known"));
  for (let line = 1; line <= 20; line++) await server.publish("/channels/known", `line ${line}`);
  for (const reader of readers) await reader.take(20, "what was published");
  assert.equal((await server.curl("/nowhere")).status, 404);
  const row = (tile, name) => page.locator(`${tile} tr`).filter({ has: page.getByRole("rowheader", { name }) });
  await row("#connections", "WebSocket").getByRole("cell", { name: "4", exact: true }).first().waitFor();
  const total = (tile, atLeast) => page.waitForFunction(([tile, atLeast]) => {
    const found = /since start ([\d,]+)/.exec(document.querySelector(`${tile} .note`).innerText);
    return found && Number(found[1].replace(",", "")) >= atLeast;
  }, [tile, atLeast]);
  await total("#publishes", 20);
  await total("#deliveries", 60);
  await page.getByText(/^Version \d+\.\d+\.\d+, up for \d+ s/).waitFor();
  const lines = await page.locator("#deliveries .plot path").count();
  assert.ok(lines > 0, "there is a plot");
  assert.deepEqual(page.faults, []);
});

test("the dashboard names the channels that are busy", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.http("/dashboard"));
  await page.getByText("Live, once a second").waitFor();
  await subscriber(t, server, "/channels/busy");
  const publishing = setInterval(() => server.publish("/channels/busy", "x").catch(() => {}), 100);
  t.after(() => clearInterval(publishing));
  await page.getByRole("rowheader", { name: "busy", exact: true }).waitFor();
});

test("with a key, the dashboard is for who gives it as a password, and its figures come", async (t) => {
  const server = await serve(t, "--publish-key", "secret");
  assert.equal((await server.curl("/dashboard")).status, 401);
  const page = await open(t, server.http("/dashboard"), { httpCredentials: { username: "", password: "secret" } });
  await page.getByText("Live, once a second").waitFor();
  await page.getByText(/^Version \d/).waitFor();
});

/** What asked for the server's channels, of what went through a proxy. */
const channelRequests = (network) => network.seen.filter(({ url }) => url.startsWith("/channels"));

const WITH_KEY = { httpCredentials: { username: "", password: "secret" } };

test("one WebSocket feeds the figures and the channel that is watched, with a key too", async (t) => {
  for (const [flags, options] of [[[], {}], [["--publish-key", "secret"], WITH_KEY]]) {
    const server = await serve(t, ...flags);
    const network = await proxy(t, server);
    const page = await open(t, network.http("/dashboard"), options);
    await page.getByText("Live, once a second").waitFor();
    for (const channel of ["one", "other"]) await watch(page, channel);
    await server.curl("/channels/other", "-H", "Authorization: Bearer secret", "-d", "seen");
    await showsEvents(page, ["message", "publisher", "seen"]);
    network.cut();
    await page.waitForFunction(() => document.querySelector("#watching").textContent.startsWith("Connection lost"));
    await page.getByText("Watching other").waitFor();
    await server.curl("/channels/other", "-H", "Authorization: Bearer secret", "-d", "again");
    await showsEvents(page, ["message", "publisher", "again"]);
    const asked = channelRequests(network).map(({ url, headers }) => [url, headers.upgrade]);
    assert.deepEqual(asked.slice(0, 2), [["/channels", "websocket"], ["/channels", "websocket"]]);
    assert.ok(asked.every(([url, upgrade]) => url === "/channels" && upgrade === "websocket"), `${asked}`);
    assert.equal(network.underway, 1);
  }
});

test("where WebSockets are blocked, one event stream feeds the dashboard, and where that is blocked too, one poll at a time", async (t) => {
  const server = await serve(t, "--publish-key", "secret");
  const network = await proxy(t, server);
  for (const blocked of [/^websocket$/, /^websocket$|event-stream/]) {
    network.treat = ({ headers }) => (blocked.test(headers.upgrade) || blocked.test(headers.accept) ? REFUSE : FORWARD);
    const page = await open(t, network.http("/dashboard"), WITH_KEY);
    await page.waitForFunction(() => document.querySelectorAll("#deliveries .plot path").length >= 2);
    await watch(page, "private-a");
    await server.curl("/channels/private-a", "-H", "Authorization: Bearer secret", "-d", "seen");
    await showsEvents(page, ["message", "publisher", "seen"]);
    assert.ok(network.underway <= 1, `${network.underway} requests`);
    await page.close();
  }
});

test("a browser that sends no password with a WebSocket shows the dashboard by requests", async (t) => {
  const server = await serve(t, "--publish-key", "secret");
  const network = await proxy(t, server);
  network.treat = ({ headers }) => {
    if (headers.upgrade) delete headers.authorization;
    return FORWARD;
  };
  const page = await open(t, network.http("/dashboard"), WITH_KEY);
  await page.getByText("Live, once a second").waitFor();
  await watch(page, "private-a");
  await page.getByText(/^Version \d/).waitFor();
  assert.equal(network.underway, 1);
  assert.deepEqual(page.faults, []);
});

test("when its key is no good any more, the dashboard says what it needs", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-"));
  t.after(() => rm(folder, { recursive: true }));
  const keys = join(folder, "keys.toml");
  const put = (secret) => writeFile(keys, `[[key]]\nname = "one"\nsecret = "${secret}"\nadmin = true\n`);
  await put("secret");
  const server = await serve(t, "--publish-keys", keys);
  const page = await open(t, server.http("/dashboard"), WITH_KEY);
  await page.getByText("Live, once a second").waitFor();
  await watch(page, "private-a");
  await put("another");
  server.reload();
  await page.getByText("This needs the key: send Authorization: Bearer KEY").first().waitFor();
  await page.getByText("Then load this page again.").waitFor();
  assert.equal(await page.locator("#stop").isHidden(), true);
});

test("the dashboard shows a lost connection as a hole and goes on after it", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.http("/dashboard"));
  await page.waitForFunction(() => document.querySelectorAll("#lag .plot path").length >= 2);
  assert.equal(await server.stop(), 0);
  await page.getByText("Connection lost, trying again").waitFor();
  await page.getByText(/newest figures \d+ s old/).waitFor();
  await page.locator("#lag .plot rect").waitFor({ state: "attached" });
  await serve(t, "--listen", server.address);
  await page.getByText("Live, once a second").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#lag .plot path:not(.area)").length >= 2);
  assert.equal(await page.locator("#lag .plot rect").count(), 1, "the hole stays");
});

/** Watches a channel on the dashboard. */
async function watch(page, channel, app = "") {
  await page.getByRole("combobox", { name: "App" }).fill(app);
  await page.getByRole("textbox", { name: "Channel" }).fill(channel);
  await page.getByRole("button", { name: "Watch" }).click();
  await page.getByText(new RegExp(`^Watching ${channel}`)).waitFor();
}

/** Waits for the newest events of the live view: name, who made it and data of each, the newest first. */
async function showsEvents(page, ...expected) {
  await page.waitForFunction((expected) => {
    const rows = [...document.querySelectorAll("#events > li")].slice(0, expected.length);
    const texts = rows.map((row) => ["b", ".from", "pre"].map((part) => row.querySelector(part).textContent));
    return JSON.stringify(texts) === JSON.stringify(expected);
  }, expected);
}

/** An app whose channels and users are in use, that has refused a client, and whose webhooks nobody takes. */
async function serveBusyApp(t) {
  const webhooks = [{ url: "http://127.0.0.1:9/hooks?token=hidden", events: ["channel_occupied"] }];
  const server = await serveApps(t, [{ "client-events": true, webhooks }, { id: "2", key: "other-key" }]);
  const member = { user_id: "anna", user_info: { name: "Anna" } };
  const pusher = await connect(t, server, signing(backendOf(server), { member, user: { id: "anna" } }));
  for (const channel of ["prices", "private-room", "presence-hall"]) await subscribe(pusher, channel);
  const client = await wire(t, server);
  await client.socketId();
  client.send({ event: "pusher:subscribe", data: { channel: `private-${HOSTILE}`, auth: "x" } });
  await client.rest();
  client.send({ event: HOSTILE, data: {} });
  await client.rest();
  return { server, pusher };
}

test("the dashboard shows what an app has, the sentences it refused with as text, and the state of its webhooks", async (t) => {
  const { server } = await serveBusyApp(t);
  const page = await open(t, server.http("/dashboard"));
  const app = page.getByRole("article", { name: "App 1" });
  const shows = (name, value) => app.locator(".facts > div").filter({ hasText: new RegExp(`^${name}${value}$`) }).waitFor();
  await shows("Connections", 2);
  for (const kind of ["Public", "Private", "Presence"]) await shows(`${kind} channels`, 1);
  await shows("Members", 1);
  await shows("Refused", 2);
  await app.getByRole("rowheader").filter({ hasText: "<img src=x onerror=" }).first().waitFor();
  const webhook = app.locator(".receiver").filter({ hasText: "Webhooks to 127.0.0.1:9" });
  await webhook.locator(".failure").filter({ hasText: /./ }).waitFor();
  await webhook.locator(".facts > div").filter({ hasText: "Events waiting3" }).waitFor();
  assert.equal(await page.getByText("hidden").count(), 0, "the rest of the URL may hold a password");
  await page.getByRole("article", { name: "App 2" }).waitFor();
  assert.equal(await page.locator("#apps img").count(), 0);
  assert.equal(await page.title(), "Fanfare dashboard");
  assert.deepEqual(page.faults, []);
});

test("the live view shows the events of a private channel as they come, who made them, and markup as text", async (t) => {
  const { server, pusher } = await serveBusyApp(t);
  const page = await open(t, server.http("/dashboard"));
  await watch(page, "private-room", "1");
  await backendOf(server).trigger("private-room", HOSTILE, { text: HOSTILE });
  const published = [HOSTILE, "publisher", JSON.stringify({ text: HOSTILE })];
  await showsEvents(page, published);
  pusher.channel("private-room").trigger("client-typed", { text: "<b>" });
  const typed = ["client-typed", `client ${pusher.connection.socket_id}`, '{"text":"<b>"}'];
  await showsEvents(page, typed, published);
  assert.equal(await page.locator("#events :is(img, pre b)").count(), 0);
  assert.equal(await page.title(), "Fanfare dashboard");
  await watch(page, "presence-hall");
  pusher.unsubscribe("presence-hall");
  await showsEvents(page, ["pusher_internal:member_removed", "the protocol", '{"user_id":"anna"}']);
  assert.deepEqual(page.faults, []);
});

test("the live view is paused and goes on, and keeps the last 200 events", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.http("/dashboard"));
  await watch(page, "known");
  await server.publish("/channels/known", "shown");
  const row = (text) => ["message", "publisher", text];
  await showsEvents(page, row("shown"));
  await page.getByRole("button", { name: "Pause" }).click();
  for (let line = 1; line <= 3; line++) await server.publish("/channels/known", `line ${line}`);
  await page.getByRole("button", { name: "Go on (3 new)" }).waitFor();
  assert.equal(await page.locator("#events > li").count(), 1);
  await page.getByRole("button", { name: "Go on (3 new)" }).click();
  await showsEvents(page, row("line 3"), row("line 2"), row("line 1"), row("shown"));
  for (let line = 4; line <= 205; line++) await server.publish("/channels/known", `line ${line}`);
  await showsEvents(page, row("line 205"), row("line 204"));
  assert.equal(await page.locator("#events > li").count(), 200);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
});

test("the live view says why a channel cannot be watched", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.http("/dashboard"));
  await page.getByRole("combobox", { name: "App" }).fill("none");
  await page.getByRole("textbox", { name: "Channel" }).fill("a");
  await page.keyboard.press("Enter");
  await page.getByText("No app has this id; leave app out for the first one.").waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  for (const [size, viewport] of [["desktop", { width: 1280, height: 900 }], ["phone", PHONE]]) {
    test(`the apps and a live view fit a ${size} and are legible in the ${colorScheme}`, async (t) => {
      const { server, pusher } = await serveBusyApp(t);
      const page = await open(t, server.http("/dashboard"), { viewport, colorScheme, deviceScaleFactor: size === "phone" ? 2 : 1 });
      await watch(page, "private-room");
      await backendOf(server).trigger("private-room", "updated", { text: "aWordThatIsSoLongThatItHasToBeBrokenSomewhere".repeat(4) });
      pusher.channel("private-room").trigger("client-typed", { text: "x" });
      await page.waitForFunction(() => document.querySelectorAll("#events > li").length === 2);
      await page.locator("#apps .failure").filter({ hasText: /./ }).waitFor();
      await page.waitForFunction(() => document.querySelectorAll("#deliveries .plot path").length >= 2);
      assert.equal(await scrollsSideways(page), false, "it scrolls down only");
      assert.deepEqual(await paleTexts(page), []);
      assert.deepEqual(page.faults, []);
      await photograph(page, `apps-${size}-${colorScheme}`);
    });
  }
}

for (const colorScheme of ["light", "dark"]) {
  for (const [size, viewport] of [["desktop", { width: 1280, height: 900 }], ["phone", PHONE]]) {
    test(`both pages fit a ${size} and are legible in the ${colorScheme}`, async (t) => {
      const server = await serve(t);
      const options = { viewport, colorScheme, deviceScaleFactor: size === "phone" ? 2 : 1 };
      const dashboard = await open(t, server.http("/dashboard"), options);
      const demo = await openDemo(t, server, options);
      await demo.getByRole("textbox", { name: "Message" }).fill("A line that is longer than a phone is wide, and aWordThatIsSoLongThatItHasToBeBrokenSomewhereInTheMiddle");
      await demo.keyboard.press("Enter");
      await demo.locator("#chat .own").waitFor();
      await demo.locator("#prices").getByRole("radio", { name: "Pusher protocol" }).waitFor(); // the widest it gets
      await demo.getByText(/median of 1/).waitFor();
      await dashboard.waitForFunction(() => document.querySelectorAll("#deliveries .plot path").length >= 2);
      for (const [name, page] of [["demo", demo], ["dashboard", dashboard]]) {
        assert.equal(await scrollsSideways(page), false, `${name} scrolls down only`);
        assert.deepEqual(await paleTexts(page), []);
        assert.deepEqual(page.faults, []);
        await photograph(page, `${name}-${size}-${colorScheme}`);
      }
    });
  }
}
