// Every message of the protocol has a file beside the server's codec. These tests read the same files, so that neither side
// can change what travels without the other noticing.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import type { ClientOptions } from "../../src/client.js";
import { MimosaError } from "../../src/errors.js";
import { MimosaHttp } from "../../src/http.js";
import { Inbox } from "../../src/inbox.js";
import type { ServerMessage } from "../../src/protocol.js";
import { instant, timestamp } from "../../src/protocol.js";
import type { Json } from "../../src/values.js";
import { connected, jwt, outcome, rig, settle, updated } from "../support/fake.js";

// The tests run in clientjs.
const folder = "../subscriptions/wire/testdata/";
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));

function golden(name: string): { [key: string]: Json } {
  return JSON.parse(readFileSync(`${folder}${name}.json`, "utf8")) as { [key: string]: Json };
}

/** The message as the server's codec writes it: without a type this client knows of. */
function serverMessage(name: string): ServerMessage {
  const message = new Inbox().read(JSON.stringify(golden(name)));
  assert(message, `${name} is a message of its own`);
  return message;
}

/** What a message looks like, whatever its values: its fields and their kinds. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  return Object.fromEntries(Object.entries(value).sort().map(([key, item]) => [key, shape(item)]));
}

const covered = new Set<string>();

function goldenTest(name: string, body: () => void | Promise<void>): void {
  covered.add(name);
  test(name, body);
}

// What this client sends.

goldenTest("client-connect", () => {
  const { client, network } = rig();
  const [connect] = network.last.open().take();
  assert.deepEqual(shape(connect), shape(golden("client-connect")));
  assert(connect?.type === "Connect");
  assert.equal(connect.connectionCount, 0);
  assert.equal(connect.lastCloseReason, "InitialConnect");
  client.close();
});

goldenTest("client-connect-again", async () => {
  const { client, socket, clock, network } = connected();
  const want = golden("client-connect-again");
  socket.transition({ ts: instant(want["maxObservedTimestamp"] as string) });
  socket.drop();
  await clock.advance(1000);
  const [connect] = network.last.open().take();
  assert(connect?.type === "Connect");
  assert.equal(connect.maxObservedTimestamp, want["maxObservedTimestamp"]);
  assert.deepEqual(Object.keys(connect).sort(), Object.keys(want).sort());
  client.close();
});

goldenTest("client-authenticate-user", () => {
  const want = golden("client-authenticate-user");
  const { client, network } = rig({
    storage: { get: () => JSON.stringify({ token: want["value"], refreshToken: "r" }), set() {}, remove() {} },
  });
  assert.deepEqual(network.last.open().take()[1], want);
  client.close();
});

goldenTest("client-authenticate-none", () => {
  const { client, socket } = connected();
  // Two identity versions on, as the file has it.
  for (const id of [0, 1]) {
    void client.auth.signIn("password").catch(() => {});
    socket.actionDone(id, { tokens: { token: jwt(`u${id}|s`, 60), refreshToken: "r" } });
  }
  socket.take();
  void client.auth.signOut();
  assert.deepEqual(socket.take()[1], golden("client-authenticate-none"));
  client.close();
});

goldenTest("client-modify-query-set", async () => {
  const want = golden("client-modify-query-set");
  const { client, socket, clock, network } = connected();
  client.watch("messages:list", { room: "r1" }).subscribe(() => {});
  client.watch("users:me", {}).subscribe(() => {});
  await settle();
  socket.transition({ querySet: 2, ts: 2n }, [updated(0, []), updated(1, null, "p1")]);
  socket.drop();
  await clock.advance(1000);
  const set = network.last.open().take()[1];
  // The file has a Remove too, which no first set of a socket has; see below.
  assert(Array.isArray(want["modifications"]));
  assert.deepEqual(set, { ...want, modifications: want["modifications"].slice(0, 2) });

  const stop = client.watch("m:short", {}).subscribe(() => {});
  await settle();
  network.last.take();
  stop();
  await settle();
  const [remove] = network.last.take();
  assert(remove?.type === "ModifyQuerySet");
  assert.deepEqual(remove.modifications, [{ ...(want["modifications"][2] as object), queryId: 2 }]);
  client.close();
});

goldenTest("client-modify-query-set-empty", () => {
  const { client, network } = rig();
  assert.deepEqual(network.last.open().take()[1], {
    ...golden("client-modify-query-set-empty"), baseVersion: 0, newVersion: 1,
  });
  client.close();
});

for (const name of ["client-mutation", "client-action"] as const) {
  goldenTest(name, () => {
    const want = golden(name) as { requestId: number; udfPath: string; args: [{ [key: string]: Json }] };
    const { client, socket } = connected();
    for (let i = 0; i < want.requestId; i++) void client.action("m:before").catch(() => {});
    socket.take();
    const call = name === "client-mutation" ? client.mutation : client.action;
    void call.call(client, want.udfPath, want.args[0]).catch(() => {});
    assert.deepEqual(socket.take(), [want]);
    client.close();
  });
}

for (const [name, why] of [
  ["client-authenticate-admin", "a tool's"], ["client-action-component", "another client's"], ["client-event", "another client's"],
] as const) {
  goldenTest(name, () => assert.ok(golden(name)["type"], `${why}: this client never sends it`));
}

// What it is sent.

goldenTest("server-transition", async () => {
  const { client, network } = rig();
  const messages = client.watch("messages:list", { room: "r1" });
  const me = client.watch("users:me", {});
  messages.subscribe(() => {});
  me.subscribe(() => {});
  await settle();
  const socket = network.last.open();
  socket.say(serverMessage("server-transition"));
  assert.deepEqual(messages.getSnapshot(), {
    status: "ready", value: [{ _id: "m1", _creationTime: 1764000000000.25, text: "hi" }],
  });
  const { error } = me.getSnapshot();
  assert(error instanceof MimosaError);
  assert.deepEqual([error.code, error.message], ["forbidden", "not a member"]);
  assert.equal(client.connection.state.connected, true);
  client.close();
});

goldenTest("server-transition-clock", () => {
  const { client, network } = rig();
  const socket = network.last.open();
  socket.say(serverMessage("server-transition-clock"));
  assert.equal(socket.closedByClient, false);
  client.close();
});

goldenTest("server-transition-empty", async () => {
  const message = serverMessage("server-transition-empty");
  assert(message.type === "Transition");
  const { client, network } = rig();
  const socket = network.last.open();
  const sent = client.mutation("m:add");
  socket.transition({ ...message.startVersion, ts: instant(message.startVersion.ts) });
  socket.mutationDone(0, instant(message.endVersion.ts));
  assert.deepEqual(await outcome(sent), { pending: true });
  socket.say(message);
  assert.deepEqual(await outcome(sent), { value: null });
  client.close();
});

goldenTest("server-transition-chunk", () => {
  const chunk = golden("server-transition-chunk");
  const inbox = new Inbox();
  assert.equal(inbox.read(JSON.stringify(chunk)), undefined);
  const rest = JSON.stringify(golden("server-transition")).slice((chunk["chunk"] as string).length);
  assert.deepEqual(
    inbox.read(JSON.stringify({ ...chunk, chunk: rest, partNumber: 1 })), golden("server-transition"),
  );
});

/** A client that has called so often that the next call has the number. */
function beforeRequest(requestId: number, options: ClientOptions = {}) {
  const all = connected(options);
  for (let i = 0; i < requestId; i++) void all.client.action("m:before").catch(() => {});
  return all;
}

goldenTest("server-mutation-response", async () => {
  const message = serverMessage("server-mutation-response");
  assert(message.type === "MutationResponse" && message.success);
  const lines: unknown[] = [];
  const { client, socket } = beforeRequest(message.requestId, { onLog: (_, text) => lines.push(...text) });
  const sent = client.mutation("messages:send");
  socket.say(message);
  socket.transition({ ts: instant(message.ts) });
  assert.deepEqual(await outcome(sent), { value: "m2" });
  assert.deepEqual(lines, message.logLines);
  client.close();
});

goldenTest("server-mutation-response-failed", async () => {
  const { client, socket } = beforeRequest(12);
  const sent = client.mutation("messages:send");
  socket.say(serverMessage("server-mutation-response-failed"));
  await assert.rejects(sent, {
    code: "invalid", message: "arguments are invalid",
    issues: [{ path: "text", rule: "maxLength", message: "must be at most 2000 characters" }],
  });
  client.close();
});

goldenTest("server-action-response", async () => {
  const { client, socket } = beforeRequest(13);
  const sent = client.action("auth:signIn");
  socket.say(serverMessage("server-action-response"));
  assert.deepEqual(await outcome(sent), { value: { tokens: { token: "t", refreshToken: "r" } } });
  client.close();
});

goldenTest("server-action-response-failed", async () => {
  const { client, socket } = beforeRequest(13);
  const sent = client.auth.signIn("password");
  socket.say(serverMessage("server-action-response-failed"));
  await assert.rejects(sent, { code: "unauthenticated", message: "wrong e-mail or password", data: { left: 4 } });
  client.close();
});

goldenTest("server-auth-error", async () => {
  const { client, socket, calls } = connected();
  const done = client.auth.signIn("password");
  socket.actionDone(0, { tokens: { token: jwt("u|s", 60), refreshToken: "r" } });
  socket.transition({ identity: 1, ts: 2n });
  await done;
  socket.say(serverMessage("server-auth-error"));
  await settle();
  assert.deepEqual(calls.map(({ body }) => body.args), [[{ refreshToken: "r" }]]);
  client.close();
});

goldenTest("server-fatal-error", () => {
  const { client, socket } = connected();
  socket.say(serverMessage("server-fatal-error"));
  assert.equal(client.connection.state.lastError?.code, "fatal");
  assert.match(client.connection.state.lastError.message, /bad field/);
});

goldenTest("server-ping", () => {
  const { client, socket } = connected();
  socket.say(serverMessage("server-ping"));
  assert.equal(socket.closedByClient, false);
  client.close();
});

// HTTP.

function answering(name: string): MimosaHttp {
  return new MimosaHttp("http://mimosa.test", {
    fetch: () => Promise.resolve({ status: 200, text: () => Promise.resolve(JSON.stringify(golden(name))) }),
  });
}

goldenTest("http-call", async () => {
  let body = "";
  const http = new MimosaHttp("http://mimosa.test", {
    fetch: (_, init) => {
      ({ body } = init);
      return Promise.resolve({ status: 200, text: () => Promise.resolve('{"status":"success","value":1}') });
    },
  });
  assert.equal(await http.query("messages:list", { room: "r1" }), 1);
  assert.deepEqual(JSON.parse(body), golden("http-call"));
});

goldenTest("http-result", async () => {
  assert.deepEqual(await answering("http-result").query("m:x"), ["a", 1n]);
});

goldenTest("http-result-failed", async () => {
  await assert.rejects(answering("http-result-failed").mutation("m:x"), { code: "not_found", message: "no such room" });
});

for (const name of ["http-call-at-ts", "http-call-function", "http-query-ts"]) {
  goldenTest(name, () => assert.ok(Object.keys(golden(name)).length > 0, "another client's: this one never sends it"));
}

test("timestamps are those of the files", () => {
  assert.equal(instant("AADKZ6f8ehg="), 1764000000000000000n);
  assert.equal(timestamp(1764000000000000000n), "AADKZ6f8ehg=");
});

test("every file is read by a test", () => {
  assert.deepEqual(files.map((name) => name.replace(/\.json$/, "")).filter((name) => !covered.has(name)), []);
});
