import assert from "node:assert/strict";
import type { ClientOptions } from "../../src/client.js";
import { MimosaClient } from "../../src/client.js";
import type { Clock } from "../../src/clock.js";
import type { ClientMessage, ResultChange, ServerMessage, Version } from "../../src/protocol.js";
import { instant, timestamp, zeroVersion } from "../../src/protocol.js";
import type { WebSocketConstructor, WebSocketLike } from "../../src/socket.js";
import type { TokenStorage } from "../../src/storage.js";
import { memoryStorage } from "../../src/storage.js";
import type { Json } from "../../src/values.js";

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((turn) => setImmediate(turn));
}

/** A clock that stands still until it is told to go on. */
export class FakeClock implements Clock {
  /** What random answers: 0.5 makes every wait exactly its nominal length. */
  chance = 0.5;
  #now = 1_764_000_000_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.chance;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** How long until each timer, soonest first. */
  get waits(): number[] {
    return [...this.#timers].map(({ at }) => at - this.#now).sort((a, b) => a - b);
  }

  /** Lets ms pass, firing what comes due in its order. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
    await settle();
  }

  /** Lets time pass without a timer noticing, as when a machine sleeps. */
  sleep(ms: number): void {
    this.#now += ms;
    for (const timer of this.#timers) timer.at += ms;
  }
}

type Listener = (event: { data: unknown } & { code: number; reason: string }) => void;

/** One socket, seen from the server's side, which a test plays. */
export class FakeSocket implements WebSocketLike {
  readonly #listeners = new Map<string, Listener[]>();
  #taken = 0;
  readonly sent: ClientMessage[] = [];
  closedByClient = false;
  version: Version = zeroVersion;

  constructor(readonly url: string) {}

  addEventListener(type: string, listener: Listener | (() => void)): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientMessage);
  }

  close(): void {
    this.closedByClient = true;
  }

  #emit(type: string, event: { data?: unknown; code?: number; reason?: string } = {}): void {
    const full = { data: undefined, code: 0, reason: "", ...event };
    for (const listener of this.#listeners.get(type) ?? []) listener(full);
  }

  // What the server does.

  open(): this {
    this.#emit("open");
    return this;
  }

  drop(code = 1006, reason = ""): void {
    this.#emit("error");
    this.#emit("close", { code, reason });
  }

  raw(data: unknown): void {
    this.#emit("message", { data });
  }

  say(message: ServerMessage): void {
    this.raw(JSON.stringify(message));
  }

  /** Says a Transition from where the socket stands to what is given. */
  transition(to: { querySet?: number; identity?: number; ts?: bigint }, modifications: ResultChange[] = []): void {
    const startVersion = this.version;
    this.version = {
      querySet: to.querySet ?? startVersion.querySet,
      identity: to.identity ?? startVersion.identity,
      ts: to.ts === undefined ? startVersion.ts : timestamp(to.ts),
    };
    this.say({ type: "Transition", startVersion, endVersion: this.version, modifications });
  }

  get ts(): bigint {
    return instant(this.version.ts);
  }

  mutationDone(requestId: number, ts: bigint, result: Json = null): void {
    this.say({ type: "MutationResponse", requestId, success: true, result, ts: timestamp(ts), logLines: [] });
  }

  mutationFailed(requestId: number, message: string, errorData?: Json): void {
    const data = errorData === undefined ? {} : { errorData };
    this.say({ type: "MutationResponse", requestId, success: false, result: message, logLines: [], ...data });
  }

  actionDone(requestId: number, result: Json = null): void {
    this.say({ type: "ActionResponse", requestId, success: true, result, logLines: [] });
  }

  actionFailed(requestId: number, message: string, errorData?: Json): void {
    const data = errorData === undefined ? {} : { errorData };
    this.say({ type: "ActionResponse", requestId, success: false, result: message, logLines: [], ...data });
  }

  // What the test looks at.

  /** The messages that came since the last call. */
  take(): ClientMessage[] {
    const fresh = this.sent.slice(this.#taken);
    this.#taken = this.sent.length;
    return fresh;
  }

  /** The same, by type only. */
  takeTypes(): string[] {
    return this.take().map(({ type }) => type);
  }
}

/** Every socket that a client opened. */
export class FakeNetwork {
  readonly sockets: FakeSocket[] = [];
  readonly WebSocket: WebSocketConstructor;

  constructor() {
    const sockets = this.sockets;
    this.WebSocket = class extends FakeSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    };
  }

  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    assert(socket, "no socket was opened");
    return socket;
  }
}

/** A JWT as far as a client looks. */
export function jwt(sub: string, seconds: number, id: string | number = 0, iat = 1_764_000_000): string {
  const part = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub, iat, exp: iat + seconds, jti: id })}.sig`;
}

/** One HTTP call that a client made and that waits for the test's answer. */
export interface FakeCall {
  url: string;
  headers: Record<string, string>;
  body: { path: string; args: [{ [key: string]: Json }] };
  answer(status: number, body: unknown): Promise<void>;
  fail(): Promise<void>;
}

export interface Rig {
  client: MimosaClient;
  clock: FakeClock;
  network: FakeNetwork;
  storage: TokenStorage;
  calls: FakeCall[];
  /** The HTTP call that was made last. */
  call(): FakeCall;
}

export const storageKey = "tokens";

/** A client whose network, time and storage are the test's. */
export function rig(options: ClientOptions = {}): Rig {
  const clock = new FakeClock();
  const network = new FakeNetwork();
  const storage = options.storage ?? memoryStorage();
  const calls: FakeCall[] = [];
  const client = new MimosaClient("http://mimosa.test", {
    webSocket: network.WebSocket,
    clock,
    storageKey,
    lock: (_, run) => run(),
    fetch: (url, { headers, body }) =>
      new Promise((resolve, reject) => {
        calls.push({
          url,
          headers,
          body: JSON.parse(body) as FakeCall["body"],
          answer: async (status, answer) => {
            resolve({ status, text: () => Promise.resolve(JSON.stringify(answer)) });
            await settle();
          },
          fail: async () => {
            reject(new TypeError("network down"));
            await settle();
          },
        });
      }),
    ...options,
    storage,
  });
  return {
    client, clock, network, storage, calls,
    call() {
      const last = calls.at(-1);
      assert(last, "no HTTP call was made");
      return last;
    },
  };
}

/** A rig whose first socket is open and has had its, empty, query set answered. */
export function connected(options: ClientOptions = {}): Rig & { socket: FakeSocket } {
  const all = rig(options);
  const socket = all.network.last.open();
  socket.transition({ querySet: 1, ts: 1n });
  socket.take();
  return { ...all, socket };
}

export function updated(queryId: number, value: Json, journal: string | null = null): ResultChange {
  return { type: "QueryUpdated", queryId, value, logLines: [], journal };
}

export function failed(queryId: number, errorMessage: string, errorData?: Json): ResultChange {
  const data = errorData === undefined ? {} : { errorData };
  return { type: "QueryFailed", queryId, errorMessage, logLines: [], journal: null, ...data };
}

/** What a promise has come to, without waiting for it. */
export async function outcome<T>(promise: Promise<T>): Promise<
  { pending: true } | { value: T } | { code: string; message: string }
> {
  const pending = settle().then(() => ({ pending: true as const }));
  return Promise.race([
    promise.then(
      (value) => ({ value }),
      (error: { code: string; message: string }) => ({ code: error.code, message: error.message }),
    ),
    pending,
  ]);
}

/** A reproducible sequence of numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
