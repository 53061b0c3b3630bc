import type { Clock } from "./clock.js";

/** Where the tokens of the signed-in user are kept between visits. It may answer at once or with a promise. */
export interface TokenStorage {
  get(key: string): string | null | Promise<string | null>;
  set(key: string, value: string): void | Promise<void>;
  remove(key: string): void | Promise<void>;
  /** Calls back when another tab or process changed the key. Optional. */
  subscribe?(key: string, changed: () => void): () => void;
}

/** Keeps tokens as long as the program runs. */
export function memoryStorage(): TokenStorage {
  const kept = new Map<string, string>();
  return {
    get: (key) => kept.get(key) ?? null,
    set: (key, value) => void kept.set(key, value),
    remove: (key) => void kept.delete(key),
  };
}

/** localStorage, shared by all tabs of a site. */
export function browserStorage(local: Storage): TokenStorage {
  return {
    get: (key) => local.getItem(key),
    set: (key, value) => local.setItem(key, value),
    remove: (key) => local.removeItem(key),
    subscribe(key, changed) {
      const heard = (event: StorageEvent) => {
        // A null key: everything was cleared.
        if (event.storageArea === local && (event.key === key || event.key === null)) changed();
      };
      globalThis.addEventListener?.("storage", heard);
      return () => globalThis.removeEventListener?.("storage", heard);
    },
  };
}

/** localStorage where there is one that may be used, else memory. */
export function defaultStorage(): TokenStorage {
  try {
    // Reading the property alone throws where the user has forbidden storage. Node has one too, behind a flag.
    if (typeof document !== "undefined" && typeof localStorage !== "undefined") return browserStorage(localStorage);
  } catch {
    // Fall through.
  }
  return memoryStorage();
}

/**
 * How long before its end an access token is replaced, so that there is never a gap: more than a minute, since browsers run
 * the timers of tabs in the background once a minute. Half its life, if that is less.
 */
const renewLead = 90_000;

/** A session's tokens as they are kept. */
export interface Tokens {
  /** The short-lived access token, a JWT. */
  readonly token: string;
  /** Opaque; gives the next access token, and its own successor. */
  readonly refreshToken: string;
  /**
   * When to fetch the next access token, by this machine's clock, reckoned from the token's lifetime when it came: so
   * it does not matter how wrong that clock is. Undefined if the token does not say how long it lives.
   */
  readonly renewAt: number | undefined;
}

/** Keeps the tokens in a storage, and in memory where that fails: a full or forbidden storage signs nobody out. */
export class Vault {
  #kept: Tokens | null = null;
  #broken = false;
  /** A write under way; reading waits for it, lest it find what was there before. */
  #writing: Promise<void> | undefined;

  constructor(private readonly storage: TokenStorage, readonly key: string) {}

  /** What is stored, by whichever tab; a promise only if the storage gives one. */
  read(): Tokens | null | Promise<Tokens | null> {
    if (this.#broken) return this.#kept;
    if (this.#writing) return this.#writing.then(() => this.read());
    try {
      const text = this.storage.get(this.key);
      if (typeof text === "string" || text === null) return (this.#kept = parse(text));
      return text.then((late) => (this.#kept = parse(late)), () => this.#fall());
    } catch {
      return this.#fall();
    }
  }

  write(tokens: Tokens | null): void {
    this.#kept = tokens;
    try {
      const done = tokens ? this.storage.set(this.key, JSON.stringify(tokens)) : this.storage.remove(this.key);
      if (!done) return;
      const writing = done.catch(() => void this.#fall()).finally(() => {
        if (this.#writing === writing) this.#writing = undefined;
      });
      this.#writing = writing;
    } catch {
      this.#fall();
    }
  }

  subscribe(changed: () => void): () => void {
    return this.storage.subscribe?.(this.key, changed) ?? (() => {});
  }

  #fall(): Tokens | null {
    this.#broken = true;
    return this.#kept;
  }
}

function parse(text: string | null): Tokens | null {
  try {
    const stored: unknown = JSON.parse(text ?? "null");
    if (typeof stored !== "object" || stored === null) return null;
    const { token, refreshToken, renewAt } = stored as Record<string, unknown>;
    if (typeof token !== "string" || typeof refreshToken !== "string") return null;
    return { token, refreshToken, renewAt: typeof renewAt === "number" ? renewAt : undefined };
  } catch {
    return null;
  }
}

/** The tokens in an answer of auth:signIn; null if it says that there are none, undefined if it says nothing. */
export function tokensIn(answer: unknown, clock: Clock): Tokens | null | undefined {
  if (typeof answer !== "object" || answer === null || !("tokens" in answer)) return undefined;
  const { tokens } = answer;
  if (typeof tokens !== "object" || tokens === null || !("token" in tokens) || !("refreshToken" in tokens)) return null;
  const { token, refreshToken } = tokens;
  if (typeof token !== "string" || typeof refreshToken !== "string") return null;
  const { iat, exp } = claims(token);
  const lives = typeof iat === "number" && typeof exp === "number" && exp > iat ? (exp - iat) * 1000 : undefined;
  return { token, refreshToken, renewAt: lives && clock.now() + lives - Math.min(renewLead, lives / 2) };
}

/** Whether both tokens are of one user's one session, as far as they say. */
export function sameSubject(a: Tokens, b: Tokens): boolean {
  const subject = claims(a.token)["sub"];
  return subject !== undefined && subject === claims(b.token)["sub"];
}

/** The claims of a JWT, unchecked: the server checks them, the client only plans by them. */
function claims(token: string): Record<string, unknown> {
  try {
    const base64 = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const parsed: unknown = JSON.parse(atob(base64));
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
