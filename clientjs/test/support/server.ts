import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { WebSocket } from "ws";
import type { ClientOptions } from "../../src/client.js";
import { MimosaClient } from "../../src/client.js";
import type { Readable } from "../../src/store.js";

/**
 * A real server in a process of its own, from the program that MIMOSA_TEST_SERVER names, on a data folder of its own. It
 * can be ended in any way and started again on the same port and data. It ends with its test.
 */
export class TestServer {
  #process: ChildProcess | undefined;
  #port = 0;
  #output: string[] = [];

  private constructor(private readonly data: string, private readonly env: Record<string, string>) {}

  static async start(t: TestContext, env: Record<string, string> = {}): Promise<TestServer> {
    const server = new TestServer(await mkdtemp(join(tmpdir(), "mimosa-client-test-")), env);
    t.after(async () => {
      await server.kill();
      await rm(server.data, { recursive: true, force: true });
    });
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  async start(): Promise<void> {
    const program = process.env["MIMOSA_TEST_SERVER"];
    assert(program, "MIMOSA_TEST_SERVER must name the server's program; npm run test:server builds one");
    const child = spawn(program, ["--addr", `127.0.0.1:${this.#port}`, "--data", this.data], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...this.env },
    });
    this.#process = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#output.push(text));
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    const [first] = (await Promise.race([
      once(lines, "line"),
      once(child, "exit").then(() => [""]),
    ])) as [string];
    const match = /^listening on http:\/\/.*:(\d+)$/.exec(first);
    assert(match, `the server did not start: ${first} ${this.#output.join("")}`);
    this.#port = Number(match[1]);
  }

  /** Ends it as a crash does. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Ends it as its operator would. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** A client of this server, closed with the test. */
  client(t: TestContext, options: ClientOptions = {}, url = this.url): MimosaClient {
    const client = new MimosaClient(url, { webSocket: WebSocket, ...options });
    t.after(() => client.close());
    return client;
  }
}

/** Waits until a snapshot is as it should be, and returns it. Fails after half a minute, with what it was instead. */
export async function until<T>(
  readable: Readable<T>, right: (snapshot: T) => boolean, what = right.toString(),
): Promise<T> {
  let stop = () => {};
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      const look = () => {
        if (right(readable.getSnapshot())) resolve(readable.getSnapshot());
      };
      timer = setTimeout(() => {
        const last = JSON.stringify(readable.getSnapshot(), (_, v: unknown) =>
          typeof v === "bigint" || v instanceof Error ? String(v) : v);
        reject(new Error(`waited in vain for ${what}; it is ${last}`));
      }, 30_000);
      stop = readable.subscribe(look);
      look();
    });
  } finally {
    clearTimeout(timer);
    stop();
  }
}

/** For what only time brings about, and no state shows: the end of a token, say. */
export function passed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
