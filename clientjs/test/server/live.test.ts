import assert from "node:assert/strict";
import { test } from "node:test";
import { MimosaError } from "../../src/errors.js";
import { MimosaHttp } from "../../src/http.js";
import type { Value } from "../../src/values.js";
import { TestServer, until } from "../support/server.js";

test("a write is in every subscription when its promise resolves, the writer's and soon the other's", async (t) => {
  const server = await TestServer.start(t);
  const one = server.client(t);
  const two = server.client(t);
  const mine = one.watch("counters:get", { name: "a" });
  const theirs = two.watch("counters:get", { name: "a" });
  mine.subscribe(() => {});
  theirs.subscribe(() => {});
  await until(mine, (s) => s.status === "ready");
  assert.equal(mine.getSnapshot().value, 0);
  for (let i = 1; i <= 20; i++) {
    assert.equal(await one.mutation("counters:add", { name: "a", by: 1 }), i);
    assert.equal(mine.getSnapshot().value, i);
  }
  await until(theirs, (s) => s.value === 20);
  assert.equal(await two.query("counters:get", { name: "a" }), 20);
});

test("mutations that are sent without waiting run in order", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const all = Array.from({ length: 300 }, () => client.mutation("counters:add", { name: "a", by: 1 }));
  assert.deepEqual(await Promise.all(all), Array.from({ length: 300 }, (_, i) => i + 1));
  assert.equal(client.connection.state.inFlightMutations, 0);
});

test("queries never disagree: what a trigger keeps is always what is there", async (t) => {
  const server = await TestServer.start(t);
  const reader = server.client(t);
  const list = reader.watch("messages:list", { room: "r" });
  const count = reader.watch("counters:get", { name: "messages in r" });
  const seen: [number, number][] = [];
  const look = () => {
    const [messages, counted] = [list.getSnapshot().value, count.getSnapshot().value];
    if (Array.isArray(messages) && typeof counted === "number") seen.push([messages.length, counted]);
  };
  list.subscribe(look);
  count.subscribe(look);
  const writers = Array.from({ length: 4 }, () => server.client(t));
  await Promise.all(writers.map(async (writer, i) => {
    for (let n = 0; n < 25; n++) await writer.mutation("messages:send", { room: "r", text: `${i}:${n}` });
  }));
  await until(count, (s) => s.value === 100);
  assert.ok(seen.length > 0);
  for (const [messages, counted] of seen) assert.equal(messages, counted);
});

test("rows that did not change keep their identity", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const list = client.watch("messages:list", { room: "r" });
  list.subscribe(() => {});
  const id = await client.mutation("messages:send", { room: "r", text: "first" });
  const [first] = list.getSnapshot().value as Value[];
  assert.deepEqual(Object.keys(first as object).sort(), ["_creationTime", "_id", "room", "text"]);
  assert.equal((first as { _id: string })._id, id);
  await client.mutation("messages:send", { room: "r", text: "second" });
  const after = list.getSnapshot().value as Value[];
  assert.equal(after.length, 2);
  assert.equal(after[0], first);
});

test("every kind of value goes there and back, through queries, mutations, actions and over HTTP", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const http = new MimosaHttp(server.url);
  const value = {
    text: "héllo 😀 \u0000 \\ \" \u2028", bool: true, int: -(2 ** 53 - 1), big: -(2n ** 63n), float: 1.5e-300,
    bytes: Uint8Array.from({ length: 300 }, (_, i) => i), time: "2024-02-29T12:00:00.123Z",
    list: ["", "a"], map: { "a b": 1, "~": 2 }, maybe: "there", any: { deep: [1, [null, { x: "y" }]] },
  };
  for (const echo of [
    () => client.query("values:query", value), () => client.mutation("values:mutation", value),
    () => client.action("values:action", value), () => http.query("values:query", value),
    () => http.mutation("values:mutation", value), () => http.action("values:action", value),
  ]) {
    assert.deepEqual(await echo(), value);
  }
  const { maybe: _, any: __, ...least } = { ...value, list: [], map: {}, bytes: new Uint8Array(), float: 3, big: 7n };
  assert.deepEqual(await client.query("values:query", { ...least, maybe: undefined }), least);
});

test("errors arrive with their code, message, issues and data, whatever the function and the way", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const http = new MimosaHttp(server.url);
  const issues = [{ path: "items.0.name", rule: "required", message: "is missing" }];
  const args = { code: "teapot", message: "short and stout", data: { handle: [1, null] }, issues };
  const want = { name: "MimosaError", code: "teapot", message: "short and stout", data: { handle: [1, null] }, issues };
  await assert.rejects(client.query("errors:query", args), want);
  await assert.rejects(client.mutation("errors:mutation", args), want);
  await assert.rejects(client.action("errors:action", args), want);
  await assert.rejects(http.query("errors:query", args), want);
  await assert.rejects(http.mutation("errors:mutation", args), want);
  await assert.rejects(http.action("errors:action", args), want);

  const watch = client.watch("errors:query", args);
  const { error } = await until(watch, (s) => s.status !== "loading");
  assert(error instanceof MimosaError);
  assert.deepEqual([error.code, error.issues, error.data], ["teapot", issues, { handle: [1, null] }]);
});

test("arguments that break the schema name what is wrong and never echo it", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const error: unknown = await client.mutation("messages:send", { room: "", text: "x".repeat(2001), secret: "hunter2" })
    .then(() => assert.fail("resolved"), (e: unknown) => e);
  assert(error instanceof MimosaError);
  assert.equal(error.code, "invalid");
  assert.deepEqual(error.issues.map(({ path, rule }) => [path, rule]).sort(), [
    ["room", "minLength"], ["secret", "additionalProperties"], ["text", "maxLength"],
  ]);
  assert.doesNotMatch(JSON.stringify(error.issues), /hunter2/);
  assert.deepEqual(await client.query("messages:list", { room: "" }), []);
});

test("calls to what is not there, or not for clients, and functions that break, fail with a code and go on", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  for (const [name, code] of [
    ["no:such", "not_found"], ["errors:internal", "not_found"], ["errors:panic", "internal"], ["errors:secret", "internal"],
    ["counters:get", "invalid"],
  ] as const) {
    await assert.rejects(client.mutation(name, {}), { name: "MimosaError", code }, name);
  }
  await assert.rejects(client.mutation("counters:add", { name: "a", by: 1_000_001 }), {
    code: "overflow", data: { limit: 1_000_000 },
  });
  assert.equal(await client.query("counters:get", { name: "a" }), 0, "a refused mutation wrote nothing");
  assert.equal(await client.mutation("counters:add", { name: "a", by: 1 }), 1);
  assert.equal(client.connection.state.retries, 0);
});

test("actions run side by side, and beside mutations", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const waiting = Array.from({ length: 5 }, (_, i) => client.action("counters:reached", { name: "a", value: i + 1 }));
  assert.equal(await client.action("counters:reached", { name: "a", value: 0 }), 0, "a later one ends first");
  assert.equal(client.connection.state.inFlightActions, 5);
  for (let i = 0; i < 5; i++) await client.mutation("counters:add", { name: "a", by: 1 });
  for (const [i, value] of (await Promise.all(waiting)).entries()) assert.ok(Number(value) >= i + 1);
});

test("log lines reach the program in development", async (t) => {
  const server = await TestServer.start(t);
  const lines: string[] = [];
  const client = server.client(t, { onLog: (path, text) => lines.push(`${path}: ${text.join()}`) });
  await client.mutation("messages:send", { room: "r", text: "hi" });
  assert.deepEqual(lines, ["messages:send: [LOG] 'sending to r'"]);
});

test("a thousand rows and large results arrive whole", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const text = "x".repeat(2000);
  await Promise.all(Array.from({ length: 1000 }, () => client.mutation("messages:send", { room: "big", text })));
  const list = (await client.query("messages:list", { room: "big" })) as { text: string }[];
  assert.equal(list.length, 1000);
  assert.ok(list.every((row) => row.text === text));
});
