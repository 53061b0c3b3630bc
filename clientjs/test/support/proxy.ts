import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** A network between client and server that a test can make fail. */
export class Proxy {
  readonly #sockets = new Set<Socket>();
  #deaf = false;
  #down = false;
  #heard: () => void = () => {};

  private constructor(readonly url: string) {}

  static async start(t: TestContext, target: number): Promise<Proxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new Proxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on("connection", (near) => proxy.#accept(near, target));
    t.after(() => {
      proxy.cut();
      server.close();
    });
    return proxy;
  }

  #accept(near: Socket, target: number): void {
    if (this.#down) {
      near.destroy();
      return;
    }
    const far = connect(target, "127.0.0.1");
    for (const [from, to, answers] of [[near, far, false], [far, near, true]] as const) {
      this.#sockets.add(from);
      from.on("data", (bytes) => {
        if (answers && this.#deaf) this.#heard();
        else to.write(bytes);
      });
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }

  /** From now on the server's answers get lost. The promise resolves when the first has been. */
  loseAnswers(): Promise<void> {
    this.#deaf = true;
    return new Promise((resolve) => (this.#heard = resolve));
  }

  /** Ends all connections. With down, none is made until up. */
  cut(down = false): void {
    this.#down = down;
    this.#deaf = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  up(): void {
    this.#down = false;
  }
}
