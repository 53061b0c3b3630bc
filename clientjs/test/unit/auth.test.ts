import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientOptions } from "../../src/client.js";
import type { ClientMessage } from "../../src/protocol.js";
import type { Json } from "../../src/values.js";
import type { TokenStorage } from "../../src/storage.js";
import { memoryStorage } from "../../src/storage.js";
import type { FakeSocket, Rig } from "../support/fake.js";
import { connected, jwt, outcome, rig, settle, storageKey, updated } from "../support/fake.js";

const hour = 3_600_000;

function pair(token: string, refreshToken: string): Json {
  return { tokens: { token, refreshToken } };
}

function success(value: Json): unknown {
  return { status: "success", value, logLines: [] };
}

/** A storage with the tokens of an earlier visit. */
function stored(token: string, refreshToken: string, renewAt?: number): TokenStorage {
  const storage = memoryStorage();
  void storage.set(storageKey, JSON.stringify({ token, refreshToken, renewAt }));
  return storage;
}

/** A client that is signed in as u1, live on users:me as query 0. */
async function signedIn(seconds = 3600, options: ClientOptions = {}): Promise<Rig & { socket: FakeSocket }> {
  const all = connected(options);
  const me = all.client.watch("users:me", {});
  me.subscribe(() => {});
  await settle();
  all.socket.transition({ querySet: 2, ts: 2n }, [updated(0, null)]);
  const done = all.client.auth.signIn("password", { email: "a@b.test", password: "secret" });
  all.socket.actionDone(0, pair(jwt("u1|s1", seconds, 1), "r1"));
  all.socket.transition({ identity: 1, ts: 3n }, [updated(0, { name: "one" })]);
  assert.deepEqual(await done, { status: "signedIn" });
  all.socket.take();
  return all;
}

test("without tokens one is signed out from the start, and nothing is authenticated", () => {
  const { client, network } = rig();
  assert.deepEqual(client.auth.state, { status: "signedOut", error: undefined });
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  client.close();
});

test("signIn resolves once the socket runs as the user and the views show it, all in one step", async () => {
  const { client, socket } = connected();
  const me = client.watch("users:me", {});
  const seen: unknown[] = [];
  const look = () => seen.push([client.auth.state.status, me.getSnapshot().value]);
  me.subscribe(look);
  client.auth.subscribe(look);
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, null)]);
  socket.take();

  const done = client.auth.signIn("password", { email: "a@b.test", password: "secret" });
  assert.deepEqual(socket.take(), [{
    type: "Action", requestId: 0, udfPath: "auth:signIn",
    args: [{ provider: "password", params: { flow: "signIn", email: "a@b.test", password: "secret" } }],
  }]);
  const token = jwt("u1|s1", 3600);
  socket.actionDone(0, pair(token, "r1"));
  assert.deepEqual(socket.take(), [{ type: "Authenticate", baseVersion: 0, tokenType: "User", value: token }]);
  assert.deepEqual(await outcome(done), { pending: true });
  assert.equal(client.auth.state.status, "signedOut");

  // The server may tell the new user's results before it confirms; nobody sees them beside the old state.
  socket.transition({ ts: 3n }, [updated(0, { name: "one" })]);
  assert.equal(me.getSnapshot().value, null);
  const sent = done.then((result) => {
    client.mutation("m:add").catch(() => {}); // until close
    return result;
  });
  socket.transition({ identity: 1, ts: 4n });
  assert.deepEqual(await sent, { status: "signedIn" });
  assert.deepEqual(socket.takeTypes(), ["Mutation"]);
  assert.deepEqual(seen, [["signedOut", null], ["signedIn", { name: "one" }], ["signedIn", { name: "one" }]]);
  client.close();
});

test("results that come just before the sign-in's answer are shown with it; a slow answer holds nothing up", async () => {
  const { client, socket, clock } = connected();
  const me = client.watch("users:me", {});
  const other = client.watch("m:list", {});
  me.subscribe(() => {});
  other.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, null), updated(1, 1)]);

  const done = client.auth.signIn("password", {});
  socket.transition({ ts: 3n }, [updated(1, 2)]);
  await clock.advance(49);
  socket.transition({ ts: 4n }, [updated(1, 3)]);
  assert.equal(other.getSnapshot().value, 1);
  await clock.advance(1);
  assert.equal(other.getSnapshot().value, 3, "somebody else's write is not kept waiting for the sign-in");

  socket.transition({ ts: 5n }, [updated(0, { name: "one" })]);
  socket.actionDone(0, pair(jwt("u1|s1", 3600), "r1"));
  await clock.advance(1000);
  assert.equal(me.getSnapshot().value, null);
  socket.transition({ identity: 1, ts: 6n });
  assert.deepEqual(me.getSnapshot().value, { name: "one" });
  assert.equal(client.auth.state.status, "signedIn");
  await done;

  const refused = client.auth.signIn("password", {});
  socket.transition({ ts: 7n }, [updated(1, 4)]);
  socket.actionFailed(1, "no", { code: "unauthenticated", message: "no" });
  assert.equal(other.getSnapshot().value, 4, "nothing comes with a refusal");
  await assert.rejects(refused, { code: "unauthenticated" });
  client.close();
});

test("a sign-in asked for during a sign-out goes out after it", async () => {
  const { client, socket } = await signedIn();
  void client.auth.signOut();
  const done = client.auth.signIn("password", { email: "c@d.test" });
  assert.deepEqual(socket.takeTypes(), ["Action", "Authenticate"]);
  socket.transition({ identity: 2, ts: 4n }, [updated(0, null)]);
  await settle();
  assert.deepEqual(socket.takeTypes(), []);
  socket.actionDone(1);
  await settle();
  assert.deepEqual(socket.takeTypes(), ["Action"]);
  socket.actionDone(2, pair(jwt("u2|s2", 3600), "r9"));
  socket.transition({ identity: 3, ts: 5n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  client.close();
});

test("signUp sends its flow and the application's parameters, a form too", async () => {
  const { client, socket } = connected();
  void client.auth.signUp("password", { email: "a@b.test", course: "go" });
  const form = new FormData();
  form.set("email", "a@b.test");
  void client.auth.signUp("password", form);
  void client.auth.signIn("password", { flow: "reset", email: "a@b.test" });
  const keys: unknown[] = [];
  const sent = socket.take().map((m) => {
    const { idempotencyKey, ...rest } = argsOf(m);
    keys.push(idempotencyKey);
    return rest;
  });
  assert.deepEqual(sent, [
    { provider: "password", params: { flow: "signUp", email: "a@b.test", course: "go" } },
    { provider: "password", params: { flow: "signUp", email: "a@b.test" } },
    { provider: "password", params: { flow: "reset", email: "a@b.test" } },
  ]);
  for (const key of keys.slice(0, 2)) assert.match(String(key), /^[0-9a-f-]{36}$/);
  assert.notEqual(keys[0], keys[1], "each call has its own");
  assert.equal(keys[2], undefined);
});

function argsOf(message: ClientMessage | undefined): { [key: string]: Json } {
  assert(message?.type === "Action" && message.udfPath === "auth:signIn");
  return message.args[0] as { [key: string]: Json };
}

test("a sign-up whose answer is lost is sent again, with the same key, and signs in", async () => {
  const { client, socket, clock, network } = connected();
  const done = client.auth.signUp("password", { email: "a@b.test" });
  const first = argsOf(socket.take()[0]);
  socket.drop();
  assert.deepEqual(await outcome(done), { pending: true });
  assert.equal(client.connection.state.queuedActions, 1);
  await clock.advance(1000);
  const second = network.last.open();
  assert.deepEqual(argsOf(second.take().at(-1)), first);
  second.drop();
  await clock.advance(2000);
  const third = network.last.open();
  assert.deepEqual(argsOf(third.take().at(-1)), first);
  third.actionDone(2, pair(jwt("u1|s1", 3600), "r1"));
  third.transition({ querySet: 1, identity: 1, ts: 2n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  client.close();
});

test("a sign-up that is sent again and refused says why", async () => {
  const { client, socket, clock, network } = connected();
  const done = client.auth.signUp("password", { email: "a@b.test" });
  socket.drop();
  await clock.advance(1000);
  network.last.open().actionFailed(1, "taken", { code: "already_exists", message: "taken" });
  assert.equal(((await outcome(done)) as { code: string }).code, "already_exists");
  client.close();
});

test("a sign-up that breaks every connection is given up", async () => {
  const { client, network, clock } = connected();
  const done = client.auth.signUp("password", { email: "a@b.test" });
  done.catch(() => {}); // looked at below
  let sent = 0;
  for (let i = 0; i < 20; i++) {
    sent += network.last.take().filter(({ type }) => type === "Action").length;
    network.last.drop();
    await clock.advance(60_000);
    network.last.open();
  }
  assert.equal(sent, 9);
  assert.equal(((await outcome(done)) as { code: string }).code, "disconnected");
  client.close();
});

test("a sign-up as somebody else survives that it ended the session before", async () => {
  const { client, socket, clock, network, call } = await signedIn();
  const done = client.auth.signUp("password", { email: "c@d.test" });
  const first = argsOf(socket.take()[0]);
  socket.drop();
  await clock.advance(1000);
  // The sign-up has taken effect: the token is refused, and so is its renewal.
  network.last.open().say({ type: "AuthError", error: "ended", baseVersion: 0, authUpdateAttempted: true });
  await settle();
  await call().answer(200, success({ tokens: null }));
  assert.equal(client.auth.state.status, "signedOut");
  const next = network.last.open();
  const [again] = next.take().slice(-1);
  assert.deepEqual(argsOf(again), first);
  assert(again?.type === "Action");
  next.actionDone(again.requestId, pair(jwt("u2|s2", 3600), "r9"));
  next.transition({ querySet: 1, identity: 1, ts: 5n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  client.close();
});

test("a lost sign-up is not sent again after a sign-out, nor after close", async () => {
  const out = connected();
  const left = out.client.auth.signUp("password", {});
  left.catch(() => {}); // looked at below
  void out.client.auth.signOut();
  out.socket.drop();
  await out.clock.advance(1000);
  assert.deepEqual(out.network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  assert.equal(((await outcome(left)) as { code: string }).code, "identity_changed");
  out.client.close();

  const waiting = connected();
  const lost = waiting.client.auth.signUp("password", {});
  lost.catch(() => {}); // looked at below
  waiting.socket.drop();
  await settle();
  assert.deepEqual(await outcome(waiting.client.auth.signOut()), { value: undefined });
  assert.equal(((await outcome(lost)) as { code: string }).code, "identity_changed");
  await waiting.clock.advance(1000);
  assert.deepEqual(waiting.network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  waiting.client.close();

  const closed = connected();
  const done = closed.client.auth.signUp("password", {});
  closed.socket.drop();
  closed.client.close();
  assert.equal(((await outcome(done)) as { code: string }).code, "closed");
});

test("a refused sign-in rejects with the server's error and changes nothing", async () => {
  const { client, socket, storage } = await signedIn();
  const again = client.auth.signIn("password", {});
  socket.actionFailed(1, "wrong", { code: "unauthenticated", message: "wrong e-mail or password" });
  assert.deepEqual(await outcome(again), { code: "unauthenticated", message: "wrong e-mail or password" });
  assert.equal(client.auth.state.status, "signedIn");
  assert.deepEqual(socket.takeTypes(), ["Action"]);
  assert.match((await storage.get(storageKey)) ?? "", /"r1"/);
  client.close();
});

test("a sign-in that needs more says so", async () => {
  const { client, socket } = connected();
  const code = client.auth.signIn("emailcode", { email: "a@b.test" });
  socket.actionDone(0, { started: true });
  assert.deepEqual(await outcome(code), { value: { status: "started" } });
  const away = client.auth.signIn("github");
  socket.actionDone(1, { redirect: "https://idp.test/x", verifier: "v" });
  assert.deepEqual(await outcome(away), { value: { status: "redirect", redirect: "https://idp.test/x", verifier: "v" } });
  assert.equal(client.auth.state.status, "signedOut");
  client.close();
});

test("a browser that has come back goes on with the code of its address, and runs as the user", async () => {
  const { client, socket } = connected();
  const back = client.auth.redeem("c0de", "v");
  const asked = () => socket.take().flatMap((m) => (m.type === "Action" ? [m.args] : []));
  assert.deepEqual(asked(), [[{ params: { code: "c0de" }, verifier: "v" }]]);
  socket.actionDone(0, pair(jwt("u1|s1", 3600, 1), "r1"));
  assert.deepEqual(socket.takeTypes(), ["Authenticate"]);
  socket.transition({ identity: 1, ts: 2n });
  assert.deepEqual(await outcome(back), { value: { status: "signedIn" } });
  assert.equal(client.auth.state.status, "signedIn");

  // A link in a mail has no verifier, and a code that is over changes nothing.
  const over = client.auth.redeem("c0de");
  assert.deepEqual(asked(), [[{ params: { code: "c0de" } }]]);
  socket.actionFailed(1, "invalid", { code: "invalid", message: "invalid sign-in parameters" });
  assert.deepEqual(await outcome(over), { code: "invalid", message: "invalid sign-in parameters" });
  assert.equal(client.auth.state.status, "signedIn");
  client.close();
});

test("an account that was linked leaves the session as it is", async () => {
  const { client, socket, storage } = await signedIn();
  const link = client.auth.redeem("c0de", "v");
  socket.take();
  socket.actionDone(1, { linked: true });
  assert.deepEqual(await outcome(link), { value: { status: "linked" } });
  assert.deepEqual(socket.takeTypes(), []);
  assert.equal(client.auth.state.status, "signedIn");
  assert.match((await storage.get(storageKey)) ?? "", /"r1"/);
  client.close();
});

test("a sign-in whose action was lost with its socket rejects", async () => {
  const { client, socket } = connected();
  const done = client.auth.signIn("password");
  socket.drop();
  assert.equal(((await outcome(done)) as { code: string }).code, "disconnected");
  client.close();
});

test("a socket lost between the answer and its confirmation finishes the sign-in on the next", async () => {
  const { client, socket, clock, network } = connected();
  const me = client.watch("users:me", {});
  me.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, null)]);
  const done = client.auth.signIn("password");
  socket.actionDone(0, pair(jwt("u1|s1", 3600), "r1"));
  socket.transition({ ts: 3n }, [updated(0, { name: "held back" })]);
  socket.drop();
  assert.deepEqual(await outcome(done), { pending: true });
  await clock.advance(1000);
  const next = network.last.open();
  assert.deepEqual(next.takeTypes(), ["Connect", "Authenticate", "ModifyQuerySet"]);
  next.transition({ identity: 1, querySet: 1, ts: 3n }, [updated(0, { name: "one" })]);
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  assert.deepEqual(me.getSnapshot().value, { name: "one" });
  client.close();
});

test("on a new socket the order is Connect, Authenticate, ModifyQuerySet, then what was in flight", async () => {
  const { client, socket, clock, network } = await signedIn();
  void client.mutation("m:a").catch(() => {});
  void client.mutation("m:b").catch(() => {});
  socket.drop();
  assert.equal(client.auth.state.status, "signedIn", "losing a socket is not losing the session");
  await clock.advance(1000);
  const messages = network.last.open().take();
  assert.deepEqual(messages.map(({ type }) => type), ["Connect", "Authenticate", "ModifyQuerySet", "Mutation", "Mutation"]);
  assert.deepEqual(messages[1], {
    type: "Authenticate", baseVersion: 0, tokenType: "User", value: jwt("u1|s1", 3600, 1),
  });
  client.close();
});

test("a visit begins with the tokens of the last, loading until they are confirmed", async () => {
  const { client, network } = rig({ storage: stored(jwt("u1|s1", 3600), "r1") });
  assert.equal(client.auth.state.status, "loading");
  const socket = network.last.open();
  assert.deepEqual(socket.takeTypes(), ["Connect", "Authenticate", "ModifyQuerySet"]);
  socket.transition({ identity: 1, ts: 1n });
  assert.equal(client.auth.state.status, "signedIn");
  client.close();
});

test("tokens that come from a slow storage are waited for before the first socket", async () => {
  let give: (text: string | null) => void = () => {};
  const { client, network } = rig({
    storage: { ...memoryStorage(), get: () => new Promise<string | null>((resolve) => (give = resolve)) },
  });
  assert.equal(client.auth.state.status, "loading");
  await settle();
  assert.equal(network.sockets.length, 0);
  give(JSON.stringify({ token: jwt("u1|s1", 3600), refreshToken: "r1" }));
  await settle();
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "Authenticate", "ModifyQuerySet"]);
  client.close();
});

test("signing out while the storage is still being read signs out whoever is found", async () => {
  let give: (text: string | null) => void = () => {};
  const removed: string[] = [];
  const { client, network, call } = rig({
    storage: {
      get: () => new Promise<string | null>((resolve) => (give = resolve)),
      set: () => {},
      remove: (key) => void removed.push(key),
    },
  });
  const done = client.auth.signOut();
  assert.deepEqual(await outcome(done), { pending: true });
  give(JSON.stringify({ token: jwt("u1|s1", 3600), refreshToken: "r1" }));
  assert.deepEqual(await outcome(done), { value: undefined });
  assert.equal(client.auth.state.status, "signedOut");
  assert.deepEqual(removed, [storageKey]);
  assert.equal(call().body.path, "auth:signOut");
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  client.close();
});

test("nonsense in the storage counts as nothing", () => {
  for (const text of ["{", "null", "7", '{"token":1}']) {
    const storage = memoryStorage();
    void storage.set(storageKey, text);
    const { client } = rig({ storage });
    assert.equal(client.auth.state.status, "signedOut");
    client.close();
  }
});

test("a storage that throws keeps nobody from signing in and staying so", async () => {
  const broken = (): never => {
    throw new Error("quota");
  };
  const { client, socket, clock, call } = await signedIn(60, { storage: { get: broken, set: broken, remove: broken } });
  await clock.advance(30_000);
  assert.deepEqual(call().body.args, [{ refreshToken: "r1" }]);
  await call().answer(200, success(pair(jwt("u1|s1", 60, 2), "r2")));
  assert.deepEqual(socket.takeTypes(), ["Authenticate"]);
  socket.transition({ identity: 2 });
  await clock.advance(30_000);
  assert.deepEqual(call().body.args, [{ refreshToken: "r2" }]);
  client.close();
});

test("a token is renewed a minute and a half before its end, on the same socket, without a gap", async () => {
  const { client, socket, clock, calls, call, storage } = await signedIn(3600);
  let changes = 0;
  client.auth.subscribe(() => changes++);
  await keepAlive(socket, clock, hour - 90_001);
  assert.equal(calls.length, 0);
  await clock.advance(1);
  assert.equal(calls.length, 1);
  assert.equal(call().url, "http://mimosa.test/api/action");
  assert.equal(call().headers["Authorization"], undefined, "the token may have ended by now");
  assert.deepEqual(call().body, { path: "auth:signIn", format: "convex_encoded_json", args: [{ refreshToken: "r1" }] });
  const mutation = client.mutation("m:add");
  const fresh = jwt("u1|s1", 3600, 2);
  await call().answer(200, success(pair(fresh, "r2")));
  assert.deepEqual(socket.take(), [
    { type: "Mutation", requestId: 1, udfPath: "m:add", args: [{}] },
    { type: "Authenticate", baseVersion: 1, tokenType: "User", value: fresh },
  ]);
  // It changes no user, so nothing is held back for it.
  socket.mutationDone(1, 5n);
  socket.transition({ ts: 5n });
  assert.deepEqual(await outcome(mutation), { value: null });
  socket.transition({ identity: 2 });
  assert.equal(client.auth.state.status, "signedIn");
  assert.equal(changes, 0);
  assert.match((await storage.get(storageKey)) ?? "", /"r2"/);
  await keepAlive(socket, clock, hour - 90_000);
  assert.equal(calls.length, 2, "and again");
  client.close();
});

async function keepAlive(socket: FakeSocket, clock: Rig["clock"], ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 30_000) {
    await clock.advance(Math.min(left, 30_000));
    socket.say({ type: "Ping" });
  }
}

test("a token that lives shorter than that is renewed at half its life, one without a life never", async () => {
  const short = await signedIn(6);
  await short.clock.advance(2_999);
  assert.equal(short.calls.length, 0);
  await short.clock.advance(1);
  assert.equal(short.calls.length, 1);
  short.client.close();

  const { client, socket, clock, calls } = connected();
  const done = client.auth.signIn("custom");
  socket.actionDone(0, pair("opaque", "r1"));
  socket.transition({ identity: 1, ts: 2n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  await keepAlive(socket, clock, 3 * hour);
  assert.equal(calls.length, 0);
  client.close();
});

test("how wrong this machine's clock is does not matter to when a token is renewed", async () => {
  // The token was issued a day ago by this clock, and lives a minute.
  const { client, socket, clock, calls } = connected();
  const done = client.auth.signIn("password");
  socket.actionDone(0, pair(jwt("u1|s1", 60, 1, clock.now() / 1000 - 86_400), "r1"));
  socket.transition({ identity: 1, ts: 2n });
  await done;
  await clock.advance(29_999);
  assert.equal(calls.length, 0);
  await clock.advance(1);
  assert.equal(calls.length, 1);
  client.close();
});

test("a renewal that finds no server is tried again, and signs nobody out", async () => {
  const { client, socket, clock, calls, call } = await signedIn(60);
  await clock.advance(30_000);
  await call().fail();
  socket.say({ type: "Ping" });
  for (const [wait, answer] of [
    [500, [502, "bad gateway"]], [1000, [429, { status: "error", errorMessage: "busy", errorData: { code: "busy", message: "busy" } }]],
    [2000, [560, { status: "error", errorMessage: "internal" }]], [4000, [200, success({ unexpected: true })]],
  ] as const) {
    const before = calls.length;
    await clock.advance(wait - 1);
    assert.equal(calls.length, before);
    await clock.advance(1);
    assert.equal(calls.length, before + 1);
    await call().answer(answer[0], answer[1]);
  }
  assert.equal(client.auth.state.status, "signedIn");
  await clock.advance(8000);
  await call().answer(200, success(pair(jwt("u1|s1", 60, 2), "r2")));
  assert.deepEqual(socket.takeTypes(), ["Authenticate"]);
  client.close();
});

test("a renewal that hangs is given up and tried again", async () => {
  const { client, clock, calls } = await signedIn(60, {
    fetch: (_, { signal }) =>
      new Promise((_resolve, reject) => {
        attempts++;
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      }),
  });
  let attempts = 0;
  await clock.advance(30_000);
  assert.equal(attempts, 1);
  await clock.advance(30_500);
  assert.equal(attempts, 2);
  assert.equal(calls.length, 0);
  client.close();
});

test("a token that ended while the machine slept is renewed before the socket is opened again", async () => {
  const { client, socket, clock, network, calls, call } = await signedIn(60);
  clock.sleep(10 * hour);
  socket.drop();
  await clock.advance(1000);
  assert.equal(calls.length, 1);
  assert.equal(network.sockets.length, 1);
  const fresh = jwt("u1|s1", 60, 2);
  await call().answer(200, success(pair(fresh, "r2")));
  assert.equal(network.sockets.length, 2);
  const messages = network.last.open().take();
  assert.deepEqual(messages[1], { type: "Authenticate", baseVersion: 0, tokenType: "User", value: fresh });
  client.close();
});

test("signOut tells the server as the user, then runs as nobody, in one step with the views", async () => {
  const { client, socket, storage, clock } = await signedIn();
  const me = client.watch("users:me", {});
  const seen: unknown[] = [];
  const look = () => seen.push([client.auth.state.status, me.getSnapshot().value]);
  me.subscribe(look);
  client.auth.subscribe(look);
  const done = client.auth.signOut();
  assert.deepEqual(socket.take(), [
    { type: "Action", requestId: 1, udfPath: "auth:signOut", args: [{}] },
    { type: "Authenticate", baseVersion: 1, tokenType: "None" },
  ]);
  assert.equal(await storage.get(storageKey), null, "the tokens are gone at once");
  socket.transition({ ts: 4n }, [updated(0, null)]);
  assert.deepEqual(seen, []);
  socket.transition({ identity: 2, ts: 5n });
  assert.deepEqual(seen, [["signedOut", null], ["signedOut", null]]);
  assert.deepEqual(await outcome(done), { pending: true });
  socket.actionDone(1);
  assert.deepEqual(await outcome(done), { value: undefined });
  assert.equal(client.auth.state.error, undefined);
  assert.equal(clock.waits.length, 1, "only the socket's own timer is left");
  assert.deepEqual(await outcome(client.auth.signOut()), { value: undefined }, "a second time is nothing");
  client.close();
});

test("signOut does not care for the server's errors", async () => {
  const { client, socket } = await signedIn();
  const done = client.auth.signOut();
  socket.actionFailed(1, "boom");
  socket.transition({ identity: 2, ts: 5n });
  assert.deepEqual(await outcome(done), { value: undefined });
  assert.equal(client.auth.state.status, "signedOut");
  client.close();
});

test("signOut offline takes effect at once: no token, no result, no mutation of the user is left", async () => {
  const { client, socket, clock, network, storage, call } = await signedIn();
  const me = client.watch("users:me", {});
  const before = client.mutation("m:inFlight");
  socket.drop();
  const queued = client.mutation("m:queued");
  const done = client.auth.signOut();
  assert.deepEqual(await outcome(done), { value: undefined });
  assert.equal(client.auth.state.status, "signedOut");
  assert.deepEqual(me.getSnapshot(), { status: "loading" });
  assert.equal(await storage.get(storageKey), null);
  const want = { code: "identity_changed", message: "the user changed before this call was confirmed" };
  assert.deepEqual(await outcome(before), want);
  assert.deepEqual(await outcome(queued), want);
  // The server hears of it over HTTP if it can.
  assert.equal(call().body.path, "auth:signOut");
  assert.deepEqual(call().body.args, [{ refreshToken: "r1" }]);
  assert.equal(call().headers["Authorization"], undefined, "the access token may have expired by then");
  await call().fail();
  await clock.advance(1000);
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  client.close();
});

test("a sign-out that the server has not heard of is told with each new socket, until it is", async () => {
  const { client, socket, clock, network, calls, call } = await signedIn();
  socket.drop();
  await client.auth.signOut();
  await call().fail();
  for (const [wait, answer] of [
    [1000, [502, "bad gateway"]], [2000, [560, { status: "error", errorMessage: "internal" }]], [4000, [200, success(null)]],
  ] as const) {
    const before = calls.length;
    await clock.advance(wait);
    network.last.open();
    assert.equal(calls.length, before + 1);
    assert.equal(call().body.path, "auth:signOut");
    assert.deepEqual(call().body.args, [{ refreshToken: "r1" }]);
    await call().answer(answer[0], answer[1]);
    network.last.drop();
  }
  const told = calls.length;
  await clock.advance(8000);
  network.last.open();
  assert.equal(calls.length, told);
  client.close();
});

test("a sign-out that the server was too busy for is told over HTTP", async () => {
  const { client, socket, call } = await signedIn();
  const done = client.auth.signOut();
  socket.actionFailed(1, "busy", { code: "busy", message: "too many actions at once" });
  socket.transition({ identity: 2, ts: 5n });
  assert.deepEqual(await outcome(done), { value: undefined });
  assert.equal(call().body.path, "auth:signOut");
  client.close();
});

test("a socket lost while signing out: signed out all the same, and the server is told over HTTP", async () => {
  const { client, socket, call } = await signedIn();
  const me = client.watch("users:me", {});
  const done = client.auth.signOut();
  socket.drop();
  assert.deepEqual(await outcome(done), { value: undefined });
  assert.equal(client.auth.state.status, "signedOut");
  assert.deepEqual(me.getSnapshot(), { status: "loading" });
  assert.equal(call().body.path, "auth:signOut");
  client.close();
});

test("a mutation of one user is never sent as another", async () => {
  const { client, socket, clock, network } = await signedIn();
  const old = client.mutation("m:old");
  const reflected = client.mutation("m:reflected");
  socket.mutationDone(2, 9n, "written");
  const done = client.auth.signIn("password", { email: "c@d.test" });
  socket.actionDone(3, pair(jwt("u2|s2", 3600), "r9"));
  const fresh = client.mutation("m:fresh");
  assert.deepEqual(await outcome(old), { pending: true }, "what is on its way runs as who sent it");
  socket.drop();
  await clock.advance(1000);
  const next = network.last.open();
  assert.deepEqual(
    next.take().map((m) => (m.type === "Mutation" ? m.udfPath : m.type)),
    ["Connect", "Authenticate", "ModifyQuerySet", "m:fresh"],
  );
  assert.equal(((await outcome(old)) as { code: string }).code, "identity_changed");
  next.transition({ querySet: 1, identity: 1, ts: 9n });
  assert.deepEqual(await outcome(reflected), { value: "written" }, "a success that is known stays one");
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  assert.deepEqual(await outcome(fresh), { pending: true });
  client.close();
});

test("AuthError: the token is renewed and the socket replaced; a mutation in flight goes on", async () => {
  const { client, socket, network, calls, call } = await signedIn();
  const sent = client.mutation("m:add");
  socket.say({ type: "AuthError", error: "expired", baseVersion: 1, authUpdateAttempted: false });
  assert.equal(socket.closedByClient, true);
  await settle();
  assert.equal(calls.length, 1);
  assert.equal(network.sockets.length, 1, "the next socket waits for the token");
  const fresh = jwt("u1|s1", 3600, 2);
  await call().answer(200, success(pair(fresh, "r2")));
  assert.equal(network.sockets.length, 2);
  const next = network.last.open();
  const messages = next.take();
  assert.deepEqual(messages.map(({ type }) => type), ["Connect", "Authenticate", "ModifyQuerySet", "Mutation"]);
  assert.deepEqual(messages[1], { type: "Authenticate", baseVersion: 0, tokenType: "User", value: fresh });
  next.transition({ identity: 1, querySet: 1, ts: 5n }, [updated(0, { name: "one" })]);
  next.mutationDone(1, 5n);
  assert.deepEqual(await outcome(sent), { value: null });
  assert.equal(client.auth.state.status, "signedIn");
  client.close();
});

test("AuthError, and the session has ended: signed out, said why, and connected as nobody", async () => {
  const { client, socket, network, call, storage } = await signedIn();
  const me = client.watch("users:me", {});
  const sent = client.mutation("m:add");
  sent.catch(() => {}); // it rejects before it is looked at
  socket.say({ type: "AuthError", error: "session ended", baseVersion: 1, authUpdateAttempted: false });
  await settle();
  await call().answer(200, success({ tokens: null }));
  assert.equal(client.auth.state.status, "signedOut");
  assert.equal(client.auth.state.error?.code, "unauthenticated");
  assert.deepEqual(me.getSnapshot(), { status: "loading" });
  assert.equal(await storage.get(storageKey), null);
  assert.equal(((await outcome(sent)) as { code: string }).code, "identity_changed");
  const next = network.last.open();
  assert.deepEqual(next.takeTypes(), ["Connect", "ModifyQuerySet"]);
  next.transition({ querySet: 1, ts: 5n }, [updated(0, null)]);
  assert.equal(me.getSnapshot().value, null);
  client.close();
});

test("a server that refuses every token ends the session after the third", async () => {
  const { client, network, call } = await signedIn();
  for (let i = 2; i <= 3; i++) {
    network.last.say({ type: "AuthError", error: "no", baseVersion: 0, authUpdateAttempted: true });
    await settle();
    await call().answer(200, success(pair(jwt("u1|s1", 3600, i), `r${i}`)));
    assert.deepEqual(network.last.open().takeTypes(), ["Connect", "Authenticate", "ModifyQuerySet"]);
  }
  network.last.say({ type: "AuthError", error: "no key", baseVersion: 0, authUpdateAttempted: true });
  assert.equal(client.auth.state.status, "signedOut");
  assert.equal(client.auth.state.error?.message, "no key");
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  client.close();
});

test("a token that is confirmed begins the count of refusals anew", async () => {
  const { client, network, call } = await signedIn();
  for (let i = 2; i <= 6; i++) {
    network.last.say({ type: "AuthError", error: "no", baseVersion: 0, authUpdateAttempted: true });
    await settle();
    await call().answer(200, success(pair(jwt("u1|s1", 3600, i), `r${i}`)));
    const next = network.last.open();
    next.take();
    if (i % 2) next.transition({ querySet: 1, identity: 1, ts: BigInt(i + 2) }, [updated(0, { name: "one" })]);
  }
  assert.equal(client.auth.state.status, "signedIn");
  client.close();
});

test("an AuthError about what is being replaced anyway is passed over", async () => {
  const { client, socket, calls } = await signedIn();
  // The session that a new sign-in replaces ends; the server says so after the sign-in's answer.
  const done = client.auth.signIn("password", { email: "c@d.test" });
  socket.actionDone(1, pair(jwt("u2|s2", 3600), "r9"));
  socket.say({ type: "AuthError", error: "session ended", baseVersion: 1, authUpdateAttempted: false });
  socket.say({ type: "AuthError", error: "stale", baseVersion: 0, authUpdateAttempted: true });
  assert.equal(socket.closedByClient, false);
  socket.transition({ identity: 2, ts: 5n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });

  const out = client.auth.signOut();
  socket.say({ type: "AuthError", error: "session ended", baseVersion: 2, authUpdateAttempted: false });
  assert.equal(socket.closedByClient, false);
  socket.transition({ identity: 3, ts: 6n });
  socket.actionDone(2);
  assert.deepEqual(await outcome(out), { value: undefined });
  assert.equal(calls.length, 0);
  client.close();
});

test("an earlier Authenticate's confirmation does not pass for the later one's", async () => {
  const { client, socket, clock, call } = await signedIn(60);
  await clock.advance(30_000);
  await call().answer(200, success(pair(jwt("u1|s1", 60, 2), "r2")));
  const done = client.auth.signIn("password", { email: "c@d.test" });
  socket.actionDone(1, pair(jwt("u2|s2", 3600), "r9"));
  assert.deepEqual(socket.take().map((m) => (m.type === "Authenticate" ? m.baseVersion : m.type)), [1, "Action", 2]);
  socket.transition({ identity: 2, ts: 5n });
  assert.deepEqual(await outcome(done), { pending: true });
  socket.transition({ identity: 3, ts: 6n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  client.close();
});

test("one Transition may confirm several Authenticates", async () => {
  const { client, socket, clock, call } = await signedIn(60);
  await clock.advance(30_000);
  await call().answer(200, success(pair(jwt("u1|s1", 60, 2), "r2")));
  const done = client.auth.signIn("password", { email: "c@d.test" });
  socket.actionDone(1, pair(jwt("u2|s2", 3600), "r9"));
  socket.transition({ identity: 3, ts: 6n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  client.close();
});

test("signing out while a renewal is under way: its answer counts for nothing", async () => {
  const { client, socket, clock, call, storage, calls } = await signedIn(60);
  await clock.advance(30_000);
  const renewal = call();
  const done = client.auth.signOut();
  socket.transition({ identity: 2, ts: 5n });
  socket.actionDone(1);
  await outcome(done);
  await renewal.answer(200, success(pair(jwt("u1|s1", 60, 2), "r2")));
  assert.equal(client.auth.state.status, "signedOut");
  assert.equal(await storage.get(storageKey), null);
  assert.deepEqual(socket.takeTypes(), ["Action", "Authenticate"]);
  await clock.advance(20_000);
  assert.equal(calls.length, 1);
  client.close();
});

test("signing out during AuthError's renewal opens the socket as nobody at once", async () => {
  const { client, socket, network, clock, call } = await signedIn();
  socket.say({ type: "AuthError", error: "expired", baseVersion: 1, authUpdateAttempted: false });
  await settle();
  const renewal = call();
  await renewal.fail();
  assert.deepEqual(await outcome(client.auth.signOut()), { value: undefined });
  await settle();
  assert.equal(network.sockets.length, 2);
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  await clock.advance(5000);
  client.close();
});

test("a renewal that hangs holds up neither signing out nor the next user", async () => {
  const { client, socket, network, clock, call, calls } = await signedIn();
  socket.say({ type: "AuthError", error: "expired", baseVersion: 1, authUpdateAttempted: false });
  await settle();
  const hanging = call();
  void client.auth.signOut();
  await settle();
  const next = network.last.open();
  next.transition({ querySet: 1, ts: 5n }, [updated(0, null)]);
  const done = client.auth.signIn("password");
  await settle();
  next.actionDone(1, pair(jwt("u2|s2", 60), "r9"));
  next.transition({ identity: 1, ts: 6n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  next.take();
  const made = calls.length;
  await clock.advance(30_000);
  assert.equal(calls.length, made + 1);
  await hanging.answer(200, success(pair(jwt("u1|s1", 60, 5), "r5")));
  assert.deepEqual(next.take(), [], "what comes of it later is nobody's");
  await call().answer(200, success(pair(jwt("u2|s2", 60, 2), "r10")));
  assert.deepEqual(next.takeTypes(), ["Authenticate"]);
  client.close();
});

test("signing out rejects a sign-in that was waiting for its confirmation", async () => {
  const { client, socket } = connected();
  const entering = client.auth.signIn("password");
  socket.actionDone(0, pair(jwt("u1|s1", 3600), "r1"));
  const leaving = client.auth.signOut();
  assert.deepEqual(await outcome(entering), {
    code: "identity_changed", message: "signed out before the sign-in was complete",
  });
  socket.actionDone(1);
  socket.transition({ identity: 2, ts: 2n });
  assert.deepEqual(await outcome(leaving), { value: undefined });
  assert.equal(client.auth.state.status, "signedOut");
  client.close();
});

test("signing out while a sign-in is under way: it is refused at once, and what it brings is nobody's", async () => {
  const { client, socket, storage, call, calls } = connected();
  const me = client.watch("users:me", {});
  me.subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, null)]);
  socket.take();
  const seen: unknown[] = [];
  const look = () => seen.push([client.auth.state.status, me.getSnapshot().value]);
  me.subscribe(look);
  client.auth.subscribe(look);

  const entering = client.auth.signIn("password", { email: "a@b.test" });
  const leaving = client.auth.signOut();
  assert.deepEqual(await outcome(entering), {
    code: "identity_changed", message: "signed out before the sign-in was complete",
  });
  assert.deepEqual(await outcome(leaving), { pending: true });
  assert.deepEqual(socket.takeTypes(), ["Action"]);
  // The server would run these as the user who was signed in, once it has.
  const sent = client.mutation("m:add");
  const asked = client.action("a:do");
  assert.deepEqual(socket.takeTypes(), []);
  assert.equal(client.connection.state.queuedMutations, 1);

  socket.transition({ ts: 3n }, [updated(0, { name: "one" })]);
  socket.actionDone(0, pair(jwt("u1|s1", 3600), "r1"));
  assert.deepEqual(socket.take().map((m) => (m.type === "Authenticate" ? [m.baseVersion, m.tokenType] : m.type)),
    [[0, "None"], "Mutation", "Action"]);
  assert.equal(client.connection.state.queuedMutations, 0);
  assert.equal(call().body.path, "auth:signOut");
  assert.deepEqual(call().body.args, [{ refreshToken: "r1" }]);
  assert.equal(await storage.get(storageKey), null, "its tokens are not kept");
  socket.transition({ identity: 1, ts: 4n }, [updated(0, null)]);
  assert.deepEqual(await outcome(leaving), { pending: true }, "its session is being ended");
  await call().answer(200, success(null));
  assert.deepEqual(await outcome(leaving), { value: undefined });
  socket.mutationDone(1, 5n);
  socket.actionDone(2, "done");
  socket.transition({ ts: 5n });
  assert.deepEqual(await outcome(sent), { value: null });
  assert.deepEqual(await outcome(asked), { value: "done" });
  for (const look of seen) assert.deepEqual(look, ["signedOut", null], "nobody has seen anything of it");
  assert.deepEqual(client.auth.state, { status: "signedOut", error: undefined });
  assert.equal(calls.length, 1);
  client.close();
});

test("signing out while a sign-in is under way that is refused: nothing is left to do", async () => {
  const { client, socket, calls } = connected();
  const entering = client.auth.signIn("password");
  const leaving = client.auth.signOut();
  const sent = client.mutation("m:add");
  socket.take();
  socket.actionFailed(0, "no", { code: "unauthenticated", message: "no" });
  assert.deepEqual(socket.takeTypes(), ["Mutation"]);
  assert.deepEqual(await outcome(leaving), { value: undefined });
  assert.equal(((await outcome(entering)) as { code: string }).code, "identity_changed");
  assert.equal(calls.length, 0);
  sent.catch(() => {}); // until close
  client.close();
});

test("a user who signs in as another and then out is nobody, and both sessions are ended", async () => {
  const { client, socket, call } = await signedIn();
  const entering = client.auth.signIn("password", { email: "c@d.test" });
  const leaving = client.auth.signOut();
  assert.deepEqual(socket.takeTypes(), ["Action", "Action", "Authenticate"]);
  assert.equal(((await outcome(entering)) as { code: string }).code, "identity_changed");
  socket.actionDone(2); // the sign-out
  socket.actionDone(1, pair(jwt("u2|s2", 3600), "r9"));
  assert.deepEqual(socket.take(), [{ type: "Authenticate", baseVersion: 2, tokenType: "None" }]);
  await call().answer(200, success(null));
  assert.deepEqual(call().body.args, [{ refreshToken: "r9" }]);
  socket.transition({ identity: 2, ts: 4n }, [updated(0, { name: "two" })]);
  assert.deepEqual(await outcome(leaving), { pending: true });
  assert.equal(client.auth.state.status, "signedIn", "as it was, until all has changed");
  assert.deepEqual(client.watch("users:me", {}).getSnapshot().value, { name: "one" });
  socket.transition({ identity: 3, ts: 5n }, [updated(0, null)]);
  assert.deepEqual(await outcome(leaving), { value: undefined });
  assert.equal(client.auth.state.status, "signedOut");
  client.close();
});

test("sign-ins and sign-outs take effect in the order in which they were asked for", async () => {
  const { client, socket, call } = connected();
  const results = [
    client.auth.signIn("password", { email: "1" }), client.auth.signOut(),
    client.auth.signIn("password", { email: "2" }), client.auth.signOut(),
    client.auth.signIn("password", { email: "3" }),
  ];
  results.forEach((result) => result.catch(() => {}));
  assert.equal(socket.take().length, 1, "what comes after a sign-out waits for it");
  socket.actionDone(0, pair(jwt("u1|s1", 3600), "r1"));
  socket.transition({ identity: 1, ts: 2n });
  await settle();
  assert.deepEqual(socket.takeTypes(), ["Authenticate"]);
  await call().answer(200, success(null));
  const [third] = socket.take();
  assert.ok(third?.type === "Action" && JSON.stringify(third.args).includes('"email":"3"'), "the second never went out");
  socket.actionDone(1, pair(jwt("u3|s3", 3600), "r3"));
  socket.transition({ identity: 2, ts: 3n });
  assert.deepEqual((await Promise.allSettled(results)).map(({ status }) => status),
    ["rejected", "fulfilled", "rejected", "fulfilled", "fulfilled"]);
  assert.equal(client.auth.state.status, "signedIn");
  client.close();
});

test("a sign-in that waits for a network is not made any more after a sign-out", async () => {
  const { client, network, calls } = rig();
  const entering = client.auth.signIn("password");
  assert.deepEqual(await outcome(client.auth.signOut()), { value: undefined });
  assert.equal(((await outcome(entering)) as { code: string }).code, "identity_changed");
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet"]);
  assert.equal(calls.length, 0);
  client.close();
});

test("a socket lost under a sign-in that was followed by a sign-out: signed out, and calls go on", async () => {
  const { client, socket, clock, network } = connected();
  const entering = client.auth.signIn("password");
  const leaving = client.auth.signOut();
  const sent = client.mutation("m:add");
  socket.drop();
  assert.deepEqual(await outcome(leaving), { value: undefined });
  assert.equal(((await outcome(entering)) as { code: string }).code, "identity_changed");
  await clock.advance(1000);
  assert.deepEqual(network.last.open().takeTypes(), ["Connect", "ModifyQuerySet", "Mutation"]);
  assert.equal(client.auth.state.status, "signedOut");
  sent.catch(() => {}); // until close
  client.close();
});

test("a sign-in asked for after a sign-out stands, also while the storage is still being read", async () => {
  let give: (text: string | null) => void = () => {};
  const { client, network } = rig({
    storage: { ...memoryStorage(), get: () => new Promise<string | null>((resolve) => (give = resolve)) },
  });
  const leaving = client.auth.signOut();
  const entering = client.auth.signIn("password");
  give(JSON.stringify({ token: jwt("u1|s1", 3600), refreshToken: "r1" }));
  assert.deepEqual(await outcome(leaving), { value: undefined });
  const socket = network.last.open();
  assert.deepEqual(socket.takeTypes(), ["Connect", "ModifyQuerySet", "Action"]);
  socket.actionDone(1, pair(jwt("u2|s2", 3600), "r2"));
  socket.actionDone(0, pair(jwt("u2|s2", 3600), "r2"));
  socket.transition({ identity: 1, querySet: 1, ts: 2n });
  assert.deepEqual(await outcome(entering), { value: { status: "signedIn" } });
  client.close();
});

test("arguments of a sign-in that cannot travel are refused, whenever it is its turn", async () => {
  const { client, socket } = await signedIn();
  const bad = { email: () => "no" };
  assert.equal(((await outcome(client.auth.signIn("password", bad))) as { code: string }).code, "bad_value");
  const leaving = client.auth.signOut();
  const later = client.auth.signIn("password", bad);
  socket.actionDone(1);
  socket.transition({ identity: 2, ts: 4n });
  assert.deepEqual(await outcome(leaving), { value: undefined });
  assert.equal(((await outcome(later)) as { code: string }).code, "bad_value");
  client.close();
});

/** Two tabs' view of one storage: what one writes, the others hear of. */
function shared(): { tab(): TokenStorage; readonly listeners: number } {
  const kept = new Map<string, string>();
  const tabs = new Map<object, () => void>();
  const tell = (from: object) => tabs.forEach((heard, tab) => tab !== from && heard());
  return {
    get listeners() {
      return tabs.size;
    },
    tab() {
      const self = {};
      return {
        get: (key) => kept.get(key) ?? null,
        set(key, value) {
          kept.set(key, value);
          tell(self);
        },
        remove(key) {
          kept.delete(key);
          tell(self);
        },
        subscribe(_, changed) {
          tabs.set(self, changed);
          return () => void tabs.delete(self);
        },
      };
    },
  };
}

test("tabs share a session: signed in, renewed and signed out in one, so in the other", async () => {
  const disk = shared();
  const one = await signedIn(60, { storage: disk.tab() });
  const two = connected({ storage: disk.tab() });
  assert.equal(two.client.auth.state.status, "loading");
  two.socket.transition({ identity: 1, ts: 2n });
  assert.equal(two.client.auth.state.status, "signedIn");

  await one.clock.advance(30_000);
  await one.call().answer(200, success(pair(jwt("u1|s1", 60, 2), "r2")));
  await settle();
  const [renewed] = two.socket.take();
  assert(renewed?.type === "Authenticate" && renewed.tokenType === "User");
  assert.equal(renewed.value, jwt("u1|s1", 60, 2), "the other goes on with the new token");
  two.socket.transition({ identity: 2 });
  one.socket.transition({ identity: 2 });

  void one.client.auth.signOut();
  await settle();
  assert.deepEqual(two.socket.take(), [{ type: "Authenticate", baseVersion: 2, tokenType: "None" }]);
  two.socket.transition({ identity: 3 });
  assert.deepEqual(two.client.auth.state, { status: "signedOut", error: undefined });
  assert.equal(two.calls.length, 0);
  assert.equal(disk.listeners, 2);
  one.client.close();
  two.client.close();
  assert.equal(disk.listeners, 0);
});

test("another user signed in in another tab is a change of user here, in one step", async () => {
  const disk = shared();
  const storage = disk.tab();
  const { client, socket } = await signedIn(3600, { storage });
  const me = client.watch("users:me", {});
  await disk.tab().set(storageKey, JSON.stringify({ token: jwt("u2|s2", 3600), refreshToken: "r9" }));
  await settle();
  assert.deepEqual(socket.takeTypes(), ["Authenticate"]);
  socket.transition({ ts: 4n }, [updated(0, { name: "two" })]);
  assert.deepEqual(me.getSnapshot().value, { name: "one" });
  socket.transition({ identity: 2, ts: 5n });
  assert.deepEqual(me.getSnapshot().value, { name: "two" });
  client.close();
});

test("a token that another tab has renewed meanwhile is taken, not renewed again", async () => {
  const disk = shared();
  const mine = disk.tab();
  delete mine.subscribe; // a frozen tab hears nothing
  const { client, socket, clock, calls } = await signedIn(60, { storage: mine });
  const fresh = jwt("u1|s1", 60, 2);
  await disk.tab().set(storageKey, JSON.stringify({ token: fresh, refreshToken: "r2", renewAt: clock.now() + 90_000 }));
  await clock.advance(30_000);
  assert.equal(calls.length, 0, "presenting r1 again would end the session");
  assert.deepEqual(socket.take(), [{ type: "Authenticate", baseVersion: 1, tokenType: "User", value: fresh }]);
  client.close();
});

test("renewals of one storage take turns", async () => {
  const names: string[] = [];
  let release: () => void = () => {};
  const { client, clock, calls } = await signedIn(60, {
    lock: async (name, run) => {
      names.push(name);
      await new Promise<void>((turn) => (release = turn));
      await run();
    },
  });
  await clock.advance(30_000);
  assert.deepEqual(names, [storageKey]);
  assert.equal(calls.length, 0);
  release();
  await settle();
  assert.equal(calls.length, 1);
  client.close();
});

test("a storage that writes late is read as it will be, not as it was", async () => {
  const kept = new Map<string, string>([[storageKey, JSON.stringify({ token: jwt("u1|s1", 60), refreshToken: "r0" })]]);
  let write: () => void = () => {};
  const { client, clock, network, calls } = rig({
    storage: {
      get: (key) => Promise.resolve(kept.get(key) ?? null),
      set: (key, value) =>
        new Promise<void>((done) => {
          write = () => {
            kept.set(key, value);
            done();
          };
        }),
      remove: (key) => Promise.resolve(void kept.delete(key)),
    },
  });
  await settle();
  const socket = network.last.open();
  socket.transition({ querySet: 1, identity: 1, ts: 1n });
  const done = client.auth.signIn("password");
  socket.actionDone(0, pair(jwt("u2|s2", 60), "r1"));
  socket.transition({ identity: 2, ts: 2n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  socket.take();
  await clock.advance(30_000);
  assert.deepEqual(socket.take(), [], "it does not go back to r0");
  assert.equal(calls.length, 0);
  write();
  await settle();
  assert.deepEqual(calls.map(({ body }) => body.args), [[{ refreshToken: "r1" }]]);
  client.close();
});

test("close stops renewing", async () => {
  const before = await signedIn(60);
  before.client.close();
  await before.clock.advance(hour);
  assert.equal(before.calls.length, 0);
  assert.deepEqual(before.clock.waits, []);

  const during = await signedIn(60);
  await during.clock.advance(30_000);
  await during.call().fail();
  during.client.close();
  assert.deepEqual(during.clock.waits, []);
});
