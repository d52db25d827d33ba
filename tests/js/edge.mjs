// The real edge server, in a folder of its own, for tests in JavaScript. Ended by its process id.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EDGE_BINARY } from "../../scripts/paths.mjs";
import { until } from "./until.mjs";

const BINARY = process.env.OMEGA_EDGE_BIN ?? EDGE_BINARY;
/** Characters of the server's own words that a failed start shows. */
const SAID_CHARS = 4_000;
/** Secrets are 32 bytes or more. */
const SECRET = "test-secret-test-secret-test-secret-";

/** One server that can be killed and started again on the same address and data. */
export class Edge {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;
  #said = "";

  /**
   * @param {number} port
   * @param {string[]} flags further flags of `serve`
   * @param {Record<string, string>} [environment] more of it
   */
  constructor(port, flags, environment = {}) {
    this.folder = mkdtempSync(join(tmpdir(), "omega-edge-"));
    this.port = port;
    this.flags = flags;
    this.environment = environment;
    this.secretFile = join(this.folder, "secret");
    writeFileSync(this.secretFile, SECRET, { mode: 0o600 });
  }

  /**
   * A running server.
   * @param {Array<string | Record<string, string>>} words flags, and variables of its environment
   */
  static async start(...words) {
    const flags = words.filter((word) => typeof word === "string");
    const environment = Object.assign({}, ...words.filter((word) => typeof word === "object"));
    const edge = new Edge(await freePort(), flags, environment);
    try {
      await edge.start();
    } catch (error) {
      await edge.dispose();
      throw error;
    }
    return edge;
  }

  get address() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Of the running process. */
  get pid() {
    return this.#process?.pid;
  }

  async start() {
    const server = spawn(
      BINARY,
      [
        ...["serve", "--listen", `127.0.0.1:${this.port}`, "--data", join(this.folder, "data")],
        ...["--jwt-secret-file", this.secretFile, ...this.flags],
      ],
      { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...this.environment } },
    );
    this.#process = server;
    for (const stream of [server.stdout, server.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#said = (this.#said + text).slice(-SAID_CHARS);
      });
    }
    await until("the server answers", async () => {
      if (server.exitCode !== null) throw new Error(`the server ended:\n${this.#said}`);
      const answer = await fetch(`${this.address}/health`).catch(() => undefined);
      return answer?.ok;
    });
  }

  /** A power cut. */
  kill() {
    return this.#end("SIGKILL");
  }

  /** A stop in order. */
  stop() {
    return this.#end("SIGTERM");
  }

  async dispose() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** @param {string} household @param {string} device @param {string[]} flags of `token` */
  token(household, device, ...flags) {
    const who = ["--household", household, "--device", device];
    const words = ["token", ...who, "--jwt-secret-file", this.secretFile, ...flags];
    return execFileSync(BINARY, words, { encoding: "utf8" }).trim();
  }

  /** @param {NodeJS.Signals} signal */
  async #end(signal) {
    const server = this.#process;
    this.#process = undefined;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, "exit");
    server.kill(signal);
    await gone;
  }
}

/** A port that was free a moment ago. @returns {Promise<number>} */
export async function freePort() {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (probe.address());
  probe.close();
  await once(probe, "close");
  return port;
}
