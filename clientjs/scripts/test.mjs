// Runs the tests of the folders and files given: bundles each *.test.ts and *.test.tsx, then hands them to Node's runner,
// whose summary is the last that is printed. Exits as the runner does; finding no test is a failure.
import { spawn } from "node:child_process";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const args = process.argv.slice(2);
const given = args.filter((arg) => !arg.startsWith("-"));
const flags = args.filter((arg) => arg.startsWith("-"));

const entryPoints = [];
for (const path of given.length > 0 ? given : ["test"]) {
  const full = resolve(root, path);
  if ((await stat(full)).isFile()) {
    entryPoints.push(full);
    continue;
  }
  for (const entry of await readdir(full, { recursive: true })) {
    if (/\.test\.tsx?$/.test(entry)) entryPoints.push(join(full, entry));
  }
}
entryPoints.sort();
if (entryPoints.length === 0) {
  console.error(`no tests in ${given.join(" ")}`);
  process.exit(1);
}

// Beside node_modules' packages, so that what stays external resolves as it does from the sources. One folder a run, so
// that two runs do not trip over each other.
const outdir = join(root, "node_modules", ".cache", `tests-${process.pid}`);
await rm(outdir, { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
let code = 1;
try {
  await build({
    absWorkingDir: root,
    entryPoints,
    outbase: root,
    outdir,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    jsx: "automatic",
    sourcemap: "inline",
    outExtension: { ".js": ".mjs" },
    logLevel: "warning",
  });
  const files = entryPoints.map((path) =>
    relative(root, join(outdir, relative(root, path))).replace(/\.tsx?$/, ".mjs"));
  if (!flags.some((flag) => flag.startsWith("--test-reporter"))) {
    // The one whose last lines are the summary, also when a test fails, unless a person is looking.
    flags.push(`--test-reporter=${process.stdout.isTTY ? "spec" : "tap"}`);
  }
  const runner = spawn(process.execPath, ["--enable-source-maps", "--test", ...flags, ...files], {
    cwd: root,
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => runner.kill(signal));
  code = await new Promise((done) => runner.on("exit", (status) => done(status ?? 1)));
} finally {
  await rm(outdir, { recursive: true, force: true });
}
process.exit(code);
