import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json, Value } from "../../src/values.js";
import { canonical, decode, encode, reuse } from "../../src/values.js";
import { seeded } from "../support/fake.js";

test("values that JSON lacks travel in their $ forms", () => {
  const forms: [Value, Json][] = [
    [1n, { $integer: "AQAAAAAAAAA=" }],
    [-1n, { $integer: "//////////8=" }],
    [2n ** 63n - 1n, { $integer: "/////////38=" }],
    [-(2n ** 63n), { $integer: "AAAAAAAAAIA=" }],
    [new Uint8Array([0, 255, 16]), { $bytes: "AP8Q" }],
    [new Uint8Array(), { $bytes: "" }],
    [-0, { $float: "AAAAAAAAAIA=" }],
    [Infinity, { $float: "AAAAAAAA8H8=" }],
    [-Infinity, { $float: "AAAAAAAA8P8=" }],
    [0, 0],
    [1.5, 1.5],
    ["$x", "$x"],
  ];
  for (const [value, json] of forms) {
    assert.deepEqual(encode(value), json);
    const back = decode(json);
    assert.ok(value instanceof Uint8Array ? Buffer.from(value).equals(back as Uint8Array) : Object.is(back, value));
  }
  assert.ok(Number.isNaN(decode(encode(NaN))));
});

test("large bytes survive", () => {
  const bytes = Uint8Array.from({ length: 100_003 }, (_, i) => i * 7);
  assert.deepEqual(decode(JSON.parse(JSON.stringify(encode({ bytes }))) as Json), { bytes });
});

test("random values come back as they went", () => {
  const seed = Number(process.env["SEED"] ?? Date.now());
  const random = seeded(seed);
  const pick = <T>(choices: T[]): T => choices[Math.floor(random() * choices.length)] as T;
  const make = (depth: number): Value =>
    pick<() => Value>([
      () => null, () => random() < 0.5, () => (random() - 0.5) * 10 ** Math.floor(random() * 20), () => -0,
      () => BigInt(Math.floor((random() - 0.5) * 2 ** 53)), () => pick(["", "a", "é😀", "$", "\u0000"]),
      () => new Uint8Array(Math.floor(random() * 9)).map(() => random() * 256),
      ...(depth > 3 ? [] : [
        () => Array.from({ length: Math.floor(random() * 4) }, () => make(depth + 1)),
        () => Object.fromEntries(Array.from({ length: Math.floor(random() * 4) }, () =>
          [pick(["a", "b", "_id", "x y", "~"]), make(depth + 1)])),
      ]),
    ])();
  for (let i = 0; i < 2000; i++) {
    const value = make(0);
    const wire = JSON.parse(JSON.stringify(encode(value))) as Json;
    assert.deepStrictEqual(decode(wire), value, `SEED=${seed}`);
    assert.strictEqual(reuse(value, decode(wire)), value, `SEED=${seed}`);
  }
});

test("what has no form is refused with its path", () => {
  const cycle: { [key: string]: unknown } = {};
  cycle["self"] = cycle;
  const refused: [unknown, RegExp][] = [
    [undefined, /the value: undefined/],
    [() => 1, /function/],
    [Symbol("s"), /symbol/],
    [{ a: [1, { b: new Map() }] }, /^a\.1\.b: only plain objects/],
    [{ at: new Date(0) }, /^at: only plain objects/],
    [[1, undefined], /^1: undefined/],
    [new Array(2), /^0: undefined/],
    [2n ** 63n, /64 bits/],
    [{ $a: 1 }, /"\$a" cannot be a key/],
    [{ é: 1 }, /cannot be a key/],
    [{ "": 1 }, /cannot be a key/],
    [{ ["k".repeat(1025)]: 1 }, /cannot be a key/],
    [cycle, /nested deeper/],
  ];
  for (const [value, message] of refused) {
    assert.throws(() => encode(value), (error: Error & { code?: string }) => {
      assert.equal(error.code, "bad_value");
      assert.match(error.message, message);
      return true;
    });
  }
});

test("undefined fields are left out, other realms' plain objects are taken", () => {
  assert.deepEqual(encode({ a: undefined, b: 1 }), { b: 1 });
  assert.deepEqual(encode(Object.assign(Object.create(null), { a: 1 })), { a: 1 });
  assert.deepEqual(encode(new Uint8Array([1, 2]).buffer), { $bytes: "AQI=" });
});

test("a key named __proto__ stays a key", () => {
  const wire = JSON.parse('{"__proto__": {"admin": true}}') as Json;
  const value = decode(wire) as { [key: string]: Value };
  assert.equal(value["admin"], undefined);
  assert.deepEqual(Object.keys(value), ["__proto__"]);
  assert.equal(JSON.stringify(encode(value)), '{"__proto__":{"admin":true}}');
});

test("unknown $ forms are refused, not passed on", () => {
  for (const json of [{ $set: [] }, { $integer: 1 }, { $integer: "AQ==" }, { $bytes: "%" }, { $integer: "AQAAAAAAAAA=", x: 1 }]) {
    assert.throws(() => decode(json), { code: "protocol" });
  }
});

test("equal values have one canonical text, different ones two", () => {
  assert.equal(canonical({ b: [1, { d: 1, c: null }], a: "x" }), '{"a":"x","b":[1,{"c":null,"d":1}]}');
  assert.notEqual(canonical(encode({ a: 1 })), canonical(encode({ a: 1n })));
});

test("reuse keeps what is equal, row by row", () => {
  const before = [{ _id: "1", text: "a", tags: ["x"] }, { _id: "2", text: "b", tags: ["y"] }];
  const after = reuse(before, [
    { _id: "0", text: "new", tags: [] },
    { _id: "1", text: "a", tags: ["x"] },
    { _id: "2", text: "B", tags: ["y"] },
  ]) as typeof before;
  assert.notEqual(after, before);
  assert.equal(after[1], before[0], "an unchanged row is the same object, wherever it moved");
  assert.notEqual(after[2], before[1]);
  assert.equal(after[2]?.tags, before[1]?.tags, "so is an unchanged part of a changed row");
  assert.deepEqual(after.map((row) => row.text), ["new", "a", "B"]);
});

test("reuse tells alike things apart", () => {
  const pairs: [Value, Value][] = [
    [1, 1n], [[], {}], [[1], [1, 2]], [[1, 2], [1]], [{ a: 1 }, { a: 1, b: 2 }], [{ a: 1, b: 2 }, { a: 1 }],
    [{ a: null }, { b: null }], [new Uint8Array([1]), new Uint8Array([2])], [new Uint8Array([1]), [1]], [0, -0],
    [null, {}], [{ constructor: 1 }, {}], [{}, { constructor: null }],
  ];
  for (const [before, after] of pairs) assert.deepStrictEqual(reuse(before, after), after);
});
