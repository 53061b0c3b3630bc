import assert from "node:assert/strict";

/** For how long anything may take. It is reached only when what is waited for never comes. */
const patience = 20_000;

/** Waits for a promise; fails, saying what was waited for, when it takes too long. */
export async function deadline<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `waited in vain for ${what}` })), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is yes. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + patience;
  while (!(await holds())) {
    if (Date.now() > end) assert.fail(`waited in vain for ${what}`);
    await new Promise((turn) => setTimeout(turn, 5));
  }
}

/** A reproducible sequence of numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x45d9f3b);
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** The seed of this run: the one in MIMOSA_SEED, or a new one. Tests print it. */
export function newSeed(): number {
  const given = process.env["MIMOSA_SEED"];
  return given ? Number(given) : Math.floor(Math.random() * 2 ** 32);
}
