import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { openBrowser, screenshot } from "../browser/chromium.mjs";
import { patience } from "../browser/program.mjs";
import { bundle, Person, Server, until } from "./person.mjs";

const ada = { email: "ada@example.org", password: "engine no. 1", nickname: "Ada", course: "databases" };

describe("ConvexAuthProvider", { timeout: 8 * patience }, () => {
  let page, server, browser;
  let people = [];
  const arrive = async (url = server.url) => {
    const person = await Person.arrive(browser, url);
    people.push(person);
    return person;
  };
  before(async () => {
    page = await bundle();
    [server, browser] = await Promise.all([Server.open({ page: page.folder }), openBrowser()]);
  });
  afterEach(async () => {
    const problems = people.flatMap((p) => p.problems);
    await Promise.all(people.map((p) => p.leave()));
    people = [];
    assert.deepEqual(problems, [], "something went wrong in a page");
  });
  after(async () => {
    await browser?.close();
    assert.equal(await server?.close(), 0, server?.log);
    await page?.remove();
  });
  it("signs up", async () => {
    const person = await arrive();
    await person.signedOut();
    await person.signUp(ada); await new Promise(r=>setTimeout(r,1500)); console.log(await person.page.locator('form').first().innerText());
    await person.signedIn(ada);
    await person.line("Visits", "Ada: at signUp");
    console.log(await person.shown());
    await person.forget();
    await person.signOut();
    await person.signedOut();
    console.log(await person.shown());
    await person.signIn(ada);
    await person.signedIn(ada);
    await person.line("Visits", "Ada: at signIn");
    await person.forget();
    await server.operator("revoke", ada.email);
    await person.signedOut();
    console.log(await person.shown());
  });
});
