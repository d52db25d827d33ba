// A proxy before a server, that breaks WebSockets until it is told not to.
import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";

/** @typedef {import("./edge.mjs").Edge} Edge */
/** @typedef {{status: number, type?: string, body?: string}} Answer */

/** A proxy before a server; what it lets through can be changed. */
export class Gateway {
  upgrades = false;
  /** The path under which the server is mounted. */
  mount = "";
  /** What it says to requests instead of asking the server. @type {Answer | undefined} */
  says;
  /** WebSockets that are open through it. */
  tunnels = 0;
  /** What came: "POST /path" or "upgrade". @type {string[]} */
  seen = [];
  #server = createServer();
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();
  #port = 0;

  /** @param {Edge} edge */
  constructor(edge) {
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("request", (incoming, answer) => {
      this.seen.push(`${incoming.method} ${incoming.url}`);
      if (this.says !== undefined) {
        const { status, type = "text/plain", body = "" } = this.says;
        answer.writeHead(status, { "Content-Type": type }).end(body);
        incoming.resume();
        return;
      }
      const { method, headers } = incoming;
      const path = this.#inner(incoming);
      const on = request({ port: edge.port, method, headers, path }, (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(answer);
      });
      on.on("error", () => answer.destroy());
      incoming.pipe(on);
    });
    this.#server.on("upgrade", (incoming, socket, head) => {
      this.seen.push("upgrade");
      socket.on("error", () => undefined);
      if (!this.upgrades) {
        socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      const on = connect(edge.port, "127.0.0.1", () => {
        const heads = incoming.rawHeaders.reduce(
          (text, word, at) => text + word + (at % 2 ? "\r\n" : ": "),
          "",
        );
        on.write(`GET ${this.#inner(incoming)} HTTP/1.1\r\n${heads}\r\n`);
        on.write(head);
        socket.pipe(on).pipe(socket);
      });
      this.tunnels += 1;
      socket.on("close", () => {
        this.tunnels -= 1;
        on.destroy();
      });
      on.on("error", () => socket.destroy());
    });
  }

  /** Where it is on the server. @param {import("node:http").IncomingMessage} incoming */
  #inner({ url = "" }) {
    return url.startsWith(this.mount) ? url.slice(this.mount.length) : "/not-mounted";
  }

  get address() {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start() {
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = /** @type {import("node:net").AddressInfo} */ (this.#server.address()).port;
    return this;
  }

  async stop() {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
