/** Time and chance, which tests replace. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls back once after ms; returns what stops it. */
  after(ms: number, callback: () => void): () => void;
  /** A number in [0, 1). */
  random(): number;
}

/** What timers hold at most; a longer delay would fire at once. */
const maxDelay = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(ms, maxDelay));
    return () => clearTimeout(timer);
  },
};

/** Exponential backoff: each wait twice the last up to 16 s, and ±50 % so that clients do not come all at once. */
export class Backoff {
  #failures = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get failures(): number {
    return this.#failures;
  }

  /** The next wait in ms, from a base that tells how soon the first retry is welcome. */
  next(base: number): number {
    const wait = Math.min(base * 2 ** this.#failures++, 16_000);
    return wait * (0.5 + this.#clock.random());
  }

  reset(): void {
    this.#failures = 0;
  }
}
