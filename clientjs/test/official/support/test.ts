import type { TestContext } from "node:test";
import nodeTest from "node:test";

/** A test as Node runs it, but one that waits for what never comes fails and does not wait for ever. */
export function test(name: string, run: (t: TestContext) => Promise<void> | void): void {
  void nodeTest(name, { timeout: 60_000 }, run);
}
