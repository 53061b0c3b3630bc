import assert from "node:assert/strict";
import { test } from "node:test";
import type { MimosaClient } from "../../src/client.js";
import { MimosaHttp } from "../../src/http.js";
import type { SignInResult } from "../../src/session.js";
import { memoryStorage } from "../../src/storage.js";
import { Proxy } from "../support/proxy.js";
import { passed, TestServer, until } from "../support/server.js";

function connectedTo(client: MimosaClient): Promise<unknown> {
  return until(client.connection, (s) => s.connected && s.retries === 0, "a connection that is well");
}

test("a mutation whose answer was lost takes effect once, and its promise resolves", async (t) => {
  const server = await TestServer.start(t);
  const proxy = await Proxy.start(t, server.port);
  const client = server.client(t, {}, proxy.url);
  const watch = client.watch("counters:get", { name: "a" });
  watch.subscribe(() => {});
  await until(watch, (s) => s.value === 0);

  const lost = proxy.loseAnswers();
  const sent = client.mutation("counters:add", { name: "a", by: 1 });
  await lost;
  await until(server.client(t).watch("counters:get", { name: "a" }), (s) => s.value === 1);
  assert.equal(watch.getSnapshot().value, 0, "it has taken effect, and the client does not know");
  proxy.cut();
  assert.equal(await sent, 1);
  assert.equal(await client.query("counters:get", { name: "a" }), 1);
});

const ann = { email: "ann@example.com", password: "correct horse", nickname: "Ann", room: "lobby" };

/** A sign-up that has been committed, and whose answer is kept from its client. */
async function unanswered(server: TestServer, proxy: Proxy, client: MimosaClient): Promise<{ done: Promise<SignInResult> }> {
  await connectedTo(client);
  const lost = proxy.loseAnswers();
  const done = client.auth.signUp("password", ann);
  // The trigger's message: it and the account are one commit.
  const other = new MimosaHttp(server.url);
  while (((await other.query("messages:list", { room: "lobby" })) as unknown[]).length === 0) await passed(20);
  await lost;
  assert.equal(client.auth.state.status, "signedOut", "the client does not know");
  return { done };
}

/** One user, made once, whom the client acts as. */
async function signedUpOnce(client: MimosaClient): Promise<void> {
  assert.equal(client.auth.state.status, "signedIn");
  assert.equal(((await client.action("users:whoami")) as { nickname: string }).nickname, "Ann");
  await client.mutation("messages:send", { room: "lobby", text: "hello" });
  const list = (await client.query("messages:list", { room: "lobby" })) as { text: string; author?: string }[];
  assert.deepEqual(list.map(({ text }) => text), ["welcome, Ann", "hello"], "OnCreate ran once");
  assert.equal(list[1]?.author, ((await client.query("users:me")) as { _id: string })._id);
}

test("a sign-up whose answer was lost is made once, and ends signed in", async (t) => {
  const server = await TestServer.start(t);
  const proxy = await Proxy.start(t, server.port);
  const client = server.client(t, {}, proxy.url);
  const { done } = await unanswered(server, proxy, client);
  proxy.cut();
  assert.deepEqual(await done, { status: "signedIn" });
  await signedUpOnce(client);
});

test("a server killed between a sign-up's commit and its answer: made once, and signed in", async (t) => {
  const server = await TestServer.start(t);
  const proxy = await Proxy.start(t, server.port);
  const storage = memoryStorage();
  const client = server.client(t, { storage, storageKey: "k" }, proxy.url);
  const { done } = await unanswered(server, proxy, client);
  await server.kill();
  proxy.cut();
  await server.start();
  assert.deepEqual(await done, { status: "signedIn" });
  await signedUpOnce(client);
  client.close();
  // The session goes on by the tokens of the second answer.
  const later = server.client(t, { storage, storageKey: "k" }, proxy.url);
  await until(later.auth, (s) => s.status === "signedIn");
});

test("a server killed while it signs somebody up: made once, whether it had been or not", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  await connectedTo(client);
  const done = client.auth.signUp("password", ann);
  await server.kill();
  await server.start();
  assert.deepEqual(await done, { status: "signedIn" });
  await signedUpOnce(client);
});

test("signed up as somebody else with the answer lost: the new user, though the session before has ended", async (t) => {
  const server = await TestServer.start(t);
  const proxy = await Proxy.start(t, server.port);
  const client = server.client(t, {}, proxy.url);
  await client.auth.signUp("password", { ...ann, email: "bob@example.com", nickname: "Bob", room: "elsewhere" });
  const lost = proxy.loseAnswers();
  const done = client.auth.signUp("password", ann);
  const other = new MimosaHttp(server.url);
  while (((await other.query("messages:list", { room: "lobby" })) as unknown[]).length === 0) await passed(20);
  await lost;
  proxy.cut();
  assert.deepEqual(await done, { status: "signedIn" });
  await signedUpOnce(client);
});

test("killed in the middle of everything, the server does each mutation once", async (t) => {
  const server = await TestServer.start(t);
  const clients = Array.from({ length: 4 }, () => server.client(t));
  const watch = clients[0]!.watch("counters:get", { name: "total" });
  const seen: number[] = [];
  watch.subscribe(() => seen.push(watch.getSnapshot().value as number));
  const each = 60;
  const results = clients.map((client, i) =>
    Promise.all(Array.from({ length: each }, (_, n) =>
      client.mutation("counters:add", { name: n % 2 ? "total" : `own ${i}`, by: 1 }))));
  for (let round = 0; round < 3; round++) {
    const before = seen.at(-1) ?? 0;
    await until(watch, (s) => typeof s.value === "number" && s.value >= Math.min(before + 10, clients.length * each / 2));
    await server.kill();
    await server.start();
  }
  for (const [i, values] of (await Promise.all(results)).entries()) {
    const own = values.filter((_, n) => n % 2 === 0);
    assert.deepEqual(own, Array.from({ length: each / 2 }, (_, n) => n + 1), `client ${i}: in order, none twice`);
  }
  assert.equal(await clients[0]!.query("counters:get", { name: "total" }), clients.length * each / 2);
  await until(watch, (s) => s.value === clients.length * each / 2);
  assert.deepEqual(seen, [...seen].sort((a, b) => a - b), "what is seen never goes back");
});

test("a mutation that runs when the server is killed takes effect once", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  await connectedTo(client);
  const sent = client.mutation("counters:addSlowly", { name: "slow", by: 1 });
  await server.kill();
  assert.equal(client.connection.state.lastError?.code ?? "disconnected", "disconnected");
  await server.start();
  assert.equal(await sent, 1);
  assert.equal(await client.query("counters:get", { name: "slow" }), 1);
});

test("an action that runs when the server is killed fails, one asked for meanwhile runs", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  await connectedTo(client);
  const running = client.action("counters:reached", { name: "a", value: 1 });
  const refused = assert.rejects(running, { name: "MimosaError", code: "disconnected" });
  await client.query("counters:get", { name: "b" }); // the action is on its way
  await server.kill();
  await refused;
  const later = client.action("counters:reached", { name: "a", value: 0 });
  assert.equal(client.connection.state.queuedActions, 1);
  await server.start();
  assert.equal(await later, 0);
});

test("an orderly restart loses nothing either, and live queries go on", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const watch = client.watch("counters:get", { name: "a" });
  await until(watch, (s) => s.value === 0);
  await client.mutation("counters:add", { name: "a", by: 1 });
  const during = client.mutation("counters:addSlowly", { name: "a", by: 1 });
  await server.stop();
  await until(client.connection, (s) => !s.connected);
  const queued = client.mutation("counters:add", { name: "a", by: 1 });
  assert.ok(client.connection.state.queuedMutations >= 1);
  await server.start();
  assert.deepEqual(await Promise.all([during, queued]), [2, 3]);
  await until(watch, (s) => s.value === 3);
  await connectedTo(client);
  assert.equal(client.connection.state.lastError, undefined);
});

test("a client that starts before its server waits for it", async (t) => {
  const server = await TestServer.start(t);
  await server.kill();
  const client = server.client(t);
  const watch = client.watch("counters:get", { name: "a" });
  const sent = client.mutation("counters:add", { name: "a", by: 1 });
  watch.subscribe(() => {});
  await until(client.connection, (s) => s.lastError !== undefined);
  assert.equal(client.connection.state.hasEverConnected, false);
  await server.start();
  assert.equal(await sent, 1);
  assert.equal(watch.getSnapshot().value, 1);
});

test("cut again and again, a client still counts right", async (t) => {
  const server = await TestServer.start(t);
  const proxy = await Proxy.start(t, server.port);
  const client = server.client(t, {}, proxy.url);
  const all = Array.from({ length: 40 }, () => client.mutation("counters:add", { name: "a", by: 1 }));
  const watch = client.watch("counters:get", { name: "a" });
  for (const [at, lose] of [[0, false], [5, true], [15, false]] as const) {
    await until(watch, (s) => typeof s.value === "number" && s.value >= at);
    if (lose) {
      const lost = proxy.loseAnswers();
      void client.mutation("counters:add", { name: "b", by: 1 });
      await lost;
    }
    proxy.cut();
  }
  assert.deepEqual(await Promise.all(all), Array.from({ length: 40 }, (_, i) => i + 1));
  assert.equal(await client.query("counters:get", { name: "b" }), 1);
});

test("offline, mutations queue; online, they run in order; a network that was down longer changes nothing", async (t) => {
  const server = await TestServer.start(t);
  const proxy = await Proxy.start(t, server.port);
  const client = server.client(t, {}, proxy.url);
  await connectedTo(client);
  proxy.cut(true);
  await until(client.connection, (s) => !s.connected);
  const queued = Array.from({ length: 10 }, (_, i) => client.mutation("messages:send", { room: "r", text: `${i}` }));
  assert.equal(client.connection.state.queuedMutations, 10);
  await until(client.connection, (s) => s.retries >= 2, "a second failure to connect");
  proxy.up();
  await Promise.all(queued);
  const list = (await client.query("messages:list", { room: "r" })) as { text: string }[];
  assert.deepEqual(list.map(({ text }) => text), Array.from({ length: 10 }, (_, i) => `${i}`));
});
