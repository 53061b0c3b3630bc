import { makeFunctionReference } from "convex/server";

// The test server's functions, as a program's generated code would name them. Type aliases, since only those can be records.

export type User = { _id: string; email?: string; nickname: string; role: string };
export type Course = { _id: string; name: string; members: number };
export type Visit = { _id: string; who: string; note: string };
type None = Record<string, never>;

export const api = {
  me: makeFunctionReference<"query", None, User | null>("users:me"),
  enrolments: makeFunctionReference<"query", None, string[]>("enrolments:mine"),
  courses: makeFunctionReference<"query", None, Course[]>("courses:list"),
  visits: makeFunctionReference<"query", None, Visit[]>("visits:list"),
  visit: makeFunctionReference<"mutation", { note: string }, string>("visits:add"),
};
