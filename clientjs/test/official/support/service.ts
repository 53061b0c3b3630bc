import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import type { Server as Listener } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** A service elsewhere that people sign in at, as Clerk is one: it signs short tokens and publishes its key. */
export class Service {
  readonly #listener: Listener;
  readonly #keys = generateKeyPairSync("ed25519");
  /** How often its keys were asked for. */
  asked = 0;

  private constructor() {
    this.#listener = createServer((request, response) => {
      if (request.url !== "/.well-known/jwks.json") {
        response.writeHead(404).end();
        return;
      }
      this.asked++;
      const key = { ...this.#keys.publicKey.export({ format: "jwk" }), kid: "ins_1", use: "sig", alg: "EdDSA" };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys: [key] }));
    });
  }

  static async start(t: TestContext): Promise<Service> {
    const service = new Service();
    await new Promise<void>((listening) => service.#listener.listen(0, "127.0.0.1", listening));
    t.after(() => {
      service.#listener.closeAllConnections();
      service.#listener.close();
    });
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** A new token of somebody's session, with the claims that Clerk gives it. */
  token(name: string, more: Record<string, unknown> = {}): string {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg: "EdDSA", kid: "ins_1", typ: "JWT" })}.${part({
      iss: this.url, sub: `user_${name}`, sid: `sess_${name}`, sts: "active", azp: "http://localhost:5173", fva: [now % 60, -1], v: 2,
      iat: now, nbf: now - 10, exp: now + 60, jti: randomUUID(), name, email: `${name}@example.com`, ...more,
    })}`;
    return `${text}.${sign(null, Buffer.from(text), this.#keys.privateKey).toString("base64url")}`;
  }
}
