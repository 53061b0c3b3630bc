import assert from "node:assert/strict";
import type { User } from "./support/api.js";
import { api } from "./support/api.js";
import type { Connected } from "./support/client.js";
import { connect, dataOf, failureOf, Watch } from "./support/client.js";
import { prepare, Server } from "./support/server.js";
import { Session, settled } from "./support/session.js";
import { test } from "./support/test.js";
import { until } from "./support/wait.js";

prepare();

interface Device extends Connected {
  session: Session;
  changes: boolean[];
  me: Watch<User | null>;
}

/** A device of its own session, signed in, that watches who it is. */
async function device(server: Server, name: string, flow: "signUp" | "signIn"): Promise<Device> {
  const all = connect(server);
  const session = new Session(server);
  const changes: boolean[] = [];
  if (flow === "signUp") await session.signUp(all.client, name);
  else await session.signIn(all.client, { flow, email: `${name}@example.com` });
  assert(await session.present(all.client, changes));
  await settled(all.network);
  const me = Watch.of(all.client, api.users.me, {});
  await me.first();
  return { ...all, session, changes, me };
}

/** Waits until a device is nobody: its queries, and what it knows of itself. */
async function ended(d: Device): Promise<void> {
  await d.me.until("nobody", (user) => user === null);
  await until("the client to know", () => d.changes.includes(false));
  assert.deepEqual(d.changes, [true, false]);
  assert.equal(d.session.tokens, null, "the refresh token was of no use");
  assert.equal(await d.client.action(api.users.whoami, {}), null);
}

test("a ban ends all sessions of the banned at once, on every device, and no new one is made", async (t) => {
  const server = await Server.start(t);
  const phone = await device(server, "ada", "signUp");
  const laptop = await device(server, "ada", "signIn");
  const eve = await device(server, "eve", "signUp");
  const user = (await phone.me.first())!._id;

  await eve.client.mutation(api.people.ban, { user });
  await Promise.all([ended(phone), ended(laptop)]);
  const failed = await failureOf(laptop.session.signIn(laptop.client, { flow: "signIn", email: "ada@example.com" }));
  assert.equal(dataOf(failed).code, "forbidden");
  assert.equal(await laptop.client.query(api.users.me, {}), null);
  assert.deepEqual(eve.me.values.map((u) => u?.nickname), ["eve"], "the bystander's queries were left alone");
  assert.equal(eve.network.received("AuthError").length, 0);
});

test("a user who is deleted is nobody at once, and cannot come back", async (t) => {
  const server = await Server.start(t);
  const phone = await device(server, "ada", "signUp");
  const laptop = await device(server, "ada", "signIn");
  const eve = await device(server, "eve", "signUp");
  await eve.client.mutation(api.people.remove, { user: (await phone.me.first())!._id });
  await Promise.all([ended(phone), ended(laptop)]);
  const failed = await failureOf(phone.session.signIn(phone.client, { flow: "signIn", email: "ada@example.com" }));
  assert.equal(dataOf(failed).code, "unauthenticated");
});

test("a role reaches the queries that ask for it at once, on every device, and changes nothing else", async (t) => {
  const server = await Server.start(t);
  const phone = await device(server, "ada", "signUp");
  const laptop = await device(server, "ada", "signIn");
  const eve = await device(server, "eve", "signUp");
  const user = (await phone.me.first())!._id;
  const rooms = [phone, laptop].map((d) => Watch.of(d.client, api.people.staffRoom, {}));
  for (const room of rooms) await until("the refusal", () => room.errors.length === 1);

  await eve.client.mutation(api.people.setRole, { user, role: "teacher" });
  for (const room of rooms) await room.until("what teachers see", (view) => view === "coffee");
  await eve.client.mutation(api.people.setRole, { user, role: "student" });
  for (const room of rooms) {
    await until("the refusal again", () => room.errors.length === 2);
    assert.equal(dataOf(room.errors[1]!).code, "forbidden");
  }
  for (const d of [phone, laptop, eve]) {
    assert.deepEqual(d.changes, [true]);
    assert.equal(d.network.received("AuthError").length, 0);
    assert.equal(d.network.sockets.length, 1);
  }
});

test("people see their sessions live, and end one or all others from any of them", async (t) => {
  const server = await Server.start(t);
  const phone = await device(server, "ada", "signUp");
  const sessions = Watch.of(phone.client, api.auth.sessions, {});
  await sessions.until("one session", (list) => list.length === 1);
  const laptop = await device(server, "ada", "signIn");
  const tablet = await device(server, "ada", "signIn");
  await sessions.until("all of them", (list) => list.length === 3);
  const [first, second] = await phone.client.query(api.auth.sessions, {});
  assert.deepEqual([first?.current, second?.current, first?.provider], [true, false, "password"]);

  await phone.client.mutation(api.auth.revokeSession, { session: second!._id });
  await ended(laptop);
  await sessions.until("two sessions", (list) => list.length === 2);
  await tablet.client.mutation(api.auth.revokeOtherSessions, {});
  await ended(phone);
  assert.equal((await tablet.me.first())?.nickname, "ada");
  assert.equal(tablet.network.received("AuthError").length, 0);
});
