import { MimosaError } from "./errors.js";

/** What JSON.parse may return. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * A value as programs see it: JSON, plus bigint for 64-bit integers and Uint8Array for bytes. NaN, the
 * infinities and -0 are ordinary numbers.
 */
export type Value = null | boolean | number | bigint | string | Uint8Array | Value[] | { [key: string]: Value };

/** Arguments of a function: an object; keys whose value is undefined are left out. */
export type Args = { readonly [key: string]: unknown };

const minInt64 = -(2n ** 63n);
const maxInt64 = 2n ** 63n - 1n;
/** Well below what a server takes, the levels of the message around it included. */
const maxDepth = 100;
const keyPattern = /^[ -#%-~][ -~]{0,1023}$/; // printable ASCII, not beginning with $, at most 1,024 characters

/**
 * Turns a value into what travels: bigint as `$integer`, bytes as `$bytes`, the numbers that JSON lacks as
 * `$float`. Throws a {@link MimosaError} `bad_value`, naming the path, for what has no form on the wire.
 */
export function encode(value: unknown, path = "", depth = 0): Json {
  const fail = (what: string) => new MimosaError("bad_value", `${path || "the value"}: ${what}`);
  // Also what ends a cycle.
  if (depth > maxDepth) throw fail(`nested deeper than ${maxDepth}`);
  switch (typeof value) {
    case "boolean":
    case "string":
      return value;
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return { $float: toBase64(little((view) => view.setFloat64(0, value, true))) };
    case "bigint":
      if (value < minInt64 || value > maxInt64) throw fail("does not fit in 64 bits");
      return { $integer: toBase64(little((view) => view.setBigInt64(0, value, true))) };
    case "object":
      break;
    default:
      throw fail(`${typeof value} is not a value`);
  }
  if (value === null) return null;
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) };
  if (value instanceof ArrayBuffer) return { $bytes: toBase64(new Uint8Array(value)) };
  const at = (key: string | number) => (path ? `${path}.${key}` : String(key));
  if (Array.isArray(value)) {
    // Array.from and not map, since map would skip the holes of a sparse array.
    return Array.from(value as unknown[], (item, i) => encode(item, at(i), depth + 1));
  }
  const proto: unknown = Object.getPrototypeOf(value);
  // An object of another realm (an iframe, a vm) has another Object.prototype; its own prototype is null.
  if (proto !== null && Object.getPrototypeOf(proto) !== null) throw fail("only plain objects are values");
  const out: { [key: string]: Json } = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    if (!keyPattern.test(key)) throw fail(`${JSON.stringify(key.slice(0, 40))} cannot be a key`);
    put(out, key, encode(item, at(key), depth + 1));
  }
  return out;
}

/** The inverse of {@link encode}. Throws a {@link MimosaError} `protocol` for a `$` form it does not know. */
export function decode(json: Json): Value {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(decode);
  const keys = Object.keys(json);
  const tag = keys[0];
  if (tag?.startsWith("$")) {
    const body = json[tag];
    if (keys.length === 1 && typeof body === "string") {
      if (tag === "$bytes") return fromBase64(body);
      const bytes = tag === "$integer" || tag === "$float" ? fromBase64(body) : undefined;
      if (bytes?.length === 8) {
        const view = new DataView(bytes.buffer);
        return tag === "$integer" ? view.getBigInt64(0, true) : view.getFloat64(0, true);
      }
    }
    throw new MimosaError("protocol", `cannot read a ${tag} value`);
  }
  const out: { [key: string]: Value } = {};
  for (const key of keys) put(out, key, decode(json[key] as Json));
  return out;
}

/** The one text that equal encoded values share: keys sorted, no spaces. It names a query in the query set. */
export function canonical(json: Json): string {
  if (typeof json !== "object" || json === null) return JSON.stringify(json);
  if (Array.isArray(json)) return `[${json.map(canonical).join()}]`;
  const pairs = Object.keys(json).sort().map((key) => `${JSON.stringify(key)}:${canonical(json[key] as Json)}`);
  return `{${pairs.join()}}`;
}

/**
 * Returns `after` with every part that equals its counterpart in `before` replaced by that very object, and
 * `before` itself if all of it is equal. So a view that compares by identity renders only what changed, and a
 * result that is sent again after a reconnect changes nothing. Rows of a list are matched by `_id`, so that a new
 * first row does not make all the others new.
 */
export function reuse(before: Value | undefined, after: Value): Value {
  if (Object.is(before, after)) return after;
  if (typeof before !== "object" || typeof after !== "object" || before === null || after === null) return after;
  if (before instanceof Uint8Array || after instanceof Uint8Array) {
    return before instanceof Uint8Array && after instanceof Uint8Array && before.length === after.length &&
      before.every((byte, i) => byte === after[i])
      ? before
      : after;
  }
  if (Array.isArray(before) || Array.isArray(after)) {
    if (!Array.isArray(before) || !Array.isArray(after)) return after;
    const byId = new Map(before.map((row) => [idOf(row), row]));
    const shared = after.map((row, i) => reuse(byId.get(idOf(row) ?? after) ?? before[i], row));
    return shared.length === before.length && shared.every((row, i) => Object.is(row, before[i])) ? before : shared;
  }
  const keys = Object.keys(after);
  let same = keys.length === Object.keys(before).length;
  const out: { [key: string]: Value } = {};
  for (const key of keys) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    const item = reuse(old, after[key] as Value);
    same &&= Object.is(item, old);
    put(out, key, item);
  }
  return same ? before : out;
}

function idOf(row: Value): Value | undefined {
  return typeof row === "object" && row !== null && !Array.isArray(row) && !(row instanceof Uint8Array)
    ? row["_id"]
    : undefined;
}

/** Sets an own property, also one named __proto__, which a plain assignment would turn into a prototype. */
function put<T>(target: { [key: string]: T }, key: string, value: T): void {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
  } else {
    target[key] = value;
  }
}

function little(write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(8);
  write(new DataView(bytes.buffer));
  return bytes;
}

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  // In slices, since a call takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    throw new MimosaError("protocol", "cannot read base64");
  }
}
