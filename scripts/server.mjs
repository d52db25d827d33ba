// Runs the built omega-edge. It stops by itself on a signal, after its last write: signals are
// handed on to it, and its exit code becomes the caller's.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { EDGE_BINARY } from "./paths.mjs";
import { Complaint } from "./steps.mjs";

/**
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 * @returns {{exit: Promise<number>, stopping: () => boolean}} `stopping`: a signal has come
 */
export function runEdge(args, options) {
  if (!existsSync(EDGE_BINARY)) throw new Complaint("omega-edge is not built yet: npm run build");
  const server = spawn(EDGE_BINARY, args, options);
  let stopping = false;
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
    process.removeAllListeners(signal);
    process.on(signal, () => {
      stopping = true;
      server.kill(signal);
    });
  }
  process.once("exit", () => server.kill("SIGTERM"));
  /** @type {Promise<number>} */
  const exit = new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(new Complaint(`cannot run omega-edge: ${error.message}`));
    });
    server.once("exit", (code) => resolve(code ?? 1));
  });
  return { exit, stopping: () => stopping };
}
