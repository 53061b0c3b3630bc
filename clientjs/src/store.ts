/** Something to watch, in the shape that React's useSyncExternalStore takes. Both members may be used unbound. */
export interface Readable<T> {
  /** The current state; the same object until it changes. */
  readonly getSnapshot: () => T;
  /** Calls back after every change. Returns what ends that; ending twice is harmless. */
  readonly subscribe: (listener: () => void) => () => void;
}

/** A set of callbacks. One that throws is reported and keeps none of the others from running. */
export class Listeners {
  readonly #all = new Set<{ listener: () => void }>();

  get size(): number {
    return this.#all.size;
  }

  add(listener: () => void): () => void {
    // Boxed, so that one function subscribed twice counts twice.
    const box = { listener };
    this.#all.add(box);
    return () => void this.#all.delete(box);
  }

  clear(): void {
    this.#all.clear();
  }

  notify(): void {
    for (const box of [...this.#all]) {
      // One that was removed by a callback before it is not called any more.
      if (this.#all.has(box)) guard(box.listener);
    }
  }
}

/** Runs a callback of the program; what it throws is the program's, and must not break the client's state. */
export function guard(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}

/** A value that tells its listeners when it is replaced by one that differs in a field. */
export class Cell<T extends object> implements Readable<T> {
  #value: T;
  readonly #listeners = new Listeners();

  constructor(value: T) {
    this.#value = value;
  }

  readonly getSnapshot = (): T => this.#value;
  readonly subscribe = (listener: () => void): (() => void) => this.#listeners.add(listener);

  /** Replaces the value; false, and nothing else, if every field is what it was. */
  set(next: T): boolean {
    const keys = Object.keys(next) as (keyof T)[];
    if (keys.length === Object.keys(this.#value).length && keys.every((k) => Object.is(next[k], this.#value[k]))) {
      return false;
    }
    this.#value = next;
    return true;
  }

  notify(): void {
    this.#listeners.notify();
  }

  clear(): void {
    this.#listeners.clear();
  }
}
