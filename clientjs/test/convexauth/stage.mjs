// Sets the stage for the tests of a file: page, server, browser; and sees to it that nothing went wrong on it.
import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";
import { openBrowser } from "../browser/chromium.mjs";
import { bundle, Person, Server } from "./person.mjs";

/** Call it inside describe. What it returns is filled in before the first test. */
export function stage(options = {}) {
  const set = {
    page: undefined,
    server: undefined,
    browser: undefined,
    people: [],
    /** Somebody with a browser profile of their own opens the page. */
    async arrive(query = "") {
      const person = await Person.arrive(set.browser, `${set.server.url}/${query}`);
      set.people.push(person);
      return person;
    },
    /** Somebody opens the page in another tab. */
    async anotherTab(person) {
      const tab = await person.anotherTab();
      set.people.push(tab);
      return tab;
    },
  };
  before(async () => {
    set.page = await bundle();
    [set.server, set.browser] = await Promise.all([Server.open({ page: set.page.folder, ...options }), openBrowser()]);
  });
  afterEach(async () => {
    const problems = set.people.flatMap((p) => p.problems);
    await Promise.all(set.people.map((p) => p.leave()));
    set.people = [];
    assert.deepEqual(problems, [], "something went wrong in a page");
  });
  after(async () => {
    await set.browser?.close();
    assert.equal(await set.server?.close(), 0, set.server?.log);
    await set.page?.remove();
  });
  return set;
}
