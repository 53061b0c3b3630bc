import assert from "node:assert/strict";
import type { ConvexClient } from "convex/browser";
import type { User } from "./support/api.js";
import { api } from "./support/api.js";
import { connect, failureOf, http, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { Service } from "./support/service.js";
import { settled } from "./support/session.js";
import { test } from "./support/test.js";
import { deadline } from "./support/wait.js";

prepare();

const nickname = (user: User | null | undefined) => user && user.nickname;

/** Signs a client in as a provider of React does: by a function that gives tokens. */
async function present(client: ConvexClient, token: () => string | null, changes: boolean[] = []): Promise<boolean> {
  return deadline("the client to know whether it is signed in", new Promise((resolve) => {
    client.setAuth(() => Promise.resolve(token()), (is) => {
      if (changes.at(-1) !== is) changes.push(is);
      resolve(is);
    });
  }));
}

test("the tokens of a service elsewhere sign in whoever comes for the first time", async (t) => {
  const service = await Service.start(t);
  const server = await Server.start(t, { env: { MIMOSA_TEST_SERVICE: service.url } });
  const { client, network } = connect(server);
  const me = Watch.of(client, api.users.me, {});
  assert.equal(await me.first(), null);
  const changes: boolean[] = [];
  assert(await present(client, () => service.token("ada"), changes));
  assert.equal(nickname(me.current), "ada");
  await client.mutation(api.messages.send, { room: "r", text: "hello" });
  assert.equal((await client.query(api.messages.list, { room: "r" }))[0]?.author, me.current?._id);

  // Right after the confirmation the client fetches a new token; nothing runs again for it.
  await settled(network);
  assert.deepEqual(me.values.map(nickname), [null, "ada"]);
  assert.deepEqual(changes, [true]);
  assert.equal(network.received("AuthError").length, 0);

  // Another device, and HTTP.
  const other = connect(server);
  assert(await present(other.client, () => service.token("ada")));
  assert.equal((await other.client.query(api.users.me, {}))?._id, me.current?._id);
  const calls = http(server);
  calls.setAuth(service.token("ada"));
  assert.equal((await calls.query(api.users.me, {}))?._id, me.current?._id);
  assert.equal(service.asked, 1);

  // The deletion of the user ends it everywhere, whatever tokens the service goes on giving.
  const gone = other.client.mutation(api.people.remove, { user: me.current!._id });
  await me.until("nobody", (user) => user === null && me.values.length > 2);
  await gone;
  assert.match((await failureOf(calls.query(api.users.me, {}))).message, /the user has been deleted/);
  const third = connect(server);
  assert.equal(await present(third.client, () => service.token("ada")), false);
});

test("a token that the service made for another page, or for nobody, is refused", async (t) => {
  const service = await Service.start(t);
  const server = await Server.start(t, { env: { MIMOSA_TEST_SERVICE: service.url } });
  const calls = http(server);
  for (const claims of [{ azp: "https://evil.example" }, { sts: "pending" }, { exp: 1 }, { aud: "hasura" }, { sub: "" }]) {
    calls.setAuth(service.token("eve", claims));
    assert.match((await failureOf(calls.query(api.users.me, {}))).message, /unauthenticated/);
    const { client } = connect(server);
    assert.equal(await present(client, () => service.token("eve", claims)), false);
    assert.equal(await client.query(api.users.me, {}), null, "it goes on as nobody");
  }
});
