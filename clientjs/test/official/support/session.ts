import type { ConvexClient } from "convex/browser";
import { ConvexHttpClient } from "convex/browser";
import type { Value } from "convex/values";
import { api } from "./api.js";
import type { Network } from "./network.js";
import type { Server } from "./server.js";
import { deadline, until } from "./wait.js";

export const password = "correct horse battery";

/**
 * What a program keeps of a session, as the tabs of one browser share it: the two tokens, and how new ones are fetched. It
 * follows what the client library of Convex Auth does.
 */
export class Session {
  readonly #server: Server;
  tokens: { token: string; refreshToken: string } | null = null;
  /** How often new tokens were fetched. */
  renewals = 0;
  #renewing: Promise<void> | undefined;

  constructor(server: Server) {
    this.#server = server;
    server.beforeEnd(async () => this.#renewing);
  }

  /** For setAuth. */
  readonly fetchToken = async ({ forceRefreshToken }: { forceRefreshToken: boolean }): Promise<string | null> => {
    if (forceRefreshToken) await (this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined)));
    return this.tokens?.token ?? null;
  };

  async #renew(): Promise<void> {
    if (!this.tokens) return;
    const calls = new ConvexHttpClient(this.#server.url, { logger: false });
    const { refreshToken } = this.tokens;
    // When the network fails the same token is sent again, though the server may have taken it the first time.
    await until("an answer to the refresh token", async () => {
      try {
        const { tokens } = await calls.action(api.auth.signIn, { refreshToken });
        this.tokens = tokens ?? null;
        this.renewals++;
        return true;
      } catch (error) {
        if (error instanceof TypeError) return false; // fetch failed
        throw error;
      }
    });
  }

  /** Signs in by a client, whose socket is from then on the user's, and keeps the tokens. */
  async signIn(client: ConvexClient, params: Record<string, Value>): Promise<void> {
    const { tokens } = await client.action(api.auth.signIn, { provider: "password", params: { password, ...params } });
    this.tokens = tokens ?? null;
  }

  async signUp(client: ConvexClient, nickname: string, more: Record<string, Value> = {}): Promise<void> {
    await this.signIn(client, { flow: "signUp", email: `${nickname}@example.com`, nickname, ...more });
  }

  /**
   * Signs a client in by the tokens; resolves when the server has said who it is, or the client has given up. Every change of
   * its mind goes to changes: that it is signed in, the client says again with every new token.
   */
  async present(client: ConvexClient, changes: boolean[] = []): Promise<boolean> {
    return deadline("the client to know whether it is signed in", new Promise((resolve) => {
      client.setAuth(this.fetchToken, (is) => {
        if (changes.at(-1) !== is) changes.push(is);
        resolve(is);
      });
    }));
  }
}

/**
 * Waits until a client that presented a token has the second one confirmed, which it fetches right after the first: only
 * renewals in time follow.
 */
export async function settled(network: Network): Promise<void> {
  await until("the second token to be confirmed", () => {
    const confirmed = network.received("Transition").map(({ endVersion }) => (endVersion as { identity: number }).identity);
    return Math.max(0, ...confirmed) >= 2;
  });
}
