import assert from "node:assert/strict";
import { api } from "./support/api.js";
import { connect, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { test } from "./support/test.js";
import { until } from "./support/wait.js";

prepare();

test("a restart in order lets mutations come to their end and live queries go on", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const other = connect(server);
  const count = Watch.of(client, api.counters.get, { name: "a" });
  const theirs = Watch.of(other.client, api.counters.get, { name: "a" });
  const all = Watch.of(client, api.counters.all, {});
  await Promise.all([count.first(), theirs.first(), all.first()]);
  assert.equal(await client.mutation(api.counters.add, { name: "a", by: 1 }), 1);

  // It takes its time, and what comes after it is answered before it: the server is told to end while it runs.
  const slow = client.mutation(api.counters.addSlowly, { name: "a", by: 1 });
  await client.action(api.counters.reached, { name: "a", value: 0 });
  await server.stop();
  assert.equal(network.received("MutationResponse").length, 2, "it was answered before the end");
  await server.start();
  assert.equal(await slow, 2);
  assert.equal(count.current, 2);

  await http(server).mutation(api.counters.add, { name: "a", by: 1 });
  await Promise.all([count, theirs].map((watch) => watch.until("a change after the restart", (n) => n === 3)));
  await all.until("the same", ([a]) => a?.value === 3);
  for (const { values, errors } of [count, theirs]) {
    assert.deepEqual(values, [...new Set(values)].sort((a, b) => a - b), "no result went back or came twice");
    assert.deepEqual(errors, []);
  }
});

test("what changed while a client was away is there when it is back, in one step", async (t) => {
  const server = await Server.start(t);
  const calls = http(server);
  await calls.mutation(api.counters.add, { name: "a", by: 50 });
  await calls.mutation(api.counters.add, { name: "b", by: 50 });
  const { client, network } = connect(server);
  const a = Watch.of(client, api.counters.get, { name: "a" });
  const b = Watch.of(client, api.counters.get, { name: "b" });
  await Promise.all([a.first(), b.first()]);
  const sums: number[] = [];
  const look = () => sums.push((a.current ?? NaN) + (b.current ?? NaN));
  client.onUpdate(api.counters.get, { name: "a" }, look);
  client.onUpdate(api.counters.get, { name: "b" }, look);

  for (let i = 0; i < 3; i++) {
    network.cut();
    for (let j = 0; j < 3; j++) await calls.mutation(api.counters.move, { from: "a", to: "b", by: 1 });
    if (i === 1) await server.kill().then(() => server.start());
    network.restore();
    await a.until("what happened meanwhile", (n) => n === 50 - 3 * (i + 1));
  }
  assert.equal(b.current, 59);
  assert(sums.length >= 6);
  assert.deepEqual(new Set(sums), new Set([100]));
  assert.deepEqual(a.values, [50, 47, 44, 41], "only where it was and where it came to");
});

test("mutations sent without a connection are delivered in order when there is one", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const list = Watch.of(client, api.entries.list, { list: "a" });
  await list.first();
  const tokens = Array.from({ length: 20 }, (_, i) => `t${i}`);
  const add = (token: string) => client.mutation(api.entries.add, { list: "a", token });

  const inFlight = tokens.slice(0, 5).map(add); // sent, perhaps received, perhaps answered
  network.cut();
  await until("the client to notice", () => !client.connectionState().isWebSocketConnected);
  const offline = tokens.slice(5).map(add);
  assert.equal(client.connectionState().hasInflightRequests, true);
  network.restore();

  assert.deepEqual(await Promise.all([...inFlight, ...offline]), tokens.map((_, i) => i + 1));
  assert.deepEqual(list.current, tokens);
  assert.equal(client.connectionState().hasInflightRequests, false);
});

test("a client that was started before its server gets all that it asked for", async (t) => {
  const server = await Server.start(t);
  await server.stop();
  const { client } = connect(server);
  const list = Watch.of(client, api.entries.list, { list: "a" });
  const added = ["x", "y"].map((token) => client.mutation(api.entries.add, { list: "a", token }));
  // An action was not sent yet, so it is not lost.
  const reached = client.action(api.counters.reached, { name: "a", value: 0 });
  await server.start();
  assert.deepEqual(await Promise.all(added), [1, 2]);
  assert.deepEqual(list.current, ["x", "y"]);
  assert.equal(await reached, 0);
});

test("a database that was used for a while keeps all of it over many restarts of both kinds", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const expected: string[] = [];
  for (let i = 0; i < 6; i++) {
    const token = `t${i}`;
    expected.push(token);
    const added = client.mutation(api.entries.add, { list: "a", token });
    if (i % 2 === 0) await added; // else it may or may not be on its way
    if (i % 3 === 0) await server.stop();
    else await server.kill();
    await server.start();
    assert.equal(await added, i + 1);
  }
  assert.deepEqual(await http(server).query(api.entries.list, { list: "a" }), expected);
});
