import assert from "node:assert/strict";
import type { ConvexReactClient } from "convex/react";
import {
  Authenticated, AuthLoading, ConvexProvider, ConvexProviderWithAuth, Unauthenticated, useAction, useConvex,
  useConvexAuth, useConvexConnectionState, useMutation, useQueries, useQuery,
} from "convex/react";
import type { ReactNode } from "react";
import { useMemo, useState, useSyncExternalStore } from "react";
import { api } from "./support/api.js";
import { connect, http } from "./support/client.js";
import { Boundary, connectReact, Page } from "./support/page.js";
import { prepare, Server } from "./support/server.js";
import { Session, settled } from "./support/session.js";
import { test } from "./support/test.js";
import { until } from "./support/wait.js";

prepare();

/** A button that is found by its label and adds nothing to the page's text. */
function Button({ label, onClick }: { label: string; onClick: () => void }) {
  return <button aria-label={label} onClick={onClick} />;
}

test("useQuery follows what useMutation and others write", async (t) => {
  const server = await Server.start(t);
  const { client } = connectReact(server);
  const results: { result: number; seen: number | undefined }[] = [];

  function Count({ name }: { name: string }) {
    const value = useQuery(api.counters.get, { name });
    const add = useMutation(api.counters.add);
    const convex = useConvex();
    const press = () => void add({ name, by: 1 }).then((result) => {
      // The promise resolves when the client has seen the write.
      results.push({ result, seen: convex.watchQuery(api.counters.get, { name }).localQueryResult() });
    });
    return <p>{name}: {value ?? "loading"}<Button label={name} onClick={press} />; </p>;
  }

  const page = await Page.open(server, <ConvexProvider client={client}><Count name="a" /><Count name="b" /></ConvexProvider>);
  await page.until("a: 0; b: 0; ");
  page.press("a");
  await page.until("a: 1; b: 0; ");
  page.press("b");
  page.press("b");
  await page.until("a: 1; b: 2; ");
  await until("the promises", () => results.length === 3);
  assert.deepEqual(results.map(({ result }) => result), [1, 1, 2]);
  for (const { result, seen } of results) assert((seen ?? 0) >= result, `${seen} does not hold the write that made it ${result}`);
  await http(server).mutation(api.counters.add, { name: "a", by: 41 });
  await page.until("a: 42; b: 2; ");
});

test("arguments change, queries are skipped, and nothing of the old ones is left", async (t) => {
  const server = await Server.start(t);
  const { client, network } = connectReact(server);
  for (const [name, by] of [["a", 1], ["b", 2]] as const) await http(server).mutation(api.counters.add, { name, by });

  function Choice() {
    const [name, choose] = useState<string | null>(null);
    const value = useQuery(api.counters.get, name === null ? "skip" : { name });
    return (
      <p>
        {name === null ? "nothing chosen" : `${name}: ${value ?? "loading"}`}
        {["a", "b"].map((n) => <Button key={n} label={n} onClick={() => choose(n)} />)}
      </p>
    );
  }

  const page = await Page.open(server, <ConvexProvider client={client}><Choice /></ConvexProvider>);
  await page.until("nothing chosen");
  page.press("a");
  await page.until("a: 1");
  page.press("b");
  await page.until("b: 2");
  assert(!page.shown.includes("b: 1"), "never another query's result");
  page.close();
  await until("the queries to be given up", () => {
    const changes = network.sent("ModifyQuerySet").flatMap((m) => m["modifications"] as { type: string }[]);
    const added = changes.filter(({ type }) => type === "Add").length;
    return added >= 2 && added === changes.length - added;
  });
});

test("all components change in one step", async (t) => {
  const server = await Server.start(t);
  const calls = http(server);
  await calls.mutation(api.counters.add, { name: "a", by: 500 });
  await calls.mutation(api.counters.add, { name: "b", by: 500 });
  const { client } = connectReact(server);
  const sums = new Set<number>();
  const lefts = new Set<number>();

  function Sum() {
    const a = useQuery(api.counters.get, { name: "a" });
    const queries = useMemo(() => ({ b: { query: api.counters.get, args: { name: "b" } } }), []);
    const { b } = useQueries(queries) as { b: number | undefined };
    if (a === undefined || b === undefined) return "loading";
    sums.add(a + b);
    lefts.add(a);
    return a + b;
  }

  const page = await Page.open(server, <ConvexProvider client={client}><Sum /></ConvexProvider>);
  await page.until("1000");
  const writers = [connect(server).client, connect(server).client];
  await Promise.all(writers.map(async (writer) => {
    for (let i = 0; i < 30; i++) await writer.mutation(api.counters.move, { from: "a", to: "b", by: 1 });
  }));
  await until("the last change", () => lefts.has(440));
  assert.deepEqual([...sums], [1000]);
  assert(lefts.size > 3, `the test saw ${lefts.size} moments only`);
  assert.deepEqual(page.shown.filter((text) => text !== "loading"), ["1000"]);
});

test("errors reach the component that asked", async (t) => {
  const server = await Server.start(t);
  const { client } = connectReact(server);
  const outcomes: unknown[] = [];

  function Failing() {
    useQuery(api.errors.query, { code: "closed", message: "no entry" });
    return "not failed yet";
  }
  function Calls() {
    const mutate = useMutation(api.errors.mutation);
    const act = useAction(api.errors.action);
    const both = () => {
      for (const call of [mutate, act]) {
        call({ code: "teapot", message: "short and stout", data: [1n] }).catch((error: { data: unknown }) => outcomes.push(error.data));
      }
    };
    return <Button label="call" onClick={both} />;
  }

  const page = await Page.open(server,
    <ConvexProvider client={client}><Boundary><Failing /></Boundary><Calls /></ConvexProvider>);
  await page.until("failed: closed, no entry");
  page.press("call");
  await until("both outcomes", () => outcomes.length === 2);
  const expected = { code: "teapot", message: "short and stout", data: [1n] };
  assert.deepEqual(outcomes, [expected, expected]);
});

test("an optimistic update gives way to the result without a step back", async (t) => {
  const server = await Server.start(t);
  const { client } = connectReact(server);

  function Count() {
    const value = useQuery(api.counters.get, { name: "a" });
    const add = useMutation(api.counters.add).withOptimisticUpdate((store, { name, by }) => {
      const known = store.getQuery(api.counters.get, { name });
      if (known !== undefined) store.setQuery(api.counters.get, { name }, known + by);
    });
    return <p>{value ?? "loading"}<Button label="add" onClick={() => void add({ name: "a", by: 1 }).catch(() => {})} /></p>;
  }

  const page = await Page.open(server, <ConvexProvider client={client}><Count /></ConvexProvider>);
  await page.until("0");
  for (let i = 0; i < 20; i++) page.press("add");
  await page.until("20");
  await until("all answers", () => client.connectionState().inflightMutations === 0);
  await page.until("20");
  const numbers = page.shown.filter((text) => text !== "loading").map(Number);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), "it never went back");
});

test("components live through a crash of the server", async (t) => {
  const server = await Server.start(t);
  const { client } = connectReact(server);

  function List() {
    const tokens = useQuery(api.entries.list, { list: "a" });
    const add = useMutation(api.entries.add);
    const { isWebSocketConnected } = useConvexConnectionState();
    return (
      <p>
        {isWebSocketConnected ? "online" : "offline"}: {tokens ? tokens.join() : "loading"}
        {["x", "y"].map((token) => (
          <Button key={token} label={token} onClick={() => void add({ list: "a", token })} />
        ))}
      </p>
    );
  }

  const page = await Page.open(server, <ConvexProvider client={client}><List /></ConvexProvider>);
  await page.until("online: ");
  page.press("x");
  await page.until("online: x");
  await server.kill();
  await page.until("offline: x");
  page.press("y");
  await server.start();
  await page.until("online: x,y");
  assert.deepEqual(await http(server).query(api.entries.list, { list: "a" }), ["x", "y"]);
});

/** Where a program's tokens live, as ConvexProviderWithAuth wants to be told. */
class TokenStore {
  readonly session: Session;
  readonly #listeners = new Set<() => void>();

  constructor(server: Server) {
    this.session = new Session(server);
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  readonly useAuth = () => {
    const isAuthenticated = useSyncExternalStore(
      (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      () => this.session.tokens !== null,
    );
    return { isLoading: false, isAuthenticated, fetchAccessToken: this.session.fetchToken };
  };
}

function App({ client, store, children }: { client: ConvexReactClient; store: TokenStore; children?: ReactNode }) {
  return (
    <ConvexProviderWithAuth client={client} useAuth={store.useAuth}>
      <AuthLoading>loading</AuthLoading>
      <Unauthenticated>nobody</Unauthenticated>
      <Authenticated><Me /></Authenticated>
      {children}
    </ConvexProviderWithAuth>
  );
}

function Me() {
  const me = useQuery(api.users.me, {});
  const { isAuthenticated } = useConvexAuth();
  return me === undefined ? "…" : `${me?.nickname ?? "null"}, ${String(isAuthenticated)}`;
}

/** Signs up and out by hooks. */
function Entrance({ store }: { store: TokenStore }) {
  const signIn = useAction(api.auth.signIn);
  const signOut = useAction(api.auth.signOut);
  const send = useMutation(api.messages.send);
  const enter = async () => {
    const { tokens } = await signIn({
      provider: "password",
      params: { flow: "signUp", email: "ada@example.com", password: "correct horse", nickname: "ada" },
    });
    // Sent before anything has heard of the tokens.
    const sent = send({ room: "a", text: "I am in" });
    store.session.tokens = tokens ?? null;
    store.changed();
    await sent;
  };
  const leave = async () => {
    await signOut({});
    store.session.tokens = null;
    store.changed();
  };
  return (
    <>
      <Button label="enter" onClick={() => void enter()} />
      <Button label="leave" onClick={() => void leave()} />
    </>
  );
}

test("signing in and out by hooks, and another page of the same session", async (t) => {
  const server = await Server.start(t);
  const store = new TokenStore(server);
  const { client, network } = connectReact(server);
  const page = await Page.open(server, <App client={client} store={store}><Entrance store={store} /></App>);
  await page.until("nobody");
  page.press("enter");
  await page.until("ada, true");
  assert(!page.shown.some((text) => text.startsWith("null")), `nobody was signed in: ${page.shown.join(" → ")}`);
  await until("the message", async () => (await client.query(api.messages.list, { room: "a" })).length === 1);
  const [message] = await client.query(api.messages.list, { room: "a" });
  assert.equal(message?.author, (await client.query(api.users.me, {}))?._id);

  const second = connectReact(server);
  const other = await Page.open(server, <App client={second.client} store={store} />);
  await other.until("ada, true");
  await Promise.all([settled(network), settled(second.network)]);
  const past = other.shown.length;

  page.press("leave");
  await Promise.all([page.until("nobody"), other.until("nobody")]);
  assert(!other.shown.slice(past).includes("loading"));
  // The page says so by itself; the clients may hold what they knew of the user for a moment longer.
  for (const one of [client, second.client]) {
    await until("the client to be nobody", async () => (await one.query(api.users.me, {})) === null);
  }

  store.session.tokens = null;
  await store.session.signIn(connect(server).client, { flow: "signIn", email: "ada@example.com", password: "correct horse" });
  store.changed();
  await Promise.all([page.until("ada, true"), other.until("ada, true")]);
  assert.equal(network.sockets.length, 1);
});

test("a session that ends elsewhere ends on every page", async (t) => {
  const server = await Server.start(t);
  const store = new TokenStore(server);
  const elsewhere = connect(server).client;
  await store.session.signUp(elsewhere, "ada");
  const { client } = connectReact(server);
  const page = await Page.open(server, <App client={client} store={store} />);
  await page.until("ada, true");

  await elsewhere.action(api.auth.signOut, {});
  // Nobody tells the page but the server.
  await page.until("nobody");
  assert.equal(store.session.tokens, null);
  await until("the client to be nobody", async () => (await client.query(api.users.me, {})) === null);
});
