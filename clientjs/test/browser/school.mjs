// What the browser test stands on: a school of its own, a real browser, people with pages, and a place for screenshots.
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));

/** How long anything may take. Nothing is asserted about time: this only ends a test that hangs. */
export const patience = 30_000;

/** The program under test: the one that MIMOSA_BIN names, or one built for the occasion. */
async function program(folder) {
  if (process.env.MIMOSA_BIN) return process.env.MIMOSA_BIN;
  const bin = join(folder, "mimosa");
  await run("go", ["build", "-o", bin, "./cmd/mimosa"], { cwd: root });
  return bin;
}

async function chromiumPath() {
  const { stdout } = await run(join(root, "scripts", "chromium"), [], { cwd: root });
  return stdout.trim();
}

/**
 * A free port below those that systems hand out by themselves: it has to be free again when a server that was killed comes
 * back, and a browser that knocks at a closed port of that range can end up connected to itself.
 */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const probe = createServer();
    const free = await new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/** Runs the program, and can stop it and start it again on the same port and data. */
export class School {
  #bin;
  #folder;
  #process;
  #errors = "";
  url;

  static async open() {
    const school = new School();
    school.#folder = await mkdtemp(join(tmpdir(), "mimosa-browser-"));
    school.#bin = await program(school.#folder);
    await school.start();
    return school;
  }

  async start() {
    const addr = this.url ? new URL(this.url).host : `127.0.0.1:${await freePort()}`;
    const child = spawn(this.#bin, ["--addr", addr, "--data", join(this.#folder, "data")], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    child.stderr.on("data", (text) => (this.#errors += text));
    const line = await new Promise((resolve, reject) => {
      createInterface(child.stdout).once("line", resolve);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code} at its start: ${this.#errors}`)));
    });
    const url = /^listening on (http:\/\/\S+)$/.exec(line)?.[1];
    if (!url) throw new Error(`the server said ${JSON.stringify(line)}`);
    this.url = url;
  }

  /** Ends the program and resolves to its exit status; a signal that killed it stands for one. */
  async stop(signal = "SIGTERM") {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode;
    const ended = new Promise((resolve) => child.once("exit", (code, killed) => resolve(code ?? killed)));
    child.kill(signal);
    return ended;
  }

  async close() {
    const status = await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
    return status;
  }
}

/** A browser with a profile that is thrown away. */
export async function openBrowser() {
  return chromium.launch({
    executablePath: await chromiumPath(),
    headless: true,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
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
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
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

let shots;

/** Keeps a picture of the page, in the folder that MIMOSA_SCREENSHOTS names or in a new one. */
export async function screenshot(person, name) {
  shots ??= (async () => {
    const folder = process.env.MIMOSA_SCREENSHOTS ?? (await mkdtemp(join(tmpdir(), "mimosa-screenshots-")));
    await mkdir(folder, { recursive: true });
    console.log(`screenshots: ${folder}`);
    return folder;
  })();
  await person.page.screenshot({ animations: "disabled", path: join(await shots, `${name}.png`) });
}
