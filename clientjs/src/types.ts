import type { Args, Value } from "./values.js";

/**
 * The functions of a server, by name, as a type: what a generated file describes and a program passes as the type
 * parameter of MimosaClient. Each entry is {args, returns}.
 *
 *     type Api = {
 *       queries: { "messages:list": { args: { room: string }; returns: Message[] } };
 *       mutations: { "messages:send": { args: { room: string; text: string }; returns: string } };
 *       actions: {};
 *     };
 *     const client = new MimosaClient<Api>("http://localhost:8787");
 */
export interface ApiTypes {
  queries: object;
  mutations: object;
  actions: object;
}

interface AnyFunction {
  args: Args;
  returns: Value;
}

/** A server whose functions are not described: every name, any arguments, results of type Value. */
export interface AnyApi extends ApiTypes {
  queries: { [name: string]: AnyFunction };
  mutations: { [name: string]: AnyFunction };
  actions: { [name: string]: AnyFunction };
}

/** The names in a table of functions. */
export type Names<Table> = keyof Table & string;

/** What a function returns. */
export type Returns<Table, Name extends keyof Table> = Table[Name] extends { returns: infer R } ? R : Value;

/** A function's arguments as the rest of a parameter list: they may be left out where {} will do. */
export type ArgsOf<Table, Name extends keyof Table> = Table[Name] extends { args: infer A }
  ? {} extends A ? [args?: A] : [args: A]
  : [args?: Args];
