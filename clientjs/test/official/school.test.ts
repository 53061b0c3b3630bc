import assert from "node:assert/strict";
import type { ConvexClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { api } from "./support/api.js";
import { connect, dataOf, failureOf, http, Watch } from "./support/client.js";
import { prepare, school, Server } from "./support/server.js";
import { Session, settled } from "./support/session.js";
import { test } from "./support/test.js";

prepare(school);

// The demonstration's functions, as far as they are used here.

type None = Record<string, never>;
type Person = { _id: string; nickname: string; role: string };
type Room = { _id: string; name: string; course: string; members: number; messages: number };
type Message = { _id: string; _creationTime: number; text: string; author: Person };

const query = <A extends Record<string, string>, R>(name: string) => makeFunctionReference<"query", A, R>(name);
const me = query<None, (Person & { email: string }) | null>("users:me");
const courses = query<None, { _id: string; name: string }[]>("courses:list");
const rooms = query<None, Room[]>("rooms:list");
const messages = query<{ room: string }, Message[]>("messages:list");
const members = query<{ room: string }, Person[]>("members:list");
const enrolments = query<None, { course: string }[]>("enrolments:mine");
const send = makeFunctionReference<"mutation", { room: string; text: string }, string>("messages:send");

async function roomOf(client: ConvexClient, course: string): Promise<Room> {
  const room = (await client.query(rooms, {})).find((one) => one.course === course);
  assert(room, `the course ${course} has no room`);
  return room;
}

test("the school, from the first start to a talk between two", async (t) => {
  const server = await Server.start(t, { program: school });
  const ada = connect(server);
  assert.equal(await ada.client.query(me, {}), null);
  assert.deepEqual((await ada.client.query(courses, {})).map(({ name }) => name), ["databases", "go", "music"]);
  const room = await roomOf(ada.client, "databases");
  const list = Watch.of(ada.client, rooms, {});
  const talk = Watch.of(ada.client, messages, { room: room._id });
  const people = Watch.of(ada.client, members, { room: room._id });
  await Promise.all([list.first(), talk.first(), people.first()]);

  // One sign-up: the user with a role, the enrolment, the welcome, the counters, all at once.
  const adas = new Session(server);
  await adas.signUp(ada.client, "ada", { course: "databases" });
  const first = await ada.client.mutation(send, { room: room._id, text: "hello?" }); // before setAuth
  assert(await adas.present(ada.client));
  const user = await ada.client.query(me, {});
  assert.deepEqual([user?.nickname, user?.role, user?.email], ["ada", "student", "ada@example.com"]);
  assert.deepEqual((await ada.client.query(enrolments, {})).map(({ course }) => course), ["databases"]);
  assert.deepEqual(people.current?.map(({ nickname }) => nickname), ["ada"]);
  assert.deepEqual(talk.current?.map(({ text, author }) => [author.nickname, text]),
    [["School", "Welcome, ada!"], ["ada", "hello?"]]);
  assert.equal(talk.current?.at(-1)?._id, first);
  const counters = () => list.current?.filter(({ _id }) => _id === room._id).map((r) => [r.members, r.messages]).flat();
  assert.deepEqual(counters(), [1, 2]);

  // Somebody else sees it, and is seen.
  const bob = connect(server);
  const bobs = new Session(server);
  const heard = Watch.of(bob.client, messages, { room: room._id });
  assert.equal((await heard.first()).length, 2);
  await bobs.signUp(bob.client, "bob", { course: "databases" });
  assert(await bobs.present(bob.client));
  await bob.client.mutation(send, { room: room._id, text: "hello, ada" });
  await talk.until("bob's answer", (all) => all.at(-1)?.text === "hello, ada" && all.at(-1)?.author.nickname === "bob");
  assert.deepEqual(counters(), [2, 4]);
  assert.deepEqual(people.current?.map(({ nickname }) => nickname), ["ada", "bob"]);

  await server.kill();
  await server.start();
  await ada.client.mutation(send, { room: room._id, text: "still here?" });
  await heard.until("what ada says after a crash", (all) => all.at(-1)?.text === "still here?");
  assert.deepEqual(counters(), [2, 5]);
});

test("the school refuses what it should, and nothing of it is left", async (t) => {
  const server = await Server.start(t, { program: school });
  const { client } = connect(server);
  const list = Watch.of(client, rooms, {});
  const before = await list.first();
  const session = new Session(server);

  // The trigger fails, and the whole sign-up with it.
  const unknown = dataOf(await failureOf(session.signUp(client, "ada", { course: "alchemy" })));
  assert.deepEqual([unknown.code, unknown.issues?.map(({ path }) => path)], ["not_found", ["course"]]);
  const form = dataOf(await failureOf(session.signUp(client, "", { email: "nonsense", password: "short", course: "go" })));
  assert.deepEqual([form.code, form.issues?.map(({ path }) => path)], ["invalid", ["email", "nickname", "password"]]);
  assert.deepEqual(await client.query(rooms, {}), before);
  assert.equal(list.values.length, 1, "the rooms did not even run again");

  await session.signUp(client, "ada", { course: "go" });
  const [mine, other] = [await roomOf(client, "go"), await roomOf(client, "music")];
  const refused: [string, string, string][] = [
    [other._id, "let me in", "forbidden"], [mine._id, "", "invalid"], [mine._id, "x".repeat(2001), "invalid"],
    ["nonsense", "x", "invalid"],
  ];
  for (const [room, text, code] of refused) {
    assert.equal(dataOf(await failureOf(client.mutation(send, { room, text }))).code, code, text.slice(0, 20));
  }
  assert.equal(dataOf(await failureOf(http(server).mutation(send, { room: mine._id, text: "x" }))).code, "unauthenticated");
  assert.equal(dataOf(await failureOf(session.signUp(connect(server).client, "ada", { course: "go" }))).code, "already_exists");
  assert.deepEqual((await client.query(rooms, {})).map((r) => r.messages), before.map((r) => (r.course === "go" ? 1 : 0)));
});

test("signing out of the school is seen in every tab, and signing in again welcomes nobody anew", async (t) => {
  const server = await Server.start(t, { program: school });
  const [tab, other] = [connect(server), connect(server)];
  const session = new Session(server);
  await session.signUp(tab.client, "ada", { course: "music" });
  assert(await session.present(tab.client));
  const changes: boolean[] = [];
  assert(await session.present(other.client, changes));
  await Promise.all([settled(tab.network), settled(other.network)]);
  const theirs = Watch.of(other.client, me, {});
  assert.equal((await theirs.first())?.nickname, "ada");

  await tab.client.action(api.auth.signOut, {});
  await theirs.until("nobody", (user) => user === null);
  const room = await roomOf(tab.client, "music");
  assert.equal(dataOf(await failureOf(tab.client.mutation(send, { room: room._id, text: "x" }))).code, "unauthenticated");
  await session.signIn(tab.client, { flow: "signIn", email: "ada@example.com" });
  await tab.client.mutation(send, { room: room._id, text: "back again" });
  const said = await tab.client.query(messages, { room: room._id });
  assert.deepEqual(said.map(({ text }) => text), ["Welcome, ada!", "back again"]);
});
