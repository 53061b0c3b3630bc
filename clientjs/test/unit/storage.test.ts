import assert from "node:assert/strict";
import { test } from "node:test";
import { MimosaClient } from "../../src/client.js";
import { browserStorage } from "../../src/storage.js";
import { connected, FakeClock, FakeNetwork, jwt, outcome, settle, storageKey } from "../support/fake.js";

/** localStorage, as far as it is used. */
class FakeLocalStorage {
  readonly #kept = new Map<string, string>();
  getItem(key: string): string | null {
    return this.#kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.#kept.set(key, value);
  }
  removeItem(key: string): void {
    this.#kept.delete(key);
  }
  get keys(): string[] {
    return [...this.#kept.keys()];
  }
}

/** Gives the process what a browser's page has, for one test. */
function asPage(t: { after(done: () => void): void }, globals: Record<string, unknown>): EventTarget {
  const events = new EventTarget();
  const all: Record<string, unknown> = {
    document: {}, addEventListener: events.addEventListener.bind(events),
    removeEventListener: events.removeEventListener.bind(events), ...globals,
  };
  for (const [name, value] of Object.entries(all)) {
    const own = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, {
      ...(typeof value === "function" && value.length === 0 && name === "localStorage" ? { get: value as () => unknown } : { value }),
      configurable: true,
    });
    t.after(() => {
      delete (globalThis as Record<string, unknown>)[name];
      if (own) Object.defineProperty(globalThis, name, own);
    });
  }
  return events;
}

function storageEvent(area: unknown, key: string | null): Event {
  return Object.assign(new Event("storage"), { storageArea: area, key });
}

test("in a page, tokens are in localStorage under a key of their server, and other tabs' changes are heard", async (t) => {
  const local = new FakeLocalStorage();
  const events = asPage(t, { localStorage: local });
  const network = new FakeNetwork();
  const client = new MimosaClient("https://a.test/x/", { webSocket: network.WebSocket, clock: new FakeClock() });
  const socket = network.last.open();
  socket.transition({ querySet: 1, ts: 1n });
  const done = client.auth.signIn("password");
  socket.actionDone(0, { tokens: { token: jwt("u1|s1", 60), refreshToken: "r1" } });
  socket.transition({ identity: 1, ts: 2n });
  assert.deepEqual(await outcome(done), { value: { status: "signedIn" } });
  assert.deepEqual(local.keys, ["mimosa https://a.test/x"]);
  socket.take();

  events.dispatchEvent(storageEvent(local, "another key"));
  events.dispatchEvent(storageEvent({}, "mimosa https://a.test/x"));
  await settle();
  assert.deepEqual(socket.takeTypes(), [], "nothing of ours has changed");
  local.removeItem("mimosa https://a.test/x");
  events.dispatchEvent(storageEvent(local, null));
  await settle();
  assert.deepEqual(socket.takeTypes(), ["Authenticate"]);
  socket.transition({ identity: 2, ts: 3n });
  assert.equal(client.auth.state.status, "signedOut");

  client.close();
  local.setItem("mimosa https://a.test/x", JSON.stringify({ token: jwt("u1|s1", 60), refreshToken: "r1" }));
  events.dispatchEvent(storageEvent(local, null));
  await settle();
  assert.equal(client.auth.state.status, "signedOut", "a closed client listens no more");
});

test("where reading localStorage throws, tokens are kept in memory", async (t) => {
  asPage(t, {
    localStorage: () => {
      throw new Error("SecurityError");
    },
  });
  const network = new FakeNetwork();
  const client = new MimosaClient("https://a.test", { webSocket: network.WebSocket, clock: new FakeClock() });
  assert.equal(client.auth.state.status, "signedOut");
  network.last.open();
  assert.deepEqual(network.last.takeTypes(), ["Connect", "ModifyQuerySet"]);
  client.close();
});

test("a full localStorage signs nobody out", async () => {
  const local = new FakeLocalStorage();
  local.setItem = () => {
    throw new Error("QuotaExceededError");
  };
  const { client, socket, clock, call } = connected({ storage: browserStorage(local as unknown as Storage) });
  const done = client.auth.signIn("password");
  socket.actionDone(0, { tokens: { token: jwt("u1|s1", 60), refreshToken: "r1" } });
  socket.transition({ identity: 1, ts: 2n });
  await done;
  await clock.advance(30_000);
  assert.deepEqual(call().body.args, [{ refreshToken: "r1" }]);
  assert.equal(client.auth.state.status, "signedIn");
  client.close();
});

test("renewals go through the Web Locks API where there is one", async (t) => {
  const names: string[] = [];
  const own = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: {
      locks: {
        request: (name: string, run: () => Promise<void>) => {
          names.push(name);
          return run();
        },
      },
    },
  });
  t.after(() => {
    delete (globalThis as { navigator?: unknown }).navigator;
    if (own) Object.defineProperty(globalThis, "navigator", own);
  });
  const clock = new FakeClock();
  const network = new FakeNetwork();
  const client = new MimosaClient("http://a.test", {
    webSocket: network.WebSocket, clock, storageKey, fetch: () => new Promise(() => {}),
  });
  const socket = network.last.open();
  const done = client.auth.signIn("password");
  socket.actionDone(0, { tokens: { token: jwt("u1|s1", 60), refreshToken: "r1" } });
  socket.transition({ identity: 1, querySet: 1, ts: 2n });
  await done;
  await clock.advance(30_000);
  assert.deepEqual(names, [storageKey]);
  client.close();
});
