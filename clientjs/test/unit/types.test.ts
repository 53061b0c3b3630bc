// What the compiler is to accept and refuse. Running it shows only that the typed calls are the untyped ones.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MimosaClient } from "../../src/client.js";
import type { Watch } from "../../src/queries.js";
import type { Value } from "../../src/values.js";
import { connected } from "../support/fake.js";

interface Message {
  _id: string;
  text: string;
}

type Api = {
  queries: {
    "messages:list": { args: { room: string; limit?: number }; returns: Message[] };
    "users:me": { args: Record<never, never>; returns: { nickname: string } | null };
  };
  mutations: { "messages:send": { args: { room: string; text: string }; returns: string } };
  actions: { "mail:send": { args: { to?: string }; returns: null } };
};

test("a described server's functions are known by name, arguments and result", async () => {
  const { client: untyped, socket } = connected();
  const client = untyped as unknown as MimosaClient<Api>;

  const list: Watch<Message[]> = client.watch("messages:list", { room: "r" });
  const { status, value } = list.getSnapshot();
  if (status === "ready") value.map((row) => row.text);
  const me = client.watch("users:me");
  assert.equal(me.getSnapshot().value?.nickname, undefined);
  const id: Promise<string> = client.mutation("messages:send", { room: "r", text: "t" });
  id.catch(() => {});
  client.action("mail:send").catch(() => {});
  client.action("mail:send", { to: "a@b.test" }).catch(() => {});
  assert.deepEqual(socket.takeTypes(), ["Mutation", "Action", "Action"]);

  const refused = (): void => {
    // @ts-expect-error there is no such query
    client.watch("messages:lost", { room: "r" });
    // @ts-expect-error a mutation is no query
    client.watch("messages:send", { room: "r", text: "t" });
    // @ts-expect-error an argument is missing
    client.watch("messages:list", {});
    // @ts-expect-error the arguments are missing
    client.watch("messages:list");
    // @ts-expect-error of another type
    client.watch("messages:list", { room: 7 });
    // @ts-expect-error the value is there only when it is ready
    list.getSnapshot().value.length;
    // @ts-expect-error the result is a string
    const wrong: Promise<number> = client.mutation("messages:send", { room: "r", text: "t" });
    void wrong;
  };
  void refused;

  // Without a description every name goes, and results are values.
  const any: Watch<Value> = untyped.watch("whatever:it", { n: 1n });
  assert.equal(any.getSnapshot().status, "loading");
  client.close();
});
