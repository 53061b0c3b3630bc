// The demonstration application in real browsers, as people use it.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { openBrowser, patience, Person, School, screenshot } from "./school.mjs";

const ada = { email: "ada@example.org", password: "engine no. 1", nickname: "Ada", course: "databases" };
const grace = { email: "grace@example.org", password: "compiler-a0", nickname: "Grace", course: "databases" };
const nadia = { email: "nadia@example.org", password: "mademoiselle", nickname: "Nadia", course: "music" };

describe("the school", { timeout: 4 * patience }, () => {
  let school;
  let browser;
  let people = [];

  const arrive = async (options) => {
    const person = await Person.arrive(browser, school, options);
    people.push(person);
    return person;
  };

  before(async () => {
    [school, browser] = await Promise.all([School.open(), openBrowser()]);
  });
  afterEach(async () => {
    const problems = people.flatMap((p) => p.problems);
    await Promise.all(people.map((p) => p.leave()));
    people = [];
    assert.deepEqual(problems, [], "something went wrong in a page");
  });
  after(async () => {
    await browser?.close();
    assert.equal(await school?.close(), 0, "the server did not end well");
  });

  it("says what is wrong with a sign-up beside the field", async () => {
    const person = await arrive();
    const { page } = person;
    await page.getByRole("list", { name: "Rooms, right now" }).getByText("The index card").waitFor();
    await screenshot(person, "signed-out");

    await person.signUp({ email: "ada", password: "short", nickname: "" });
    const email = page.getByLabel("Email");
    await page.getByText("Email must be an e-mail address.").waitFor();
    await page.getByText("Password must have at least 8 characters.").waitFor();
    for (const name of ["email", "password", "nickname", "course"]) {
      assert.notEqual(await page.locator(`#${name}-error`).textContent(), "", `nothing is said about ${name}`);
      assert.equal(await page.locator(`#${name}`).getAttribute("aria-invalid"), "true", `${name} is not marked`);
    }
    assert.ok(await email.evaluate((e) => e === document.activeElement), "the first wrong field has the focus");
    await screenshot(person, "sign-up-errors");

    // What is put right is not called wrong any more.
    await email.fill("ada@example.org");
    assert.equal(await page.locator("#email-error").textContent(), "");
    assert.equal(await email.getAttribute("aria-invalid"), null);
    assert.equal(await page.locator("body").getAttribute("data-view"), "out");
  });

  it("shows two people one room, live", async () => {
    const [first, second, watcher] = await Promise.all([arrive(), arrive(), arrive()]);
    await first.signUp(ada);
    await first.message("Welcome, Ada!").waitFor();
    await screenshot(first, "welcome");

    await second.signUp(grace);
    await second.message("Welcome, Grace!").waitFor();
    await first.message("Welcome, Grace!").waitFor();
    for (const { page } of [first, second]) {
      await page.getByRole("heading", { name: "The index card" }).waitFor();
      await page.locator("#members").getByText("Ada").waitFor();
      await page.locator("#members").getByText("Grace").waitFor();
      await page.locator("#room-facts", { hasText: "2 members" }).waitFor();
    }
    assert.equal(await first.page.locator("#me-role").textContent(), "student");
    assert.equal(await first.page.locator("#me-email").textContent(), "ada@example.org");
    await first.page.locator("#enrolments").getByText("databases", { exact: true }).waitFor();

    await first.write("Is an index a promise?");
    await first.page.locator(".message.own:not(.pending)", { hasText: "Is an index a promise?" }).waitFor();
    await second.message("Is an index a promise?").waitFor();
    const row = second.page.locator(".message", { hasText: "Is an index a promise?" });
    assert.equal(await row.locator(".by b").textContent(), "Ada");
    await second.write("It is a copy that keeps\nits promises. <b>&amp; no markup</b>");
    await first.page.getByRole("log").getByText("<b>&amp; no markup</b>").waitFor();
    await first.write("Then a trigger is a promise that keeps copies.");
    await second.message("Then a trigger is a promise that keeps copies.").waitFor();

    // Somebody who never signed in sees the counters move: two welcomes and three messages.
    await watcher.page.locator("#front-rooms li", { hasText: "The index card" }).getByText("5 messages").waitFor();
    await screenshot(first, "room");
    await second.page.emulateMedia({ colorScheme: "dark" });
    await screenshot(second, "room-dark");
    await watcher.page.emulateMedia({ colorScheme: "dark" });
    await screenshot(watcher, "signed-out-dark");
  });

  it("lets outsiders read and not write, on a small screen too", async () => {
    const person = await arrive({ viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true });
    const { page } = person;
    await screenshot(person, "phone-signed-out");
    await person.signUp(nadia);
    await person.message("Welcome, Nadia!").waitFor();
    await person.write("Is anybody here? I brought a metronome, and a very long sentence that has to wrap somewhere.");
    await page.locator(".message.own:not(.pending)").waitFor();
    await screenshot(person, "phone-room");

    await page.getByRole("link", { name: "The index card" }).click();
    await person.message("Is an index a promise?").waitFor();
    await page.getByText("Only those who take databases can write here.").waitFor();
    assert.equal(await page.getByRole("textbox", { name: "Message" }).isVisible(), false);
    const tooWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    assert.equal(tooWide, false, "the page scrolls sideways");
    await screenshot(person, "phone-outsider");
  });

  it("refuses a wrong password and an address that is taken, signs out and in, and enrols nobody twice", async () => {
    const person = await arrive();
    const { page } = person;
    await person.signUp({ ...ada, nickname: "Another" });
    await page.getByText("Email is taken already.").waitFor();
    await person.signIn(ada.email, "not the password");
    await page.locator("#entry-alert").filter({ hasText: /./ }).waitFor();
    await screenshot(person, "sign-in-error");

    await person.signIn(ada.email, ada.password);
    await person.message("Is an index a promise?").waitFor();
    await page.locator("#room-facts", { hasText: "2 members" }).waitFor();
    assert.equal(await person.message("Welcome, Ada!").count(), 1);

    // A tab that is opened again is still signed in.
    await page.reload();
    await person.message("Is an index a promise?").waitFor();

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Sign up" }).waitFor();
    assert.equal(await page.getByRole("log").isVisible(), false);
    await page.reload();
    await page.getByRole("button", { name: "Sign up" }).waitFor();
  });

  it("says when the connection is lost, and sends what was written meanwhile once", async () => {
    const [writer, reader] = await Promise.all([arrive(), arrive()]);
    await writer.signIn(ada.email, ada.password);
    await reader.signIn(grace.email, grace.password);
    for (const p of [writer, reader]) await p.message("Is an index a promise?").waitFor();

    assert.equal(await school.stop("SIGKILL"), "SIGKILL");
    const banner = writer.page.locator("#banner");
    await banner.getByText("The connection is lost.").waitFor();
    await writer.write("Written in the dark");
    await banner.getByText("1 message will be sent").waitFor();
    await screenshot(writer, "offline");

    await school.start();
    await writer.page.locator(".message.own:not(.pending)", { hasText: "Written in the dark" }).waitFor();
    await reader.message("Written in the dark").waitFor();
    await banner.waitFor({ state: "hidden" });
    for (const p of [writer, reader]) assert.equal(await p.message("Written in the dark").count(), 1);
    // A refused connection is all that may have gone wrong here.
    for (const p of [writer, reader]) {
      assert.deepEqual(p.problems.filter((text) => !/ERR_CONNECTION_REFUSED|WebSocket connection/.test(text)), []);
      p.problems.length = 0;
    }
  });
});
