import { encodeCall } from "./call.js";
import type { Clock } from "./clock.js";
import { systemClock } from "./clock.js";
import { asError, MimosaError } from "./errors.js";
import type { Fetch } from "./http.js";
import { addresses, post } from "./http.js";
import { Inbox } from "./inbox.js";
import type { ServerMessage, Timestamp, Transition } from "./protocol.js";
import { instant, protocolVersion, timestamp } from "./protocol.js";
import type { Watch } from "./queries.js";
import { Queries } from "./queries.js";
import { Requests } from "./requests.js";
import type { AuthState, Lock, SignInResult } from "./session.js";
import { Session } from "./session.js";
import type { WebSocketConstructor } from "./socket.js";
import { otherBase, Socket } from "./socket.js";
import type { TokenStorage } from "./storage.js";
import { defaultStorage, Vault } from "./storage.js";
import type { Readable } from "./store.js";
import { Cell, guard } from "./store.js";
import type { AnyApi, ApiTypes, ArgsOf, Names, Returns } from "./types.js";
import type { Json, Value } from "./values.js";

/**
 * While a sign-in is under way, Transitions wait so long for its answer: a server shows the new user's results just before
 * it answers, and the two are to be seen together.
 */
const grace = 50;

/** How a client is set up; every field may be left out. */
export interface ClientOptions {
  /** The WebSocket class; needed where there is no global one, as in Node 20, where npm's ws serves. */
  webSocket?: WebSocketConstructor;
  /** Used to renew tokens; the global fetch by default. */
  fetch?: Fetch;
  /** Where tokens are kept: by default localStorage in browsers, memory elsewhere. */
  storage?: TokenStorage;
  /** The key under which they are kept; by default it tells servers apart by address. */
  storageKey?: string;
  /** Hears what functions log, which a server sends in development. */
  onLog?: (path: string, lines: readonly string[]) => void;
  /** Serialises renewals among tabs; the Web Locks API by default, where there is one. */
  lock?: Lock;
  /** Time and chance, for tests. */
  clock?: Clock;
}

/** How the client and the server stand, to show to a person or to wait for. */
export interface ConnectionState {
  /** Whether the socket is open. */
  readonly connected: boolean;
  readonly hasEverConnected: boolean;
  /** Failed attempts and lost sockets since all was last well. */
  readonly retries: number;
  /** Mutations that wait for a socket. */
  readonly queuedMutations: number;
  /** Mutations that were sent and are not yet seen in the subscriptions. */
  readonly inFlightMutations: number;
  readonly queuedActions: number;
  readonly inFlightActions: number;
  /** Why the last socket went; undefined once all is well again. */
  readonly lastError: MimosaError | undefined;
}

/** Signing up, in and out, and who the client acts as. All members may be used unbound. */
export interface ClientAuth extends Readable<AuthState> {
  readonly state: AuthState;
  /**
   * Creates an account and signs in. Beyond what the provider needs, params are the application's and reach its
   * triggers. Takes effect once: if the connection is lost before the answer, it is sent again. Rejects with the
   * server's error; then nothing was created.
   */
  readonly signUp: (provider: string, params?: object) => Promise<SignInResult>;
  /**
   * Signs in. When it resolves with `signedIn`, the socket runs as the new user and every live query shows what that
   * user sees; a mutation sent at once after it runs as that user. A signOut that is called before then wins: it
   * rejects with `identity_changed`.
   */
  readonly signIn: (provider: string, params?: object) => Promise<SignInResult>;
  /**
   * Goes on with a sign-in by which the browser was sent elsewhere, or which a link in a mail goes on with: code is what
   * the page's address has as the parameter `code`, verifier what came with the redirect, if there was one. All else is
   * as with signIn. The code is good once; `invalid` when it is not, or not any more.
   */
  readonly redeem: (code: string, verifier?: string) => Promise<SignInResult>;
  /**
   * Signs out, offline too, also from a sign-in that is under way: what is called later, sign-ins included, runs after
   * it. Never rejects. Mutations that were not yet sent fail with `identity_changed`. A server that cannot be reached
   * is told as soon as it can; a page that is closed before leaves a session there that nobody has tokens of.
   */
  readonly signOut: () => Promise<void>;
}

/**
 * A connection to one Mimosa server, for as long as the program runs: live queries, mutations, actions and who the
 * user is, over one websocket that is opened again whenever it is lost. A program needs one.
 *
 *     const client = new MimosaClient("http://localhost:8787");
 *     const rooms = client.watch("rooms:list", {});
 *     rooms.subscribe(() => console.log(rooms.getSnapshot()));
 *     await client.mutation("messages:send", { room, text: "hello" });
 */
export class MimosaClient<Api extends ApiTypes = AnyApi> {
  /** Signing up, in and out. */
  readonly auth: ClientAuth;
  /** How the client and the server stand. */
  readonly connection: Readable<ConnectionState> & { readonly state: ConnectionState };

  readonly #clock: Clock;
  readonly #socket: Socket;
  readonly #queries: Queries;
  readonly #requests: Requests;
  readonly #session: Session;
  readonly #connection = new Cell<ConnectionState>({
    connected: false, hasEverConnected: false, retries: 0, queuedMutations: 0, inFlightMutations: 0,
    queuedActions: 0, inFlightActions: 0, lastError: undefined,
  });
  readonly #sessionId = uuid();
  #inbox = new Inbox();
  /** Transitions that came while the user was changing, or was perhaps about to. */
  #held: Transition[] = [];
  /** Ends the wait for what may follow a Transition; undefined if there is no wait. */
  #stopGrace: (() => void) | undefined;
  /** The newest commit of any Transition or answer, on any socket: no server may show less again. */
  #observed: bigint | undefined;
  #everConnected = false;
  #lastError: MimosaError | undefined;
  #ended: MimosaError | undefined;
  readonly #online = () => this.#socket.start();

  /** Begins to connect. Throws a TypeError for an address that is none, or if there is no WebSocket class. */
  constructor(url: string | URL, options: ClientOptions = {}) {
    const { http, ws } = addresses(url);
    const WebSocketClass: WebSocketConstructor | undefined = options.webSocket ?? globalThis.WebSocket;
    if (!WebSocketClass) throw new TypeError("mimosa: there is no WebSocket here; pass one as options.webSocket");
    const fetcher: Fetch = options.fetch ?? ((input, init) => fetch(input, init));
    const clock = (this.#clock = options.clock ?? systemClock);
    const logged = (path: string, lines: readonly string[]) => {
      const { onLog } = options;
      if (onLog) guard(() => onLog(path, lines));
    };
    const socket = (this.#socket = new Socket(`${ws}/api/${protocolVersion}/sync`, WebSocketClass, clock, {
      prepare: () => this.#session.prepare(),
      opened: (count, reason) => this.#opened(count, reason),
      received: (data) => this.#received(data),
      lost: (reason) => this.#lost(reason),
    }));
    this.#queries = new Queries({ changed: () => queueMicrotask(() => this.#flush()), logged });
    this.#requests = new Requests({ send: (message) => !this.#session.overtaken && socket.send(message), logged });
    this.#session = new Session(
      {
        get connected() {
          return socket.isOpen;
        },
        send: (message) => socket.send(message),
        action: (path, args, done, fail) => this.#start("Action", path, encodeCall(path, args), done, fail),
        post: (path, args, token) => post(fetcher, clock, http, "action", path, args, token),
        userChanged: () => this.#requests.userChanged(socket.isOpen),
        forget: () => this.#queries.forget(),
        pause: (reason) => socket.pause(reason),
        resume: () => socket.start(),
        publish: () => this.#publish(),
        release: () => this.#requests.flush(),
      },
      new Vault(options.storage ?? defaultStorage(), options.storageKey ?? `mimosa ${http}`),
      clock,
      options.lock ?? defaultLock(),
    );
    this.auth = authOf(this.#session);
    const cell = this.#connection;
    this.connection = {
      getSnapshot: cell.getSnapshot,
      subscribe: cell.subscribe,
      get state() {
        return cell.getSnapshot();
      },
    };
    // Back on the network: no need to sit out the wait.
    globalThis.addEventListener?.("online", this.#online);
    const loading = this.#session.load();
    if (loading) void loading.then(() => socket.start());
    else socket.start();
  }

  /**
   * A live query. Nothing is asked of the server until somebody subscribes, and no more once nobody is; equal queries
   * are asked once. All queries change together, as of one commit. Throws `bad_value` for arguments that cannot
   * travel. After close its snapshot stays what it was.
   */
  watch<Name extends Names<Api["queries"]>>(
    name: Name, ...[args]: ArgsOf<Api["queries"], Name>
  ): Watch<Returns<Api["queries"], Name>> {
    return this.#queries.watch(name, args) as Watch<Returns<Api["queries"], Name>>;
  }

  /**
   * The query's result as of now, watched or not: it holds every write that anybody was told of before the call. Waits
   * while offline. Rejects with the query's error, or with `closed`.
   */
  query<Name extends Names<Api["queries"]>>(
    name: Name, ...[args]: ArgsOf<Api["queries"], Name>
  ): Promise<Returns<Api["queries"], Name>> {
    return this.#queries.once(name, args) as Promise<Returns<Api["queries"], Name>>;
  }

  /**
   * Runs a mutation, exactly once, however often the connection is lost meanwhile. Mutations run in the order in which
   * they were asked for, and wait while offline. Resolves when its write is visible in every subscription it affects.
   * Rejects with the server's error (then nothing was written), or with `identity_changed`, `closed` or `fatal`.
   */
  mutation<Name extends Names<Api["mutations"]>>(
    name: Name, ...[args]: ArgsOf<Api["mutations"], Name>
  ): Promise<Returns<Api["mutations"], Name>> {
    return this.#call("Mutation", name, args) as Promise<Returns<Api["mutations"], Name>>;
  }

  /**
   * Runs an action, at most once: if the connection is lost before its answer, it rejects with `disconnected`. Actions
   * run side by side.
   */
  action<Name extends Names<Api["actions"]>>(
    name: Name, ...[args]: ArgsOf<Api["actions"], Name>
  ): Promise<Returns<Api["actions"], Name>> {
    return this.#call("Action", name, args) as Promise<Returns<Api["actions"], Name>>;
  }

  /** Ends everything: what waits rejects with `closed`, and so does all that is asked for later. */
  close(): void {
    this.#end(new MimosaError("closed", "the client was closed"), false);
  }

  #call(type: "Mutation" | "Action", path: string, args: unknown): Promise<Value> {
    return new Promise((resolve, reject) => this.#start(type, path, encodeCall(path, args), resolve, reject));
  }

  #start(
    type: "Mutation" | "Action", path: string, args: Json,
    done: (value: Value) => void, fail: (error: MimosaError) => void,
  ): void {
    // What was watched before is in the query set before.
    this.#flush();
    this.#requests.start(type, path, args, done, fail);
    this.#publish();
  }

  #flush(): void {
    if (!this.#socket.isOpen) return;
    const message = this.#queries.flush();
    if (message) this.#socket.send(message);
  }

  #opened(connectionCount: number, lastCloseReason: string | null): void {
    this.#everConnected = true;
    this.#inbox = new Inbox();
    const max: { maxObservedTimestamp?: Timestamp } =
      this.#observed === undefined ? {} : { maxObservedTimestamp: timestamp(this.#observed) };
    this.#socket.send({
      type: "Connect", sessionId: this.#sessionId, connectionCount, lastCloseReason, ...max,
      clientTs: this.#clock.now(),
    });
    this.#session.opened();
    this.#socket.send(this.#queries.connected());
    this.#requests.connected();
    this.#publish();
  }

  #lost(reason: string): void {
    this.#lastError = this.#ended ?? new MimosaError("disconnected", reason);
    this.#letGo();
    this.#queries.disconnected();
    this.#session.lost();
    this.#requests.disconnected();
    this.#publish();
  }

  #received(data: unknown): void {
    this.#guarded(() => {
      const message = this.#inbox.read(data);
      if (message) this.#handle(message);
    });
  }

  #guarded(read: () => void): void {
    try {
      read();
    } catch (error) {
      // Whatever state that has left, a new socket begins with a whole one.
      this.#socket.restart(`bad message: ${asError(error).message}`, otherBase);
    }
  }

  #handle(message: ServerMessage): void {
    switch (message.type) {
      case "Transition":
        this.#transition(message);
        break;
      case "MutationResponse":
        if (message.success) this.#observe(instant(message.ts));
        this.#requests.answered(message);
        break;
      case "ActionResponse":
        this.#requests.answered(message);
        break;
      case "AuthError":
        this.#session.refused(message);
        break;
      case "FatalError":
        this.#end(new MimosaError("fatal", message.error), true);
        return;
      case "Ping":
      case "TransitionChunk": // put together in the inbox
        return;
      default:
        // A newer server's: nothing this client has asked for.
        message satisfies never;
        return;
    }
    this.#advance();
    this.#publish();
  }

  #transition(transition: Transition): void {
    this.#held.push(transition);
    this.#session.reached(transition.endVersion);
    if (this.#session.entering && !this.#session.switching) {
      this.#stopGrace ??= this.#clock.after(grace, () => this.#graceOver());
    }
  }

  /** Takes in the Transitions that came, unless they may show another user than the state does. */
  #advance(): void {
    if (this.#session.switching || (this.#session.entering && this.#stopGrace)) return;
    const held = this.#held;
    this.#letGo();
    for (const next of held) {
      this.#queries.receive(next);
      const ts = instant(next.endVersion.ts);
      this.#observe(ts);
      // Promises go on after this turn, and so after the views, which publish tells.
      this.#requests.reflected(ts);
    }
  }

  #graceOver(): void {
    this.#stopGrace = undefined;
    this.#guarded(() => {
      this.#advance();
      this.#publish();
    });
  }

  #letGo(): void {
    this.#held = [];
    this.#stopGrace?.();
    this.#stopGrace = undefined;
  }

  #observe(ts: bigint): void {
    if (this.#observed === undefined || ts > this.#observed) this.#observed = ts;
  }

  /** Tells listeners of all that changed. Every part has changed before the first of them is called. */
  #publish(): void {
    const connected = this.#socket.isOpen;
    // Nothing on a new socket counts as well before its query set is answered, and what was sent again.
    if (connected && this.#queries.version.querySet > 0 && this.#requests.caughtUp && !this.#session.switching) {
      this.#socket.healthy();
      this.#lastError = undefined;
    }
    const changed = this.#connection.set({
      connected,
      hasEverConnected: this.#everConnected,
      retries: this.#socket.failures,
      ...this.#requests.counts,
      lastError: this.#ended ?? this.#lastError,
    });
    this.#queries.notify();
    this.#session.notify();
    if (changed) this.#connection.notify();
  }

  #end(error: MimosaError, fail: boolean): void {
    if (this.#ended) return;
    this.#ended = error;
    globalThis.removeEventListener?.("online", this.#online);
    this.#session.end(error);
    this.#requests.end(error);
    this.#queries.end(error, fail);
    this.#socket.stop(error.code);
    this.#publish();
  }
}

function authOf(session: Session): ClientAuth {
  const enter = (flow: string) => (provider: string, params: object = {}) => {
    const given = typeof FormData !== "undefined" && params instanceof FormData ? Object.fromEntries(params) : params;
    const all = { flow, ...given };
    return session.enter({ provider, params: all }, all.flow === "signUp" ? uuid() : undefined);
  };
  return {
    signUp: enter("signUp"),
    signIn: enter("signIn"),
    redeem: (code, verifier) => session.enter({ params: { code }, verifier }),
    signOut: () => session.leave(),
    getSnapshot: session.state.getSnapshot,
    subscribe: session.state.subscribe,
    get state() {
      return session.state.getSnapshot();
    },
  };
}

function defaultLock(): Lock {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  return locks ? (name, run) => locks.request(name, run) : (_, run) => run();
}

/** A random UUID; crypto.randomUUID itself is missing where a page came over plain HTTP. */
function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
