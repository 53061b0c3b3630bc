// Builds dist/mimosa.js, one file that a browser or a bundler takes as it is. With --check it builds in memory and
// fails if what is committed differs.
import { readFile, writeFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = `${root}dist/mimosa.js`;
const { version } = JSON.parse(await readFile(`${root}package.json`, "utf8"));

const banner = `/*!
 * The Mimosa client ${version}. Apache-2.0.
 * Built from clientjs/src by "npm run build"; do not edit.
 *
 *   import { MimosaClient } from "./mimosa.js";
 *   const client = new MimosaClient(location.origin);
 */`;

const result = await build({
  absWorkingDir: root,
  entryPoints: ["src/index.ts"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: banner },
  write: false,
});
const fresh = result.outputFiles[0].text;

if (process.argv.includes("--check")) {
  const committed = await readFile(out, "utf8").catch(() => "");
  if (committed !== fresh) {
    console.error("dist/mimosa.js differs from its source: run npm run build and commit the result");
    process.exit(1);
  }
  console.log("dist/mimosa.js is what its source gives");
} else {
  await mkdir(`${root}dist`, { recursive: true });
  await writeFile(out, fresh);
}
