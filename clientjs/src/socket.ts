import type { Clock } from "./clock.js";
import { Backoff } from "./clock.js";
import type { ClientMessage } from "./protocol.js";

/** The part of the WebSocket interface that is used; browsers', Deno's, Bun's and that of npm's ws all have it. */
export interface WebSocketLike {
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** What the socket asks of and tells its owner. */
export interface SocketOwner {
  /** Called before each attempt to connect, which waits for the promise, if one is returned. It must not reject. */
  prepare(): Promise<void> | undefined;
  /** The socket is open and nothing has been sent on it. */
  opened(connectionCount: number, lastCloseReason: string | null): void;
  received(data: unknown): void;
  /** The open socket, or the attempt to open one, is gone. */
  lost(reason: string): void;
}

/** A server that says nothing for so long, not even Ping, is not there. */
const silenceLimit = 60_000;
/** How long opening may take; a black hole must not hold the client for as long as the system's own limit. */
const openLimit = 20_000;
/** The first wait before connecting again: after the client's own close, after any other, after "try again later". */
const ownBase = 100;
export const otherBase = 1_000;
const busyBase = 3_000;

/** RFC 6455: "try again later". */
const tryAgainLater = 1013;

type Phase = "paused" | "preparing" | "waiting" | "connecting" | "open" | "stopped";

/**
 * Keeps one websocket to one address: opens it, notices when it is dead, opens another after a wait. It knows nothing
 * of what travels. At any time it has at most one websocket and at most one timer.
 */
export class Socket {
  #phase: Phase = "paused";
  #ws: WebSocketLike | undefined;
  #stopTimer: () => void = () => {};
  /** Counts attempts, so that an answer to an earlier one is known as such. */
  #attempt = 0;
  #opened = 0;
  #lastClose: string | null = "InitialConnect";
  #lastMessage = 0;
  readonly #backoff: Backoff;

  constructor(
    readonly url: string,
    private readonly make: WebSocketConstructor,
    private readonly clock: Clock,
    private readonly owner: SocketOwner,
  ) {
    this.#backoff = new Backoff(clock);
  }

  get isOpen(): boolean {
    return this.#phase === "open";
  }

  get failures(): number {
    return this.#backoff.failures;
  }

  /** Connects, now; also ends a pause or cuts a wait short. Does nothing while there is a socket, or after stop. */
  start(): void {
    if (this.#phase === "paused" || this.#phase === "waiting") this.#prepare();
  }

  /** Closes the socket and opens no other until start. */
  pause(reason: string): void {
    this.#leave("paused", reason);
  }

  /** Closes the socket and opens no other ever. */
  stop(reason: string): void {
    this.#leave("stopped", reason);
  }

  /** Closes the socket and opens another. */
  restart(reason: string, base = ownBase): void {
    if (this.#phase !== "open" && this.#phase !== "connecting") return;
    this.#leave("waiting", reason, base);
  }

  /** Everything that was pending when the last socket went has been answered: the next loss is a first one again. */
  healthy(): void {
    this.#backoff.reset();
  }

  /** Sends if the socket is open; false if it is not. */
  send(message: ClientMessage): boolean {
    if (this.#phase !== "open" || !this.#ws) return false;
    try {
      this.#ws.send(JSON.stringify(message));
      return true;
    } catch {
      // Closing already, with its event still to come, which will have the message sent again.
      return false;
    }
  }

  #prepare(): void {
    this.#stopTimer();
    this.#phase = "preparing";
    const attempt = ++this.#attempt;
    const ready = this.owner.prepare();
    if (!ready) {
      if (attempt === this.#attempt) this.#connect();
      return;
    }
    void ready.then(() => {
      if (attempt === this.#attempt && this.#phase === "preparing") this.#connect();
    });
  }

  #connect(): void {
    this.#phase = "connecting";
    let ws: WebSocketLike;
    try {
      ws = new this.make(this.url);
    } catch (error) {
      this.#gone(`cannot open a socket: ${String(error)}`, otherBase);
      return;
    }
    this.#ws = ws;
    // Listeners stay on a socket that was left, npm's ws throws errors that nobody hears; hence "is it still ours?".
    const ours = (handle: () => void) => {
      if (this.#ws === ws) handle();
    };
    ws.addEventListener("open", () =>
      ours(() => {
        this.#phase = "open";
        this.#lastMessage = this.clock.now();
        this.#watchSilence(silenceLimit);
        this.owner.opened(this.#opened++, this.#lastClose);
      }));
    ws.addEventListener("message", (event) =>
      ours(() => {
        this.#lastMessage = this.clock.now();
        this.owner.received(event.data);
      }));
    ws.addEventListener("error", () => {}); // close follows, and says more
    ws.addEventListener("close", ({ code, reason }) =>
      ours(() => this.#gone(reason || `closed with code ${code}`, code === tryAgainLater ? busyBase : otherBase)));
    this.#stopTimer = this.clock.after(openLimit, () => this.restart("opening took too long"));
  }

  #gone(reason: string, base: number): void {
    this.#stopTimer();
    this.#ws = undefined;
    this.#lastClose = reason;
    this.#wait(base);
    this.owner.lost(reason);
  }

  #leave(phase: Phase, reason: string, base = ownBase): void {
    if (this.#phase === "stopped") return;
    this.#stopTimer();
    this.#attempt++;
    const had = this.#phase === "open" || this.#phase === "connecting";
    const ws = this.#ws;
    this.#ws = undefined;
    this.#phase = phase;
    if (phase === "waiting") this.#wait(base);
    if (!had) return;
    this.#lastClose = reason;
    try {
      // Not waited for: on a dead network the closing handshake takes as long as it likes.
      ws?.close();
    } catch {
      // Some implementations refuse to close what is not open yet; its events are ignored either way.
    }
    this.owner.lost(reason);
  }

  #wait(base: number): void {
    this.#stopTimer();
    this.#phase = "waiting";
    this.#stopTimer = this.clock.after(this.#backoff.next(base), () => this.#prepare());
  }

  #watchSilence(ms: number): void {
    this.#stopTimer();
    this.#stopTimer = this.clock.after(ms, () => {
      const left = this.#lastMessage + silenceLimit - this.clock.now();
      if (left > 0) this.#watchSilence(left);
      else this.restart("the server fell silent");
    });
  }
}
