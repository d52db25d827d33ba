// Skips work whose inputs and outputs are what they were. Both are hashed by content, so a touched
// file rebuilds nothing, and a half-deleted or foreign output is never taken for a fresh one.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { STAMPS } from "./paths.mjs";

/** Folders that no input list means: made by a build, or by a package manager. */
const MADE = new Set(["node_modules", "dist", "target", ".git"]);

/**
 * @param {string[]} paths files and folders; one that is missing counts as such
 * @param {Set<string>} [skip] names of folders to leave out
 */
export function digest(paths, skip = MADE) {
  const hash = createHash("sha256");
  for (const path of paths) addTo(hash, path, skip);
  return hash.digest("hex");
}

/** @param {import("node:crypto").Hash} hash @param {string} path @param {Set<string>} skip */
function addTo(hash, path, skip) {
  const entry = statSync(path, { throwIfNoEntry: false });
  hash.update(`${path}\0`);
  if (!entry) {
    hash.update("missing\0");
  } else if (entry.isDirectory()) {
    for (const name of readdirSync(path).sort()) {
      if (!skip.has(name)) addTo(hash, join(path, name), skip);
    }
  } else {
    hash.update(readFileSync(path));
  }
}

/**
 * Does the work unless its stamp still holds.
 * @param {string} name
 * @param {{inputs: string[], outputs: string[], facts?: string[]}} what `facts`: versions and flags
 * @param {() => Promise<void>} work
 * @returns {Promise<"built" | "unchanged">}
 */
export async function unlessStamped(name, what, work) {
  const file = join(STAMPS, name);
  // Before the work: an input edited while it runs must not pass for one it has seen.
  const inputs = [digest(what.inputs), ...(what.facts ?? [])].join("\n");
  const stamp = () => `${inputs}\n${digest(what.outputs, new Set())}`;
  if (readText(file) === stamp()) return "unchanged";
  rmSync(file, { force: true });
  await work();
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, stamp());
  return "built";
}

/** @param {string} path */
export function readText(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT") return undefined;
    throw error;
  }
}
