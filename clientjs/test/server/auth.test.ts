import assert from "node:assert/strict";
import { test } from "node:test";
import { MimosaError } from "../../src/errors.js";
import { MimosaHttp } from "../../src/http.js";
import { memoryStorage } from "../../src/storage.js";
import type { TokenStorage } from "../../src/storage.js";
import { Proxy } from "../support/proxy.js";
import { passed, TestServer, until } from "../support/server.js";

const ann = { email: "ann@example.com", password: "correct horse", nickname: "Ann" };
const bob = { email: "bob@example.com", password: "battery staple", nickname: "Bob" };

function nickname(value: unknown): unknown {
  return typeof value === "object" && value !== null && "nickname" in value ? value.nickname : value;
}

test("signing up: the next mutation runs as the user, and the views show it in the same step", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const me = client.watch("users:me", {});
  const seen: string[] = [];
  const look = () => seen.push(`${client.auth.state.status} ${String(nickname(me.getSnapshot().value))}`);
  me.subscribe(look);
  client.auth.subscribe(look);
  await until(me, (s) => s.status === "ready");
  assert.equal(client.auth.state.status, "signedOut");

  assert.deepEqual(await client.auth.signUp("password", { ...ann, room: "lobby" }), { status: "signedIn" });
  const sent = client.mutation("messages:send", { room: "lobby", text: "hello" });
  assert.equal(client.auth.state.status, "signedIn");
  assert.equal(nickname(me.getSnapshot().value), "Ann");
  await sent;
  const { _id } = me.getSnapshot().value as { _id: string };
  const list = (await client.query("messages:list", { room: "lobby" })) as { text: string; author?: string }[];
  assert.deepEqual(list.map(({ text, author }) => [text, author]), [["welcome, Ann", undefined], ["hello", _id]]);
  assert.deepEqual(new Set(seen), new Set(["signedOut null", "signedIn Ann"]), "no view saw one without the other");
});

test("a sign-up that a trigger refuses leaves nothing behind", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  await assert.rejects(client.auth.signUp("password", { ...ann, room: "closed" }), {
    code: "forbidden", message: "this room is closed", data: { room: "closed" },
  });
  assert.equal(client.auth.state.status, "signedOut");
  assert.equal(await client.query("users:me"), null);
  await assert.rejects(client.auth.signIn("password", { email: ann.email, password: ann.password }), {
    code: "unauthenticated",
  });
  assert.deepEqual(await client.auth.signUp("password", { ...ann, room: "open" }), { status: "signedIn" });
});

test("what is wrong with a sign-up comes all at once", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const error: unknown = await client.auth.signUp("password", { email: "nonsense", password: "short", extra: 1 })
    .then(() => assert.fail("resolved"), (e: unknown) => e);
  assert(error instanceof MimosaError);
  assert.equal(error.code, "invalid");
  const paths = error.issues.map(({ path }) => path);
  for (const path of ["email", "password", "nickname", "extra"]) assert.ok(paths.includes(path), `${path} in ${paths.join()}`);
});

test("signing in again: triggers that fire on creation do not", async (t) => {
  const server = await TestServer.start(t);
  const first = server.client(t);
  await first.auth.signUp("password", { ...ann, room: "lobby" });
  await first.auth.signOut();
  const second = server.client(t);
  await second.auth.signIn("password", { email: ann.email, password: ann.password });
  assert.equal(nickname(await second.query("users:me")), "Ann");
  assert.equal(nickname(await second.action("users:whoami")), "Ann");
  assert.equal(((await second.query("messages:list", { room: "lobby" })) as unknown[]).length, 1);
});

test("signing out: nobody again, in one step, on this socket, and the session is over everywhere", async (t) => {
  const server = await TestServer.start(t);
  const kept = memoryStorage();
  const client = server.client(t, { storage: kept, storageKey: "k" });
  const me = client.watch("users:me", {});
  me.subscribe(() => {});
  await client.auth.signUp("password", ann);
  const { token } = JSON.parse((await kept.get("k")) ?? "") as { token: string };
  const http = new MimosaHttp(server.url, { token: () => token });
  assert.equal(nickname(await http.query("users:me")), "Ann");

  const seen: string[] = [];
  const look = () => seen.push(`${client.auth.state.status} ${String(nickname(me.getSnapshot().value))}`);
  me.subscribe(look);
  client.auth.subscribe(look);
  await client.auth.signOut();
  assert.deepEqual(new Set(seen), new Set(["signedOut null"]));
  assert.equal(await kept.get("k"), null);
  assert.equal(client.connection.state.retries, 0, "on the same socket");
  await client.mutation("messages:send", { room: "r", text: "anonymous" });
  const [message] = (await client.query("messages:list", { room: "r" })) as { author?: string }[];
  assert.equal(message?.author, undefined);
  const after = await http.query("users:me").catch((error: unknown) => error);
  assert.ok(after === null || (after instanceof MimosaError && after.code === "unauthenticated"), "the token is worth nothing");
});

test("signing out right after asking to sign in: nobody, and the session that was begun is over", async (t) => {
  const server = await TestServer.start(t);
  const tokens: string[] = [];
  const client = server.client(t, {
    fetch: (url, init) => {
      const [{ refreshToken }] = (JSON.parse(init.body) as { args: [{ refreshToken: string }] }).args;
      tokens.push(refreshToken);
      return fetch(url, init);
    },
  });
  await client.auth.signUp("password", ann);
  await client.auth.signOut();
  const states = new Set<string>();
  const names = new Set<unknown>();
  const me = client.watch("users:me", {});
  client.auth.subscribe(() => states.add(client.auth.state.status));
  me.subscribe(() => names.add(nickname(me.getSnapshot().value)));
  await until(me, (s) => s.status === "ready");

  const entering = client.auth.signIn("password", { email: ann.email, password: ann.password });
  const refused = assert.rejects(entering, { code: "identity_changed" });
  const leaving = client.auth.signOut();
  const sent = client.mutation("messages:send", { room: "r", text: "nobody's" });
  await Promise.all([refused, leaving, sent]);
  assert.equal(client.auth.state.status, "signedOut");
  assert.equal(await client.query("users:me"), null);
  assert.equal(await client.action("users:whoami"), null);
  const [message] = (await client.query("messages:list", { room: "r" })) as { author?: string }[];
  assert.equal(message?.author, undefined);
  assert.deepEqual([...names], [null]);
  assert.ok(!states.has("signedIn"));
  assert.equal(tokens.length, 1);
  const http = new MimosaHttp(server.url);
  assert.deepEqual(await http.action("auth:signIn", { refreshToken: tokens[0] }), { tokens: null }, "it is worth nothing");

  await client.auth.signIn("password", { email: ann.email, password: ann.password });
  assert.equal(nickname(await client.action("users:whoami")), "Ann");
});

test("signed out without a network: the server hears of it when there is one again, though the token has expired", async (t) => {
  const server = await TestServer.start(t, { MIMOSA_TEST_ACCESS_TTL: "3s" });
  const proxy = await Proxy.start(t, server.port);
  const kept = memoryStorage();
  const client = server.client(t, { storage: kept, storageKey: "k" }, proxy.url);
  await client.auth.signUp("password", ann);
  const copy = memoryStorage();
  proxy.cut(true);
  await until(client.connection, (s) => !s.connected);
  await copy.set("k", (await kept.get("k")) ?? "");
  await client.auth.signOut();
  // The same session in another place goes on meanwhile.
  const other = server.client(t, { storage: copy, storageKey: "k" });
  await until(other.auth, (s) => s.status === "signedIn");
  await passed(3_500); // the token's life
  proxy.up();
  const state = await until(other.auth, (s) => s.status === "signedOut");
  assert.equal(state.error?.code, "unauthenticated");
});

test("one user after the other on one client, each as themselves", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  const me = client.watch("users:me", {});
  me.subscribe(() => {});
  await client.auth.signUp("password", ann);
  // Without signing out: the sign-in replaces the session.
  await client.auth.signUp("password", bob);
  assert.equal(nickname(me.getSnapshot().value), "Bob");
  assert.equal(nickname(await client.action("users:whoami")), "Bob");
  void client.auth.signOut();
  await client.auth.signIn("password", { email: ann.email, password: ann.password });
  assert.equal(nickname(me.getSnapshot().value), "Ann");
  assert.equal(nickname(await client.action("users:whoami")), "Ann");
  await client.auth.signOut();
  assert.equal(me.getSnapshot().value, null);
  assert.equal(client.connection.state.retries, 0);
});

test("the session outlives the page, the socket and the server", async (t) => {
  const server = await TestServer.start(t);
  const storage = memoryStorage();
  const first = server.client(t, { storage });
  await first.auth.signUp("password", ann);
  await server.kill();
  await server.start();
  await first.mutation("messages:send", { room: "r", text: "still me" });
  assert.equal(first.auth.state.status, "signedIn");
  first.close();

  const second = server.client(t, { storage });
  assert.equal(second.auth.state.status, "loading");
  await until(second.auth, (s) => s.status === "signedIn");
  assert.equal(nickname(await second.query("users:me")), "Ann");
  const list = (await second.query("messages:list", { room: "r" })) as { author?: string }[];
  assert.ok(list[0]?.author);
});

test("tokens are renewed without a gap: no view sees the user gone, no socket is lost", async (t) => {
  const server = await TestServer.start(t, { MIMOSA_TEST_ACCESS_TTL: "4s" });
  const storage = memoryStorage();
  const tokens: string[] = [];
  const spy: TokenStorage = {
    ...storage,
    set: (key, value) => {
      tokens.push((JSON.parse(value) as { token: string }).token);
      return storage.set(key, value);
    },
  };
  const client = server.client(t, { storage: spy });
  await client.auth.signUp("password", ann);
  const me = client.watch("users:me", {});
  const names = new Set<unknown>();
  me.subscribe(() => names.add(nickname(me.getSnapshot().value)));
  await until(me, (s) => s.status === "ready");
  // Longer than two lives of a token: it has been replaced at least three times.
  let over = false;
  const nine = passed(9_000).then(() => (over = true));
  while (!over) assert.equal(nickname(await client.action("users:whoami")), "Ann");
  await nine;
  assert.ok(tokens.length >= 4, `${tokens.length} tokens`);
  assert.equal(new Set(tokens).size, tokens.length, "each is another");
  assert.deepEqual([...names], ["Ann"]);
  assert.equal(client.connection.state.retries, 0);
  assert.equal(client.auth.state.status, "signedIn");
});

test("a token that ended while there was no network is renewed before the next socket", async (t) => {
  const server = await TestServer.start(t, { MIMOSA_TEST_ACCESS_TTL: "3s" });
  const proxy = await Proxy.start(t, server.port);
  const client = server.client(t, {}, proxy.url);
  await client.auth.signUp("password", ann);
  const names = new Set<unknown>();
  const me = client.watch("users:me", {});
  me.subscribe(() => names.add(nickname(me.getSnapshot().value)));
  await until(me, (s) => s.status === "ready");
  proxy.cut(true);
  await passed(3_500); // the token's life
  proxy.up();
  await until(client.connection, (s) => s.connected && s.retries === 0);
  assert.equal(nickname(await client.action("users:whoami")), "Ann");
  assert.deepEqual([...names], ["Ann"]);
});

test("a session that ends on another device ends here: signed out, with the reason, and live as nobody", async (t) => {
  const server = await TestServer.start(t);
  const [here, there] = [memoryStorage(), memoryStorage()];
  const first = server.client(t, { storage: here, storageKey: "k" });
  await first.auth.signUp("password", ann);
  // The same session in another place, as when somebody copies a profile.
  await there.set("k", (await here.get("k")) ?? "");
  const second = server.client(t, { storage: there, storageKey: "k" });
  await until(second.auth, (s) => s.status === "signedIn");
  const me = second.watch("users:me", {});
  await until(me, (s) => s.status === "ready");
  await first.auth.signOut();
  const state = await until(second.auth, (s) => s.status === "signedOut");
  assert.equal(state.error?.code, "unauthenticated");
  await until(me, (s) => s.value === null);
  await second.auth.signIn("password", { email: ann.email, password: ann.password });
  assert.equal(nickname(await second.query("users:me")), "Ann");
});

test("wrong passwords are refused alike for who is there and who is not", async (t) => {
  const server = await TestServer.start(t);
  const client = server.client(t);
  await client.auth.signUp("password", ann);
  await client.auth.signOut();
  const errors = await Promise.all([ann.email, "nobody@example.com"].map((email) =>
    client.auth.signIn("password", { email, password: "not the password" }).then(() => undefined, (e: MimosaError) => e)));
  assert.deepEqual(errors.map((e) => e?.code), ["unauthenticated", "unauthenticated"]);
  assert.equal(errors[0]?.message, errors[1]?.message);
  await assert.rejects(client.auth.signUp("password", ann), { code: "already_exists" });
});
