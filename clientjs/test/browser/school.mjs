// What the tests of the demonstration stand on: a school of its own, and people with pages.
import { problemsOf } from "./chromium.mjs";
import { patience, Program } from "./program.mjs";

export { openBrowser, screenshot } from "./chromium.mjs";
export { patience } from "./program.mjs";

/** The demonstration: the program that MIMOSA_BIN names, or one built for the occasion. */
export class School extends Program {
  static async open() {
    return super.open({ variable: "MIMOSA_BIN", package: "./cmd/mimosa" });
  }
}

/** One person at a browser of their own, with everything in it that went wrong. */
export class Person {
  constructor(page, problems) {
    this.page = page;
    this.problems = problems;
  }

  static async arrive(browser, school, options = {}) {
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(patience);
    const page = await context.newPage();
    const problems = problemsOf(page);
    await page.goto(school.url);
    return new Person(page, problems);
  }

  /** Fills in the form and sends it; fields that are not given stay empty. */
  async signUp({ email, password, nickname, course }) {
    const { page } = this;
    await page.getByRole("radio", { name: "Sign up" }).check();
    await page.getByLabel("Email").fill(email ?? "");
    await page.getByLabel("Password", { exact: true }).fill(password ?? "");
    await page.getByLabel("Nickname").fill(nickname ?? "");
    if (course) await page.getByRole("radio", { name: course }).check();
    await page.getByRole("button", { name: "Sign up" }).click();
  }

  async signIn(email, password) {
    const { page } = this;
    await page.getByRole("radio", { name: "Sign in" }).check();
    await page.getByLabel("Email").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
  }

  async write(text) {
    await this.page.getByRole("textbox", { name: "Message" }).fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
  }

  message(text) {
    return this.page.getByRole("log").getByText(text, { exact: true });
  }

  async leave() {
    await this.page.context().close();
  }
}
