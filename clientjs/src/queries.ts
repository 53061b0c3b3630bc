import { encodeCall } from "./call.js";
import { asError, fromServer, MimosaError } from "./errors.js";
import type { ModifyQuerySet, QuerySetChange, ResultChange, Transition, Version } from "./protocol.js";
import { instant, zeroVersion } from "./protocol.js";
import type { Readable } from "./store.js";
import { Listeners } from "./store.js";
import type { Json, Value } from "./values.js";
import { canonical, decode, reuse } from "./values.js";

/** What is known of a live query. It is replaced, never changed, and only when what it says changes. */
export type Snapshot<T> =
  | { readonly status: "loading"; readonly value?: undefined; readonly error?: undefined }
  | { readonly status: "ready"; readonly value: T; readonly error?: undefined }
  | { readonly status: "error"; readonly value?: undefined; readonly error: MimosaError };

/** A live query. The server is asked for it as long as somebody is subscribed. */
export type Watch<T> = Readable<Snapshot<T>>;

const loading: Snapshot<never> = Object.freeze({ status: "loading" });

interface Query {
  readonly id: number;
  readonly token: string;
  readonly path: string;
  readonly args: Json;
  readonly listeners: Listeners;
  /** One-shot readers, who wait for a result that is current. */
  readonly readers: Set<Reader>;
  snapshot: Snapshot<Value>;
  /** Whether this socket's query set has it. */
  sent: boolean;
  /** Whether the result came over this socket, and so is the server's newest. */
  current: boolean;
  /** Opaque; the server wants it back when the query is added again. */
  journal: string | null;
}

interface Reader {
  resolve(value: Value): void;
  reject(error: MimosaError): void;
}

export interface QueriesOwner {
  /** The query set differs from what was sent; flush is to be called soon. */
  changed(): void;
  /** Log lines of a function that ran. */
  logged(path: string, lines: readonly string[]): void;
}

/**
 * The queries this client watches and their results, as of one version. Equal queries, by path and canonical
 * arguments, are one. Adding and removing is collected until flush, so what is dropped and taken up again in between,
 * as views do, never reaches the server.
 */
export class Queries {
  readonly #byToken = new Map<string, Query>();
  readonly #byId = new Map<number, Query>();
  #nextId = 0;
  /** The number of the query set last sent on this socket. */
  #sentVersion = 0;
  #dirty = false;
  #version: Version = zeroVersion;
  /** Whose listeners have yet to hear. */
  readonly #touched = new Set<Query>();
  /** Queries with a result for their one-shot readers. */
  readonly #answered = new Set<Query>();
  #ended: { readonly status: "error"; readonly error: MimosaError } | undefined;

  constructor(private readonly owner: QueriesOwner) {}

  /** Where this socket stands. */
  get version(): Version {
    return this.#version;
  }

  /** A live query. Throws `bad_value` if the arguments cannot travel. */
  watch(path: string, args: unknown): Watch<Value> {
    const [encoded, token] = name(path, args);
    return {
      getSnapshot: () => this.#byToken.get(token)?.snapshot ?? this.#ended ?? loading,
      subscribe: (listener) => {
        if (this.#ended) return () => {};
        const query = this.#use(token, path, encoded);
        const remove = query.listeners.add(listener);
        return () => {
          remove();
          this.#dropped(query);
        };
      },
    };
  }

  /**
   * The query's result as of now. It is asked even where the same query is watched: what is known of that may be from
   * before a write that somebody else has been told of.
   */
  once(path: string, args: unknown): Promise<Value> {
    return new Promise((resolve, reject) => {
      const [encoded, token] = name(path, args);
      if (this.#ended) return reject(this.#ended.error);
      this.#use(`${this.#nextId} ${token}`, path, encoded).readers.add({ resolve, reject });
    });
  }

  /** A new socket: the message that gives it the whole query set, which may be empty. */
  connected(): ModifyQuerySet {
    this.#version = zeroVersion;
    this.#sentVersion = 0;
    for (const query of this.#byId.values()) query.sent = false;
    return this.#modify(this.#collect());
  }

  disconnected(): void {
    for (const query of this.#byId.values()) query.current = false;
  }

  /** The message that brings the server's query set to what is watched now; undefined if it is there already. */
  flush(): ModifyQuerySet | undefined {
    const changes = this.#collect();
    return changes.length > 0 ? this.#modify(changes) : undefined;
  }

  /** Takes in a Transition, of which listeners hear at notify. Throws if it does not follow the one before it. */
  receive({ startVersion: start, endVersion: end, modifications }: Transition): void {
    const at = this.#version;
    if (start.querySet !== at.querySet || start.identity !== at.identity || start.ts !== at.ts) {
      throw new MimosaError("protocol", "a Transition that does not start where the last one ended");
    }
    if (instant(end.ts) < instant(start.ts)) throw new MimosaError("protocol", "a Transition back in time");
    for (const change of modifications) this.#apply(change);
    this.#version = end;
  }

  /** Tells of all that changed since the last call. */
  notify(): void {
    const answered = [...this.#answered];
    const touched = [...this.#touched];
    this.#answered.clear();
    this.#touched.clear();
    for (const query of answered) if (query.current) this.#answer(query);
    for (const query of touched) query.listeners.notify();
  }

  /** Without a socket: drops every result, for they are of a user who has left. */
  forget(): void {
    for (const query of this.#byId.values()) this.#show(query, loading);
  }

  /** The end: no result will come any more. With fail, what is watched says so. */
  end(error: MimosaError, fail: boolean): void {
    this.#ended = { status: "error", error };
    for (const query of this.#byId.values()) {
      for (const reader of query.readers) reader.reject(error);
      query.readers.clear();
      if (fail) this.#show(query, this.#ended);
      else query.listeners.clear();
    }
  }

  #use(token: string, path: string, args: Json): Query {
    let query = this.#byToken.get(token);
    if (!query) {
      query = {
        id: this.#nextId++, token, path, args, listeners: new Listeners(), readers: new Set(),
        snapshot: loading, sent: false, current: false, journal: null,
      };
      this.#byToken.set(token, query);
      this.#byId.set(query.id, query);
      this.#markDirty();
    }
    return query;
  }

  #dropped(query: Query): void {
    if (!inUse(query)) this.#markDirty();
  }

  #markDirty(): void {
    if (this.#dirty || this.#ended) return;
    this.#dirty = true;
    this.owner.changed();
  }

  #modify(modifications: QuerySetChange[]): ModifyQuerySet {
    const baseVersion = this.#sentVersion++;
    return { type: "ModifyQuerySet", baseVersion, newVersion: this.#sentVersion, modifications };
  }

  /** What is watched and was not sent is added, the other way round removed; what nobody uses any more is forgotten. */
  #collect(): QuerySetChange[] {
    if (!this.#dirty && this.#sentVersion > 0) return [];
    this.#dirty = false;
    const modifications: QuerySetChange[] = [];
    for (const query of this.#byId.values()) {
      if (inUse(query)) {
        if (query.sent) continue;
        query.sent = true;
        const { id, path, args, journal } = query;
        modifications.push({
          type: "Add", queryId: id, udfPath: path, args: [args], ...(journal === null ? {} : { journal }),
        });
      } else {
        if (query.sent) modifications.push({ type: "Remove", queryId: query.id });
        this.#byId.delete(query.id);
        this.#byToken.delete(query.token);
      }
    }
    return modifications;
  }

  #apply(change: ResultChange): void {
    const query = this.#byId.get(change.queryId);
    // Removed here while the result was under way.
    if (!query) return;
    switch (change.type) {
      case "QueryUpdated":
        try {
          const old = query.snapshot;
          const value = reuse(old.value, decode(change.value));
          if (old.status !== "ready" || !Object.is(old.value, value)) this.#show(query, { status: "ready", value });
        } catch (error) {
          // A result this client cannot read is this query's trouble only; the others go on.
          this.#fail(query, asError(error));
        }
        break;
      case "QueryFailed":
        this.#fail(query, fromServer(change.errorMessage, change.errorData));
        break;
      case "QueryRemoved":
        return;
      default:
        change satisfies never;
        return;
    }
    query.current = true;
    query.journal = change.journal ?? null;
    if (query.readers.size > 0) this.#answered.add(query);
    if (change.logLines.length > 0) this.owner.logged(query.path, change.logLines);
  }

  #fail(query: Query, error: MimosaError): void {
    const old = query.snapshot.error;
    if (!old || !sameError(old, error)) this.#show(query, { status: "error", error });
  }

  #show(query: Query, snapshot: Snapshot<Value>): void {
    query.snapshot = snapshot;
    this.#touched.add(query);
  }

  #answer(query: Query): void {
    if (query.readers.size === 0) return;
    const { status, value, error } = query.snapshot;
    for (const reader of query.readers) {
      if (status === "ready") reader.resolve(value);
      else if (status === "error") reader.reject(error);
    }
    query.readers.clear();
    this.#dropped(query);
  }
}

function inUse(query: Query): boolean {
  return query.listeners.size > 0 || query.readers.size > 0;
}

function name(path: string, args: unknown): [encoded: Json, token: string] {
  const encoded = encodeCall(path, args);
  return [encoded, `${path} ${canonical(encoded)}`];
}

function sameError(a: MimosaError, b: MimosaError): boolean {
  const parts = (e: MimosaError): Value => [e.code, e.message, e.data ?? null, e.issues.map((issue) => ({ ...issue }))];
  const before = parts(a);
  return reuse(before, parts(b)) === before;
}
