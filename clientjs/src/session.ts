import type { Clock } from "./clock.js";
import { Backoff } from "./clock.js";
import { MimosaError } from "./errors.js";
import type { AuthError, Authenticate, Version } from "./protocol.js";
import type { Tokens, Vault } from "./storage.js";
import { sameSubject, tokensIn } from "./storage.js";
import { Cell } from "./store.js";
import type { Value } from "./values.js";

/** Who the client acts as. */
export interface AuthState {
  /**
   * `loading`: tokens were found and the server has not yet confirmed them. `signedIn` and `signedOut` change in one
   * step with the results of all live queries.
   */
  readonly status: "loading" | "signedOut" | "signedIn";
  /** Why the last session ended, if it was not signOut that ended it. */
  readonly error: MimosaError | undefined;
}

/** What became of a sign-in that did not fail. */
export type SignInResult =
  /** The client acts as the new user, and live queries show what that user sees. */
  | { readonly status: "signedIn" }
  /** More is needed: a code or a link was sent. */
  | { readonly status: "started" }
  /** The user who is signed in has got another way to sign in, and nothing else has changed. */
  | { readonly status: "linked" }
  /** The browser is to go to this address; the verifier is to be kept until it comes back. */
  | { readonly status: "redirect"; readonly redirect: string; readonly verifier: string };

/** What a session needs of the client. */
export interface SessionLink {
  readonly connected: boolean;
  send(message: Authenticate): boolean;
  /** Calls an action over the socket. */
  action(path: string, args: object, done: (value: Value) => void, fail: (error: MimosaError) => void): void;
  /** Calls an action over HTTP. */
  post(path: string, args: object, token?: string): Promise<Value>;
  /** Mutations that wait belong to somebody else now. */
  userChanged(): void;
  /** What live queries show belongs to somebody else now. */
  forget(): void;
  pause(reason: string): void;
  resume(): void;
  /** The state was replaced outside of a Transition: tell everybody. */
  publish(): void;
  /** Calls need not wait any more: see {@link Session.overtaken}. */
  release(): void;
}

/** Runs one at a time, among all tabs of a site where there is a way. */
export type Lock = (name: string, run: () => Promise<void>) => Promise<void>;

/** How many tokens in a row the server may refuse before the session counts as lost. */
const maxRefused = 2;
const retryBase = 500;
/** How often a sign-up is sent again. One that breaks every connection it is sent on is given up. */
const maxResent = 8;

interface Waiter {
  resolve(): void;
  reject(error: MimosaError): void;
}

/** A sign-in that was asked for and is not answered. */
interface Entry {
  reject(error: MimosaError): void;
}

/**
 * Who the socket runs as: the tokens, their renewal, and the agreement with the server about them.
 *
 * A change of user is a switch: from the moment it is asked for until the Transition that confirms it, Transitions are
 * held back by the client, so that nobody sees one user's state beside another's results. A renewal is not a switch,
 * since it changes neither.
 */
export class Session {
  readonly #state = new Cell<AuthState>({ status: "loading", error: undefined });
  #stateChanged = false;
  #tokens: Tokens | null = null;
  /** The identity version this socket was last asked for. */
  #asked = 0;
  /** An Authenticate went out on this socket and is not confirmed. */
  #awaiting = false;
  #switching = false;
  /** Tokens refused since the last that was confirmed. */
  #refused = 0;
  /** Counts users, so that what was begun for one is not finished for another. */
  #user = 0;
  #ended = false;
  #endReason: MimosaError | undefined;
  #renewing: Promise<void> | undefined;
  #abandonRenewal: () => void = () => {};
  #stopRetry: () => void = () => {};
  #stopTimer: () => void = () => {};
  #unsubscribe: () => void = () => {};
  #waiters: Waiter[] = [];
  /** The storage is being read. */
  #loading: Promise<void> | undefined;
  /** Sign-ins that no sign-out was asked for since. */
  readonly #entries = new Set<Entry>();
  /** How many have been handed on and not answered, those that a sign-out has overtaken among them. */
  #entering = 0;
  /** Called when the last of those that were overtaken is answered; undefined if there are none. */
  #outrun: (() => void) | undefined;
  /** The sessions that overtaken sign-ins began are being ended. */
  #revoked: Promise<unknown> | undefined;
  /** Refresh tokens of sessions that have ended here, and of which the server has not heard. */
  readonly #untold = new Set<string>();
  #leaving: Promise<void> | undefined;

  constructor(
    private readonly link: SessionLink,
    private readonly vault: Vault,
    private readonly clock: Clock,
    private readonly lock: Lock,
  ) {}

  get state(): Cell<AuthState> {
    return this.#state;
  }

  /** Whether Transitions are to be held back. */
  get switching(): boolean {
    return this.#switching;
  }

  /** Whether Transitions may be showing another user's results already. */
  get entering(): boolean {
    return this.#entering > 0;
  }

  /**
   * Whether a sign-in is under way that was followed by a sign-out. Until its answer the server may begin to act as that
   * user at any moment, so calls wait.
   */
  get overtaken(): boolean {
    return this.#outrun !== undefined;
  }

  /** Reads the tokens of an earlier visit, before the first attempt to connect. */
  load(): Promise<void> | undefined {
    this.#unsubscribe = this.vault.subscribe(() => void this.#reread());
    const stored = this.vault.read();
    if (!(stored instanceof Promise)) {
      this.#loaded(stored);
      return undefined;
    }
    this.#loading = stored.then((tokens) => {
      this.#loading = undefined;
      this.#loaded(tokens);
    });
    return this.#loading;
  }

  /** Before an attempt to connect: a token that is about to end is replaced first. */
  prepare(): Promise<void> | undefined {
    return this.#renewing ?? (this.#due() ? this.#renew() : undefined);
  }

  /** A new socket, on which only Connect has been sent. */
  opened(): void {
    this.#asked = 0;
    this.#awaiting = false;
    if (this.#tokens) this.#authenticate();
    for (const refreshToken of this.#untold) void this.#tell(refreshToken);
  }

  lost(): void {
    this.#awaiting = false;
    this.#stopTimer();
    // Without a socket nobody need confirm that there is no user.
    if (this.#switching && !this.#tokens) this.#gone();
  }

  /** Hears the version a Transition ends at, which may be the confirmation of what was asked for. */
  reached({ identity }: Version): void {
    if (!this.#awaiting || identity < this.#asked) return;
    this.#awaiting = false;
    this.#switching = false;
    this.#refused = 0;
    if (this.#tokens) this.#setState("signedIn", undefined);
    else this.#setState("signedOut", this.#endReason);
    this.#arm();
  }

  /** Tells listeners, if the state has changed, and whoever waited for the server's agreement. */
  notify(): void {
    if (this.#stateChanged) {
      this.#stateChanged = false;
      this.#state.notify();
    }
    if (this.#switching || this.#awaiting) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve();
  }

  /** The server refuses the token, or no longer stands by the one it had accepted. */
  refused({ error, baseVersion, authUpdateAttempted }: AuthError): void {
    if (!this.#tokens) return;
    // About an identity that is being replaced anyway.
    if ((!authUpdateAttempted && this.#awaiting) || baseVersion + 1 < this.#asked) return;
    this.link.pause("AuthError");
    if (++this.#refused > maxRefused) {
      this.#leave(new MimosaError("unauthenticated", error));
      this.link.resume();
      return;
    }
    // The socket starts anew with the next token, or without.
    void this.#renew().then(() => this.link.resume());
  }

  /**
   * Asks the server to sign in, with the socket's present identity. With an idempotency key it is asked again when the
   * answer is lost: the server makes one account of it, and one session.
   */
  enter(what: object, idempotencyKey?: string): Promise<SignInResult> {
    const args = { ...what, idempotencyKey };
    return new Promise((resolve, reject) => {
      const entry: Entry = { reject };
      let resent = 0;
      const answered = (value: Value) => {
        this.#entering--;
        const tokens = tokensIn(value, this.clock);
        if (!this.#entries.delete(entry)) {
          this.#decline(tokens);
        } else if (tokens === undefined) {
          const { redirect, verifier, linked } = Object(value) as Record<string, unknown>;
          if (redirect !== undefined) resolve({ status: "redirect", redirect: String(redirect), verifier: String(verifier) });
          else resolve({ status: linked === true ? "linked" : "started" });
        } else if (tokens === null) {
          this.#leave(undefined);
          reject(new MimosaError("unauthenticated", "the server answered the sign-in without a session"));
        } else {
          // At once, in the very message's handling: whatever is sent from now on, is sent as the new user.
          this.#become(tokens, true);
          this.#waiters.push({ resolve: () => resolve({ status: "signedIn" }), reject });
        }
      };
      const failed = (error: MimosaError) => {
        this.#entering--;
        if (!this.#entries.has(entry)) return this.#decline(null);
        // Also when the session before turns out to have ended: by this very sign-up, perhaps.
        const lost = error.code === "disconnected" || error.code === "identity_changed";
        // Not before everybody has heard of the loss.
        if (idempotencyKey && lost && resent++ < maxResent) return queueMicrotask(ask);
        this.#entries.delete(entry);
        reject(error);
      };
      const ask = () => {
        if (!this.#entries.has(entry)) return;
        try {
          this.link.action("auth:signIn", args, answered, failed);
          this.#entering++;
        } catch (error) {
          this.#entries.delete(entry);
          reject(error as MimosaError);
        }
      };
      this.#entries.add(entry);
      // Actions run side by side, and a sign-out that came to its end later would take the new user with it.
      if (this.#leaving) void this.#leaving.then(ask);
      else ask();
    });
  }

  /** Ends the session, here at once and on the server as soon as it hears of it. Never rejects. */
  leave(): Promise<void> {
    const entries = [...this.#entries];
    this.#entries.clear();
    // What was not sent yet, is not going to be.
    if (this.#entering > 0) this.link.userChanged();
    // Whose session it is will be known when the storage was read.
    const left = this.#loading ? this.#loading.then(() => this.#leaveAll(this.#tokens)) : this.#leaveAll(this.#tokens);
    // If there are some that an earlier sign-out has overtaken, this one waits for that one.
    const answered = this.#entering > 0 && !this.#outrun && new Promise<void>((resolve) => (this.#outrun = resolve));
    for (const { reject } of entries) reject(overtaken());
    const leaving = (this.#leaving = Promise.all([this.#leaving, left, answered])
      .then(() => this.#revoked)
      .then(() => this.#agreed())
      .finally(() => {
        if (this.#leaving === leaving) this.#leaving = undefined;
      }));
    return leaving;
  }

  async #leaveAll(old: Tokens | null): Promise<void> {
    if (!old) return;
    const told = new Promise<void>((done) => {
      if (!this.link.connected) {
        void this.#revoke(old);
        return done();
      }
      this.link.action("auth:signOut", {}, () => done(), (error) => {
        if (error.code !== "closed") void this.#revoke(old);
        done();
      });
    });
    this.#leave(undefined);
    await told;
  }

  /** Ends a session without its socket, now or as soon as there is a network. The promise is of the first attempt. */
  #revoke({ refreshToken }: Tokens): Promise<void> {
    this.#untold.add(refreshToken);
    return this.#tell(refreshToken);
  }

  /** By the refresh token, since the access token may have expired. */
  async #tell(refreshToken: string): Promise<void> {
    try {
      await this.link.post("auth:signOut", { refreshToken });
      this.#untold.delete(refreshToken);
    } catch {
      // With the next socket.
    }
  }

  /** The answer to a sign-in that a sign-out has overtaken. */
  #decline(tokens: Tokens | null | undefined): void {
    if (tokens) {
      this.#revoked = Promise.all([this.#revoked, this.#revoke(tokens)]);
      // The socket acts as that user since just now, and shows what that user sees.
      this.#switching = true;
      this.#authenticate();
    }
    if (this.#entering > 0 || !this.#outrun) return;
    this.#outrun();
    this.#outrun = undefined;
    this.link.release();
  }

  /** Waits until the server has confirmed who the user is. */
  #agreed(): Promise<void> | undefined {
    if (!this.#switching) return undefined;
    return new Promise((resolve) => this.#waiters.push({ resolve, reject: () => resolve() }));
  }

  end(error: MimosaError): void {
    this.#ended = true;
    this.#nextUser();
    this.#unsubscribe();
    this.#rejectWaiters(error);
  }

  #loaded(tokens: Tokens | null): void {
    // Closed, or told by another tab, while the storage was thinking: that is newer.
    if (this.#user > 0) return;
    this.#tokens = tokens;
    if (!tokens) this.#setState("signedOut", undefined);
    this.link.publish();
  }

  #setState(status: AuthState["status"], error: MimosaError | undefined): void {
    if (this.#state.set({ status, error })) this.#stateChanged = true;
  }

  #authenticate(): void {
    const baseVersion = this.#asked;
    const message: Authenticate = this.#tokens
      ? { type: "Authenticate", baseVersion, tokenType: "User", value: this.#tokens.token }
      : { type: "Authenticate", baseVersion, tokenType: "None" };
    if (!this.link.send(message)) return;
    this.#asked++;
    this.#awaiting = true;
  }

  /** Another user, with tokens that were just given or that another tab has stored. */
  #become(tokens: Tokens, persist: boolean): void {
    this.#nextUser();
    this.#tokens = tokens;
    this.#refused = 0;
    if (persist) this.vault.write(tokens);
    this.#switching = true;
    this.link.userChanged();
    if (this.link.connected) {
      this.#authenticate();
    } else {
      this.link.forget();
      this.#setState("loading", undefined);
      this.link.publish();
    }
  }

  /** Nobody, for the reason given, or because that was wished. */
  #leave(reason: MimosaError | undefined): void {
    this.#nextUser();
    this.#tokens = null;
    this.#endReason = reason;
    this.vault.write(null);
    this.#rejectWaiters(reason ?? overtaken());
    this.#switching = true;
    this.link.userChanged();
    if (this.link.connected) this.#authenticate();
    else this.#gone();
  }

  #gone(): void {
    this.#switching = false;
    this.link.forget();
    this.#setState("signedOut", this.#endReason);
    this.link.publish();
  }

  #nextUser(): void {
    this.#user++;
    this.#stopTimer();
    this.#abandonRenewal();
  }

  #rejectWaiters(error: MimosaError): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }

  #due(): boolean {
    return this.#tokens?.renewAt !== undefined && this.#tokens.renewAt <= this.clock.now();
  }

  #arm(): void {
    this.#stopTimer();
    const at = this.#tokens?.renewAt;
    if (at === undefined) return;
    this.#stopTimer = this.clock.after(Math.max(at - this.clock.now(), 0), () => {
      // Without a socket it waits for the next attempt to connect.
      if (!this.link.connected) return;
      if (this.#due()) void this.#renew();
      else this.#arm();
    });
  }

  /**
   * Replaces the tokens, however long that takes: a network or a server that is away signs nobody out. Ends early when
   * the user changes. Tabs take turns, since a refresh token that is used twice may end the session.
   */
  #renew(): Promise<void> {
    return (this.#renewing ??= new Promise<void>((done) => {
      this.#abandonRenewal = () => {
        this.#stopRetry();
        this.#renewing = undefined;
        done();
      };
      void this.#renewUntilDone(this.#user).then((finished) => {
        if (finished) this.#abandonRenewal();
      });
    }));
  }

  /** False if the user has changed meanwhile, and it is another renewal's turn. */
  async #renewUntilDone(user: number): Promise<boolean> {
    const backoff = new Backoff(this.clock);
    for (;;) {
      try {
        await this.lock(this.vault.key, () => this.#renewOnce(user));
        return user === this.#user;
      } catch {
        if (user !== this.#user) return false;
        await new Promise<void>((wake) => (this.#stopRetry = this.clock.after(backoff.next(retryBase), wake)));
      }
    }
  }

  async #renewOnce(user: number): Promise<void> {
    const stored = await this.vault.read();
    if (user !== this.#user || !this.#tokens) return;
    if (stored?.refreshToken !== this.#tokens.refreshToken) return this.#follow(stored);
    const answer = await this.link.post("auth:signIn", { refreshToken: stored.refreshToken });
    if (user !== this.#user) return;
    const tokens = tokensIn(answer, this.clock);
    if (tokens === undefined) throw new MimosaError("protocol", "a renewal without tokens");
    if (tokens === null) return this.#leave(new MimosaError("unauthenticated", "the session has ended"));
    this.vault.write(tokens);
    this.#renewed(tokens);
  }

  #renewed(tokens: Tokens): void {
    this.#tokens = tokens;
    if (this.link.connected) this.#authenticate();
  }

  /** Another tab has changed what is stored. */
  async #reread(): Promise<void> {
    const user = this.#user;
    const stored = await this.vault.read();
    if (user !== this.#user || this.#ended || stored?.refreshToken === this.#tokens?.refreshToken) return;
    this.#follow(stored);
  }

  #follow(stored: Tokens | null): void {
    if (!stored) this.#leave(undefined);
    else if (this.#tokens && sameSubject(stored, this.#tokens)) this.#renewed(stored);
    else this.#become(stored, false);
  }
}

function overtaken(): MimosaError {
  return new MimosaError("identity_changed", "signed out before the sign-in was complete");
}
