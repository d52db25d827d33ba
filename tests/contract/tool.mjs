// Runs a test tool to its end without holding up this process, which reads what the server logs.
import { spawn } from "node:child_process";
import { once } from "node:events";

/** Characters of what a tool says that a failure shows. */
const SAID_CHARS = 20_000;

/**
 * @param {string} command @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv, timeout: number}} options
 * @returns {Promise<{code: number | null, said: string}>}
 */
export async function runTool(command, args, options) {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      said = (said + text).slice(-SAID_CHARS);
    });
  }
  const [code] = await once(child, "close");
  return { code, said };
}
