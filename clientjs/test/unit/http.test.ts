import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fetch } from "../../src/http.js";
import { MimosaHttp } from "../../src/http.js";

type Sent = { url: string; headers: Record<string, string>; body: unknown };

function server(status: number, body: string): { fetch: Fetch; sent: Sent[] } {
  const sent: Sent[] = [];
  return {
    sent,
    fetch: (url, { headers, body: text }) => {
      sent.push({ url, headers, body: JSON.parse(text) });
      return Promise.resolve({ status, text: () => Promise.resolve(body) });
    },
  };
}

test("a call over HTTP goes to its kind's address, with the token, values in their forms", async () => {
  const { fetch, sent } = server(200, '{"status":"success","value":{"n":{"$integer":"AQAAAAAAAAA="}}}');
  let token: string | undefined = "t1";
  const http = new MimosaHttp("https://a.test/base/", { fetch, token: () => token });
  assert.deepEqual(await http.query("m:q", { at: 5n }), { n: 1n });
  await http.mutation("m:m");
  token = undefined;
  await http.action("m:a");
  assert.deepEqual(sent.map(({ url }) => url), [
    "https://a.test/base/api/query", "https://a.test/base/api/mutation", "https://a.test/base/api/action",
  ]);
  assert.deepEqual(sent.map(({ headers }) => headers["Authorization"]), ["Bearer t1", "Bearer t1", undefined]);
  assert.deepEqual(sent[0]?.body, {
    path: "m:q", format: "convex_encoded_json", args: [{ at: { $integer: "BQAAAAAAAAA=" } }],
  });
  assert.deepEqual(sent[1]?.body, { path: "m:m", format: "convex_encoded_json", args: [{}] });
});

test("a function's error rejects with its code, whatever the status", async () => {
  for (const status of [200, 560]) {
    const { fetch } = server(status, JSON.stringify({
      status: "error", errorMessage: "x", errorData: { code: "conflict", message: "taken", data: [1] },
    }));
    await assert.rejects(new MimosaHttp("http://a.test", { fetch }).mutation("m:m"), {
      name: "MimosaError", code: "conflict", message: "taken", data: [1],
    });
  }
});

test("what is no answer of a server is unreachable, and says its status", async () => {
  for (const [status, body] of [[502, "<html>"], [404, "{}"], [200, "null"], [200, '"x"']] as const) {
    const { fetch } = server(status, body);
    await assert.rejects(new MimosaHttp("http://a.test", { fetch }).query("m:q"), {
      code: "unreachable", message: `HTTP ${status}, and no answer in it`,
    });
  }
  await assert.rejects(
    new MimosaHttp("http://a.test", { fetch: () => Promise.reject(new TypeError("refused")) }).query("m:q"),
    { code: "unreachable", message: "TypeError: refused" },
  );
});

test("arguments that cannot travel are refused before anything is sent", async () => {
  const { fetch, sent } = server(200, "{}");
  await assert.rejects(new MimosaHttp("http://a.test", { fetch }).query("m:q", { f() {} }), { code: "bad_value" });
  assert.equal(sent.length, 0);
});
