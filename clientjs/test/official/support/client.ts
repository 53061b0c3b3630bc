import assert from "node:assert/strict";
import type { ConvexClientOptions } from "convex/browser";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import type { FunctionArgs, FunctionReference, FunctionReturnType } from "convex/server";
import type { ConvexError, Value } from "convex/values";
import { Network } from "./network.js";
import type { Server } from "./server.js";
import { deadline } from "./wait.js";

/** A client and its network. When the test has ended, the client is closed and its conversation checked. */
export interface Connected {
  client: ConvexClient;
  network: Network;
}

export function connect(server: Server, options: ConvexClientOptions = {}): Connected {
  const network = new Network();
  const client = new ConvexClient(server.url, { webSocketConstructor: network.WebSocket, logger: false, ...options });
  server.beforeEnd(async () => {
    await client.close();
    network.check();
  });
  return { client, network };
}

export function http(server: Server): ConvexHttpClient {
  return new ConvexHttpClient(server.url, { logger: false });
}

type Query = FunctionReference<"query">;

/** All results of one live query of a client, in their order. */
export class Watch<R> {
  readonly values: R[] = [];
  readonly errors: Error[] = [];
  readonly #name: string;
  readonly #waiting = new Set<() => void>();
  readonly #current: () => R | undefined;
  readonly unsubscribe: () => void;

  private constructor(name: string, subscribe: (result: (value: R) => void, error: (e: Error) => void) => {
    getCurrentValue(): R | undefined;
    unsubscribe(): void;
  }) {
    this.#name = name;
    const changed = () => {
      for (const look of this.#waiting) look();
    };
    const subscription = subscribe(
      (value) => {
        this.values.push(value);
        changed();
      },
      (error) => {
        this.errors.push(error);
        changed();
      },
    );
    this.#current = () => subscription.getCurrentValue();
    this.unsubscribe = () => subscription.unsubscribe();
  }

  static of<Q extends Query>(client: ConvexClient, query: Q, args: FunctionArgs<Q>): Watch<FunctionReturnType<Q>> {
    const name = JSON.stringify(args, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v));
    return new Watch(name, (result, error) => client.onUpdate(query, args, result, error));
  }

  /** What the client holds now, which it may be about to tell. */
  get current(): R | undefined {
    return this.#current();
  }

  get last(): R | undefined {
    return this.values.at(-1);
  }

  /** The first result, past ones included, for which the condition holds. */
  async until(what: string, holds: (value: R) => boolean): Promise<R> {
    return deadline(`${what} in the query of ${this.#name}`, new Promise((resolve) => {
      let next = 0;
      const look = () => {
        for (; next < this.values.length; next++) {
          const value = this.values[next] as R;
          if (!holds(value)) continue;
          this.#waiting.delete(look);
          resolve(value);
          return;
        }
      };
      this.#waiting.add(look);
      look();
    }));
  }

  /** The first result there is. */
  async first(): Promise<R> {
    return this.until("a result", () => true);
  }

  /** The first error there is. */
  async failure(): Promise<Error> {
    return deadline(`an error in the query of ${this.#name}`, new Promise((resolve) => {
      const look = () => {
        const [error] = this.errors;
        if (!error) return;
        this.#waiting.delete(look);
        resolve(error);
      };
      this.#waiting.add(look);
      look();
    }));
  }
}

/** What errors carry that were made for the client. */
export type ErrorData = {
  code: string;
  message: string;
  issues?: { path: string; rule: string; message: string }[];
  data?: Value;
};

/** What a call failed with. */
export async function failureOf(call: Promise<unknown>): Promise<Error> {
  const outcome = await deadline("a failure", call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  ));
  assert("error" in outcome, `the call succeeded with ${String((outcome as { value: unknown }).value)}`);
  assert(outcome.error instanceof Error);
  return outcome.error;
}

/** The data of an error that was made for the client. */
export function dataOf(error: Error): ErrorData {
  assert.equal(error.constructor.name, "ConvexError", `${error.message} is not a ConvexError`);
  return (error as ConvexError<ErrorData>).data;
}
