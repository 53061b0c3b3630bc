// The password module as the React package of @convex-dev/auth uses it, in a real browser.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { screenshot } from "../browser/chromium.mjs";
import { patience } from "../browser/program.mjs";
import { ada, grace } from "./people.mjs";
import { stage } from "./stage.mjs";

const refused = /CONVEX A\(auth:signIn\)/;

describe("ConvexAuthProvider and the password module", { timeout: 8 * patience }, () => {
  const set = stage();

  it("shows at the fields of the form what is wrong with a sign-up, and nobody has signed up", async () => {
    const person = await set.arrive();
    const { page } = person;
    await person.signedOut();
    await person.line("Courses", "databases: 0");

    await person.signUp({ email: "ada", password: "short", nickname: "", course: "" });
    await page.locator("#email-issue").filter({ hasText: "[format]" }).waitFor();
    const issues = {};
    for (const name of ["email", "password", "nickname", "course"]) issues[name] = await person.text(`#${name}-issue`);
    assert.match(issues.password, /\[minLength\]/);
    assert.match(issues.nickname, /\[minLength\]/);
    assert.match(issues.course, /\[minLength\]/);
    assert.match(await person.text("[role=alert]"), /^invalid: /);
    await screenshot(person, "convexauth-issues");

    // The trigger that enrols refuses by a code of its own, also at a field.
    await person.signUp({ ...ada, course: "astrology" });
    await page.locator("#course-issue").filter({ hasText: "is not a course of this school [exists]" }).waitFor();
    assert.match(await person.text("[role=alert]"), /^not_found: there is no such course/);
    person.expectProblems(refused);
    await person.line("Courses", "databases: 0");
    await person.signIn(ada);
    await page.getByRole("alert").filter({ hasText: "unauthenticated" }).waitFor();
    person.expectProblems(refused);
    assert.equal(await person.stored("JWT"), null);
    assert.equal((await person.shown()).at(-1), "unauthenticated/unauthenticated/nobody");
  });

  it("signs up: user, role and enrolment at once, live for others, and the first mutation runs as the user", async () => {
    const [person, watcher] = await Promise.all([set.arrive(), set.arrive()]);
    await watcher.line("Courses", "databases: 0");
    await person.signUp(ada);
    await person.signedIn(ada);
    assert.equal(await person.text("#me"), "Ada <ada@example.org>, student");
    assert.equal(await person.text("#enrolments"), "databases");
    await watcher.line("Courses", "databases: 1");
    await watcher.line("Visits", "Ada: at signUp");
    assert.equal(await person.text("#visited"), "visited: at signUp");
    await screenshot(person, "convexauth-home");

    // The way there had no moment at which the page was shown to nobody, or the other way round.
    const shown = await person.shown();
    const from = shown.indexOf("unauthenticated/unauthenticated/nobody");
    for (const state of shown.slice(from + 1)) {
      assert.ok(["unauthenticated/unauthenticated/Ada", "authenticated/authenticated/Ada"].includes(state), shown.join(", "));
    }
    // The package renews the tokens as soon as they are confirmed.
    await person.renewed(1);
    await watcher.signedOut();
  });

  it("refuses an address that is taken, a wrong password and an unknown address", async () => {
    const person = await set.arrive();
    const alert = person.page.getByRole("alert");
    await person.signUp({ ...ada, nickname: "Another", password: "another one" });
    await alert.filter({ hasText: /^already_exists: / }).waitFor();
    assert.match(await person.text("#email-issue"), /\[unique\]/);
    person.expectProblems(refused);
    const texts = [];
    for (const email of [ada.email, "nobody@example.org"]) {
      await person.signIn({ email, password: "not the password" });
      await alert.filter({ hasText: /^unauthenticated: / }).waitFor();
      texts.push(await alert.textContent());
      person.expectProblems(refused);
    }
    assert.equal(texts[0], texts[1], "the answers tell who has an account");
    await person.line("Courses", "databases: 1");
    assert.equal(await person.stored("JWT"), null);
  });

  it("keeps the session when the page is loaded again, with another token each time", async () => {
    const person = await set.arrive();
    await person.signIn(ada);
    await person.signedIn(ada);
    for (let loads = 1; loads <= 3; loads++) {
      await person.renewed(loads);
      await person.page.reload();
      await person.signedIn(ada);
      const shown = await person.shown();
      assert.ok(shown.every((state) => !state.startsWith("unauthenticated")), shown.join(", "));
    }
    await person.renewed(4);
    assert.equal(person.refreshes.length, 4, "one renewal for each load");
    assert.equal(new Set(person.refreshes).size, 4, "a refresh token was used twice");
    assert.deepEqual(await person.lines("Visits"), ["Ada: at signUp", "Ada: at signIn"], "reloading is no sign-in");
  });

  it("signs out for good", async () => {
    const person = await set.arrive();
    await person.signIn(ada);
    await person.signedIn(ada);
    await person.renewed(1);
    const [token, refreshToken] = [await person.stored("JWT"), await person.stored("RefreshToken")];
    assert.equal((await set.server.call("query", "users:me", {}, token)).value.nickname, "Ada");
    await person.forget();
    await person.signOut();
    await person.signedOut();
    const shown = await person.shown();
    assert.ok(!shown.includes("authenticated/authenticated/nobody"), shown.join(", "));
    assert.deepEqual([await person.stored("JWT"), await person.stored("RefreshToken")], [null, null]);

    // What somebody may have copied before is of no use any more.
    assert.notEqual((await set.server.call("query", "users:me", {}, token)).value?.nickname, "Ada");
    assert.equal((await set.server.call("mutation", "visits:add", { note: "stolen" }, token)).status, "error");
    assert.deepEqual((await set.server.call("action", "auth:signIn", { refreshToken })).value, { tokens: null });
    await person.page.reload();
    await person.signedOut();
  });

  it("shares the session among tabs, in both directions", async () => {
    const first = await set.arrive();
    const second = await set.anotherTab(first);
    await second.signedOut();
    await first.signUp(grace);
    await first.signedIn(grace);
    await second.signedIn(grace);
    await second.page.getByRole("textbox", { name: "Note" }).fill("from the other tab");
    await second.page.getByRole("button", { name: "Leave a note" }).click();
    await first.line("Visits", "Grace: from the other tab");

    // Both load at once, and both renew: a race that must cost nobody the session.
    for (let round = 0; round < 3; round++) {
      await Promise.all([first.page.reload(), second.page.reload()]);
      await Promise.all([first.signedIn(grace), second.signedIn(grace)]);
    }
    await second.signOut();
    await Promise.all([first.signedOut(), second.signedOut()]);
    await first.signIn(grace);
    await Promise.all([first.signedIn(grace), second.signedIn(grace)]);
  });

  it("goes on when the server has been killed and started again", async () => {
    const person = await set.arrive();
    await person.signIn(ada);
    await person.signedIn(ada);
    await person.renewed(1);
    await person.forget();
    await set.server.stop("SIGKILL");
    await person.page.getByRole("textbox", { name: "Note" }).fill("in the dark");
    await person.page.getByRole("button", { name: "Leave a note" }).click();
    await set.server.start();
    await person.line("Visits", "Ada: in the dark");
    assert.deepEqual(await person.shown(), ["authenticated/authenticated/Ada"]);
    assert.equal((await person.lines("Visits")).filter((line) => line === "Ada: in the dark").length, 1);
    person.problems.splice(0, Infinity, ...person.problems.filter((text) => !/ERR_CONNECTION|WebSocket connection/.test(text)));
  });
});
