// Steps a person can follow: what runs, for how long, and, when it fails, what to do.
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { LOGS, ROOT } from "./paths.mjs";

/** How often a step that still runs says so, in milliseconds. */
const PULSE_MS = 15_000;
/** The oldest Node that these scripts and their tests are run on; package.json says the same. */
const NODE_MAJOR_MIN = 20;
/** Lines of a failed command shown to the person: its first, where npm says why, and its last. */
const HEAD_LINES = 8;
const TAIL_LINES = 32;
/** Characters of a command's output kept in memory for each of the two. */
const KEPT_CHARS = 16_384;

/** A failure with one line that says what to do; no stack trace helps with it. */
export class Complaint extends Error {}

const began = performance.now();
/** @type {Set<import("node:child_process").ChildProcess>} */
const children = new Set();

/** @param {number} since a `performance.now()` */
export function seconds(since) {
  return ((performance.now() - since) / 1000).toFixed(1);
}

/** @param {string} text */
export function say(text) {
  console.log(`[${seconds(began).padStart(6)} s] ${text}`);
}

/**
 * Runs one named piece of work and tells its time.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(name, work) {
  const start = performance.now();
  say(`${name} …`);
  const pulse = setInterval(() => say(`${name}: still running, ${seconds(start)} s`), PULSE_MS);
  try {
    const result = await work();
    say(`${name}: ${result === "unchanged" ? "unchanged" : `done in ${seconds(start)} s`}`);
    return result;
  } catch (error) {
    say(`${name}: FAILED after ${seconds(start)} s`);
    throw error;
  } finally {
    clearInterval(pulse);
  }
}

/**
 * Runs all of them, one after the other, whatever fails. @returns the names of those that failed
 * @param {Array<{name: string, work: () => Promise<void>}>} list
 */
export async function stepsToTheEnd(list) {
  const failed = [];
  for (const { name, work } of list) {
    try {
      await step(name, work);
    } catch (error) {
      if (!(error instanceof Complaint)) throw error;
      console.error(error.message);
      failed.push(name);
    }
  }
  return failed;
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env] the whole environment, if not this process's own
 * @property {boolean} [show] the output goes to the terminal instead of a log file
 * @property {string} [log] name of the log file, if not the command's
 * @property {number} [timeoutMs]
 */

/**
 * Runs a command to its end. A failure is a Complaint that ends in the command's last lines.
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} [options]
 */
export async function run(command, args, options = {}) {
  const { cwd = ROOT, env = process.env, show = false } = options;
  const name = options.log ?? basename(command);
  const child = spawn(command, args, {
    cwd,
    env,
    // A group of its own, so that what the command starts ends with it.
    detached: true,
    stdio: show ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"],
  });
  endsWithUs(child);
  const timer =
    options.timeoutMs && setTimeout(() => endGroup(child, "SIGKILL"), options.timeoutMs);
  const excerpt = show ? undefined : keepOutput(child, name);
  try {
    const [code, signal] = await ended(child);
    if (code === 0) return;
    const how = signal ? `ended by ${signal}` : `exit code ${code}`;
    const words = `${basename(command)} ${args.join(" ")}: ${how}`;
    throw new Complaint(
      excerpt ? `${words}\n${excerpt()}\n(all of it: ${join(LOGS, `${name}.log`)})` : words,
    );
  } finally {
    if (timer) clearTimeout(timer);
  }
}

/** @param {import("node:child_process").ChildProcess} child that leads a group */
export function endsWithUs(child) {
  children.add(child);
  child.once("close", () => children.delete(child));
}

/** @param {import("node:child_process").ChildProcess} child @returns {Promise<[number | null, string | null]>} */
function ended(child) {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => {
      reject(new Complaint(`cannot start ${child.spawnfile}: ${error.message}`));
    });
    child.once("close", (code, signal) => resolve([code, signal]));
  });
}

/** @param {import("node:child_process").ChildProcess} child @param {string} name */
function keepOutput(child, name) {
  mkdirSync(LOGS, { recursive: true });
  const file = createWriteStream(join(LOGS, `${name}.log`));
  let head = "";
  let tail = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8");
    stream?.on("data", (text) => {
      file.write(text);
      head += text.slice(0, KEPT_CHARS - head.length);
      tail = (tail + text).slice(-KEPT_CHARS);
    });
  }
  child.once("close", () => file.end());
  return () => {
    const lines = tail.trimEnd().split("\n");
    if (lines.length <= HEAD_LINES + TAIL_LINES) return lines.join("\n");
    const first = head.split("\n").slice(0, HEAD_LINES);
    return [...first, "…", ...lines.slice(-TAIL_LINES)].join("\n");
  };
}

/**
 * @param {import("node:child_process").ChildProcess} child that leads a group
 * @param {NodeJS.Signals} signal
 */
export function endGroup(child, signal) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error;
  }
}

/**
 * Runs a script's body. Whatever it started ends with it.
 * @param {() => Promise<number | void>} body gives the exit code, nothing for 0
 */
export async function main(body) {
  process.once("exit", () => {
    for (const child of children) endGroup(child, "SIGTERM");
  });
  process.once("SIGTERM", () => process.exit(143));
  process.once("SIGINT", () => process.exit(130));
  try {
    if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR_MIN) {
      throw new Complaint(
        `this is Node ${process.versions.node}: install ${NODE_MAJOR_MIN} or later`,
      );
    }
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    console.error(error instanceof Complaint ? `omega-sync: ${error.message}` : error);
    process.exit(1);
  }
}
