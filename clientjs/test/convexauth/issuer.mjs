// A provider of OpenID Connect with one page: people choose who they are. It checks client, redirect_uri and PKCE, as providers
// do, and gives a code out once.
import { createHash, createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";

const base64url = (data) => Buffer.from(data).toString("base64url");

export class Issuer {
  #server;
  #keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  #grants = new Map();
  #people;
  url;

  static async open(people) {
    const issuer = new Issuer();
    issuer.#people = people;
    issuer.#server = createServer((request, response) => void issuer.#answer(request, response));
    await new Promise((done) => issuer.#server.listen(0, "127.0.0.1", done));
    issuer.url = `http://127.0.0.1:${issuer.#server.address().port}`;
    return issuer;
  }

  async close() {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.url);
    let body = "";
    for await (const part of request) body += part;
    const json = (status, value) => {
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
    };
    switch (pathname) {
      case "/.well-known/openid-configuration":
        return json(200, {
          issuer: this.url, authorization_endpoint: `${this.url}/authorize`, token_endpoint: `${this.url}/token`,
          jwks_uri: `${this.url}/keys`, response_types_supported: ["code"], subject_types_supported: ["public"],
          id_token_signing_alg_values_supported: ["ES256"],
        });
      case "/keys":
        return json(200, { keys: [{ ...this.#keys.publicKey.export({ format: "jwk" }), kid: "1", alg: "ES256", use: "sig" }] });
      case "/authorize":
        return this.#authorize(searchParams, response);
      case "/token":
        return this.#token(new URLSearchParams(body), json);
      default:
        return json(404, { error: "not_found" });
    }
  }

  /** The page of the provider: a link for each person, and one for who does not want to. */
  #authorize(query, response) {
    if (query.get("client_id") !== "school" || query.get("code_challenge_method") !== "S256") {
      return response.writeHead(400).end("not a client of this provider");
    }
    const back = (params) => {
      const url = new URL(query.get("redirect_uri"));
      for (const [name, value] of Object.entries({ ...params, state: query.get("state") })) url.searchParams.set(name, value);
      return url.href.replaceAll("&", "&amp;");
    };
    const links = Object.keys(this.#people).map((sub) => {
      const code = randomUUID();
      this.#grants.set(code, { sub, query });
      return `<p><a href="${back({ code })}">Go on as ${sub}</a>`;
    });
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end(`<!doctype html><title>Provider</title><link rel="icon" href="data:,">${links.join("")}
      <p><a href="${back({ error: "access_denied" })}">Not today</a>`);
  }

  #token(form, json) {
    const grant = this.#grants.get(form.get("code"));
    this.#grants.delete(form.get("code"));
    const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
    if (!grant || challenge !== grant.query.get("code_challenge") || form.get("redirect_uri") !== grant.query.get("redirect_uri")) {
      return json(400, { error: "invalid_grant" });
    }
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: this.url, aud: "school", sub: grant.sub, iat: now, exp: now + 300, nonce: grant.query.get("nonce"),
      ...this.#people[grant.sub],
    };
    const signed = `${base64url(JSON.stringify({ alg: "ES256", kid: "1" }))}.${base64url(JSON.stringify(claims))}`;
    const signature = createSign("sha256").update(signed).sign({ key: this.#keys.privateKey, dsaEncoding: "ieee-p1363" });
    json(200, { access_token: randomUUID(), token_type: "Bearer", expires_in: 300, id_token: `${signed}.${base64url(signature)}` });
  }
}
