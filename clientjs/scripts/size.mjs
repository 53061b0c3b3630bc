// Prints how large the client is when a server sends it compressed, and fails above the limit.
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const limit = 10_000;
const source = await readFile(new URL("../dist/mimosa.js", import.meta.url));
const size = gzipSync(source, { level: 9 }).length;
console.log(`dist/mimosa.js: ${source.length} bytes, ${size} gzipped, limit ${limit}`);
if (size > limit) {
  console.error("too large");
  process.exit(1);
}
