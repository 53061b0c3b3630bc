import { encodeCall } from "./call.js";
import type { Clock } from "./clock.js";
import { systemClock } from "./clock.js";
import { fromServer, MimosaError } from "./errors.js";
import type { Json, Value } from "./values.js";
import { decode } from "./values.js";

/** The part of fetch that is used. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body: string; signal: AbortSignal },
) => Promise<{ readonly status: number; text(): Promise<string> }>;

const timeLimit = 30_000;

/** The address without a slash at its end, for HTTP and for websockets. Throws a TypeError if it is no such address. */
export function addresses(url: string | URL): { http: string; ws: string } {
  const parsed = new URL(url);
  const match = /^(?:http|ws)(s?):$/.exec(parsed.protocol);
  if (!match) throw new TypeError(`mimosa: ${parsed.protocol} is not http: or https:`);
  const rest = `${match[1] ?? ""}://${parsed.host}${parsed.pathname.replace(/\/+$/, "")}`;
  return { http: `http${rest}`, ws: `ws${rest}` };
}

/** One call over HTTP. Rejects with the function's error, or with `unreachable` if no answer of a server came. */
export async function post(
  fetch: Fetch, clock: Clock, base: string, kind: "query" | "mutation" | "action", path: string, args: unknown,
  token?: string,
): Promise<Value> {
  const body = JSON.stringify({ path, format: "convex_encoded_json", args: [encodeCall(path, args)] });
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (token !== undefined) headers["Authorization"] = `Bearer ${token}`;
  const abort = new AbortController();
  const stop = clock.after(timeLimit, () => abort.abort());
  let status = 0;
  let answer: { status?: unknown; value?: Json; errorMessage?: unknown; errorData?: Json } | null;
  try {
    const response = await fetch(`${base}/api/${kind}`, { method: "POST", headers, body, signal: abort.signal });
    status = response.status;
    answer = JSON.parse(await response.text()) as typeof answer;
  } catch (error) {
    throw new MimosaError("unreachable", status ? `HTTP ${status}, and no answer in it` : String(error));
  } finally {
    stop();
  }
  if (answer?.status === "success") return decode(answer.value ?? null);
  if (answer?.status === "error") throw fromServer(String(answer.errorMessage), answer.errorData);
  throw new MimosaError("unreachable", `HTTP ${status}, and no answer in it`);
}

/** How {@link MimosaHttp} is set up; every field may be left out. */
export interface HttpOptions {
  fetch?: Fetch;
  /** Gives the access token to call with, if any. */
  token?: () => string | undefined;
}

/**
 * Calls over plain HTTP, one request each and nothing kept in between: for servers, edge functions and scripts. A
 * mutation whose answer is lost may have taken effect; where that matters, use MimosaClient.
 */
export class MimosaHttp {
  readonly #base: string;
  readonly #fetch: Fetch;
  readonly #token: () => string | undefined;

  constructor(url: string | URL, options: HttpOptions = {}) {
    this.#base = addresses(url).http;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#token = options.token ?? (() => undefined);
  }

  query(path: string, args: unknown = {}): Promise<Value> {
    return this.#call("query", path, args);
  }

  mutation(path: string, args: unknown = {}): Promise<Value> {
    return this.#call("mutation", path, args);
  }

  action(path: string, args: unknown = {}): Promise<Value> {
    return this.#call("action", path, args);
  }

  #call(kind: "query" | "mutation" | "action", path: string, args: unknown): Promise<Value> {
    return post(this.#fetch, systemClock, this.#base, kind, path, args, this.#token());
  }
}
