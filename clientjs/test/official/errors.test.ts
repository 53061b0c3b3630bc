import assert from "node:assert/strict";
import type { ConvexClient, ConvexHttpClient } from "convex/browser";
import { api } from "./support/api.js";
import { connect, dataOf, failureOf, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { test } from "./support/test.js";
import { until } from "./support/wait.js";

prepare();

/** The same call by every way there is: three kinds of function, over a socket and over HTTP. */
function ways(client: ConvexClient, calls: ConvexHttpClient): Record<string, (module: "errors" | "bugs", args: never) => Promise<unknown>> {
  return {
    "live query": async (module, args) => {
      const watch = Watch.of(client, api[module].query, args);
      const error = await watch.failure();
      watch.unsubscribe();
      throw error;
    },
    "mutation": (module, args) => client.mutation(api[module].mutation, args),
    "action": (module, args) => client.action(api[module].action, args),
    "query over HTTP": (module, args) => calls.query(api[module].query, args),
    "mutation over HTTP": (module, args) => calls.mutation(api[module].mutation, args),
    "action over HTTP": (module, args) => calls.action(api[module].action, args),
  };
}

test("an error that was made for the client carries its code, message, issues and data", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const cases = [
    { code: "forbidden", message: "not today" },
    { code: "its_own", message: "Grüße 🎓", data: { left: 3, list: [1, null, "x"], deep: { a: {} } } },
    { code: "its_own", message: "null is data too", data: null },
    { code: "invalid", message: "no good", issues: [
      { path: "a.0.b", rule: "minLength", message: "must be longer" }, { path: "", rule: "sum", message: "must add up" },
    ] },
    { code: "both", message: "all there is", issues: [{ path: "a", rule: "b", message: "c" }], data: "d" },
  ];
  for (const [way, call] of Object.entries(ways(client, http(server)))) {
    for (const thrown of cases) {
      const error = await failureOf(call("errors", thrown as never));
      assert.deepEqual(dataOf(error), thrown, way);
      assert(error.message.includes(thrown.message), `${way}: ${error.message}`);
    }
  }
});

test("a bug tells the client nothing but where to look it up", async (t) => {
  const server = await Server.start(t, { env: { MIMOSA_TEST_PRODUCTION: "1" } });
  const { client, network } = connect(server);
  for (const [way, call] of Object.entries(ways(client, http(server)))) {
    for (const panic of [false, true]) {
      const error = await failureOf(call("bugs", { panic } as never));
      const shown = error.message + JSON.stringify("data" in error ? error.data : null);
      assert(!/secret|unsupported|\.go|goroutine/.test(shown), `${way} told too much: ${shown}`);
      const { code, message } = dataOf(error);
      assert.equal(code, "internal", way);
      // What the client got leads to what the log says.
      const id = /[0-9A-Za-z]{6,}$/.exec(message)?.[0];
      assert(id, `${way}: no log id in ${message}`);
      await until(`a line of the log with ${id}`, () => server.log.includes(id));
    }
  }
  assert(!/secret|goroutine/.test(network.toString()), "nothing on the wire either");
  assert.match(server.log, /the secret of the error/);
  assert.match(server.log, /the secret of the panic/);
});

test("a failed mutation leaves nothing behind, and the next one is not harmed", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const count = Watch.of(client, api.counters.get, { name: "a" });
  await count.first();
  const [one, two, three] = [1, 2_000_000, 1].map((by) => client.mutation(api.counters.add, { name: "a", by }));
  // The second fails after it has written.
  const error = failureOf(two as Promise<number>);
  assert.deepEqual([await one, await three], [1, 2]);
  assert.deepEqual(dataOf(await error), {
    code: "overflow", message: "a would be more than a million", data: { limit: 1_000_000 },
  });
  assert.equal(count.current, 2);
  assert(count.values.every((n) => n <= 2), `seen: ${count.values.join()}`);
});

test("wrong calls are refused in words", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const calls = http(server);
  const any = (name: string) => name as unknown as typeof api.counters.add;
  const cases = {
    "an unknown function": [any("counters:none"), { name: "a", by: 1 }, "not_found"],
    "a function of another kind": [any("counters:get"), { name: "a" }, "invalid"],
    "an internal function": [api.errors.internal, {}, "not_found"],
    "a missing and an extra argument": [api.counters.add, { name: "a", bye: 1 }, "invalid"],
  } as const;
  for (const [what, [fn, args, code]] of Object.entries(cases)) {
    for (const caller of [client, calls]) {
      const data = dataOf(await failureOf(caller.mutation(fn as typeof api.counters.add, args as never)));
      assert.equal(data.code, code, what);
      if (fn === api.counters.add) {
        assert.deepEqual(data.issues?.map(({ path, rule }) => `${path} ${rule}`), ["by required", "bye additionalProperties"]);
      }
    }
  }
  assert.equal(await client.mutation(api.counters.add, { name: "a", by: 1 }), 1, "the client is well");
});

test("a live query that fails recovers when what it read changes", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  // A name that is too long at first; another query of the same client is not harmed by it.
  const bad = Watch.of(client, api.counters.get, { name: "x".repeat(101) });
  const good = Watch.of(client, api.counters.get, { name: "a" });
  assert.equal(dataOf(await bad.failure()).code, "invalid");
  assert.equal(await good.first(), 0);
  await client.mutation(api.counters.add, { name: "a", by: 1 });
  assert.equal(good.current, 1);
  assert.equal(bad.errors.length, 1, "it does not fail again for nothing");
});
