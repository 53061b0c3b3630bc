import assert from "node:assert/strict";
import type { Value } from "convex/values";
import type { Everything } from "./support/api.js";
import { api } from "./support/api.js";
import { connect, dataOf, failureOf, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { test } from "./support/test.js";

prepare();

const bytes = (...b: number[]) => new Uint8Array(b).buffer;

/** Whether two values are the same to the last bit: deepEqual calls two ArrayBuffers equal only by their bytes, and -0 not 0. */
const same = (got: unknown, want: unknown, what: string) => assert.deepStrictEqual(got, want, what);

const plain: Everything = {
  text: "", bool: false, int: 0, big: 0n, float: 0, bytes: bytes(), time: "2026-03-01T12:00:00Z", list: [], map: {},
};

/** Values of typed arguments: what goes in comes out. */
const typed: Record<string, Partial<Everything>> = {
  "the empty ones": {},
  "the greatest integers": { int: Number.MAX_SAFE_INTEGER, big: 2n ** 63n - 1n },
  "the least integers": { int: Number.MIN_SAFE_INTEGER, big: -(2n ** 63n) },
  "a big integer that no double holds": { big: 9_007_199_254_740_993n },
  "minus one": { int: -1, big: -1n, float: -1 },
  "not a number": { float: NaN },
  "infinity": { float: Infinity },
  "minus infinity": { float: -Infinity },
  "minus zero": { float: -0 },
  "the least positive double": { float: 5e-324 },
  "the greatest double": { float: Number.MAX_VALUE },
  "a third": { float: 1 / 3 },
  "bytes": { bytes: bytes(0, 1, 127, 128, 254, 255) },
  "many bytes": { bytes: new Uint8Array(100_000).map((_, i) => i * 31).buffer },
  "unicode": { text: "Ünïcödé 漢字 🎓👩‍🔬 \u0000 \u001f \u007f \u2028 \uffff \\ \" / </script>", list: ["🎈", "", "e\u0301"] },
  "a long text": { text: "ä🎓".repeat(50_000) },
  "a map": { map: { "a b": 1, "~!{}": 2, " ": 3 } },
  "an optional member": { maybe: "" },
  "a time with fractions": { time: "2026-03-01T12:00:00.123456789Z" },
};

/** Values that no type describes. */
const free: Record<string, Value> = {
  "null": null,
  "true": true,
  "zero": 0,
  "minus zero": -0,
  "not a number": NaN,
  "infinities": [Infinity, -Infinity],
  "an integer of 64 bits": 2n ** 62n + 1n,
  "bytes": bytes(1, 2, 3),
  "no bytes": bytes(),
  "nothing in a list": [],
  "nothing in an object": {},
  "an empty text": "",
  "unicode": "漢字 🎓",
  "nested": { a: [{ b: [[1n, [NaN, -0]], { c: bytes(9), d: null }] }, []], e: { f: { g: "h" } } },
  "mixed": [1, 1n, "1", true, null, bytes(1), { "1": 1 }, [1]],
};

test("typed values pass through queries, mutations and actions, over a socket and over HTTP", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const calls = http(server);
  await Promise.all(Object.entries(typed).map(async ([name, some]) => {
    const value = { ...plain, ...some };
    const live = Watch.of(client, api.values.query, value);
    same(await live.first(), value, `${name}, live query`);
    same(await client.mutation(api.values.mutation, value), value, `${name}, mutation`);
    same(await client.action(api.values.action, value), value, `${name}, action`);
    same(await calls.query(api.values.query, value), value, `${name}, query over HTTP`);
    same(await calls.mutation(api.values.mutation, value), value, `${name}, mutation over HTTP`);
    same(await calls.action(api.values.action, value), value, `${name}, action over HTTP`);
  }));
});

test("any value is stored and read back, live and over HTTP", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const calls = http(server);
  for (const [key, value] of Object.entries(free)) {
    const live = Watch.of(client, api.values.kept, { key });
    same(await live.first(), null, `${key}, before`);
    await client.mutation(api.values.keep, { key, value });
    same(live.current, value, `${key}, live`);
    same(await calls.query(api.values.kept, { key }), value, `${key}, over HTTP`);
    live.unsubscribe();
  }
  await server.kill();
  await server.start();
  for (const [key, value] of Object.entries(free)) {
    same(await calls.query(api.values.kept, { key }), value, `${key}, after a restart`);
  }
});

test("values of the wrong kind are refused, naming where", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const wrong = {
    ...plain, text: 1, bool: "true", int: 0.5, big: 1, float: "0", bytes: "", time: "yesterday", list: [1], map: { a: "b" },
  };
  const call = client.mutation(api.values.mutation, wrong as unknown as Everything);
  const { code, issues } = dataOf(await failureOf(call));
  assert.equal(code, "invalid");
  assert.deepEqual(issues?.map(({ path }) => path),
    ["big", "bool", "bytes", "float", "int", "list.0", "map.a", "text", "time"]);
  for (const { rule, message } of issues ?? []) assert(rule && message);
});

test("a large result arrives whole", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  // Together more than what the server sends in one message.
  const text = "0123456789abcdef".repeat(50_000);
  const keys = Array.from({ length: 10 }, (_, i) => `large ${i}`);
  for (const key of keys) await client.mutation(api.values.keep, { key, value: text + key });
  const late = connect(server);
  const watches = keys.map((key) => Watch.of(late.client, api.values.kept, { key }));
  for (const [i, watch] of watches.entries()) assert.equal(await watch.first(), text + String(keys[i]));
  assert(late.network.received("TransitionChunk").length > 1, "it did not come in pieces");
  await client.mutation(api.values.keep, { key: "large 3", value: "small" });
  await watches[3]?.until("what comes after it", (value) => value === "small");
});
