// A program built on Mimosa, in a process of its own, for tests in a browser.
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** How long anything may take. Nothing is asserted about time: this only ends a test that hangs. */
export const patience = 30_000;

/**
 * An address with a free port below those that systems hand out by themselves: it has to be free again when a server that was
 * killed comes back, and a browser that knocks at a closed port of that range can end up connected to itself.
 */
export async function freeURL() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const probe = createServer();
    const free = await new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return `http://127.0.0.1:${port}`;
  }
}

/** Runs a program, and can stop it and start it again on the same port and data. */
export class Program {
  #bin;
  #folder;
  #process;
  #flags;
  #env;
  #errors = "";
  url;

  /**
   * Starts the program that the environment variable names, or else the Go package, built for the occasion. The flags come
   * beside --addr and --data; the address is a free one.
   */
  static async open({ variable, package: path, url, flags = [], env = {} }) {
    const program = new this();
    program.url = url ?? (await freeURL());
    program.#flags = flags;
    program.#env = env;
    program.#folder = await mkdtemp(join(tmpdir(), "mimosa-browser-"));
    program.#bin = process.env[variable];
    if (!program.#bin) {
      program.#bin = join(program.#folder, "program");
      await run("go", ["build", "-o", program.#bin, path], { cwd: root });
    }
    await program.start();
    return program;
  }

  /** What it has written to its standard error. */
  get log() {
    return this.#errors;
  }

  async start() {
    const flags = ["--addr", new URL(this.url).host, "--data", join(this.#folder, "data"), ...this.#flags];
    const child = spawn(this.#bin, flags, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...this.#env } });
    this.#process = child;
    child.stderr.on("data", (text) => (this.#errors += text));
    const line = await new Promise((resolve, reject) => {
      createInterface(child.stdout).once("line", resolve);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code} at its start: ${this.#errors}`)));
    });
    if (line !== `listening on ${this.url}`) throw new Error(`the server said ${JSON.stringify(line)}`);
  }

  /** Ends the program and resolves to its exit status; a signal that killed it stands for one. */
  async stop(signal = "SIGTERM") {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode;
    const ended = new Promise((resolve) => child.once("exit", (code, killed) => resolve(code ?? killed)));
    child.kill(signal);
    return ended;
  }

  async close() {
    const status = await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
    return status;
  }
}
