import assert from "node:assert/strict";
import type { ConvexReactClientOptions } from "convex/react";
import { ConvexReactClient } from "convex/react";
import { Window } from "happy-dom";
import type { ReactNode } from "react";
import { Component, StrictMode } from "react";
import type { Root } from "react-dom/client";
import { dataOf } from "./client.js";
import { Network } from "./network.js";
import type { Server } from "./server.js";
import { until } from "./wait.js";

const window = new Window({ url: "http://localhost/" });
// What React and the client look for in a browser. Newer versions of Node have a navigator that cannot be assigned.
for (const [name, value] of Object.entries({ window, document: window.document, navigator: window.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** One page: a document's element, rendered into by React as in a browser, and what it has shown. */
export class Page {
  /** Each different text that stood on the page, in order. */
  readonly shown: string[] = [];
  readonly #element = window.document.createElement("main");
  #root: Root | undefined;

  static async open(server: Server, content: ReactNode): Promise<Page> {
    const page = new Page();
    // Only now, since React looks at the window when it is loaded.
    const { createRoot } = await import("react-dom/client");
    window.document.body.append(page.#element);
    const observer = new window.MutationObserver(() => page.#look());
    observer.observe(page.#element, { subtree: true, childList: true, characterData: true });
    const uncaught: unknown[] = [];
    page.#root = createRoot(page.#element as unknown as HTMLElement, {
      onCaughtError: () => {}, // a Boundary shows it
      onUncaughtError: (error) => uncaught.push(error),
    });
    page.#root.render(<StrictMode>{content}</StrictMode>);
    server.beforeEnd(async () => {
      observer.disconnect();
      page.close();
      assert.deepEqual(uncaught, []);
    });
    return page;
  }

  /** What stands on the page now. */
  get text(): string {
    return this.#element.textContent ?? "";
  }

  #look(): void {
    if (this.shown.at(-1) !== this.text) this.shown.push(this.text);
  }

  async until(text: string): Promise<void> {
    await until(`the page to show ${text}; it shows ${this.text}`, () => this.text === text);
    this.#look();
  }

  /** Presses the button with this label. */
  press(label: string): void {
    for (const button of this.#element.querySelectorAll("button")) {
      if (button.getAttribute("aria-label") === label) return button.click();
    }
    throw new Error(`there is no button ${label} on the page: ${this.text}`);
  }

  close(): void {
    this.#root?.unmount();
    this.#root = undefined;
    this.#element.remove();
  }
}

export function connectReact(
  server: Server, options: ConvexReactClientOptions = {},
): { client: ConvexReactClient; network: Network } {
  const network = new Network();
  const client = new ConvexReactClient(server.url, {
    webSocketConstructor: network.WebSocket, logger: false, unsavedChangesWarning: false, ...options,
  });
  server.beforeEnd(async () => {
    await client.close();
    network.check();
  });
  return { client, network };
}

/** Shows what went wrong below it. */
export class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    return error ? `failed: ${dataOf(error).code}, ${dataOf(error).message}` : this.props.children;
  }
}
