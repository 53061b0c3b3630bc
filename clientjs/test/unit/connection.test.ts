import assert from "node:assert/strict";
import { test } from "node:test";
import { MimosaClient } from "../../src/client.js";
import { connected, FakeClock, FakeNetwork, outcome, rig, settle, updated } from "../support/fake.js";

test("the socket's address follows from the server's", () => {
  for (const [given, want] of [
    ["http://a.test", "ws://a.test/api/0.1.0/sync"],
    ["https://a.test/", "wss://a.test/api/0.1.0/sync"],
    ["http://a.test:8787/base//", "ws://a.test:8787/base/api/0.1.0/sync"],
    ["wss://a.test", "wss://a.test/api/0.1.0/sync"],
  ] as const) {
    const network = new FakeNetwork();
    const client = new MimosaClient(new URL(given), { webSocket: network.WebSocket, clock: new FakeClock() });
    assert.equal(network.last.url, want);
    client.close();
  }
  for (const bad of ["ftp://a.test", "nonsense", ""]) {
    assert.throws(() => new MimosaClient(bad, { webSocket: new FakeNetwork().WebSocket }), TypeError);
  }
});

test("without a WebSocket class the constructor says what is missing", () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Object.defineProperty(globalThis, "WebSocket", { value: undefined, configurable: true });
  try {
    assert.throws(() => new MimosaClient("http://a.test"), /options\.webSocket/);
  } finally {
    delete (globalThis as { WebSocket?: unknown }).WebSocket;
    if (own) Object.defineProperty(globalThis, "WebSocket", own);
  }
});

test("waits double up to 16 s, spread by half either way, and begin again once all is well", async () => {
  const { client, socket, clock, network } = connected();
  socket.drop();
  const waits: number[] = [];
  for (let i = 0; i < 7; i++) {
    assert.equal(clock.waits.length, 1);
    waits.push(clock.waits[0] ?? 0);
    await clock.advance(waits[i] ?? 0);
    network.last.drop();
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16000, 16000, 16000]);
  assert.equal(client.connection.state.retries, 8);

  clock.chance = 0;
  await clock.advance(16000);
  network.last.drop();
  assert.deepEqual(clock.waits, [8000]);
  clock.chance = 0.999;
  await clock.advance(8000);
  network.last.drop();
  assert.deepEqual(clock.waits.map(Math.round), [23984]);
  clock.chance = 0.5;

  await clock.advance(24000);
  network.last.open();
  network.last.drop();
  assert.deepEqual(clock.waits, [16000], "an open socket alone is not yet well");
  await clock.advance(16000);
  network.last.open().transition({ querySet: 1, ts: 5n });
  assert.equal(client.connection.state.retries, 0);
  network.last.drop();
  assert.deepEqual(clock.waits, [1000]);
  client.close();
});

test("a loss is a first one again only when what was sent again is answered", async () => {
  const { client, socket, clock, network } = connected();
  void client.mutation("m:slow").catch(() => {});
  socket.drop();
  await clock.advance(1000);
  network.last.open().transition({ querySet: 1, ts: 2n });
  assert.equal(client.connection.state.retries, 1);
  assert.equal(client.connection.state.lastError?.code, "disconnected");
  network.last.mutationDone(0, 3n);
  assert.equal(client.connection.state.retries, 0);
  assert.equal(client.connection.state.lastError, undefined);
  client.close();
});

test("the first wait depends on whose close it was", async () => {
  for (const [code, wait] of [[1006, 1000], [1011, 1000], [1013, 3000]] as const) {
    const { client, socket, clock } = connected();
    socket.drop(code, "why");
    assert.deepEqual(clock.waits, [wait]);
    assert.equal(client.connection.state.lastError?.message, "why");
    client.close();
  }
  const { client, clock, network } = connected();
  await clock.advance(60_000);
  assert.deepEqual(clock.waits, [100], "its own close");
  await clock.advance(100);
  assert.equal(network.sockets.length, 2);
  client.close();
});

test("a minute without a message ends the socket; any message, Ping too, keeps it", async () => {
  const { client, socket, clock, network } = connected();
  await clock.advance(59_999);
  socket.say({ type: "Ping" });
  await clock.advance(59_999);
  assert.equal(socket.closedByClient, false);
  await clock.advance(1);
  assert.equal(socket.closedByClient, true);
  assert.equal(client.connection.state.connected, false);
  await clock.advance(100);
  const [hello] = network.last.open().take();
  assert(hello?.type === "Connect");
  assert.equal(hello.lastCloseReason, "the server fell silent");
  client.close();
});

test("an attempt that gets nowhere is given up after 20 s", async () => {
  const { client, clock, network } = rig();
  await clock.advance(20_000);
  assert.equal(network.last.closedByClient, true);
  await clock.advance(100);
  assert.equal(network.sockets.length, 2);
  client.close();
});

test("events of a socket that was left do nothing", async () => {
  const { client, socket, clock, network } = connected();
  await clock.advance(60_100);
  const next = network.last.open();
  next.transition({ querySet: 1, ts: 2n });
  socket.transition({ ts: 99n });
  socket.drop();
  assert.equal(client.connection.state.connected, true);
  assert.equal(next.closedByClient, false);
  client.close();
});

test("a constructor that throws counts as a failed attempt", async () => {
  const clock = new FakeClock();
  let attempts = 0;
  const client = new MimosaClient("http://a.test", {
    clock,
    webSocket: class {
      constructor() {
        attempts++;
        throw new Error("blocked by policy");
      }
    } as never,
  });
  assert.match(client.connection.state.lastError?.message ?? "", /blocked by policy/);
  await clock.advance(1000);
  assert.equal(attempts, 2);
  client.close();
});

test("the connection's state is stable, tells its changes and remembers", async () => {
  const { client, clock, network } = rig();
  const seen: unknown[] = [];
  client.connection.subscribe(() => {
    const { connected: up, hasEverConnected, queuedMutations, inFlightMutations } = client.connection.state;
    seen.push([up, hasEverConnected, queuedMutations, inFlightMutations]);
  });
  assert.deepEqual(client.connection.state, {
    connected: false, hasEverConnected: false, retries: 0, queuedMutations: 0, inFlightMutations: 0,
    queuedActions: 0, inFlightActions: 0, lastError: undefined,
  });
  void client.mutation("m:add").catch(() => {});
  const socket = network.last.open();
  const open = client.connection.state;
  socket.transition({ querySet: 1, ts: 1n });
  socket.transition({ ts: 2n });
  assert.equal(client.connection.getSnapshot(), open, "transitions that change nothing of it");
  socket.mutationDone(0, 3n);
  socket.transition({ ts: 3n });
  socket.drop();
  await clock.advance(1000);
  network.last.open();
  assert.deepEqual(seen, [
    [false, false, 1, 0], [true, true, 0, 1], [true, true, 0, 0], [false, true, 0, 0], [true, true, 0, 0],
  ]);
  client.close();
});

for (const [what, data] of [
  ["not text", new Uint8Array([1])], ["not JSON", "{"], ["null", "null"],
  ["a transition without its parts", '{"type":"Transition"}'],
  ["an answer without a timestamp", '{"type":"MutationResponse","requestId":0,"success":true,"result":1,"logLines":[]}'],
] as const) {
  test(`a frame that is ${what} begins a new socket, after a second`, async () => {
    const { client, socket, clock, network } = connected();
    const sent = client.mutation("m:add");
    socket.raw(data);
    assert.equal(socket.closedByClient, true);
    assert.match(client.connection.state.lastError?.message ?? "", /^bad message/);
    assert.deepEqual(clock.waits, [1000]);
    await clock.advance(1000);
    const next = network.last.open();
    next.mutationDone(0, 2n, "ok");
    next.transition({ querySet: 1, ts: 2n });
    assert.deepEqual(await outcome(sent), { value: "ok" }, "nothing is lost by it");
    client.close();
  });
}

test("a message of a type that is not known is passed over", () => {
  const { client, socket } = connected();
  socket.raw('{"type":"Novelty","x":1}');
  assert.equal(socket.closedByClient, false);
  client.close();
});

test("FatalError ends the client: all that waits fails, what is watched says why, nothing reconnects", async () => {
  const { client, socket, clock, network } = connected();
  const watch = client.watch("m:list", {});
  let calls = 0;
  watch.subscribe(() => calls++);
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1)]);
  const sent = client.mutation("m:add");
  const read = client.query("m:other", {});
  socket.say({ type: "FatalError", error: "too old a client" });
  const want = { code: "fatal", message: "too old a client" };
  assert.deepEqual(await outcome(sent), want);
  assert.deepEqual(await outcome(read), want);
  assert.deepEqual(await outcome(client.action("m:later")), want);
  assert.deepEqual(await outcome(client.query("m:later")), want);
  assert.equal(watch.getSnapshot().error?.code, "fatal");
  assert.equal(calls, 2);
  const other = client.watch("m:unseen", {});
  other.subscribe(() => {});
  assert.equal(other.getSnapshot().error?.code, "fatal");
  assert.equal(other.getSnapshot(), other.getSnapshot());
  assert.equal(client.connection.state.lastError?.code, "fatal");
  assert.equal(socket.closedByClient, true);
  await clock.advance(100_000);
  assert.equal(network.sockets.length, 1);
});

test("close ends what waits, leaves no timer and may be called twice", async () => {
  const { client, socket, clock, network } = connected();
  const watch = client.watch("m:list", {});
  watch.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, 1)]);
  const sent = client.mutation("m:add");
  const read = client.query("m:other", {});
  const signIn = client.auth.signIn("password");
  client.close();
  client.close();
  const want = { code: "closed", message: "the client was closed" };
  for (const promise of [sent, read, signIn, client.mutation("m:late"), client.query("m:late")]) {
    assert.deepEqual(await outcome<unknown>(promise), want);
  }
  assert.equal(watch.getSnapshot().value, 1);
  assert.equal(socket.closedByClient, true);
  assert.deepEqual(clock.waits, []);
  assert.equal(network.sockets.length, 1);
  assert.equal(client.connection.state.connected, false);
});

test("close during a wait, and before the socket is open, ends them", async () => {
  const waiting = connected();
  waiting.socket.drop();
  waiting.client.close();
  assert.deepEqual(waiting.clock.waits, []);
  const opening = rig();
  opening.client.close();
  assert.equal(opening.network.last.closedByClient, true);
  opening.network.last.open();
  assert.deepEqual(opening.network.last.take(), []);
  assert.deepEqual(opening.clock.waits, []);
});

test("coming back online cuts the wait short", async () => {
  const events = new EventTarget();
  let listening = 0;
  const holder = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
  holder.addEventListener = (type: string, listener: () => void) => {
    listening++;
    events.addEventListener(type, listener);
  };
  holder.removeEventListener = (type: string, listener: () => void) => {
    listening--;
    events.removeEventListener(type, listener);
  };
  try {
    const { client, socket, network } = connected();
    socket.drop();
    events.dispatchEvent(new Event("online"));
    assert.equal(network.sockets.length, 2);
    events.dispatchEvent(new Event("online"));
    assert.equal(network.sockets.length, 2, "an attempt is under way already");
    client.close();
    events.dispatchEvent(new Event("online"));
    assert.equal(network.sockets.length, 2);
    assert.equal(listening, 0);
  } finally {
    delete holder.addEventListener;
    delete holder.removeEventListener;
  }
});
