// Access tokens that live for seconds, and pages that do not show it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { patience } from "../browser/program.mjs";
import { ada } from "./people.mjs";
import { until } from "./person.mjs";
import { stage } from "./stage.mjs";

// The client renews a token ten seconds before its end, unless it is told otherwise.
describe("tokens that are renewed ahead of their end", { timeout: 8 * patience }, () => {
  const set = stage({ ttl: "12s" });

  it("are replaced without a gap", async () => {
    const person = await set.arrive();
    await person.signUp(ada);
    await person.signedIn(ada);
    await person.forget();
    await until("three renewals", () => person.refreshes.length >= 4);
    assert.deepEqual(await person.shown(), ["authenticated/authenticated/Ada"]);
    assert.equal(person.authErrors, 0, "a token ran out");
    assert.equal(new Set(person.refreshes).size, person.refreshes.length, "a refresh token was used twice");
    await person.page.getByRole("textbox", { name: "Note" }).fill("still here");
    await person.page.getByRole("button", { name: "Leave a note" }).click();
    await person.line("Visits", "Ada: still here");
  });
});

describe("tokens that run out", { timeout: 8 * patience }, () => {
  const set = stage({ ttl: "3s" });

  it("are replaced without the page being anybody else's, when the client comes too late", async () => {
    // As on a laptop that slept: the client's timer would be half a minute late, and the server ends the token.
    const person = await set.arrive("?leeway=-30");
    const watcher = await set.arrive();
    await person.signUp(ada);
    await person.signedIn(ada);
    await person.forget();
    for (let times = 1; times <= 2; times++) {
      await until("the token to run out", () => person.authErrors >= times);
      await person.page.getByRole("textbox", { name: "Note" }).fill(`after ${times}`);
      await person.page.getByRole("button", { name: "Leave a note" }).click();
      await watcher.line("Visits", `Ada: after ${times}`);
    }
    assert.deepEqual(await person.shown(), ["authenticated/authenticated/Ada"]);
  });

  it("are replaced when a page is opened with one that has run out", async () => {
    const person = await set.arrive("?leeway=-30");
    await person.signIn(ada);
    await person.signedIn(ada);
    const { url } = person;
    const expired = await person.stored("JWT");
    await person.page.goto("about:blank");
    const { exp } = JSON.parse(Buffer.from(expired.split(".")[1], "base64url"));
    await until("the token's end", () => Date.now() / 1000 > exp + 1);
    await person.page.goto(url);
    await person.signedIn(ada);
    const shown = await person.shown();
    assert.ok(shown.every((state) => !state.startsWith("unauthenticated")), shown.join(", "));
  });
});
