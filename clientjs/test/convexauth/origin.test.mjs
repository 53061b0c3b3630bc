// The page at an address of its own, and Mimosa at another: every request of the package is one across origins.
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { patience } from "../browser/program.mjs";
import { ada } from "./people.mjs";
import { bundle, Person, serve, until } from "./person.mjs";
import { stage } from "./stage.mjs";

const page = await bundle();
const site = await serve(page.folder);

describe("ConvexAuthProvider on a page from elsewhere", { timeout: 8 * patience }, () => {
  const set = stage({ flags: ["--allow-origin", site.url] });
  after(async () => {
    await site.close();
    await page.remove();
  });

  it("signs up, renews, keeps the session and signs out", async () => {
    const person = await Person.arrive(set.browser, `${site.url}/?${new URLSearchParams({ server: set.server.url })}`);
    set.people.push(person);
    await person.signedOut();
    await person.signUp(ada);
    await person.signedIn(ada);
    await person.line("Visits", "Ada: at signUp");
    await person.renewed(1);
    await person.page.reload();
    await person.signedIn(ada);
    await person.signOut();
    await person.signedOut();
  });

  it("gets nowhere from an address that is not allowed", async () => {
    const stranger = await serve(page.folder);
    try {
      const person = await Person.arrive(set.browser, `${stranger.url}/?${new URLSearchParams({ server: set.server.url })}`);
      set.people.push(person);
      await until("a refusal", () => person.problems.some((text) => /WebSocket connection/.test(text)));
      assert.match((await person.shown()).at(-1), /\/loading$/, "the page got an answer");
      await person.page.goto("about:blank");
      person.expectProblems(/WebSocket connection/);
    } finally {
      await stranger.close();
    }
  });
});
