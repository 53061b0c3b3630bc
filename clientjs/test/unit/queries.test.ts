import assert from "node:assert/strict";
import { test } from "node:test";
import { MimosaError } from "../../src/errors.js";
import { timestamp, zeroTimestamp } from "../../src/protocol.js";
import { connected, failed, outcome, rig, settle, updated } from "../support/fake.js";

test("nothing is asked until somebody subscribes; then a result comes, and changes of it", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", { room: "r" });
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.deepEqual(watch.getSnapshot(), { status: "loading" });

  const seen: unknown[] = [];
  watch.subscribe(() => seen.push(watch.getSnapshot().value));
  await settle();
  assert.deepEqual(socket.take(), [{
    type: "ModifyQuerySet", baseVersion: 1, newVersion: 2,
    modifications: [{ type: "Add", queryId: 0, udfPath: "m:list", args: [{ room: "r" }] }],
  }]);
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, ["a"])]);
  socket.transition({ ts: 3n }, [updated(0, ["a", "b"])]);
  assert.deepEqual(seen, [["a"], ["a", "b"]]);
  client.close();
});

test("a snapshot stays the same object until its content changes", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  assert.equal(watch.getSnapshot(), watch.getSnapshot());
  let calls = 0;
  watch.subscribe(() => calls++);
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, [{ _id: "1", n: 1 }])]);
  const first = watch.getSnapshot();
  socket.transition({ ts: 3n }, [updated(0, [{ _id: "1", n: 1 }])]);
  assert.equal(watch.getSnapshot(), first);
  assert.equal(calls, 1, "an equal result is no news");
  socket.transition({ ts: 4n }, [updated(0, [{ _id: "1", n: 2 }])]);
  assert.notEqual(watch.getSnapshot(), first);
  assert.equal(calls, 2);
  client.close();
});

test("equal watches share one query, whatever the order of their arguments' keys", async () => {
  const { client, socket } = connected();
  const one = client.watch("m:list", { a: 1, b: [2n] });
  const two = client.watch("m:list", { b: [2n], a: 1, c: undefined });
  const stopOne = one.subscribe(() => {});
  const stopTwo = two.subscribe(() => {});
  client.watch("m:list", { a: 1, b: [2] }).subscribe(() => {});
  await settle();
  const [message] = socket.take();
  assert(message?.type === "ModifyQuerySet");
  assert.equal(message.modifications.length, 2, "2n and 2 are different arguments");
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, "x"), updated(1, "y")]);
  assert.equal(one.getSnapshot(), two.getSnapshot());

  stopOne();
  stopOne();
  await settle();
  assert.deepEqual(socket.take(), [], "the other still watches");
  stopTwo();
  await settle();
  assert.deepEqual(socket.take(), [
    { type: "ModifyQuerySet", baseVersion: 2, newVersion: 3, modifications: [{ type: "Remove", queryId: 0 }] },
  ]);
  client.close();
});

test("what is dropped and taken up again at once never reaches the server", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  watch.subscribe(() => {})();
  await settle();
  assert.deepEqual(socket.take(), []);
  const stop = watch.subscribe(() => {});
  await settle();
  socket.take();
  socket.transition({ querySet: 2, ts: 2n }, [updated(1, 1)]);
  stop();
  watch.subscribe(() => {});
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.equal(watch.getSnapshot().value, 1, "nor is its result lost");
  client.close();
});

test("all queries of a transition change before anybody hears of it", async () => {
  const { client, socket } = connected();
  const a = client.watch("m:a", {});
  const b = client.watch("m:b", {});
  const seen: unknown[] = [];
  a.subscribe(() => seen.push([a.getSnapshot().value, b.getSnapshot().value]));
  b.subscribe(() => seen.push([a.getSnapshot().value, b.getSnapshot().value]));
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1), updated(1, 1)]);
  socket.transition({ ts: 3n }, [updated(0, 2), updated(1, 2)]);
  assert.deepEqual(seen, [[1, 1], [1, 1], [2, 2], [2, 2]]);
  client.close();
});

test("a failed query shows the server's error, and recovers", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  let calls = 0;
  watch.subscribe(() => calls++);
  await settle();
  const data = { code: "forbidden", message: "not a member", data: { room: "r", n: { $integer: "AQAAAAAAAAA=" } } };
  socket.transition({ querySet: 2, ts: 2n }, [failed(0, "not a member", data)]);
  const { status, error } = watch.getSnapshot();
  assert.equal(status, "error");
  assert(error instanceof MimosaError);
  assert.equal(error.code, "forbidden");
  assert.equal(error.message, "not a member");
  assert.deepEqual(error.data, { room: "r", n: 1n });
  socket.transition({ ts: 3n }, [failed(0, "not a member", data)]);
  assert.equal(calls, 1, "the same error is no news");
  socket.transition({ ts: 4n }, [failed(0, "boom")]);
  assert.equal(watch.getSnapshot().error?.code, "internal");
  socket.transition({ ts: 5n }, [updated(0, 1)]);
  assert.deepEqual(watch.getSnapshot(), { status: "ready", value: 1 });
  client.close();
});

test("a result that cannot be read fails its own query only", async () => {
  const { client, socket } = connected();
  const bad = client.watch("m:bad", {});
  const good = client.watch("m:good", {});
  bad.subscribe(() => {});
  good.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, { $later: 1 }), updated(1, "fine")]);
  assert.equal(bad.getSnapshot().error?.code, "protocol");
  assert.equal(good.getSnapshot().value, "fine");
  assert.equal(socket.closedByClient, false);
  client.close();
});

test("results for queries that were just dropped are ignored", async () => {
  const { client, socket } = connected();
  const stop = client.watch("m:list", {}).subscribe(() => assert.fail("nobody listens"));
  await settle();
  stop();
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1)]);
  socket.transition({ querySet: 3 }, [{ type: "QueryRemoved", queryId: 0 }]);
  assert.equal(socket.closedByClient, false);
  client.close();
});

test("a listener that throws keeps no other from hearing", async (t) => {
  const report = t.mock.method(console, "error", () => {});
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  let heard = 0;
  watch.subscribe(() => {
    throw new Error("the program's own");
  });
  watch.subscribe(() => heard++);
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1)]);
  assert.equal(heard, 1);
  assert.equal(report.mock.callCount(), 1);
  assert.equal(socket.closedByClient, false);
  client.close();
});

test("a listener that another has just removed is not called any more", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  let stop = () => {};
  watch.subscribe(() => stop());
  stop = watch.subscribe(() => assert.fail("it was removed"));
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1)]);
  assert.equal(watch.getSnapshot().value, 1);
  client.close();
});

test("one function subscribed twice is heard twice and ends one at a time", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:list", {});
  let heard = 0;
  const listener = () => heard++;
  const stop = watch.subscribe(listener);
  watch.subscribe(listener);
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1)]);
  assert.equal(heard, 2);
  stop();
  socket.transition({ ts: 3n }, [updated(0, 2)]);
  assert.equal(heard, 3);
  client.close();
});

for (const [what, start, end] of [
  ["another query set", { querySet: 7, identity: 0, ts: timestamp(1n) }, { querySet: 7, identity: 0, ts: timestamp(2n) }],
  ["another identity", { querySet: 1, identity: 3, ts: timestamp(1n) }, { querySet: 1, identity: 3, ts: timestamp(2n) }],
  ["another time", { querySet: 1, identity: 0, ts: timestamp(9n) }, { querySet: 1, identity: 0, ts: timestamp(10n) }],
  ["back in time", { querySet: 1, identity: 0, ts: timestamp(1n) }, { querySet: 1, identity: 0, ts: zeroTimestamp }],
] as const) {
  test(`a transition that starts or leads elsewhere (${what}) begins a new socket`, async () => {
    const { client, socket, clock, network } = connected();
    socket.say({ type: "Transition", startVersion: start, endVersion: end, modifications: [] });
    assert.equal(socket.closedByClient, true);
    assert.equal(client.connection.state.connected, false);
    await clock.advance(1000);
    network.last.open();
    const [hello] = network.last.take();
    assert(hello?.type === "Connect");
    assert.match(hello.lastCloseReason ?? "", /Transition/);
    client.close();
  });
}

test("after a reconnect all is added again with its journal, old results stay meanwhile", async () => {
  const { client, socket, clock, network } = connected();
  const kept = client.watch("m:kept", {});
  const stop = client.watch("m:dropped", {}).subscribe(() => {});
  let calls = 0;
  kept.subscribe(() => calls++);
  await settle();
  socket.transition({ querySet: 2, ts: 5n }, [updated(0, "gone"), updated(1, ["v"], "cursor")]);
  const before = kept.getSnapshot();
  socket.drop();
  stop();
  assert.equal(kept.getSnapshot(), before);
  await clock.advance(1000);
  const next = network.last.open();
  const [hello, set, ...rest] = next.take();
  assert(hello?.type === "Connect");
  assert.equal(hello.connectionCount, 1);
  assert.equal(hello.maxObservedTimestamp, timestamp(5n));
  assert.equal(hello.lastCloseReason, "closed with code 1006");
  assert.deepEqual(set, {
    type: "ModifyQuerySet", baseVersion: 0, newVersion: 1,
    modifications: [{ type: "Add", queryId: 1, udfPath: "m:kept", args: [{}], journal: "cursor" }],
  });
  assert.deepEqual(rest, []);
  next.transition({ querySet: 1, ts: 6n }, [updated(1, ["v"], "cursor")]);
  assert.equal(kept.getSnapshot(), before, "an equal result after the reconnect is no news");
  assert.equal(calls, 1);
  client.close();
});

test("a one-shot query asks, answers and is dropped", async () => {
  const { client, socket } = connected();
  const answer = client.query("m:get", { id: "x" });
  await settle();
  assert.deepEqual(socket.take(), [{
    type: "ModifyQuerySet", baseVersion: 1, newVersion: 2,
    modifications: [{ type: "Add", queryId: 0, udfPath: "m:get", args: [{ id: "x" }] }],
  }]);
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 42)]);
  assert.equal(await answer, 42);
  await settle();
  assert.deepEqual(socket.take(), [
    { type: "ModifyQuerySet", baseVersion: 2, newVersion: 3, modifications: [{ type: "Remove", queryId: 0 }] },
  ]);
  client.close();
});

test("a one-shot query of what is watched is asked all the same: what is known may be from before another's write", async () => {
  const { client, socket, clock, network } = connected();
  const watch = client.watch("m:get", {});
  watch.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, "old")]);
  socket.take();
  const answer = client.query("m:get", {});
  assert.deepEqual(await outcome(answer), { pending: true });
  assert.deepEqual(socket.take(), [{
    type: "ModifyQuerySet", baseVersion: 2, newVersion: 3,
    modifications: [{ type: "Add", queryId: 1, udfPath: "m:get", args: [{}] }],
  }]);
  socket.transition({ querySet: 3, ts: 3n }, [updated(0, "new"), updated(1, "new")]);
  assert.equal(await answer, "new");
  await settle();
  assert.deepEqual(socket.take(), [
    { type: "ModifyQuerySet", baseVersion: 3, newVersion: 4, modifications: [{ type: "Remove", queryId: 1 }] },
  ]);
  assert.deepEqual(watch.getSnapshot(), { status: "ready", value: "new" }, "what is watched stays");

  socket.drop();
  const later = client.query("m:get", {});
  assert.deepEqual(await outcome(later), { pending: true }, "a result from before the loss may be outdated");
  await clock.advance(1000);
  network.last.open().transition({ querySet: 1, ts: 4n }, [updated(0, "newest"), updated(2, "newest")]);
  assert.equal(await later, "newest");
  client.close();
});

test("a one-shot query rejects with the query's error", async () => {
  const { client, socket } = connected();
  const answer = client.query("m:get", {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [failed(0, "no", { code: "not_found", message: "no" })]);
  assert.deepEqual(await outcome(answer), { code: "not_found", message: "no" });
  await assert.rejects(client.query("m:get", { at: new Date(0) }), { code: "bad_value" });
  assert.throws(() => client.watch("m:get", { at: new Date(0) }), { code: "bad_value" });
  client.close();
});

test("what is watched before the socket opens is in its first query set", async () => {
  const { client, network } = rig();
  client.watch("m:a", {}).subscribe(() => {});
  await settle();
  const socket = network.last.open();
  const [, set] = socket.take();
  assert(set?.type === "ModifyQuerySet");
  assert.equal(set.modifications.length, 1);
  await settle();
  assert.deepEqual(socket.take(), [], "and is not sent twice");
  client.close();
});

test("a transition in slices counts once it is whole, pings between them do not matter", async () => {
  const { client, socket } = connected();
  const watch = client.watch("m:big", {});
  watch.subscribe(() => {});
  await settle();
  const whole = JSON.stringify({
    type: "Transition", startVersion: socket.version, endVersion: { ...socket.version, querySet: 2, ts: timestamp(2n) },
    modifications: [updated(0, "é😀".repeat(50))],
  });
  const slices = [whole.slice(0, 90), whole.slice(90, 200), whole.slice(200)];
  slices.forEach((chunk, partNumber) => {
    assert.equal(watch.getSnapshot().status, "loading");
    socket.say({ type: "TransitionChunk", chunk, partNumber, totalParts: 3, transitionId: "t" });
    socket.say({ type: "Ping" });
  });
  assert.equal(watch.getSnapshot().value, "é😀".repeat(50));
  client.close();
});

for (const [what, second] of [
  ["a slice is missing", { partNumber: 2, totalParts: 3, transitionId: "t" }],
  ["a slice comes twice", { partNumber: 0, totalParts: 3, transitionId: "t" }],
  ["another transition's slice comes between", { partNumber: 1, totalParts: 3, transitionId: "u" }],
] as const) {
  test(`the socket is replaced when ${what}`, () => {
    const { client, socket } = connected();
    socket.say({ type: "TransitionChunk", chunk: "{", partNumber: 0, totalParts: 3, transitionId: "t" });
    socket.say({ type: "TransitionChunk", chunk: "}", ...second });
    assert.equal(socket.closedByClient, true);
    client.close();
  });
}

test("the socket is replaced when another message comes between slices", () => {
  const { client, socket } = connected();
  socket.say({ type: "TransitionChunk", chunk: "{", partNumber: 0, totalParts: 3, transitionId: "t" });
  socket.transition({ ts: 2n });
  assert.equal(socket.closedByClient, true);
  client.close();
});

test("slices of a lost socket do not mix with those of the next", async () => {
  const { client, socket, clock, network } = connected();
  socket.say({ type: "TransitionChunk", chunk: "{", partNumber: 0, totalParts: 2, transitionId: "t" });
  socket.drop();
  await clock.advance(1000);
  const next = network.last.open();
  next.transition({ querySet: 1, ts: 2n });
  assert.equal(next.closedByClient, false);
  assert.equal(client.connection.state.connected, true);
  client.close();
});
