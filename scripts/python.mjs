// Test tools that are Python programs, each in a folder of its own outside the checkout, at exactly the
// versions of its list.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CACHE, ROOT } from "./paths.mjs";
import { run } from "./steps.mjs";

const LISTS = join(ROOT, "tests", "contract");
const SCHEMATHESIS_FOLDER = join(CACHE, "schemathesis");
/** The fuzzer of the REST routes. */
export const SCHEMATHESIS = join(SCHEMATHESIS_FOLDER, "bin", "schemathesis");
/** The linter of Dockerfiles, in the same environment. */
export const HADOLINT = join(SCHEMATHESIS_FOLDER, "bin", "hadolint");
/** Where the WebSocket fuzzer is. */
export const AUTOBAHN = join(CACHE, "autobahn");

/** The fuzzer of the REST routes, in an environment of its own. */
export function setUpSchemathesis() {
  return unlessInstalled(SCHEMATHESIS_FOLDER, "schemathesis.txt", async (list) => {
    await run("python3", ["-m", "venv", SCHEMATHESIS_FOLDER], { log: "python-venv" });
    const python = join(SCHEMATHESIS_FOLDER, "bin", "python");
    await run(python, [...PIP_INSTALL, "-r", list], { log: "schemathesis" });
  });
}

/** The WebSocket fuzzer, where there is the Python that it needs. */
export async function setUpAutobahn() {
  const python = python2();
  if (!python) return "unchanged";
  return unlessInstalled(AUTOBAHN, "autobahn.txt", (list) => {
    return run(python, [...PIP_INSTALL, "--target", AUTOBAHN, "-r", list], { log: "autobahn" });
  });
}

const PIP_INSTALL = ["-m", "pip", "install", "--disable-pip-version-check"];

/** A Python 2.7, which nothing else here needs and Debian has no more. */
export function python2() {
  const versions = join(homedir(), ".pyenv", "versions");
  const installed = existsSync(versions) ? readdirSync(versions) : [];
  const known = installed.filter((name) => name.startsWith("2.7"));
  const all = ["python2.7", ...known.map((name) => join(versions, name, "bin", "python2.7"))];
  return all.find((command) => spawnSync(command, ["-m", "pip", "--version"]).status === 0);
}

/**
 * Installs a list into a folder that has not exactly that one.
 * @param {string} folder @param {string} name of the list
 * @param {(list: string) => Promise<void>} install
 */
async function unlessInstalled(folder, name, install) {
  const list = join(LISTS, name);
  const wanted = readFileSync(list, "utf8");
  const marker = join(folder, "installed.txt");
  if (existsSync(marker) && readFileSync(marker, "utf8") === wanted) return "unchanged";
  rmSync(folder, { recursive: true, force: true });
  await install(list);
  writeFileSync(marker, wanted);
  return "installed";
}
