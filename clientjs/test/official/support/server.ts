import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { before } from "node:test";
import { promisify } from "node:util";
import { deadline } from "./wait.js";

/** The folder of the client, where the runner starts the tests. */
const root = process.cwd();

/** A program to test against: the variable that may name its executable, and its package. */
export interface Program {
  variable: string;
  package: string;
}

/** Counters, lists, values and errors, and what a test needs to hold them up. */
export const testServer: Program = { variable: "MIMOSA_TEST_SERVER", package: "./clientjs/test/server/app" };
/** The demonstration: a small school. */
export const school: Program = { variable: "MIMOSA_BIN", package: "./cmd/mimosa" };

/**
 * A program's executable, built here where none is named. Go does nothing when it is up to date, and puts it into place in one
 * step, so files that are tested at once may all ask for it.
 */
async function build(program: Program): Promise<string> {
  const given = process.env[program.variable];
  if (given) return resolve(given);
  const folder = join(root, "node_modules", ".cache", "mimosa");
  const path = join(folder, basename(program.package) + (process.platform === "win32" ? ".exe" : ""));
  await mkdir(folder, { recursive: true });
  await promisify(execFile)("go", ["build", "-o", path, program.package], {
    cwd: resolve(root, ".."),
    env: { ...process.env, GOTMPDIR: folder },
  });
  return path;
}

const built = new Map<Program, Promise<string>>();

function executable(program: Program): Promise<string> {
  const path = built.get(program) ?? build(program);
  built.set(program, path);
  return path;
}

/** Has a program built before the first test of a file, however long that takes. */
export function prepare(program: Program = testServer): void {
  before(() => executable(program));
}

/**
 * A free port outside the range that systems hand out by themselves: it has to be free again when a server that was killed
 * comes back, and a client that knocks at a closed port of that range can end up connected to itself.
 */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const probe = createServer();
    const free = await new Promise<boolean>((done) => {
      probe.once("error", () => done(false));
      probe.listen(port, "127.0.0.1", () => done(true));
    });
    if (!free) continue;
    await new Promise((done) => probe.close(done));
    return port;
  }
  throw new Error("no free port");
}

export interface ServerOptions {
  program?: Program;
  env?: Record<string, string>;
}

/** A Mimosa server in a process of its own, with a data folder of its own, gone when the test has ended. */
export class Server {
  readonly #options: ServerOptions;
  readonly #port: number;
  readonly #data: string;
  readonly #guests: (() => Promise<void>)[] = [];
  #process: ChildProcess | undefined;
  #log = "";

  private constructor(port: number, data: string, options: ServerOptions) {
    this.#port = port;
    this.#data = data;
    this.#options = options;
  }

  static async start(t: TestContext, options: ServerOptions = {}): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), "mimosa-official-"));
    const server = new Server(await freePort(), join(folder, "data"), options);
    t.after(async () => {
      const problems: unknown[] = [];
      for (const leave of server.#guests.reverse()) await leave().catch((problem: unknown) => problems.push(problem));
      await server.kill();
      await rm(folder, { recursive: true, force: true });
      if (problems.length > 0) throw problems[0];
    });
    await server.start();
    return server;
  }

  /** Has something done at the end of the test, while the server is still there: first what was added last. */
  beforeEnd(leave: () => Promise<void>): void {
    this.#guests.push(leave);
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What it has written to its standard error. */
  get log(): string {
    return this.#log;
  }

  /** Starts it, on the same port and the same data as ever. */
  async start(): Promise<void> {
    assert(!this.#process, "the server is running");
    const path = await executable(this.#options.program ?? testServer);
    const flags = ["--addr", `127.0.0.1:${this.#port}`, "--data", this.#data];
    const started = spawn(path, flags, {
      env: { ...process.env, ...this.#options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = started;
    started.stderr.setEncoding("utf8").on("data", (text: string) => (this.#log += text));
    const lines = createInterface({ input: started.stdout });
    const first = await deadline("the server's first line", Promise.race([
      once(lines, "line").then(([line]) => String(line)),
      once(started, "exit").then(([code]) => `ended with ${String(code)}:\n${this.#log}`),
    ]));
    assert.equal(first, `listening on ${this.url}`);
  }

  /** Ends it at once, as a power failure of the process: nothing of it runs any more. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Tells it to end and waits until it has, in order. */
  async stop(): Promise<void> {
    const code = await this.#end("SIGTERM");
    assert.equal(code, 0, `the server ended with ${String(code)}:\n${this.#log}`);
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const running = this.#process;
    if (!running) return 0;
    this.#process = undefined;
    if (running.exitCode !== null || running.signalCode !== null) return running.exitCode;
    const exit = once(running, "exit");
    running.kill(signal);
    const [code] = (await deadline("the server's end", exit)) as [number | null];
    return code;
  }

  /** A gate inside the server, at which functions wait that name it. */
  gate(name: string): { arrived(): Promise<void>; open(): Promise<void> } {
    const call = async (method: string) => {
      const response = await fetch(`${this.url}/gates/${encodeURIComponent(name)}`, { method });
      assert.equal(response.status, 204);
    };
    return {
      arrived: () => deadline(`somebody's arrival at the gate ${name}`, call("GET")),
      open: () => call("POST"),
    };
  }
}
