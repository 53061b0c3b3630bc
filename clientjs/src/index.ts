/**
 * The client of Mimosa, a reactive document database: live queries, mutations that take effect exactly once, actions,
 * signing in. Without dependencies; for browsers, Node, Deno, Bun and edge runtimes.
 */
export { MimosaClient } from "./client.js";
export type { ClientAuth, ClientOptions, ConnectionState } from "./client.js";
export type { Clock } from "./clock.js";
export { MimosaError } from "./errors.js";
export type { ClientCode, Issue } from "./errors.js";
export { MimosaHttp } from "./http.js";
export type { Fetch, HttpOptions } from "./http.js";
export type { Snapshot, Watch } from "./queries.js";
export type { AuthState, Lock, SignInResult } from "./session.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export { browserStorage, memoryStorage } from "./storage.js";
export type { TokenStorage } from "./storage.js";
export type { Readable } from "./store.js";
export type { AnyApi, ApiTypes, ArgsOf, Names, Returns } from "./types.js";
export { decode, encode } from "./values.js";
export type { Args, Json, Value } from "./values.js";
