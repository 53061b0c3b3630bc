import type { PaginationOptions, PaginationResult } from "convex/server";
import { makeFunctionReference } from "convex/server";
import type { Value } from "convex/values";

// The functions of the test server, as a program's generated code would name them.

const query = <A extends Record<string, Value>, R>(name: string) => makeFunctionReference<"query", A, R>(name);
const mutation = <A extends Record<string, Value>, R>(name: string) => makeFunctionReference<"mutation", A, R>(name);
const action = <A extends Record<string, Value>, R>(name: string) => makeFunctionReference<"action", A, R>(name);

// Type aliases and not interfaces: only those can be records.

export type User = { _id: string; _creationTime: number; email: string; nickname: string };
export type Message = { _id: string; _creationTime: number; room: string; text: string; author?: string };
export type Counter = { _id: string; _creationTime: number; name: string; value: number };
export type None = Record<string, never>;
type Fail = { code: string; message: string; data?: Value; issues?: { path: string; rule: string; message: string }[] };
export type Everything = {
  text: string; bool: boolean; int: number; big: bigint; float: number; bytes: ArrayBuffer; time: string;
  list: string[]; map: Record<string, number>; maybe?: string; any?: Value;
};
export type Rows = { list: string; desc?: boolean; floor?: string; mostRows?: number };
export type SignInArgs = { provider?: string; params?: Record<string, Value>; refreshToken?: string };
export type SignInResult = { tokens?: { token: string; refreshToken: string } | null };

export const api = {
  counters: {
    get: query<{ name: string }, number>("counters:get"),
    all: query<None, Counter[]>("counters:all"),
    add: mutation<{ name: string; by: number }, number>("counters:add"),
    addSlowly: mutation<{ name: string; by: number }, number>("counters:addSlowly"),
    move: mutation<{ from: string; to: string; by: number }, null>("counters:move"),
    reached: action<{ name: string; value: number }, number>("counters:reached"),
  },
  entries: {
    list: query<{ list: string }, string[]>("entries:list"),
    add: mutation<{ list: string; token: string }, number>("entries:add"),
    addHeld: mutation<{ list: string; token: string; gate: string }, number>("entries:addHeld"),
  },
  messages: {
    list: query<{ room: string }, Message[]>("messages:list"),
    send: mutation<{ room: string; text: string }, string>("messages:send"),
  },
  rows: {
    page: makeFunctionReference<"query", Rows & { paginationOpts: PaginationOptions }, PaginationResult<number>>("rows:page"),
    all: query<Rows, number[]>("rows:all"),
    add: mutation<{ list: string; ranks: number[] }, null>("rows:add"),
    remove: mutation<{ list: string; ranks: number[] }, null>("rows:remove"),
    rerank: mutation<{ list: string; from: number; to: number }, null>("rows:rerank"),
  },
  users: {
    me: query<None, User | null>("users:me"),
    whoami: action<None, User | null>("users:whoami"),
  },
  people: {
    staffRoom: query<None, string>("people:staffRoom"),
    setRole: mutation<{ user: string; role: string }, null>("people:setRole"),
    ban: mutation<{ user: string }, null>("people:ban"),
    remove: mutation<{ user: string }, null>("people:remove"),
  },
  values: {
    query: query<Everything, Everything>("values:query"),
    mutation: mutation<Everything, Everything>("values:mutation"),
    action: action<Everything, Everything>("values:action"),
    keep: mutation<{ key: string; value: Value }, null>("values:keep"),
    kept: query<{ key: string }, Value>("values:kept"),
  },
  errors: {
    query: query<Fail, number>("errors:query"),
    mutation: mutation<Fail, number>("errors:mutation"),
    action: action<Fail, number>("errors:action"),
    internal: mutation<None, number>("errors:internal"),
  },
  bugs: {
    query: query<{ panic: boolean }, number>("bugs:query"),
    mutation: mutation<{ panic: boolean }, number>("bugs:mutation"),
    action: action<{ panic: boolean }, number>("bugs:action"),
  },
  auth: {
    signIn: action<SignInArgs, SignInResult>("auth:signIn"),
    signOut: action<None, null>("auth:signOut"),
    isAuthenticated: query<None, boolean>("auth:isAuthenticated"),
    sessions: query<None, { _id: string; current: boolean; provider: string }[]>("auth:sessions"),
    revokeSession: mutation<{ session: string }, null>("auth:revokeSession"),
    revokeOtherSessions: mutation<None, null>("auth:revokeOtherSessions"),
  },
};
