import assert from "node:assert/strict";
import type { User } from "./support/api.js";
import { api } from "./support/api.js";
import type { Connected } from "./support/client.js";
import { connect, dataOf, failureOf, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { Session, settled } from "./support/session.js";
import { test } from "./support/test.js";
import { deadline, until } from "./support/wait.js";

prepare();

const nickname = (user: User | null | undefined) => user && user.nickname;

/** A client that knows who it is: signed up, tokens presented and confirmed. */
async function signedUp(server: Server, name: string): Promise<Connected & { session: Session; changes: boolean[] }> {
  const all = connect(server);
  const session = new Session(server);
  const changes: boolean[] = [];
  await session.signUp(all.client, name);
  assert(await session.present(all.client, changes));
  await settled(all.network);
  return { ...all, session, changes };
}

test("signing up makes a user, and the client is that user", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const me = Watch.of(client, api.users.me, {});
  const is = Watch.of(client, api.auth.isAuthenticated, {});
  assert.deepEqual([await me.first(), await is.first()], [null, false]);

  const session = new Session(server);
  await session.signUp(client, "ada");
  const changes: boolean[] = [];
  assert(await session.present(client, changes));
  assert.equal(nickname(me.current), "ada");
  assert.equal(me.current?.email, "ada@example.com");
  assert.equal(is.current, true);
  assert.equal((await client.action(api.users.whoami, {}))?._id, me.current?._id);

  // Right after the confirmation the client fetches a new token and presents it.
  await settled(network);
  const [first, second] = network.sent("Authenticate");
  assert.notEqual(first?.["value"], second?.["value"]);
  assert.deepEqual(me.values.map(nickname), [null, "ada"], "nothing ran again for nothing");
  assert.deepEqual(changes, [true]);
  assert.equal(network.received("AuthError").length, 0);
});

test("what is sent at once after signing in runs as the user", async (t) => {
  const server = await Server.start(t);
  for (let i = 0; i < 5; i++) {
    const { client } = connect(server);
    const me = Watch.of(client, api.users.me, {});
    await me.first();
    const session = new Session(server);
    const sent = await session.signUp(client, `user${i}`).then(() => {
      // The client has not presented any token yet, and knows nothing of being signed in.
      assert.equal(client.getAuth(), undefined);
      const calls = Promise.all([
        client.mutation(api.messages.send, { room: `room${i}`, text: "before setAuth" }),
        client.action(api.users.whoami, {}),
      ]);
      const confirmed = session.present(client);
      const later = client.mutation(api.messages.send, { room: `room${i}`, text: "before the confirmation" });
      return Promise.all([calls, later, confirmed]);
    });
    const [[, who]] = sent;
    assert.equal(nickname(who), `user${i}`);
    const messages = await client.query(api.messages.list, { room: `room${i}` });
    assert.deepEqual(messages.map(({ text, author }) => [text, author]),
      [["before setAuth", who?._id], ["before the confirmation", who?._id]]);
    assert.deepEqual(me.values.map(nickname), [null, `user${i}`], "and never nobody again");
  }
});

test("a session goes on by its tokens: on another socket, over HTTP, after a restart", async (t) => {
  const server = await Server.start(t);
  const { client, session } = await signedUp(server, "ada");
  const me = Watch.of(client, api.users.me, {});
  await me.until("the user", (user) => nickname(user) === "ada");

  const other = connect(server);
  assert(await session.present(other.client));
  assert.equal(nickname(await other.client.query(api.users.me, {})), "ada");
  const calls = http(server);
  assert.equal(await calls.query(api.users.me, {}), null);
  calls.setAuth(session.tokens!.token);
  assert.equal(nickname(await calls.query(api.users.me, {})), "ada");
  assert.equal(nickname(await calls.action(api.users.whoami, {})), "ada");
  await calls.mutation(api.messages.send, { room: "a", text: "over HTTP" });
  calls.clearAuth();
  assert.equal(await calls.query(api.users.me, {}), null);
  assert.equal((await calls.query(api.messages.list, { room: "a" }))[0]?.author, me.current?._id);

  await server.kill();
  await server.start();
  await other.client.mutation(api.messages.send, { room: "a", text: "after a crash" });
  await client.mutation(api.messages.send, { room: "a", text: "after a crash, too" });
  const messages = await calls.query(api.messages.list, { room: "a" });
  assert.deepEqual(messages.map(({ author }) => author), Array.from({ length: 3 }, () => me.current?._id));
  assert.deepEqual(new Set(me.values.map(nickname)), new Set(["ada"]));
});

test("a token that is none is refused", async (t) => {
  const server = await Server.start(t);
  const { session } = await signedUp(server, "ada");
  const calls = http(server);
  const forged = session.tokens!.token.replace(/\.[^.]*$/, (mac) => `.${[...mac.slice(1)].reverse().join("")}`);
  for (const token of ["nonsense", forged]) {
    calls.setAuth(token);
    assert.match((await failureOf(calls.query(api.users.me, {}))).message, /unauthenticated/);
    const { client } = connect(server);
    const outcome = new Promise<boolean>((resolve) => client.setAuth(() => Promise.resolve(token), resolve));
    assert.equal(await deadline("the client to give up", outcome), false);
    assert.equal(await client.query(api.users.me, {}), null, "it goes on as nobody");
  }
});

test("signing out ends the session for every socket of it, at once", async (t) => {
  const server = await Server.start(t);
  const tab = await signedUp(server, "ada");
  const other = connect(server);
  const changes: boolean[] = [];
  assert(await tab.session.present(other.client, changes));
  await settled(other.network);
  const bystander = await signedUp(server, "eve");
  const watches = [tab, other, bystander].map(({ client }) => Watch.of(client, api.users.me, {}));
  const [mine, theirs, eves] = watches as [Watch<User | null>, Watch<User | null>, Watch<User | null>];
  await Promise.all(watches.map((watch) => watch.first()));

  await tab.client.action(api.auth.signOut, {});
  await theirs.until("nobody", (user) => user === null);
  await until("the other client to know", () => changes.includes(false));
  assert.deepEqual(changes, [true, false]);
  assert.equal(other.client.getAuth(), undefined);
  assert.equal(tab.session.tokens, null, "the refresh token was of no use");
  assert.equal(await other.client.action(api.users.whoami, {}), null);
  const [error] = other.network.received("AuthError");
  assert.equal(error?.["authUpdateAttempted"], false);

  // The client that signed out is nobody too, and is told nothing that it did not ask for.
  await mine.until("nobody", (user) => user === null);
  assert.equal(await tab.client.action(api.users.whoami, {}), null);
  assert.equal(tab.network.received("AuthError").length, 0);
  assert.equal(tab.network.sockets.length, 1);

  assert.deepEqual(eves.values.map(nickname), ["eve"]);
  assert.equal(bystander.network.received("AuthError").length, 0);

  // Both can sign in again.
  await tab.session.signIn(tab.client, { flow: "signIn", email: "ada@example.com" });
  assert.equal(nickname(mine.current), "ada");
  assert(await tab.session.present(other.client));
  await theirs.until("the user", (user) => theirs.values.includes(null) && user === theirs.last && nickname(user) === "ada");
});

test("a token of a session that has ended signs nobody in", async (t) => {
  const server = await Server.start(t);
  const { client, session } = await signedUp(server, "ada");
  const stale = { ...session.tokens! };
  await client.action(api.auth.signOut, {});
  const calls = http(server);
  assert.deepEqual(await calls.action(api.auth.signIn, { refreshToken: stale.refreshToken }), { tokens: null });
  calls.setAuth(stale.token);
  assert.equal(await calls.query(api.auth.isAuthenticated, {}), false);

  const late = connect(server);
  session.tokens = stale;
  assert.equal(await session.present(late.client), false);
  assert.equal(await late.client.query(api.users.me, {}), null);
});

test("signing in again is no creation, and the whole of a refused sign-up is undone", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const hall = Watch.of(client, api.messages.list, { room: "hall" });
  await hall.first();

  const session = new Session(server);
  const refused = dataOf(await failureOf(session.signUp(client, "ada", { room: "closed" })));
  assert.deepEqual(refused, { code: "forbidden", message: "this room is closed", data: { room: "closed" } });
  const unknown = dataOf(await failureOf(session.signIn(client, { flow: "signIn", email: "ada@example.com" })));
  assert.equal(await client.query(api.auth.isAuthenticated, {}), false);

  await session.signUp(client, "ada", { room: "hall" });
  assert.deepEqual(hall.current?.map(({ text }) => text), ["welcome, ada"]);
  await client.action(api.auth.signOut, {});
  await session.signIn(client, { flow: "signIn", email: "ADA@example.com" });
  assert.equal(nickname(await client.action(api.users.whoami, {})), "ada");
  assert.equal(hall.current?.length, 1, "greeted once");

  const wrong = dataOf(await failureOf(session.signIn(client, { flow: "signIn", email: "ada@example.com", password: "wrong horse" })));
  assert.deepEqual(wrong, unknown, "a wrong password and an unknown address are not told apart");
  const taken = dataOf(await failureOf(session.signUp(connect(server).client, "ada")));
  assert.equal(taken.code, "already_exists");
});

test("what is wrong with a form is told all at once, field by field", async (t) => {
  const server = await Server.start(t);
  const { client } = connect(server);
  const { code, issues } = dataOf(await failureOf(client.action(api.auth.signIn, {
    provider: "password", params: { flow: "signUp", email: "a@b", password: "short", nickname: "", extra: 1 },
  })));
  assert.equal(code, "invalid");
  assert.deepEqual(issues?.map(({ path, rule }) => `${path} ${rule}`),
    ["email format", "extra additionalProperties", "nickname minLength", "password minLength"]);
  for (const params of [{}, { flow: "fly" }, { flow: "signIn" }, { flow: "signIn", email: "a@example.com" }]) {
    assert.equal(dataOf(await failureOf(client.action(api.auth.signIn, { provider: "password", params }))).code, "invalid");
  }
  assert.equal(dataOf(await failureOf(client.action(api.auth.signIn, { provider: "magic", params: {} }))).code, "invalid");
});

test("tokens are renewed in time, and nobody notices", async (t) => {
  const server = await Server.start(t, { env: { MIMOSA_TEST_ACCESS_TTL: "3s" } });
  // Renewed a second after they were issued.
  const { client, network } = connect(server, { authRefreshTokenLeewaySeconds: 2 });
  const session = new Session(server);
  const me = Watch.of(client, api.users.me, {});
  await me.first();
  await session.signUp(client, "ada");
  const changes: boolean[] = [];
  assert(await session.present(client, changes));
  await until("some renewals", () => session.renewals >= 4);
  await client.mutation(api.messages.send, { room: "a", text: "still here" });
  assert.equal((await client.query(api.messages.list, { room: "a" }))[0]?.author, me.current?._id);
  assert.deepEqual(me.values.map(nickname), [null, "ada"]);
  assert.deepEqual(changes, [true]);
  assert.equal(network.sockets.length, 1);
  assert.equal(network.received("AuthError").length, 0);
});

test("a token that runs out is replaced without the user being nobody meanwhile", async (t) => {
  const server = await Server.start(t, { env: { MIMOSA_TEST_ACCESS_TTL: "3s" } });
  // The client would renew it when it is too late.
  const { client, network } = connect(server, { authRefreshTokenLeewaySeconds: -30 });
  const session = new Session(server);
  const me = Watch.of(client, api.users.me, {});
  await me.first();
  await session.signUp(client, "ada");
  const changes: boolean[] = [];
  assert(await session.present(client, changes));
  await until("the token to run out", () => network.received("AuthError").length > 0);
  const sent = client.mutation(api.messages.send, { room: "a", text: "in between" });
  await until("another socket", () => network.sockets.length === 2);
  await sent;
  assert.equal((await client.query(api.messages.list, { room: "a" }))[0]?.author, me.current?._id);
  assert.deepEqual(new Set(me.values.slice(1).map(nickname)), new Set(["ada"]), "never nobody");
  assert.deepEqual(changes, [true]);
});

test("another user can sign in on the same socket", async (t) => {
  const server = await Server.start(t);
  const { client, session } = await signedUp(server, "ada");
  const me = Watch.of(client, api.users.me, {});
  await me.until("the user", (user) => nickname(user) === "ada");

  // The client is not told that its token is another one now: the server sees to it.
  await session.signUp(client, "bob").then(async () => {
    await client.mutation(api.messages.send, { room: "a", text: "at once" });
  });
  await me.until("the other user", (user) => nickname(user) === "bob");
  await until("the other user's token", () => client.getAuth()?.token === session.tokens?.token);
  assert.equal(nickname(await client.action(api.users.whoami, {})), "bob");
  // That the one session has ended may be seen before the other's begin.
  const seen = me.values.map(nickname).filter((name, i, all) => name !== null && name !== all[i - 1]);
  assert.deepEqual(seen, ["ada", "bob"]);
  const [message] = await client.query(api.messages.list, { room: "a" });
  assert.equal(message?.author, me.current?._id);
});

test("a signed-in user's mutation that a crash cut off takes effect once, as the user's", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const session = new Session(server);
  await session.signUp(client, "ada");
  // Not even confirmed yet, and already cut off.
  network.deaf = true;
  const sent = [client.mutation(api.messages.send, { room: "a", text: "before setAuth" })];
  const confirmed = session.present(client);
  sent.push(client.mutation(api.messages.send, { room: "a", text: "after it" }));
  const calls = http(server);
  await until("both commits", async () => (await calls.query(api.messages.list, { room: "a" })).length === 2);
  await server.kill();
  network.deaf = false;
  await server.start();

  assert(await confirmed);
  const ids = await Promise.all(sent);
  const me = await client.query(api.users.me, {});
  assert(me);
  const messages = await calls.query(api.messages.list, { room: "a" });
  assert.deepEqual(messages.map(({ _id, author }) => [_id, author]), ids.map((id) => [id, me._id]));
});

test("a sign-up whose answer was lost is whole, and one can sign in", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server);
  const session = new Session(server);
  network.deaf = true;
  const lost = failureOf(session.signUp(client, "ada", { room: "hall" }));
  const calls = http(server);
  await until("its commit", async () => (await calls.query(api.messages.list, { room: "hall" })).length === 1);
  await server.kill();
  network.deaf = false;
  await server.start();
  assert.match((await lost).message, /Connection lost/);
  await session.signIn(client, { flow: "signIn", email: "ada@example.com" });
  assert(await session.present(client));
  assert.equal(nickname(await client.query(api.users.me, {})), "ada");
  assert.equal((await client.query(api.messages.list, { room: "hall" })).length, 1, "greeted once");
});

test("a client that is told to wait for its token asks nothing before", async (t) => {
  const server = await Server.start(t);
  const { session } = await signedUp(server, "ada");
  const { client, network } = connect(server, { expectAuth: true });
  const me = Watch.of(client, api.users.me, {});
  const sent = client.mutation(api.messages.send, { room: "a", text: "held back" });
  assert(await session.present(client));
  await sent;
  assert.deepEqual(me.values.map(nickname), ["ada"]);
  const [message] = await client.query(api.messages.list, { room: "a" });
  assert.equal(message?.author, me.current?._id);
  assert.deepEqual(network.sent().slice(0, 2).map(({ type }) => type), ["Connect", "Authenticate"]);
});

test("a client that is told to go on with its first token does", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connect(server, { initialAuthTokenReuse: true });
  const session = new Session(server);
  await session.signUp(client, "ada");
  assert(await session.present(client));
  assert.equal(nickname(await client.query(api.users.me, {})), "ada");
  assert.equal(session.renewals, 0);
  assert.equal(network.sent("Authenticate").length, 1);
});
