// `npm run sim -- --planted [WORD …]`: every known bug of tests/planted is caught, or this fails.
//
// One build holds them all. The core is copied into a folder of the target directory, each entry
// becomes a branch there that a number in the environment switches on, and the copy's simulator, or
// the test that the entry names, runs once for each. The core itself knows nothing of this. With
// words, only entries that have one of them in their name are run.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { parse, plant } from "./faults.mjs";
import { CARGO_TARGET, ROOT } from "./paths.mjs";
import { Complaint, endGroup, endsWithUs, seconds, step } from "./steps.mjs";
import { nativeToolchain } from "./toolchain.mjs";

/** @typedef {import("./faults.mjs").Fault} Fault */
/** @typedef {Record<"sim" | "core" | "suite", string>} Programs */
/** @typedef {{code: number | null, signal: string | null, output: string}} Ended */

const LISTS = join(ROOT, "tests", "planted");
const COPY = join(CARGO_TARGET, "planted");
const COPIED = [
  "Cargo.lock",
  "core/Cargo.toml",
  "core/src",
  "core/tables",
  "tests/Cargo.toml",
  "tests/fuzz",
  "tests/harness",
  "tests/proptest-regressions",
  "tests/sim",
  "tests/suite",
  "tests/vectors",
];
/** What a build reads; a corpus of bytes it does not. */
const TEXTS = /\.(rs|toml|lock|json|txt)$/;
/** What it reads beside texts. */
const BINARIES = /\.bin$/;
/** Read by the copy, once: the number of the fault that is switched on. */
const SWITCH = "OMEGA_PLANTED";
/** A program that takes longer than this has caught nothing. */
const RUN_MS_MAX = 300_000;
/** Of what a failure says. */
const LINE_CHARS = 160;
/** Seeds that an entry is tried with that does not say yet what catches it. */
const TRIED_SEEDS = 300;

/** @param {string[]} words @returns {Promise<number>} the exit code */
export async function planted(words) {
  const all = lists();
  const chosen = all.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  );
  if (chosen.length === 0) throw new Complaint(`no planted fault is called ${words.join(", ")}`);
  writeCopy(all);
  const programs = await step(`one build with ${all.length} faults in it`, build);
  await step("the same build with none switched on", () => sound(chosen, programs));
  const started = performance.now();
  const caught = await inTurn(chosen, (fault) => convict(fault, programs));
  const count = caught.filter(Boolean).length;
  console.log(`${count} of ${chosen.length} planted faults caught in ${seconds(started)} s`);
  return count === chosen.length ? 0 : 1;
}

/** @returns {Fault[]} numbered from 1 */
export function lists() {
  const files = readdirSync(LISTS).filter((name) => name.endsWith(".txt"));
  const faults = files.sort().flatMap((name) => {
    return parse(`tests/planted/${name}`, readFileSync(join(LISTS, name), "utf8"));
  });
  return faults.map((fault, index) => ({ ...fault, number: index + 1 }));
}

/** Each entry has its place in the sources, or this says which has not. */
export function placesAreThere() {
  plantAll(sources(), lists());
}

/** What the copy is made of, by its path in the checkout. @returns {Map<string, string>} */
function sources() {
  return new Map(
    COPIED.flatMap(filesOf).map((name) => [name, readFileSync(join(ROOT, name), "utf8")]),
  );
}

/** @param {Map<string, string>} files of {@link sources}, changed here @param {Fault[]} faults */
function plantAll(files, faults) {
  /** @type {string[]} */
  const stale = [];
  for (const name of new Set(faults.map(({ file }) => `core/src/${file}`))) {
    const text = files.get(name);
    const here = faults.filter(({ file }) => `core/src/${file}` === name);
    if (text === undefined) throw new Complaint(`${here[0]?.where}: there is no ${name}`);
    files.set(name, plant(text, here, stale));
  }
  if (stale.length > 0) {
    throw new Complaint(
      `${stale.join("\n")}\nWrite into the "-" lines what stands there now, so that the same rule is ` +
        "broken, with more around it if it stands there often. If the rule is gone, take the entry out.",
    );
  }
}

/** The copy of the sources with every fault in it. @param {Fault[]} faults */
export function writeCopy(faults) {
  const files = sources();
  plantAll(files, faults);
  const manifest = readFileSync(join(ROOT, "Cargo.toml"), "utf8");
  files.set("Cargo.toml", manifest.replace(/members = [^\n]*\nexclude = [^\n]*/, MEMBERS));
  const root = files.get("core/src/lib.rs") ?? "";
  files.set("core/src/lib.rs", root.replace("pub mod causal;", MODULE));
  files.set("core/src/planted.rs", PLANTED);
  for (const name of filesIn(COPY, ["core", "tests"], TEXTS).filter((name) => !files.has(name))) {
    rmSync(join(COPY, name));
  }
  for (const [name, text] of files) writeIfNew(join(COPY, name), text);
  for (const name of filesIn(ROOT, COPIED, BINARIES)) {
    mkdirSync(dirname(join(COPY, name)), { recursive: true });
    cpSync(join(ROOT, name), join(COPY, name), { preserveTimestamps: true });
  }
}

const MEMBERS = 'members = ["core", "tests"]';
const MODULE = "#[allow(missing_docs)] pub mod planted;\npub mod causal;";
const PLANTED = `//! Which planted fault is switched on.
use std::sync::OnceLock;
static ON: OnceLock<usize> = OnceLock::new();
fn read() -> usize {
    std::env::var("${SWITCH}").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
}
#[inline]
pub fn is(number: usize) -> bool {
    *ON.get_or_init(read) == number
}
`;

/** @param {string} name of a file or folder of the checkout @returns {string[]} */
function filesOf(name) {
  return name.includes(".") ? [name] : filesIn(ROOT, [name], TEXTS);
}

/** @param {string} root @param {string[]} folders @param {RegExp} kind @returns {string[]} */
function filesIn(root, folders, kind) {
  return folders.flatMap((folder) => {
    try {
      const found = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
      const files = found.filter((entry) => entry.isFile());
      const names = files.map((entry) => relative(root, join(entry.parentPath, entry.name)));
      return names.filter((name) => kind.test(name));
    } catch (error) {
      const { code } = /** @type {NodeJS.ErrnoException} */ (error);
      if (code === "ENOENT" || code === "ENOTDIR") return [];
      throw error;
    }
  });
}

/**
 * What did not change keeps its time, so that Cargo need not build it again.
 * @param {string} path
 * @param {string} text
 */
function writeIfNew(path, text) {
  try {
    if (readFileSync(path, "utf8") === text) return;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ENOENT") throw error;
  }
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** @returns {Promise<Programs>} where the copy's programs are */
export async function build() {
  const { cargo, env } = nativeToolchain();
  const packages = ["-p", "omega-sync-core", "-p", "omega-sync-tests"];
  const targets = ["--lib", "--bin", "sim", "--test", "suite"];
  const form = ["--release", "--message-format", "json-render-diagnostics"];
  const args = ["test", "--no-run", ...form, ...packages, ...targets];
  const own = { ...env, CARGO_TARGET_DIR: join(COPY, "target") };
  const { code, output } = await ended(cargo, args, { cwd: COPY, env: own, stderr: "inherit" });
  if (code !== 0) {
    throw new Complaint(
      "the build with the planted faults fails: an entry's + lines are no Rust in their place",
    );
  }
  /** @type {Record<string, string>} */
  const found = {};
  for (const line of output.split("\n").filter((line) => line.startsWith("{"))) {
    const { executable, target, profile } = JSON.parse(line);
    if (!executable) continue;
    if (target.name === "sim" && !profile.test) found.sim = executable;
    if (target.name === "omega_sync_core" && profile.test) found.core = executable;
    if (target.name === "suite") found.suite = executable;
  }
  const { sim, core, suite } = found;
  if (!sim || !core || !suite) throw new Complaint("cargo did not say where its programs are");
  return { sim, core, suite };
}

/**
 * With nothing switched on nothing is caught, and every test that an entry names is there.
 * @param {Fault[]} faults
 * @param {Programs} programs
 */
async function sound(faults, programs) {
  const seeds = faults.map(({ caught }) => (caught?.by === "sim" ? caught.seeds : 1));
  const calm = await ended(programs.sim, simArgs(Math.max(...seeds)), { env: switched(0) });
  if (calm.code !== 0) {
    throw new Complaint(`with no fault switched on the simulator fails: ${firstFailure(calm)}`);
  }
  for (const by of /** @type {const} */ (["core", "suite"])) {
    const { output: list } = await ended(programs[by], ["--list"], { env: switched(0) });
    const tests = new Set();
    for (const { caught, where } of faults) {
      if (caught?.by !== by) continue;
      if (!list.split("\n").includes(`${caught.test}: test`)) {
        throw new Complaint(`${where}: there is no test ${caught.test}: name one that is there`);
      }
      tests.add(caught.test);
    }
    if (tests.size === 0) continue;
    const result = await ended(programs[by], ["--exact", ...tests], { env: switched(0) });
    if (result.code !== 0) {
      throw new Complaint(`with no fault switched on ${by} fails: ${firstFailure(result)}`);
    }
  }
}

/**
 * Runs what must catch a fault, and tells.
 * @param {Fault} fault
 * @param {Programs} programs
 * @returns {Promise<boolean>}
 */
async function convict(fault, programs) {
  const { name, number, caught, where } = fault;
  if (!caught) return suspect(fault, programs);
  const args = caught.by === "sim" ? simArgs(caught.seeds) : ["--exact", caught.test];
  const result = await ended(programs[caught.by], args, { env: switched(number) });
  if (result.code !== 0 && result.signal !== "SIGKILL") {
    const within = caught.by === "sim" ? ` (must be within ${caught.seeds})` : "";
    console.log(`caught  ${name}: ${firstFailure(result)}${within}`);
    return true;
  }
  const by = caught.by === "sim" ? `seeds 0 to ${caught.seeds - 1}` : `test ${caught.test}`;
  const how = result.code === 0 ? "passed" : `did not end in ${RUN_MS_MAX / 1000} s`;
  console.log(
    `MISSED  ${name} (${where}): ${by} ${how} with it. Teach the simulator or a test to see it, ` +
      "or, if the rule it breaks is not needed, take the rule out of the core.",
  );
  return false;
}

/**
 * Tries one after the other on a fault whose entry does not say what catches it.
 * @param {Fault} fault
 * @param {Programs} programs
 * @returns {Promise<false>}
 */
async function suspect({ name, number, where }, programs) {
  const ways = [
    { program: programs.core, args: [] },
    { program: programs.sim, args: simArgs(TRIED_SEEDS) },
    { program: programs.suite, args: ["--skip", "simulation", "--skip", "tidy"] },
  ];
  let found = "nothing does";
  for (const { program, args } of ways) {
    const result = await ended(program, args, { env: switched(number) });
    if (result.code === 0) continue;
    found = `${basename(program)}, ${firstFailure(result)}`;
    break;
  }
  console.log(`UNTOLD  ${name} (${where}) has no line "caught by". What catches it: ${found}`);
  return false;
}

/** @param {number} seeds */
function simArgs(seeds) {
  return ["--seeds", `${seeds}`, "--first"];
}

/** @param {number} number */
function switched(number) {
  return { ...process.env, [SWITCH]: `${number}`, PROPTEST_DISABLE_FAILURE_PERSISTENCE: "1" };
}

/** What a program says failed first. @param {Ended} result */
function firstFailure({ output, signal }) {
  const lines = output.split("\n");
  const seed = lines.find((line) => /^seed \d+: /.test(line));
  if (seed) return seed.slice(0, LINE_CHARS);
  const tests = lines.flatMap((line) => /^test (\S+) \.\.\. FAILED/.exec(line)?.[1] ?? []);
  if (tests.length > 0) return `${tests.length} tests, ${tests.slice(0, 4).join(", ")}`;
  return `ended by ${signal}`;
}

/**
 * Runs a program to its end, however that is.
 * @param {string} program
 * @param {string[]} args
 * @param {{cwd?: string, env: NodeJS.ProcessEnv, stderr?: "inherit"}} options
 * @returns {Promise<Ended>}
 */
function ended(program, args, { cwd = join(COPY, "tests"), env, stderr }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env,
      stdio: ["ignore", "pipe", stderr ?? "ignore"],
      detached: true,
    });
    endsWithUs(child);
    const limit = stderr ? undefined : setTimeout(() => endGroup(child, "SIGKILL"), RUN_MS_MAX);
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (/** @type {string} */ text) => {
      output += text;
    });
    child.once("error", (error) =>
      reject(new Complaint(`cannot start ${program}: ${error.message}`)),
    );
    child.once("close", (code, signal) => {
      clearTimeout(limit);
      resolve({ code, signal, output });
    });
  });
}

/**
 * As many at a time as there are processors.
 * @template T, R
 * @param {T[]} list
 * @param {(one: T) => Promise<R>} work
 * @returns {Promise<R[]>}
 */
async function inTurn(list, work) {
  /** @type {R[]} */
  const results = [];
  const rest = list.entries();
  const worker = async () => {
    for (const [at, one] of rest) results[at] = await work(one);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}
