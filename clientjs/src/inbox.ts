import { MimosaError } from "./errors.js";
import type { ServerMessage, TransitionChunk } from "./protocol.js";

/** Reads the frames of one socket, and puts a Transition that came in slices together again. */
export class Inbox {
  #slices: string[] = [];
  #id = "";

  /** The message a frame holds or completes; undefined while slices are missing. Throws if it cannot be read. */
  read(data: unknown): ServerMessage | undefined {
    if (typeof data !== "string") throw new MimosaError("protocol", "a frame that is not text");
    const message = parse(data);
    if (message.type !== "TransitionChunk") {
      if (this.#slices.length > 0 && message.type !== "Ping") throw broken();
      return message;
    }
    return this.#add(message);
  }

  #add({ chunk, partNumber, totalParts, transitionId }: TransitionChunk): ServerMessage | undefined {
    const at = this.#slices.length;
    if (at === 0) this.#id = transitionId;
    if (partNumber !== at || partNumber >= totalParts || transitionId !== this.#id) throw broken();
    this.#slices.push(chunk);
    if (this.#slices.length < totalParts) return undefined;
    const whole = parse(this.#slices.join(""));
    this.#slices = [];
    return whole;
  }
}

function parse(text: string): ServerMessage {
  return JSON.parse(text) as ServerMessage;
}

function broken(): MimosaError {
  return new MimosaError("protocol", "the slices of a Transition do not follow one another");
}
