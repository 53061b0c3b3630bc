import { asError, fromServer, MimosaError } from "./errors.js";
import type { ActionResponse, Call, MutationResponse } from "./protocol.js";
import { instant } from "./protocol.js";
import type { Json, Value } from "./values.js";
import { decode } from "./values.js";

interface Pending {
  readonly message: Call;
  readonly done: (value: Value) => void;
  readonly fail: (error: MimosaError) => void;
  /** Counts users; a mutation is never run for another than the one that asked for it. */
  readonly user: number;
  /** Whether it went out on the present socket. */
  sent: boolean;
  /** A mutation's result, while its write is not yet in the subscriptions. */
  result: { readonly value: Value; readonly ts: bigint } | undefined;
  /** Sent again on this socket, and not answered since. */
  resent: boolean;
}

/** How many calls wait for a socket, and how many for the server. */
export interface Counts {
  queuedMutations: number;
  inFlightMutations: number;
  queuedActions: number;
  inFlightActions: number;
}

export interface RequestsOwner {
  /** Sends if there is an open socket; false if not. */
  send(message: Call): boolean;
  logged(path: string, lines: readonly string[]): void;
}

/**
 * The mutations and actions that are under way. Both take their numbers from one counter that lasts as long as the
 * session, and so name what the server has done, whatever becomes of sockets: a mutation is sent again until it is
 * answered and takes effect once. An action is sent once; if its socket goes before its answer, it fails.
 *
 * A mutation counts as done when its answer is here and a Transition at or after its commit has been taken in, so
 * that whoever waits for it finds its write in every subscription.
 */
export class Requests {
  readonly #pending = new Map<number, Pending>();
  /** Those of them that succeeded, in the order of their commits. */
  readonly #unreflected = new Map<number, Pending>();
  /** How many of them were sent again on this socket and wait for their answer. */
  #resent = 0;
  readonly #counts: Counts = { queuedMutations: 0, inFlightMutations: 0, queuedActions: 0, inFlightActions: 0 };
  #nextId = 0;
  #user = 0;
  #reflected = 0n;
  #ended: MimosaError | undefined;

  constructor(private readonly owner: RequestsOwner) {}

  /** Begins a call. Exactly one of done and fail is called, never before this returns. */
  start(
    type: Call["type"], path: string, args: Json, done: Pending["done"], fail: Pending["fail"],
  ): void {
    if (this.#ended) {
      const error = this.#ended;
      queueMicrotask(() => fail(error));
      return;
    }
    const message: Call = { type, requestId: this.#nextId++, udfPath: path, args: [args] };
    const sent = this.owner.send(message);
    const request: Pending = { message, done, fail, user: this.#user, sent, result: undefined, resent: false };
    this.#pending.set(message.requestId, request);
    this.#count(request, 1);
  }

  /** A new socket, which has its query set: sends all that waits, in the order in which it was asked for. */
  connected(): void {
    this.#dropForeign();
    for (const request of this.#pending.values()) {
      // A former user's mutation that succeeded: only the next Transition is wanting.
      if (request.user !== this.#user) continue;
      this.#setResent(request, isMutation(request));
      this.#setSent(request, this.owner.send(request.message));
    }
  }

  /** Sends what had to wait, though there was a socket. */
  flush(): void {
    for (const request of this.#pending.values()) {
      if (!request.sent && request.user === this.#user) this.#setSent(request, this.owner.send(request.message));
    }
  }

  /** The socket is gone, and with it the answers to actions. */
  disconnected(): void {
    for (const request of this.#pending.values()) {
      if (request.sent && !isMutation(request)) {
        this.#remove(request);
        request.fail(
          new MimosaError("disconnected", "the connection was lost while the action ran; it may have taken effect"),
        );
        continue;
      }
      this.#setSent(request, false);
      this.#setResent(request, false);
    }
  }

  /** Somebody else is the user from now on. What is on its way still counts as the last user's; the rest is refused. */
  userChanged(connected: boolean): void {
    this.#user++;
    if (!connected) this.#dropForeign();
  }

  answered(response: MutationResponse | ActionResponse): void {
    const request = this.#pending.get(response.requestId);
    if (!request) return;
    if (response.logLines.length > 0) this.owner.logged(request.message.udfPath, response.logLines);
    this.#setResent(request, false);
    // An answer to a resent mutation whose success is known already adds nothing, a refusal neither.
    if (request.result) return;
    if (!response.success) {
      this.#remove(request);
      request.fail(fromServer(response.result, response.errorData));
      return;
    }
    const committed = response.type === "MutationResponse" ? instant(response.ts) : undefined;
    let value: Value;
    try {
      value = decode(response.result);
    } catch (error) {
      this.#remove(request);
      request.fail(asError(error));
      return;
    }
    if (committed !== undefined) {
      request.result = { value, ts: committed };
      this.#unreflected.set(response.requestId, request);
      this.#settle();
      return;
    }
    this.#remove(request);
    request.done(value);
  }

  /** Subscriptions show every commit up to ts: what waited for that is done. */
  reflected(ts: bigint): void {
    this.#reflected = ts;
    this.#settle();
  }

  /** Whether all that was sent again on this socket has been answered. */
  get caughtUp(): boolean {
    return this.#resent === 0;
  }

  get counts(): Readonly<Counts> {
    return this.#counts;
  }

  /** The end: everything fails, also what is asked for later. */
  end(error: MimosaError): void {
    this.#ended = error;
    for (const request of this.#pending.values()) {
      this.#remove(request);
      request.fail(error);
    }
  }

  #settle(): void {
    for (const request of this.#unreflected.values()) {
      if (!request.result || request.result.ts > this.#reflected) return;
      this.#remove(request);
      request.done(request.result.value);
    }
  }

  #dropForeign(): void {
    for (const request of this.#pending.values()) {
      if (request.user === this.#user || request.result) continue;
      this.#remove(request);
      request.fail(new MimosaError("identity_changed", "the user changed before this call was confirmed"));
    }
  }

  // Each change of a request goes through one of these, which keep the counters.

  #remove(request: Pending): void {
    this.#setResent(request, false);
    this.#count(request, -1);
    this.#pending.delete(request.message.requestId);
    this.#unreflected.delete(request.message.requestId);
  }

  #setSent(request: Pending, sent: boolean): void {
    this.#count(request, -1);
    request.sent = sent;
    this.#count(request, 1);
  }

  #setResent(request: Pending, resent: boolean): void {
    this.#resent += Number(resent) - Number(request.resent);
    request.resent = resent;
  }

  #count(request: Pending, by: 1 | -1): void {
    if (isMutation(request)) this.#counts[request.sent ? "inFlightMutations" : "queuedMutations"] += by;
    else this.#counts[request.sent ? "inFlightActions" : "queuedActions"] += by;
  }
}

function isMutation(request: Pending): boolean {
  return request.message.type === "Mutation";
}
