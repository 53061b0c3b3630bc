import assert from "node:assert/strict";
import WS from "ws";

/** A message as it stood on the wire. */
export interface Message {
  type: string;
  [key: string]: unknown;
}

interface Version {
  querySet: number;
  identity: number;
  ts: string;
}

interface Transition extends Message {
  type: "Transition";
  startVersion: Version;
  endVersion: Version;
}

/** What a client sent and received over one socket. */
export interface SocketLog {
  sent: Message[];
  received: Message[];
}

/**
 * The network of one client: hands it the websockets of `ws`, writes down what they carry, and can fail like a network. What
 * the client does with them is its own affair.
 */
export class Network {
  readonly sockets: SocketLog[] = [];
  /** While set, what the server says does not arrive. */
  deaf = false;
  /** Called after each message that arrived. */
  onReceived: ((message: Message) => void) | undefined;
  readonly #open = new Set<WS>();
  #down = false;

  /** The constructor for a client's options. */
  readonly WebSocket: typeof WebSocket;

  constructor() {
    const network = this; // eslint-disable-line @typescript-eslint/no-this-alias
    class Tapped extends WS {
      readonly #log: SocketLog = { sent: [], received: [] };

      constructor(url: string) {
        // Nobody listens at port 1.
        super(network.#down ? "ws://127.0.0.1:1/" : url);
        network.sockets.push(this.#log);
        network.#open.add(this);
        this.on("close", () => network.#open.delete(this));
      }

      // Every event of a `ws` socket passes here on its way to the listeners.
      override emit(event: string | symbol, ...args: unknown[]): boolean {
        if (event !== "message") return super.emit(event, ...args);
        if (network.deaf) return true;
        const message = JSON.parse(String(args[0])) as Message;
        this.#log.received.push(message);
        const heard = super.emit(event, ...args);
        network.onReceived?.(message);
        return heard;
      }

      override send(data: string): void {
        this.#log.sent.push(JSON.parse(data) as Message);
        super.send(data);
      }
    }
    this.WebSocket = Tapped as unknown as typeof WebSocket;
  }

  /** Cuts every connection, and lets no new one come about until restore. */
  cut(): void {
    this.#down = true;
    for (const socket of this.#open) socket.terminate();
  }

  restore(): void {
    this.#down = false;
  }

  sent(type?: string): Message[] {
    return this.sockets.flatMap(({ sent }) => sent.filter((m) => type === undefined || m.type === type));
  }

  received(type?: string): Message[] {
    return this.sockets.flatMap(({ received }) => received.filter((m) => type === undefined || m.type === type));
  }

  /** The Transitions of a socket, those put together that came in pieces. */
  static #transitions({ received }: SocketLog): Transition[] {
    const all: Transition[] = [];
    let text = "";
    for (const message of received) {
      if (message.type === "Transition") all.push(message as Transition);
      if (message.type !== "TransitionChunk") continue;
      text += String(message["chunk"]);
      if (message["partNumber"] !== Number(message["totalParts"]) - 1) continue;
      all.push(JSON.parse(text) as Transition);
      text = "";
    }
    return all;
  }

  /** The whole conversation, for a person. */
  toString(): string {
    return this.sockets.map(({ sent, received }, i) => [
      `socket ${i}`,
      ...sent.map((m) => `  → ${JSON.stringify(m)}`),
      ...received.map((m) => `  ← ${JSON.stringify(m)}`),
    ].join("\n")).join("\n");
  }

  /**
   * Checks what holds for every conversation: on each socket Transitions follow one another without a gap, beginning at zero,
   * and time never goes back, from one socket to the next either.
   */
  check(): void {
    let newest = 0n;
    for (const socket of this.sockets) {
      let at: Version = { querySet: 0, identity: 0, ts: "AAAAAAAAAAA=" };
      for (const { startVersion, endVersion } of Network.#transitions(socket)) {
        assert.deepEqual(startVersion, at, "a Transition does not begin where the one before it ended");
        at = endVersion;
        const ts = Buffer.from(endVersion.ts, "base64").readBigUInt64LE();
        assert(ts >= newest, `time went back from ${newest} to ${ts}`);
        newest = ts;
      }
    }
  }
}
