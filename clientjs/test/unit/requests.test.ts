import assert from "node:assert/strict";
import { test } from "node:test";
import { MimosaError } from "../../src/errors.js";
import { timestamp } from "../../src/protocol.js";
import { connected, outcome, rig, settle, updated } from "../support/fake.js";

test("a mutation resolves once its write is in the subscriptions, not when it is answered", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  watch.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, [])]);
  socket.take();
  const sent = client.mutation("m:add", { text: "a" });
  assert.deepEqual(socket.take(), [{ type: "Mutation", requestId: 0, udfPath: "m:add", args: [{ text: "a" }] }]);
  socket.mutationDone(0, 5n, "id");
  assert.deepEqual(await outcome(sent), { pending: true });
  socket.transition({ ts: 4n });
  assert.deepEqual(await outcome(sent), { pending: true }, "an earlier commit is not its own");
  const seen = sent.then((id) => [id, watch.getSnapshot().value]);
  socket.transition({ ts: 5n }, [updated(0, ["a"])]);
  assert.deepEqual(await seen, ["id", ["a"]]);
  client.close();
});

test("a mutation whose write was seen before its answer resolves with the answer", async () => {
  const { client, socket } = connected();
  const sent = client.mutation("m:add", {});
  socket.transition({ ts: 5n });
  socket.mutationDone(0, 5n, 1);
  assert.deepEqual(await outcome(sent), { value: 1 });
  client.close();
});

test("mutations and actions go out in order, with numbers from one counter, after what is watched", async () => {
  const { client, socket } = connected();
  client.watch("m:list", {}).subscribe(() => {});
  void client.mutation("m:a");
  void client.action("m:b");
  void client.mutation("m:c");
  assert.deepEqual(
    socket.take().map((m) => (m.type === "Mutation" || m.type === "Action" ? [m.type, m.requestId] : m.type)),
    ["ModifyQuerySet", ["Mutation", 0], ["Action", 1], ["Mutation", 2]],
  );
});

test("a server's error reaches the caller with code, issues and data", async () => {
  const { client, socket } = connected();
  const sent = client.mutation("m:add", {});
  socket.mutationFailed(0, "arguments are invalid", {
    code: "invalid",
    message: "arguments are invalid",
    issues: [{ path: "items.0.name", rule: "required", message: "is missing" }, "not an issue"],
    data: { hint: { $integer: "AQAAAAAAAAA=" } },
  });
  const error: unknown = await sent.then(() => assert.fail("resolved"), (e: unknown) => e);
  assert(error instanceof MimosaError && error instanceof Error);
  assert.equal(error.name, "MimosaError");
  assert.equal(error.code, "invalid");
  assert.equal(error.message, "arguments are invalid");
  assert.deepEqual(error.issues, [{ path: "items.0.name", rule: "required", message: "is missing" }]);
  assert.deepEqual(error.data, { hint: 1n });

  const strange = client.action("m:act");
  socket.actionFailed(1, "Uncaught", ["whatever"]);
  const other = (await strange.then(() => assert.fail("resolved"), (e: unknown) => e)) as MimosaError;
  assert.deepEqual([other.code, other.message, other.data, other.issues], ["internal", "Uncaught", ["whatever"], []]);

  const bare = client.action("m:act");
  socket.actionFailed(2, "boom");
  assert.deepEqual(await outcome(bare), { code: "internal", message: "boom" });
  client.close();
});

test("an answer that cannot be read fails its own call only", async () => {
  const { client, socket } = connected();
  const act = client.action("m:act");
  const mutation = client.mutation("m:add");
  socket.actionDone(0, { $later: 1 });
  socket.mutationDone(1, 2n, { $later: 1 });
  assert.equal(((await outcome(act)) as { code: string }).code, "protocol");
  assert.equal(((await outcome(mutation)) as { code: string }).code, "protocol");
  assert.equal(socket.closedByClient, false);
  client.close();
});

test("arguments that cannot travel are refused and use no number", async () => {
  const { client, socket } = connected();
  assert.deepEqual(await outcome(client.mutation("m:add", { f: () => 1 })), {
    code: "bad_value", message: "f: function is not a value",
  });
  void client.mutation("m:add", {});
  assert.deepEqual(socket.take(), [{ type: "Mutation", requestId: 0, udfPath: "m:add", args: [{}] }]);
});

test("what the server would end the whole client for is refused here, and nothing is sent", async () => {
  const { client, socket } = connected();
  for (const [name, args, code] of [
    ["", {}, "bad_value"], ["m", {}, "bad_value"], ["m:", {}, "bad_value"], [":f", {}, "bad_value"],
    ["m:f\n", {}, "bad_value"], ["m:é", {}, "bad_value"], [`m:${"f".repeat(1024)}`, {}, "bad_value"],
    ["m:f", [] as never, "bad_value"], ["m:f", 7 as never, "bad_value"],
    ["m:f", { text: "€".repeat(2_500_000) }, "too_large"],
  ] as const) {
    assert.equal(((await outcome(client.mutation(name, args))) as { code: string }).code, code, name);
    assert.equal(((await outcome(client.action(name, args))) as { code: string }).code, code, name);
    assert.equal(((await outcome(client.query(name, args))) as { code: string }).code, code, name);
    assert.throws(() => client.watch(name, args), { code });
  }
  await settle();
  assert.deepEqual(socket.take(), []);
  client.close();
});

test("what is asked for offline waits, and goes out in order once connected", async () => {
  const { client, network } = rig();
  const first = client.mutation("m:a");
  const act = client.action("m:b");
  void client.mutation("m:c");
  assert.equal(client.connection.state.queuedMutations, 2);
  assert.equal(client.connection.state.queuedActions, 1);
  const socket = network.last.open();
  assert.deepEqual(socket.takeTypes(), ["Connect", "ModifyQuerySet", "Mutation", "Action", "Mutation"]);
  assert.equal(client.connection.state.queuedMutations, 0);
  assert.equal(client.connection.state.inFlightMutations, 2);
  socket.transition({ querySet: 1, ts: 1n });
  socket.mutationDone(0, 2n);
  socket.actionDone(1, "b");
  assert.deepEqual(await outcome(act), { value: "b" });
  assert.deepEqual(await outcome(first), { pending: true });
  socket.transition({ ts: 2n });
  assert.deepEqual(await outcome(first), { value: null });
  assert.equal(client.connection.state.inFlightMutations, 1);
});

test("a lost socket's mutations are sent again with their numbers, its actions fail, what waited goes out", async () => {
  const { client, socket, clock, network } = connected();
  const answered = client.mutation("m:answered");
  const inFlight = client.mutation("m:inFlight");
  const act = client.action("m:act");
  socket.mutationDone(0, 7n, "first result");
  socket.drop();
  assert.deepEqual(await outcome(act), {
    code: "disconnected", message: "the connection was lost while the action ran; it may have taken effect",
  });
  const later = client.action("m:later");
  assert.equal(client.connection.state.queuedMutations, 2);

  await clock.advance(1000);
  const next = network.last.open();
  const messages = next.take();
  assert.deepEqual(
    messages.map((m) => (m.type === "Mutation" || m.type === "Action" ? `${m.udfPath}#${m.requestId}` : m.type)),
    ["Connect", "ModifyQuerySet", "m:answered#0", "m:inFlight#1", "m:later#3"],
  );
  const [hello] = messages;
  assert(hello?.type === "Connect");
  assert.equal(hello.maxObservedTimestamp, timestamp(7n), "an answer counts as seen, though no transition had it yet");
  const [before] = socket.sent;
  assert(before?.type === "Connect");
  assert.equal(hello.sessionId, before.sessionId);
  assert.match(hello.sessionId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);

  next.transition({ querySet: 1, ts: 8n });
  assert.deepEqual(await outcome(answered), { value: "first result" });
  next.mutationDone(0, 7n, "first result");
  next.mutationDone(1, 9n, "second");
  next.transition({ ts: 9n });
  assert.deepEqual(await outcome(inFlight), { value: "second" });
  next.actionDone(3);
  assert.deepEqual(await outcome(later), { value: null });
  assert.equal(client.connection.state.inFlightMutations, 0);
  client.close();
});

test("a mutation known to have succeeded stays so, whatever the answer to its resend", async () => {
  const { client, socket, clock, network } = connected();
  const sent = client.mutation("m:add");
  socket.mutationDone(0, 7n, "done");
  socket.drop();
  await clock.advance(1000);
  const next = network.last.open();
  next.mutationFailed(0, "unknown", { code: "unknown", message: "no record" });
  assert.deepEqual(await outcome(sent), { pending: true });
  next.transition({ querySet: 1, ts: 7n });
  assert.deepEqual(await outcome(sent), { value: "done" });
  client.close();
});

test("a mutation that was asked for during a loss is sent once", async () => {
  const { client, socket, clock, network } = connected();
  socket.drop();
  const sent = client.mutation("m:add");
  await clock.advance(1000);
  const next = network.last.open();
  assert.deepEqual(next.takeTypes(), ["Connect", "ModifyQuerySet", "Mutation"]);
  assert.deepEqual(socket.takeTypes(), []);
  next.mutationDone(0, 3n);
  next.transition({ querySet: 1, ts: 3n });
  assert.deepEqual(await outcome(sent), { value: null });
  client.close();
});

test("an action that was never sent waits through failed attempts", async () => {
  const { client, clock, network } = rig();
  const act = client.action("m:act");
  network.last.drop();
  await clock.advance(1000);
  network.last.drop();
  await clock.advance(2000);
  const socket = network.last.open();
  assert.deepEqual(socket.takeTypes(), ["Connect", "ModifyQuerySet", "Action"]);
  socket.actionDone(0, 1);
  assert.deepEqual(await outcome(act), { value: 1 });
  client.close();
});

test("answers to calls nobody waits for are ignored", () => {
  const { client, socket } = connected();
  socket.mutationDone(99, 5n);
  socket.actionFailed(98, "who?");
  assert.equal(socket.closedByClient, false);
  client.close();
});

test("many mutations in flight resolve in the order of their commits", async () => {
  const { client, socket } = connected();
  const order: number[] = [];
  const all = Array.from({ length: 200 }, (_, i) => client.mutation("m:add").then(() => order.push(i)));
  for (let i = 0; i < 200; i++) socket.mutationDone(i, BigInt(10 + (i >> 3)));
  for (let ts = 10n; ts <= 34n; ts++) socket.transition({ ts });
  await Promise.all(all);
  assert.deepEqual(order, Array.from({ length: 200 }, (_, i) => i));
  assert.deepEqual(client.connection.state.inFlightMutations, 0);
  client.close();
});

test("log lines reach onLog", async () => {
  const lines: unknown[] = [];
  const { client, socket } = connected({ onLog: (path, text) => lines.push([path, ...text]) });
  client.watch("m:list", {}).subscribe(() => {});
  void client.mutation("m:add");
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [
    { type: "QueryUpdated", queryId: 0, value: 1, logLines: ["[LOG] 'q'"], journal: null },
  ]);
  socket.say({
    type: "MutationResponse", requestId: 0, success: true, result: null, ts: timestamp(3n), logLines: ["[LOG] 'a'", "[LOG] 'b'"],
  });
  assert.deepEqual(lines, [["m:list", "[LOG] 'q'"], ["m:add", "[LOG] 'a'", "[LOG] 'b'"]]);
});
