// Signing in at a provider of OpenID Connect: the page leaves, comes back with a code, and ConvexAuthProvider redeems it on load.
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { patience } from "../browser/program.mjs";
import { Issuer } from "./issuer.mjs";
import { nadia } from "./people.mjs";
import { until } from "./person.mjs";
import { stage } from "./stage.mjs";

const emmy = { nickname: "Emmy" };
const issuer = await Issuer.open({
  emmy: { email: "emmy@example.org", email_verified: true, name: "Emmy" },
  nadia: { email: "nadia@example.org", email_verified: false, name: "Nadia elsewhere" },
});

describe("ConvexAuthProvider and a provider", { timeout: 8 * patience }, () => {
  const set = stage({ issuer: issuer.url });
  after(() => issuer.close());

  async function goOnAs(person, who) {
    await person.page.getByRole("button", { name: "Go on with the provider" }).click();
    await person.page.getByRole("link", { name: who }).click();
    await person.page.waitForURL((url) => url.origin === set.server.url);
  }

  it("signs up with what the page said before it left, and in the next time", async () => {
    const person = await set.arrive("?from=home");
    await person.signedOut();
    await goOnAs(person, "Go on as emmy");
    await person.signedIn(emmy);
    assert.equal(await person.text("#me"), "Emmy <emmy@example.org>, student");
    assert.equal(await person.text("#enrolments"), "music");
    await person.line("Courses", "music: 1");
    // The code is gone from the address, and what stood there before is not.
    assert.equal(new URL(person.page.url()).search, "?from=home");
    assert.equal(await person.stored("OAuthVerifier"), null);

    await person.signOut();
    await person.signedOut();
    await goOnAs(person, "Go on as emmy");
    await person.signedIn(emmy);
    await person.line("Courses", "music: 1");
    await person.page.reload();
    await person.signedIn(emmy);
  });

  it("links nobody by an address that the provider does not vouch for", async () => {
    const owner = await set.arrive();
    await owner.signUp(nadia);
    await owner.signedIn(nadia);
    await owner.line("Courses", "music: 2");
    const other = await set.arrive();
    await goOnAs(other, "Go on as nadia");
    await other.signedIn({ nickname: "Nadia elsewhere" });
    await owner.line("Courses", "music: 3");
    await owner.signedIn(nadia);
  });

  it("leaves who changed their mind signed out, and a code of somebody else without use", async () => {
    const person = await set.arrive();
    await goOnAs(person, "Not today");
    await person.signedOut();
    assert.equal(new URL(person.page.url()).searchParams.get("error"), "access_denied");

    // The address with which somebody comes back, opened in another browser, which has no verifier.
    const victim = await set.arrive();
    let stolen;
    await person.page.goto(set.server.url);
    await person.signedOut();
    await person.page.getByRole("button", { name: "Go on with the provider" }).click();
    await person.page.route(`${set.server.url}/api/auth/sso/callback*`, async (route) => {
      const answer = await route.fetch({ maxRedirects: 0 });
      stolen = answer.headers().location;
      await route.fulfill({ status: 200, contentType: "text/plain", body: "taken on the way" });
    });
    await person.page.getByRole("link", { name: "Go on as emmy" }).click();
    await until("the address", () => stolen !== undefined);
    assert.ok(new URL(stolen).searchParams.get("code"), stolen);
    await victim.page.goto(stolen);
    await until("a refusal", () => victim.problems.length > 0);
    victim.expectProblems(/auth:signIn|ConvexError/);
    assert.equal(await victim.stored("JWT"), null);
    await victim.page.goto(set.server.url);
    await victim.signedOut();
  });
});
