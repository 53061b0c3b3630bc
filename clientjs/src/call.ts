import { MimosaError } from "./errors.js";
import type { Json } from "./values.js";
import { encode } from "./values.js";

const pathPattern = /^[!-~]+:[!-9;-~]+$/;
const maxPath = 1024;
/** In UTF-16 units, so that the frame it travels in stays below the 8 MiB that a server takes, whatever the text. */
const maxLength = 2_500_000;

/**
 * Checks and encodes a call. What a server could only take for a broken client, and end it, is refused here, as
 * `bad_value` or `too_large`, and costs nothing but this call.
 */
export function encodeCall(path: string, args: unknown): Json {
  if (path.length > maxPath || !pathPattern.test(path)) {
    throw new MimosaError("bad_value", "a function's name is module:function");
  }
  const encoded = encode(args ?? {});
  if (typeof encoded !== "object" || encoded === null || Array.isArray(encoded)) {
    throw new MimosaError("bad_value", "arguments are an object");
  }
  if (JSON.stringify(encoded).length > maxLength) {
    throw new MimosaError("too_large", `arguments of more than ${maxLength} characters`);
  }
  return encoded;
}
