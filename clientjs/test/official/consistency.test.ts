import assert from "node:assert/strict";
import { createRequire } from "node:module";
import type { ConvexClient } from "convex/browser";
import { api } from "./support/api.js";
import { connect, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { test } from "./support/test.js";
import { newSeed, seeded } from "./support/wait.js";

prepare();

test("the client under test is the official one", () => {
  const { name, version } = createRequire(import.meta.url)("convex/package.json") as Record<string, string>;
  assert.deepEqual([name, version], ["convex", "1.48.0"]);
});

test("a live query begins with what is there and follows every change", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const count = Watch.of(client, api.counters.get, { name: "a" });
  assert.equal(await count.first(), 0);

  await http(server).mutation(api.counters.add, { name: "a", by: 3 });
  await count.until("another client's change", (n) => n === 3);
  await client.mutation(api.counters.add, { name: "b", by: 1 }); // is not its business
  assert.deepEqual(count.values, [0, 3]);

  count.unsubscribe();
  await client.mutation(api.counters.add, { name: "a", by: 1 });
  assert.deepEqual(count.values, [0, 3], "nothing comes after unsubscribing");
  assert.equal(await client.query(api.counters.get, { name: "a" }), 4);
});

test("one's own write is in the live queries when the mutation's promise resolves", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const count = Watch.of(client, api.counters.get, { name: "a" });
  const all = Watch.of(client, api.counters.all, {});
  const messages = Watch.of(client, api.messages.list, { room: "hall" });
  // Written by a trigger.
  const sent = Watch.of(client, api.counters.get, { name: "messages in hall" });
  await Promise.all([count.first(), all.first(), messages.first(), sent.first()]);

  for (let i = 1; i <= 30; i++) {
    await client.mutation(api.counters.add, { name: "a", by: 1 }).then((value) => {
      assert.equal(value, i);
      assert.equal(count.current, i);
      assert.equal(count.last, i, "and it was told so");
      assert.equal(all.current?.find(({ name }) => name === "a")?.value, i);
    });
    await client.mutation(api.messages.send, { room: "hall", text: `number ${i}` }).then((id) => {
      const newest = messages.current?.at(-1);
      assert.deepEqual([newest?._id, newest?.text], [id, `number ${i}`]);
      assert.equal(sent.current, i);
    });
  }
});

test("one's own write is visible among many in flight, and while others write", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const count = Watch.of(client, api.counters.get, { name: "a" });
  const mine = Watch.of(client, api.entries.list, { list: "mine" });
  await Promise.all([count.first(), mine.first()]);

  const others = [connect(server).client, connect(server).client];
  await Promise.all([
    ...others.flatMap((other) => Array.from({ length: 50 }, () => other.mutation(api.counters.add, { name: "a", by: 1 }))),
    ...Array.from({ length: 50 }, async (_, i) => {
      const value = await client.mutation(api.counters.add, { name: "a", by: 1 });
      assert((count.current ?? 0) >= value, `${count.current} does not hold the write that made it ${value}`);
      await client.mutation(api.entries.add, { list: "mine", token: `t${i}` });
      assert(mine.current?.includes(`t${i}`));
    }),
  ]);
  await count.until("all writes", (n) => n === 150);
  assert.deepEqual(count.values, [...count.values].sort((a, b) => a - b), "a counter that only grows never shrank");
});

test("a mutation without a live query resolves, and one sent after it sees it", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const results = await Promise.all(Array.from({ length: 20 }, (_, i) =>
    client.mutation(api.entries.add, { list: "a", token: `t${i}` })));
  assert.deepEqual(results, Array.from({ length: 20 }, (_, i) => i + 1), "they ran in the order in which they were sent");
  assert.deepEqual(await client.query(api.entries.list, { list: "a" }), results.map((n) => `t${n - 1}`));
});

/** Watches two counters by separate queries, and notes every moment at which their sum is not what it should be. */
async function watchSum(client: ConvexClient, sum: number): Promise<{ apart: string[]; seen: Set<string> }> {
  const apart: string[] = [];
  const seen = new Set<string>();
  const look = () => {
    const [left, right, all] = [a.getCurrentValue(), b.getCurrentValue(), both.getCurrentValue()];
    if (left === undefined || right === undefined || all === undefined) return;
    const [one, other] = all.map(({ value }) => value);
    const moment = `${left} + ${right}, together ${one} + ${other}`;
    seen.add(moment);
    if (left + right !== sum || one !== left || other !== right) apart.push(moment);
  };
  const a = client.onUpdate(api.counters.get, { name: "a" }, look);
  const b = client.onUpdate(api.counters.get, { name: "b" }, look);
  const both = client.onUpdate(api.counters.all, {}, look);
  // Subscribed to one after the other, they have all arrived once the last has.
  await Promise.all([
    client.query(api.counters.get, { name: "a" }), client.query(api.counters.get, { name: "b" }),
    client.query(api.counters.all, {}),
  ]);
  return { apart, seen };
}

test("queries of one client change together", async (t) => {
  const seed = newSeed();
  t.diagnostic(`MIMOSA_SEED=${seed}`);
  const random = seeded(seed);
  const server = await Server.start(t);
  const calls = http(server);
  await calls.mutation(api.counters.add, { name: "a", by: 500 });
  await calls.mutation(api.counters.add, { name: "b", by: 500 });

  const watchers = await Promise.all([0, 1, 2].map(() => watchSum(connect(server).client, 1000)));
  const writers = [0, 1, 2].map(() => connect(server).client);
  // The watchers write too: what they see changes by their own mutations and by those of others.
  await Promise.all(writers.map(async (writer) => {
    for (let i = 0; i < 40; i++) {
      const pair = random() < 0.5 ? { from: "a", to: "b" } : { from: "b", to: "a" };
      await writer.mutation(api.counters.move, { ...pair, by: 1 + Math.floor(random() * 9) });
    }
  }));
  for (const { apart, seen } of watchers) {
    assert.deepEqual(apart, []);
    assert(seen.size > 5, `the test saw ${seen.size} moments only, which proves nothing`);
  }
});

test("two mutations are seen apart: the test before would notice", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  await client.mutation(api.counters.add, { name: "a", by: 500 });
  await client.mutation(api.counters.add, { name: "b", by: 500 });
  const { apart } = await watchSum(client, 1000);
  await client.mutation(api.counters.add, { name: "a", by: -1 });
  await client.mutation(api.counters.add, { name: "b", by: 1 });
  assert.notEqual(apart.length, 0);
});

test("consistent queries over HTTP all see the database as of one moment", async (t) => {
  const server = await Server.start(t);
  const calls = http(server);
  await calls.mutation(api.counters.add, { name: "a", by: 500 });
  await calls.mutation(api.counters.add, { name: "b", by: 500 });
  const writer = connect(server).client;
  let writing = true;
  const written = (async () => {
    while (writing) await writer.mutation(api.counters.move, { from: "a", to: "b", by: 1 });
  })();
  const seen = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const moment = http(server);
    const a = await moment.consistentQuery(api.counters.get, { name: "a" });
    await writer.mutation(api.counters.move, { from: "a", to: "b", by: 1 });
    const b = await moment.consistentQuery(api.counters.get, { name: "b" });
    assert.equal(a + b, 1000);
    seen.add(a);
  }
  writing = false;
  await written;
  assert(seen.size > 10, `the test saw ${seen.size} moments only`);
});

test("an optimistic update gives way to the result of its mutation, never to both at once", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  for (let round = 0; round < 5; round++) {
    const args = { name: `counter ${round}` };
    const count = Watch.of(client, api.counters.get, args);
    await count.first();
    await Promise.all(Array.from({ length: 20 }, () => client.mutation(api.counters.add, { ...args, by: 1 }, {
      optimisticUpdate: (store) => store.setQuery(api.counters.get, args, (store.getQuery(api.counters.get, args) ?? 0) + 1),
    })));
    assert.equal(count.current, 20);
    const expected = Array.from({ length: 21 }, (_, i) => i);
    assert.deepEqual(count.values.filter((n, i, all) => n !== all[i - 1]), expected, "up by one each time, and there it stays");
  }
});
