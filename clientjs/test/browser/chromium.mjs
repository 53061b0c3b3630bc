// A real browser, and a place for pictures of what it shows.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { root } from "./program.mjs";

async function chromiumPath() {
  const { stdout } = await promisify(execFile)(join(root, "scripts", "chromium"), [], { cwd: root });
  return stdout.trim();
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

/** Writes down everything that goes wrong in a page. */
export function problemsOf(page) {
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  return problems;
}

let shots;

/** Keeps a picture of the page, in the folder that MIMOSA_SCREENSHOTS names or in a new one. */
export async function screenshot({ page }, name) {
  shots ??= (async () => {
    const folder = process.env.MIMOSA_SCREENSHOTS ?? (await mkdtemp(join(tmpdir(), "mimosa-screenshots-")));
    await mkdir(folder, { recursive: true });
    console.log(`screenshots: ${folder}`);
    return folder;
  })();
  await page.screenshot({ animations: "disabled", path: join(await shots, `${name}.png`) });
}
