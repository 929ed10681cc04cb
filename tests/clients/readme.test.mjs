// The page and the publisher of the README's section on Pusher, as they stand there: only host and port are the test's.
//
// What else the README says is checked by tests/readme.rs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "node:test";

import { open } from "./browser.mjs";
import { Inbox, listen, serve, within } from "./server.mjs";

const PUSHER_JS = fileURLToPath(new URL("../node_modules/pusher-js/dist/web/pusher.min.js", import.meta.url));
const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const section = /\n## Pusher in five lines\n([^]*?)\n## /.exec(readme)[1];

/** The only block of that language in the section, for this server instead of the one on port 8080. */
function block(language, server) {
  const [host, port] = server.address.split(":");
  const [, text] = section.match(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``));
  return text.replaceAll("127.0.0.1", host).replaceAll("8080", port);
}

/** The README's page, opened from an origin of its own, with pusher-js of the installed package. */
async function openTicker(t, html) {
  const site = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end(html));
  const address = await listen(site, "the page's server");
  t.after(() => site.close());
  t.after(() => site.closeAllConnections());
  const page = await open(t, "about:blank");
  await page.route("https://js.pusher.com/**", (route) => route.fulfill({ path: PUSHER_JS, contentType: "text/javascript" }));
  await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
  await page.goto(`http://${address}`);
  return page;
}

/** Waits for lines of the page's ticker. */
async function ticks(page, count) {
  await page.waitForFunction((count) => document.getElementById("ticker").textContent.split("\n").length > count, count);
  return (await page.locator("#ticker").textContent()).trim().split("\n");
}

/** Runs prices.mjs where npm has installed `pusher`. */
async function runPublisher(t, text) {
  const folder = await mkdtemp(fileURLToPath(new URL("../node_modules/.readme-", import.meta.url)));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "prices.mjs"), text);
  const child = spawn(process.execPath, ["prices.mjs"], { cwd: folder, stdio: ["ignore", "inherit", "pipe"] });
  t.after(() => child.kill());
  const said = [];
  child.stderr.on("data", (data) => said.push(data.toString()));
  return said;
}

test("the page shows the demo's prices by pusher-js, five lines of it", async (t) => {
  const server = await serve(t);
  const html = block("html", server);
  assert.equal(html.split("<script>\n")[1].split("</script>")[0].trim().split("\n").length, 5);
  const page = await openTicker(t, html);
  const lines = await ticks(page, 10);
  for (const line of lines) assert.match(line, /^[A-Z]+ \d+(\.\d+)?$/);
  assert.equal(new Set(lines.slice(0, 8).map((line) => line.split(" ")[0])).size, 8, "each symbol at once");
  assert.deepEqual(page.faults, []);
});

test("prices.mjs publishes to pusher-js and to an event stream", async (t) => {
  const server = await serve(t);
  const page = await openTicker(t, block("html", server).replace("demo-prices", "prices"));
  const [, curl] = /\n(curl .*)\n/.exec(block("sh", server));
  const stream = spawn("sh", ["-c", `exec ${curl} -sS --noproxy '*'`], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => stream.kill());
  const events = new Inbox();
  let text = "";
  stream.stdout.on("data", (data) => {
    const lines = (text + data).split("\n");
    text = lines.pop();
    lines.filter((line) => line.startsWith("data: ")).forEach((line) => events.push(JSON.parse(line.slice(6))));
  });
  const script = block("js", server);
  assert.equal(script.trim().split("\n").length, 10);
  const said = await runPublisher(t, script);
  const lines = await within(ticks(page, 4), `prices on the page; the publisher said ${said.join("") || "nothing"}`);
  assert.deepEqual(new Set(lines.map((line) => line.split(" ")[0])), new Set(["OAKS", "PEAR"]));
  const { symbol, price } = await events.next("a price by curl");
  assert.ok(lines.includes(`${symbol} ${price}`), `${symbol} ${price} in ${lines}`);
  assert.deepEqual(said, []);
  assert.deepEqual(page.faults, []);
});
