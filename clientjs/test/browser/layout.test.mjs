// What the page shows on screens of many sizes: nothing beyond the edge, and the newest message for who reads it.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { openBrowser, patience, Person, School, screenshot } from "./school.mjs";

const mary = { email: "mary@example.org", password: "jacquard loom", nickname: "Mary", course: "databases" };
const phone = (width, height = 620) => ({ viewport: { width, height }, isMobile: true, hasTouch: true });
const laptop = { viewport: { width: 1280, height: 720 } };
const screens = { "phone-320": phone(320, 568), "phone-375": phone(375, 667), "phone-on-its-side": phone(667, 320), tablet: phone(768, 1024), laptop };

describe("the layout", { timeout: 8 * patience }, () => {
  let school;
  let browser;
  let people = [];

  const arrive = async (options) => {
    const person = await Person.arrive(browser, school, options);
    people.push(person);
    return person;
  };

  /** Every screen in turn, light and dark. */
  async function everywhere(look) {
    for (const [name, screen] of Object.entries(screens)) {
      const person = await arrive(screen);
      await look(person, name, screen.viewport.width);
      await person.leave();
      people = people.filter((p) => p !== person);
    }
  }

  async function shoot(person, name) {
    for (const colorScheme of ["light", "dark"]) {
      await person.page.emulateMedia({ colorScheme });
      await screenshot(person, `${name}-${colorScheme}`);
    }
  }

  before(async () => {
    [school, browser] = await Promise.all([School.open(), openBrowser()]);
    const person = await arrive();
    await person.signUp(mary);
    await person.message("Welcome, Mary!").waitFor();
    for (let i = 1; i <= 24; i++) await person.write(`Punched card ${i}`);
    await person.page.locator(".message.own:not(.pending)", { hasText: "Punched card 24" }).waitFor();
    await person.page.locator("#room-facts", { hasText: "25 messages" }).waitFor();
    await person.leave();
    people = [];
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

  it("keeps the front page within the screen, wide counters too", async () => {
    await everywhere(async (person, screen, width) => {
      const { page } = person;
      await page.locator("#front-rooms").getByText("25 messages").waitFor();
      assert.deepEqual(await beyond(page, width), [], `${screen}: beyond the edge`);
      await shoot(person, `${screen}-front`);
      await writeCrowd(page);
      assert.deepEqual(await beyond(page, width), [], `${screen}: beyond the edge, with wide counters`);
      await page.locator("#front-rooms").scrollIntoViewIfNeeded();
      await screenshot(person, `${screen}-crowd`);
    });
  });

  it("keeps the room within the screen, and shows its newest message", async () => {
    await everywhere(async (person, screen, width) => {
      const { page } = person;
      await person.signIn(mary.email, mary.password);
      await page.locator("#members").getByText("Mary").waitFor();
      await newestIsSeen(page, "Punched card 24");
      assert.deepEqual(await beyond(page, width), [], `${screen}: beyond the edge`);
      const height = await page.locator("#log").evaluate((log) => log.clientHeight);
      assert.ok(height >= 110, `${screen}: ${height} pixels are left for the messages`);
      await shoot(person, `${screen}-room`);
      await writeCrowd(page);
      assert.deepEqual(await beyond(page, width), [], `${screen}: beyond the edge, with wide counters`);
    });
  });

  it("goes on showing the newest message when something takes from the log, and leaves alone who reads older ones", async () => {
    const [small, large, reader] = await Promise.all([arrive(phone(320, 568)), arrive(laptop), arrive(laptop)]);
    for (const p of [small, large, reader]) {
      await p.signIn(mary.email, mary.password);
      await newestIsSeen(p.page, "Punched card 24");
    }
    await reader.page.locator("#log").hover();
    await reader.page.mouse.wheel(0, -200);
    const read = await reader.page.waitForFunction(() => {
      const log = document.getElementById("log");
      const now = log.scrollTop;
      return log.scrollHeight - now - log.clientHeight > 100 && new Promise((done) => {
        requestAnimationFrame(() => requestAnimationFrame(() => done(log.scrollTop === now && now)));
      });
    });
    const position = await read.jsonValue();

    await large.page.getByRole("textbox", { name: "Message" }).fill("a\nmessage\nof\nmany\nlines");
    await newestIsSeen(large.page, "Punched card 24");
    await large.page.setViewportSize({ width: 700, height: 480 });
    await newestIsSeen(large.page, "Punched card 24");

    assert.equal(await school.stop("SIGKILL"), "SIGKILL");
    for (const { page } of [small, large, reader]) await page.locator("#banner").getByText("The connection is lost.").waitFor();
    for (const { page } of [small, large]) await newestIsSeen(page, "Punched card 24");
    await small.write("Written in the dark");
    await small.page.locator("#banner").getByText("1 message will be sent").waitFor();
    await newestIsSeen(small.page, "Written in the dark");
    await shoot(small, "phone-320-offline");
    await shoot(reader, "laptop-offline-older");
    assert.equal(await reader.page.locator("#log").evaluate((log) => log.scrollTop), position, "the reader was moved");

    await school.start();
    await small.page.locator(".message.own:not(.pending)", { hasText: "Written in the dark" }).waitFor();
    await newestIsSeen(large.page, "Written in the dark");
    await reader.message("Written in the dark").waitFor();
    assert.equal(await reader.page.locator("#log").evaluate((log) => log.scrollTop), position, "the reader was moved");
    await reader.page.getByRole("button", { name: "New messages" }).click();
    await newestIsSeen(reader.page, "Written in the dark");
    // A refused connection is all that may have gone wrong here.
    for (const p of [small, large, reader]) {
      assert.deepEqual(p.problems.filter((text) => !/ERR_CONNECTION_REFUSED|WebSocket connection/.test(text)), []);
      p.problems.length = 0;
    }
  });
});

/** Nobody waits for a crowd: its counters are written in place of those that are shown. */
function writeCrowd(page) {
  return page.evaluate(() => {
    for (const count of document.querySelectorAll(".count")) {
      count.firstElementChild.textContent = "1,234,567 members";
      count.lastElementChild.textContent = "89,012,345 messages";
    }
    for (const facts of document.querySelectorAll(".facts")) facts.textContent = "1,234,567 members, 89,012,345 messages";
  });
}

/**
 * What cannot be seen for the screen's edge or that of its own frame. Inside of what scrolls sideways, things may be
 * anywhere. A mobile browser widens its window for a page that does not fit, so that the width has to be known.
 */
function beyond(page, width) {
  return page.evaluate((width) => {
    const found = [];
    const at = document.scrollingElement;
    if (at.scrollWidth > width) found.push(`the page is ${at.scrollWidth} wide`);
    for (const e of document.querySelectorAll("body *")) {
      const scrolls = e.closest("#rooms, #members");
      const { right, width: own } = e.getBoundingClientRect();
      if (!scrolls && own > 1 && right > width + 1) found.push(`${e.tagName} ${e.className} ends at ${Math.round(right)}`);
    }
    const side = document.querySelector(".side");
    if (width > 740 && side.scrollWidth > side.clientWidth) found.push("the list of rooms scrolls sideways");
    for (const e of document.querySelectorAll(".choice span, .button, .switch span, .count, .facts")) {
      if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0) found.push(`${e.textContent} is cut`);
    }
    return found;
  }, width);
}

/** Waits until the last message is this one, and lies wholly inside the log. */
async function newestIsSeen(page, text) {
  await page.waitForFunction((text) => {
    const log = document.getElementById("log").getBoundingClientRect();
    const last = document.querySelector("#messages > :last-child .text");
    if (last?.textContent !== text) return false;
    const { top, bottom } = last.getBoundingClientRect();
    return top >= log.top && bottom <= log.bottom && log.bottom <= innerHeight + 1;
  }, text);
}
