import type { Json, Value } from "./values.js";
import { decode } from "./values.js";

/** One broken rule of a validation error. */
export interface Issue {
  /** Dotted path of the offending value, "items.0.name"; "" is the root. */
  readonly path: string;
  /** Name of the rule that is broken: "required", "maxLength", "format", … */
  readonly rule: string;
  /** What is wrong, in words that never echo the value. */
  readonly message: string;
}

/**
 * The codes this client itself produces. A server's codes (invalid, unauthenticated, forbidden, not_found,
 * already_exists, conflict, too_large, busy, internal, and an application's own) arrive in the same field.
 *
 * - `disconnected`: the connection was lost while an action ran; whether it took effect is unknown.
 * - `identity_changed`: the user changed before the server confirmed this mutation, and it is not run again as
 *   somebody else; if it had been sent, it may have taken effect.
 * - `closed`: the client was closed.
 * - `fatal`: the server ended this client for good.
 * - `protocol`: the server sent what this client cannot understand; it reconnects.
 * - `bad_value`: an argument cannot travel: a function, a cycle, a key that begins with `$`, …
 * - `unreachable`: an HTTP call found no server, or something that is not a Mimosa server.
 */
export type ClientCode =
  | "disconnected"
  | "identity_changed"
  | "closed"
  | "fatal"
  | "protocol"
  | "bad_value"
  | "unreachable";

/** Every error this client rejects with or shows in a snapshot. Branch on `code`, never on `message`. */
export class MimosaError extends Error {
  override readonly name: string = "MimosaError";
  /** Machine-readable reason: the server's code, or one of {@link ClientCode}. */
  readonly code: string;
  /** The broken rules of a validation error; empty for every other error. */
  readonly issues: readonly Issue[];
  /** What the application attached to its error; undefined if nothing. */
  readonly data: Value | undefined;

  constructor(code: string, message: string, extra: { issues?: readonly Issue[]; data?: Value | undefined } = {}) {
    super(message);
    this.code = code;
    this.issues = extra.issues ?? [];
    this.data = extra.data;
  }
}

function isIssue(v: Value | undefined): v is { path: string; rule: string; message: string } {
  if (typeof v !== "object" || v === null || Array.isArray(v) || v instanceof Uint8Array) return false;
  return typeof v["path"] === "string" && typeof v["rule"] === "string" && typeof v["message"] === "string";
}

/**
 * Builds the error a server reported. errorData is {code, message, issues?, data?}; anything else, from a server
 * that follows another convention, is kept whole in `data` under the code "internal".
 */
export function fromServer(message: string, errorData: Json | undefined): MimosaError {
  if (errorData === undefined) return new MimosaError("internal", message);
  let payload: Value;
  try {
    payload = decode(errorData);
  } catch {
    return new MimosaError("internal", message);
  }
  if (
    typeof payload === "object" && payload !== null && !Array.isArray(payload) &&
    !(payload instanceof Uint8Array) && typeof payload["code"] === "string"
  ) {
    const { code, message: text, issues, data } = payload;
    return new MimosaError(code, typeof text === "string" ? text : message, {
      issues: Array.isArray(issues) ? issues.filter(isIssue) : [],
      data,
    });
  }
  return new MimosaError("internal", message, { data: payload });
}

/** Makes a MimosaError of whatever was thrown while a message was read. */
export function asError(thrown: unknown): MimosaError {
  return thrown instanceof MimosaError ? thrown : new MimosaError("protocol", String(thrown));
}
