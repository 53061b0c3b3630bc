import assert from "node:assert/strict";
import { api } from "./support/api.js";
import { connect, failureOf, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { test } from "./support/test.js";
import { newSeed, seeded, until } from "./support/wait.js";

prepare();

test("a mutation whose answer was lost with the server takes effect once", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const list = Watch.of(client, api.entries.list, { list: "a" });
  assert.deepEqual(await list.first(), []);

  network.deaf = true;
  const added = client.mutation(api.entries.add, { list: "a", token: "mine" });
  const others = http(server);
  await until("the commit", async () => (await others.query(api.entries.list, { list: "a" })).includes("mine"));
  // A second run of the mutation would return 3.
  await others.mutation(api.entries.add, { list: "a", token: "another's" });
  await server.kill();
  network.deaf = false;
  await server.start();

  assert.equal(await added, 1, "the result of the run that took effect");
  assert.deepEqual(list.current, ["mine", "another's"], "own write visible, once");
  const [first, second] = network.sent("Mutation");
  assert.deepEqual(second, first, "the client did send it twice");
  assert.deepEqual(await others.query(api.entries.list, { list: "a" }), ["mine", "another's"]);
});

test("a mutation that was cut off before its commit takes effect when it is sent again", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const list = Watch.of(client, api.entries.list, { list: "a" });
  await list.first();

  const held = client.mutation(api.entries.addHeld, { list: "a", token: "held", gate: "commit" });
  const behind = client.mutation(api.entries.add, { list: "a", token: "behind" });
  await server.gate("commit").arrived();
  await server.kill();
  await server.start();
  assert.deepEqual(await http(server).query(api.entries.list, { list: "a" }), [], "nothing of it was committed");
  await server.gate("commit").arrived();
  await server.gate("commit").open();

  assert.deepEqual(await Promise.all([held, behind]), [1, 2], "in the order in which they were sent");
  assert.deepEqual(list.current, ["held", "behind"]);
  assert.equal(network.sent("Mutation").length, 4);
});

test("a refused mutation is refused again after a crash, and an action in flight fails", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  await client.mutation(api.counters.add, { name: "a", by: 1 });
  const action = failureOf(client.action(api.counters.reached, { name: "a", value: 10 }));
  network.deaf = true;
  const refused = failureOf(client.mutation(api.counters.add, { name: "a", by: 2_000_000 }));
  const after = client.mutation(api.counters.add, { name: "b", by: 1 });
  const others = http(server);
  await until("what comes after it", async () => (await others.query(api.counters.get, { name: "b" })) === 1);
  await server.kill();
  network.deaf = false;
  await server.start();

  assert.match((await refused).message, /more than a million/);
  assert.equal(await after, 1);
  assert.match((await action).message, /Connection lost/);
  assert.equal(await client.query(api.counters.get, { name: "a" }), 1);
});

test("whenever the server is killed, every mutation takes effect once and in order", async (t) => {
  const seed = newSeed();
  t.diagnostic(`MIMOSA_SEED=${seed}`);
  const random = seeded(seed);
  const server = await Server.start(t);
  const writer = connect(server);
  const reader = connect(server);
  const counts = Watch.of(reader.client, api.counters.get, { name: "a" });
  const own = Watch.of(writer.client, api.counters.get, { name: "a" });
  await Promise.all([counts.first(), own.first()]);

  const rounds = 6;
  const window = 8;
  const answers: number[] = [];
  const tokens: string[] = [];
  let inFlight = 0;
  let ended = false;
  let failed: unknown;
  // Keeps the window full, whatever the connection is like.
  const write = () => {
    while (!ended && inFlight < window) {
      const token = `t${tokens.length}`;
      tokens.push(token);
      inFlight++;
      Promise.all([
        writer.client.mutation(api.counters.add, { name: "a", by: 1 }).then((value) => {
          assert((own.current ?? 0) >= value, "own write not visible");
          answers.push(value);
        }),
        writer.client.mutation(api.entries.add, { list: "a", token }),
      ]).then(() => {
        inFlight--;
        write();
      }, (error: unknown) => (failed ??= error));
    }
  };
  write();

  for (let round = 0; round < rounds; round++) {
    // Killed after so many messages, in whatever state that finds it: requests and commits and answers are on their way.
    let left = 20 + Math.floor(random() * 60);
    await new Promise<void>((killed) => {
      writer.network.onReceived = () => {
        if (--left !== 0) return;
        void server.kill().then(killed);
      };
    });
    await server.start();
  }
  await until("an answer from the last server", () => writer.network.sockets.at(-1)!.received.length > 20);
  ended = true;
  await until("all answers", () => inFlight === 0 || failed !== undefined);
  assert.equal(failed, undefined);

  assert.equal(answers.length, tokens.length);
  assert.deepEqual(answers, answers.map((_, i) => i + 1), "one for each, in order");
  const calls = http(server);
  assert.equal(await calls.query(api.counters.get, { name: "a" }), tokens.length);
  assert.deepEqual(await calls.query(api.entries.list, { list: "a" }), tokens, "each token once, in order");
  await counts.until("the last write", (n) => n === tokens.length);
  for (const { values } of [counts, own]) {
    assert.deepEqual(values, [...values].sort((a, b) => a - b), "nobody ever saw it shrink");
  }
  t.diagnostic(`${tokens.length} mutations of each kind, ${writer.network.sent("Mutation").length} messages for them`);
  // All of the above is worth something only if mutations were in flight.
  assert(writer.network.sent("Mutation").length > 2 * tokens.length, "no mutation was ever sent again");
});
