// Runs the tests of the folders and files given: bundles each *.test.ts and *.test.tsx, then hands them to Node's runner,
// whose summary is the last that is printed. The tests against a real server get one built from test/server/app, unless
// MIMOSA_TEST_SERVER names a program. Exits as the runner does; finding no test is a failure.
import { spawn, spawnSync } from "node:child_process";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith("-"));
const paths = args.filter((arg) => !arg.startsWith("-"));
// Beside node_modules' packages, so that what stays external resolves as it does from the sources. One folder a run, so
// that two runs do not trip over each other.
const outdir = join(root, "node_modules", ".cache", `tests-${process.pid}`);

async function findTests() {
  const found = [];
  for (const path of paths.length > 0 ? paths : ["test"]) {
    const full = resolve(root, path);
    if ((await stat(full)).isFile()) found.push(full);
    else {
      for (const entry of await readdir(full, { recursive: true })) {
        if (/\.test\.tsx?$/.test(entry)) found.push(join(full, entry));
      }
    }
  }
  return found.sort();
}

async function bundle(tests) {
  await build({
    absWorkingDir: root,
    entryPoints: tests,
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
  return tests.map((path) => relative(root, join(outdir, relative(root, path))).replace(/\.tsx?$/, ".mjs"));
}

function buildServer() {
  const program = join(outdir, "server");
  const { status } = spawnSync("go", ["build", "-o", program, "./test/server/app"], { cwd: root, stdio: "inherit" });
  process.env.MIMOSA_TEST_SERVER = program;
  return status === 0;
}

async function run(files) {
  if (!flags.some((flag) => flag.startsWith("--test-reporter"))) {
    // The one whose last lines are the summary, also when a test fails, unless a person is looking.
    flags.push(`--test-reporter=${process.stdout.isTTY ? "spec" : "tap"}`);
  }
  const runner = spawn(process.execPath, ["--enable-source-maps", "--test", ...flags, ...files], {
    cwd: root,
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => runner.kill(signal));
  return new Promise((done) => runner.on("exit", (status) => done(status ?? 1)));
}

async function main() {
  const tests = await findTests();
  if (tests.length === 0) {
    console.error(`there are no tests in ${paths.join(" ")}`);
    return 1;
  }
  await mkdir(outdir, { recursive: true });
  try {
    const needsServer = tests.some((path) => relative(root, path).startsWith(join("test", "server")));
    if (needsServer && !process.env.MIMOSA_TEST_SERVER && !buildServer()) {
      console.error("the test server does not build");
      return 1;
    }
    return await run(await bundle(tests));
  } finally {
    await rm(outdir, { recursive: true, force: true });
  }
}

process.exitCode = await main();
