// Sessions that end, change or run out while a page of @convex-dev/auth is looking on.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { patience } from "../browser/program.mjs";
import { ada, grace, nadia } from "./people.mjs";
import { stage } from "./stage.mjs";

describe("sessions under ConvexAuthProvider", { timeout: 8 * patience }, () => {
  const set = stage();

  it("end on all devices at once when they are revoked, without an error on any page", async () => {
    const [laptop, phone] = await Promise.all([set.arrive(), set.arrive()]);
    await laptop.signUp(ada);
    await laptop.signedIn(ada);
    await phone.signIn(ada);
    await phone.signedIn(ada);
    await set.server.operator("revoke", ada.email);
    for (const device of [laptop, phone]) {
      await device.signedOut();
      const shown = await device.shown();
      // A page that still took itself for signed in would find its queries refused.
      assert.ok(!shown.includes("authenticated/authenticated/nobody") && !shown.includes("no page", 1), shown.join(", "));
      assert.deepEqual([await device.stored("JWT"), await device.stored("RefreshToken")], [null, null]);
    }
    await laptop.signIn(ada);
    await laptop.signedIn(ada);
    await phone.signedOut();
  });

  it("end as well while the page is still agreeing with the server on its tokens", async () => {
    const person = await set.arrive();
    await person.signedOut();
    for (let round = 0; round < 8; round++) {
      await person.signIn(ada);
      await person.state("authenticated", "Ada"); // and not later: the first renewal is under way
      await set.server.operator("revoke", ada.email);
      await person.signedOut();
      const shown = await person.shown();
      assert.ok(!shown.includes("authenticated/authenticated/nobody") && !shown.includes("no page", 1), shown.join(", "));
    }
  });

  it("end when their user is deleted", async () => {
    const person = await set.arrive();
    await person.signUp(grace);
    await person.signedIn(grace);
    await set.server.operator("delete", grace.email);
    await person.signedOut();
    await person.signIn(grace);
    await person.page.getByRole("alert").filter({ hasText: "unauthenticated" }).waitFor();
    person.expectProblems(/CONVEX A\(auth:signIn\)/);
  });

  it("show a new role at once, with the tokens they have", async () => {
    const person = await set.arrive();
    await person.signIn(ada);
    await person.signedIn(ada);
    await person.renewed(1);
    await person.page.locator("#me", { hasText: "student" }).waitFor();
    await person.forget();
    await set.server.operator("promote", ada.email);
    await person.page.locator("#me", { hasText: "Ada <ada@example.org>, teacher" }).waitFor();
    assert.deepEqual(await person.shown(), ["authenticated/authenticated/Ada"]);
    assert.equal(person.refreshes.length, 1);
  });

  it("survive when the answer to a renewal is lost", async () => {
    const person = await set.arrive();
    let lost = 0;
    await person.page.route("**/api/action", async (route) => {
      if (lost++ > 0) return route.continue();
      // The server has rotated the token, and the page never hears of it.
      assert.equal((await (await route.fetch()).json()).value.tokens.token.length > 0, true);
      return route.abort("connectionreset");
    });
    await person.signIn(ada);
    await person.signedIn(ada);
    await person.renewed(2);
    assert.equal(person.refreshes[0], person.refreshes[1], "the package sends the same token again");
    person.expectProblems(/ERR_CONNECTION_RESET/);
    await person.page.reload();
    await person.signedIn(ada);
  });

  it("of guests go over to the account that they sign up for, with all they have written", async () => {
    const person = await set.arrive();
    await person.signedOut();
    await person.page.getByRole("button", { name: "Look around" }).click();
    await person.signedIn({ nickname: "Guest" });
    await person.line("Visits", "Guest: at anonymous");
    assert.equal(await person.text("#enrolments"), "");
    await person.forget();

    await person.signUp(nadia);
    await person.signedIn(nadia);
    await person.line("Visits", "Nadia: at anonymous");
    await person.line("Visits", "Nadia: at signUp");
    assert.equal(await person.text("#me"), "Nadia <nadia@example.org>, student");
    await person.page.locator("#enrolments", { hasText: "music" }).waitFor();
    assert.deepEqual(await person.shown(), ["authenticated/authenticated/Guest", "authenticated/authenticated/Nadia"]);
    await person.page.reload();
    await person.signedIn(nadia);
  });
});
