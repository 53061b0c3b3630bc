// What the tests stand on: the page, bundled; a server for it; and people at a browser, with all that their page has shown.
import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { problemsOf } from "../browser/chromium.mjs";
import { freeURL, patience, Program } from "../browser/program.mjs";

const source = fileURLToPath(new URL("page", import.meta.url));

/** Bundles the page, as a program that uses @convex-dev/auth would, into a folder of its own. */
export async function bundle() {
  const folder = await mkdtemp(join(tmpdir(), "mimosa-convexauth-"));
  for (const name of ["index.html", "page.css"]) await cp(join(source, name), join(folder, name));
  await build({
    entryPoints: [join(source, "main.tsx")],
    outfile: join(folder, "page.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
    logLevel: "warning",
  });
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** The test's server. */
export class Server extends Program {
  static async open({ page, ttl, issuer, flags = [] }) {
    const url = await freeURL();
    const env = {
      MIMOSA_TEST_PAGE: page ?? "", MIMOSA_TEST_ACCESS_TTL: ttl ?? "", MIMOSA_TEST_ISSUER: issuer ?? "", MIMOSA_TEST_BASE_URL: url,
    };
    return super.open({ variable: "MIMOSA_CONVEXAUTH_SERVER", package: "./clientjs/test/convexauth/app", url, flags, env });
  }

  /** Has the operator do something to a user. */
  async operator(deed, email) {
    const response = await fetch(`${this.url}/operator/${deed}?${new URLSearchParams({ email })}`, { method: "POST" });
    assert.equal(response.status, 204, await response.text());
  }

  /** Calls a function over HTTP, as nobody or with an access token, and returns its answer as it stands on the wire. */
  async call(kind, path, args, token) {
    const response = await fetch(`${this.url}/api/${kind}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
      body: JSON.stringify({ path, format: "convex_encoded_json", args: [args] }),
    });
    return response.json();
  }
}

/** Runs in the page before anything else: writes down each different state that it shows. */
function record() {
  window.shown = [];
  const look = () => {
    const parts = ["hook", "component", "server"].map((id) => document.getElementById(id)?.textContent);
    const state = parts.includes(undefined) ? "no page" : parts.join("/");
    if (window.shown.at(-1) !== state) window.shown.push(state);
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}

/** One tab of a browser. */
export class Person {
  constructor(page, url) {
    this.page = page;
    this.url = url;
    this.problems = problemsOf(page);
    /** The refresh tokens with which the page asked for new ones. */
    this.refreshes = [];
    /** How often the server said that a token or session had ended. */
    this.authErrors = 0;
    page.on("websocket", (socket) => {
      socket.on("framereceived", ({ payload }) => {
        if (JSON.parse(payload).type === "AuthError") this.authErrors++;
      });
    });
    page.on("request", (request) => {
      if (request.method() !== "POST" || !request.url().endsWith("/api/action")) return;
      const { refreshToken } = request.postDataJSON().args[0];
      if (refreshToken) this.refreshes.push(refreshToken);
    });
  }

  /** Somebody with a browser profile of their own. */
  static async arrive(browser, url) {
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 800, height: 900 } });
    context.setDefaultTimeout(patience);
    await context.addInitScript(record);
    return Person.#open(context, url);
  }

  static async #open(context, url) {
    const person = new Person(await context.newPage(), url);
    await person.page.goto(url);
    return person;
  }

  /** Another tab of the same browser. */
  async anotherTab() {
    return Person.#open(this.page.context(), this.url);
  }

  async choose(flow) {
    const other = flow === "Sign up" ? "I have no account" : "I have an account";
    const submit = this.page.getByRole("button", { name: flow, exact: true });
    await submit.or(this.page.getByRole("button", { name: other })).waitFor();
    if (!(await submit.isVisible())) await this.page.getByRole("button", { name: other }).click();
  }

  /** Fills in the form and sends it. */
  async enter(flow, fields) {
    await this.choose(flow);
    for (const [name, value] of Object.entries(fields)) await this.page.locator(`input[name=${name}]`).fill(value);
    await this.page.getByRole("button", { name: flow, exact: true }).click();
  }

  signUp({ email, password, nickname, course }) {
    return this.enter("Sign up", { email, password, nickname, course });
  }

  signIn({ email, password }) {
    return this.enter("Sign in", { email, password });
  }

  signOut() {
    return this.page.getByRole("button", { name: "Sign out" }).click();
  }

  /** Takes note of errors in the page's console that belong to the test; there must be one, and no others. */
  expectProblems(pattern) {
    const others = this.problems.filter((text) => !pattern.test(text));
    assert.ok(this.problems.length > others.length, `nothing like ${pattern} among ${this.problems.join("; ")}`);
    this.problems.splice(0, this.problems.length, ...others);
  }

  /** Waits until the page shows a state: what its hook, its components and the server say. */
  async state(hook, server) {
    const state = `${hook}/${hook}/${server}`;
    try {
      await this.page.waitForFunction((wanted) => window.shown.at(-1) === wanted, state, { polling: 50 });
    } catch (error) {
      const log = await this.shown().catch(() => []);
      throw new Error(`waited in vain for ${state}; the page showed ${log.join(", ")}; ${this.problems.join("; ")}`, { cause: error });
    }
  }

  /** Waits until somebody is signed in and sees what is for them alone. */
  async signedIn({ nickname }) {
    await this.state("authenticated", nickname);
    await this.page.locator("#enrolments").waitFor({ state: "attached" });
  }

  /** Waits until the tokens have been renewed so many times, and the page has the answer. */
  async renewed(times) {
    await until(`${times} renewals`, () => this.refreshes.length >= times);
    await until("the newest token", async () => !this.refreshes.includes((await this.stored("RefreshToken")) ?? this.refreshes[0]));
  }

  signedOut() {
    return this.state("unauthenticated", "nobody");
  }

  /** Each different state that the page has shown since it was loaded, or since the last forget. */
  shown() {
    return this.page.evaluate(() => window.shown);
  }

  /** Forgets the states before the one that stands there now. */
  forget() {
    return this.page.evaluate(() => void window.shown.splice(0, window.shown.length - 1));
  }

  text(selector) {
    return this.page.locator(selector).textContent();
  }

  /** Waits until a list of the page has a line. */
  async line(list, text) {
    await this.page.getByRole("list", { name: list }).getByText(text, { exact: true }).waitFor();
  }

  lines(list) {
    return this.page.getByRole("list", { name: list }).locator("li").allTextContents();
  }

  /** What the package keeps in the browser's storage, by the beginning of its key. */
  async stored(prefix) {
    return this.page.evaluate((start) => {
      const key = Object.keys(localStorage).find((k) => k.startsWith(start));
      return key === undefined ? null : localStorage.getItem(key);
    }, `__convexAuth${prefix}_`);
  }

  async leave() {
    await this.page.context().close();
  }
}

/** Serves a folder at an address of its own, as a web server beside Mimosa would. */
export async function serve(folder) {
  const types = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript" };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const name = pathname === "/" ? "/index.html" : pathname;
    readFile(join(folder, basename(name))).then(
      (content) => response.writeHead(200, { "Content-Type": types[extname(name)] ?? "text/plain" }).end(content),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

/** Waits until the Node side of a test sees something. */
export async function until(what, holds) {
  const end = Date.now() + patience;
  while (!(await holds())) {
    if (Date.now() > end) assert.fail(`waited in vain for ${what}`);
    await new Promise((turn) => setTimeout(turn, 20));
  }
}
