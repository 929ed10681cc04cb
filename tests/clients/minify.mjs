// Makes fanfare.min.js, which is what the server sends, of fanfare.js, which is what is written: run after each change.
//
//   node tests/clients/minify.mjs
//
// That the one is the other's is checked by types.test.mjs.

import { readFile, writeFile } from "node:fs/promises";

import { minify } from "terser";

export const ASSETS = new URL("../../src/server/api/assets/", import.meta.url);
const PREAMBLE = "// Types: /fanfare.d.mts";

/** What is sent of a source text. */
export async function minified(source) {
  const compress = { passes: 3, ecma: 2020, unsafe_arrows: true, unsafe_methods: true };
  const { code } = await minify(source, { compress, mangle: true, ecma: 2020, format: { preamble: PREAMBLE } });
  return `${code}\n`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const source = await readFile(new URL("fanfare.js", ASSETS), "utf8");
  await writeFile(new URL("fanfare.min.js", ASSETS), await minified(source));
}
