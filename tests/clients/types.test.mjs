// The types of the client, /fanfare.d.mts, against its source and against a page that uses all of it, by the TypeScript
// compiler; that what the server sends is what was made of that source, and how long it is.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { ASSETS, minified } from "./minify.mjs";
import { serve } from "./server.mjs";

const TSC = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
const GZIP_LEN_MAX = 6 * 1024;

const asset = (name) => readFile(new URL(name, ASSETS), "utf8");

/** What the compiler finds in files of these names and texts, beside the declaration; nothing if all is well. */
async function faults(t, files, ...flags) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-types-"));
  t.after(() => rm(folder, { recursive: true }));
  await copyFile(new URL("fanfare.d.mts", ASSETS), join(folder, "fanfare.d.mts"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const words = [TSC, "--noEmit", "--target", "es2023", "--lib", "es2023,dom,dom.iterable", "--module", "nodenext", "--types", "", ...flags];
  return new Promise((resolve) => {
    execFile(process.execPath, [...words, ...Object.keys(files)], { cwd: folder }, (error, stdout, stderr) => resolve(stdout + stderr + (error && !stdout ? error.message : "")));
  });
}

test("a page that uses all of it is without a fault, in the strictest way, and mistakes are found", async (t) => {
  const page = await readFile(new URL("types/page.mts", import.meta.url), "utf8");
  assert.equal(await faults(t, { "page.mts": page }, "--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes"), "");
});

test("the source is of the declared types, and the check would find it if not", async (t) => {
  const script = await asset("fanfare.js");
  const source = script.replace("globalThis.fanfare = (() => {", "export const fanfare = (() => {");
  assert.notEqual(source, script);
  const conformance = 'import { fanfare } from "./source.mjs";\nexport const declared: typeof import("./fanfare.mjs") = fanfare;\n';
  const files = { "source.mjs": source, "conformance.mts": conformance };
  const flags = ["--allowJs", "--checkJs", "--strict", "false", "--noUnusedLocals", "--noUnusedParameters"];
  assert.equal(await faults(t, files, ...flags), "");
  const other = { ...files, "source.mjs": source.replace("subscribe, publish, close,", "subscribe, publish,") };
  assert.match(await faults(t, other, ...flags), /Property 'close' is missing/);
});

test("the server sends what was made of the source, and the declaration as it is", async (t) => {
  const server = await serve(t);
  const made = await minified(await asset("fanfare.js"));
  assert.equal(await asset("fanfare.min.js"), made, "run: node tests/clients/minify.mjs");
  const sent = async (path) => (await server.curl(path)).body;
  assert.equal(await sent("/fanfare.js"), made);
  assert.equal(await sent("/fanfare.mjs"), made + await asset("fanfare.module.js"));
  assert.equal(await sent("/fanfare.d.mts"), await asset("fanfare.d.mts"));
  const { headers } = await fetch(server.http("/fanfare.d.mts"));
  assert.equal(headers.get("content-type"), "text/plain; charset=utf-8");
});

test("all of the client is no more than 6 KB as it is sent", async (t) => {
  const server = await serve(t);
  for (const path of ["/fanfare.js", "/fanfare.mjs"]) {
    const response = await fetch(server.http(path), { headers: { "Accept-Encoding": "gzip" } });
    assert.equal(response.headers.get("content-encoding"), "gzip");
    const sent = Number(response.headers.get("content-length"));
    assert.ok(sent <= GZIP_LEN_MAX, `${path}: ${sent} of ${GZIP_LEN_MAX} bytes`);
    assert.ok(Math.abs(sent - gzipSync(await response.text(), { level: 9 }).length) < 200, "as others would compress it");
  }
});
