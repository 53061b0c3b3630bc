import type { Json } from "./values.js";
import { fromBase64, toBase64 } from "./values.js";

/** The version this client announces in the socket's path, `/api/<version>/sync`. */
export const protocolVersion = "0.1.0";

/** A commit timestamp as it travels: base64 of eight bytes, little-endian. */
export type Timestamp = string;

/** Where a socket stands: the query set, the identity, and the commit its results are of. */
export interface Version {
  readonly querySet: number;
  readonly identity: number;
  readonly ts: Timestamp;
}

export const zeroTimestamp: Timestamp = toBase64(new Uint8Array(8));
export const zeroVersion: Version = { querySet: 0, identity: 0, ts: zeroTimestamp };

/** The number behind a timestamp. It exceeds what a double holds exactly, hence bigint. */
export function instant(ts: Timestamp): bigint {
  const bytes = fromBase64(ts);
  if (bytes.length !== 8) throw new RangeError(`timestamp of ${bytes.length} bytes`);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

/** The inverse of {@link instant}. */
export function timestamp(at: bigint): Timestamp {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, at, true);
  return toBase64(bytes);
}

export interface Connect {
  type: "Connect";
  sessionId: string;
  connectionCount: number;
  lastCloseReason: string | null;
  maxObservedTimestamp?: Timestamp;
  clientTs: number;
}

export type Authenticate =
  | { type: "Authenticate"; baseVersion: number; tokenType: "User"; value: string }
  | { type: "Authenticate"; baseVersion: number; tokenType: "None" };

export type QuerySetChange =
  | { type: "Add"; queryId: number; udfPath: string; args: [Json]; journal?: string | null }
  | { type: "Remove"; queryId: number };

export interface ModifyQuerySet {
  type: "ModifyQuerySet";
  baseVersion: number;
  newVersion: number;
  modifications: QuerySetChange[];
}

export interface Call {
  type: "Mutation" | "Action";
  requestId: number;
  udfPath: string;
  args: [Json];
}

export type ClientMessage = Connect | Authenticate | ModifyQuerySet | Call;

export type ResultChange =
  | { type: "QueryUpdated"; queryId: number; value: Json; logLines: string[]; journal?: string | null }
  | {
      type: "QueryFailed";
      queryId: number;
      errorMessage: string;
      errorData?: Json;
      logLines: string[];
      journal?: string | null;
    }
  | { type: "QueryRemoved"; queryId: number };

export interface Transition {
  type: "Transition";
  startVersion: Version;
  endVersion: Version;
  modifications: ResultChange[];
}

export interface TransitionChunk {
  type: "TransitionChunk";
  chunk: string;
  partNumber: number;
  totalParts: number;
  transitionId: string;
}

interface Success {
  requestId: number;
  success: true;
  result: Json;
  logLines: string[];
}

interface Failure {
  requestId: number;
  success: false;
  result: string;
  errorData?: Json;
  logLines: string[];
}

export type MutationResponse = { type: "MutationResponse" } & ((Success & { ts: Timestamp }) | Failure);
export type ActionResponse = { type: "ActionResponse" } & (Success | Failure);

export interface AuthError {
  type: "AuthError";
  error: string;
  baseVersion: number;
  authUpdateAttempted: boolean;
}

export type ServerMessage =
  | Transition
  | TransitionChunk
  | MutationResponse
  | ActionResponse
  | AuthError
  | { type: "FatalError"; error: string }
  | { type: "Ping" };
