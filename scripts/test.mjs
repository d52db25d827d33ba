// `npm test [-- SUITE …]`: set up, build, then every suite (or those named) to its end.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ENGINES, installEngines } from "../tests/engines/engines.mjs";
import { installOldEngines, OLD_ENGINES } from "../tests/engines/old.mjs";
import { build, wasmTools } from "./build.mjs";
import { ROOT, TEST_RUNNER, TOOL_TARGET } from "./paths.mjs";
import { planted } from "./planted.mjs";
import { setUpAutobahn, setUpSchemathesis } from "./python.mjs";
import { setUpTestTools } from "./setup.mjs";
import { Complaint, main, run, say, step, stepsToTheEnd } from "./steps.mjs";
import { FEATURES, nativeToolchain, WASM_TRIPLE } from "./toolchain.mjs";

/** A suite that takes longer hangs: on a busy machine one takes many times as long as usual. */
const SUITE_MS_MAX = 60 * 60_000;

/** @typedef {{name: string, what: string, run: () => Promise<void>}} Suite */

/** @type {Suite[]} */
const SUITES = [
  { name: "rust", what: "units, properties, simulation, stores, the real server", run: rust },
  { name: "planted", what: "every known bug of the core would be caught", run: knownBugs },
  { name: "wasm-build", what: "the build refuses what an old engine cannot load", run: wasmBuild },
  { name: "wasm-node", what: "the wasm package in Node", run: () => wasm(NODE) },
  { name: "wasm-browser", what: "the same tests in Chromium", run: () => wasm(BROWSER) },
  { name: "js", what: "the npm package, and clients on the real server", run: js },
  { name: "contract", what: "the server does what it says", run: () => node("contract") },
  { name: "e2e", what: "two TVs in a browser", run: () => node("e2e") },
  { name: "engines", what: "the npm package on old TV engines", run: () => node("engines") },
];

/**
 * What the test runner reads to learn where the tests run, and how many seconds the driver may take to
 * start and a file of tests to end: usually 5 and 20, too little on a loaded machine.
 */
const NODE = { WASM_BINDGEN_USE_NODE_EXPERIMENTAL: "1" };
const BROWSER = {
  WASM_BINDGEN_USE_BROWSER: "1",
  WASM_BINDGEN_TEST_DRIVER_TIMEOUT: "60",
  WASM_BINDGEN_TEST_TIMEOUT: "300",
};

main(async () => {
  const suites = chosen(process.argv.slice(2));
  // One after the other: both may want the package manager's lock.
  await build({ testRunner: true });
  await step("test tools", setUpTestTools);
  await step("TV engines", installAllEngines);
  await step("contract tools", async () => {
    const done = [await setUpSchemathesis(), await setUpAutobahn()];
    return done.includes("installed") ? "installed" : "unchanged";
  });

  const failed = await stepsToTheEnd(
    suites.map(({ name, what, run: work }) => ({ name: `${name}: ${what}`, work })),
  );
  if (failed.length > 0) say(`failed: ${failed.join("; ")} (one alone: npm test -- NAME)`);
  console.log(`${suites.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
});

/** Those from before WebAssembly need more of the machine: their tests say why they did not run. */
async function installAllEngines() {
  const outcome = await installEngines(ENGINES.map(({ name }) => name));
  try {
    const old = await installOldEngines(OLD_ENGINES.map(({ name }) => name));
    return old === "unchanged" ? outcome : old;
  } catch (error) {
    if (!(error instanceof Complaint)) throw error;
    say(`engines from before WebAssembly are left out: ${error.message}`);
    return outcome;
  }
}

/** @param {string[]} names */
function chosen(names) {
  const unknown = names.filter((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown.length > 0) {
    const known = SUITES.map((suite) => suite.name).join(", ");
    throw new Complaint(`no suite ${unknown.join(", ")}: choose from ${known}`);
  }
  return names.length === 0 ? SUITES : SUITES.filter((suite) => names.includes(suite.name));
}

function rust() {
  const { cargo, env } = nativeToolchain();
  // One red program must not hide what the others would say.
  const what = ["--no-fail-fast", "--workspace", "--exclude", "omega-sync-wasm", ...FEATURES];
  return suite(cargo, ["test", "--locked", ...what], env);
}

async function knownBugs() {
  if ((await planted([])) !== 0) throw new Complaint("a planted fault is not caught: see above");
}

function wasmBuild() {
  const { cargo, env } = nativeToolchain();
  const manifest = join(ROOT, "scripts", "wasm-build", "Cargo.toml");
  const target = { CARGO_TARGET_DIR: TOOL_TARGET };
  const args = ["test", "--locked", "--release", "--manifest-path", manifest];
  return suite(cargo, args, { ...env, ...target });
}

/** @param {Record<string, string>} where */
function wasm(where) {
  const { cargo, env } = wasmTools();
  const runner = { CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: TEST_RUNNER };
  const driver = { CHROMEDRIVER: process.env.CHROMEDRIVER ?? "chromedriver" };
  const args = ["test", "--locked", "-p", "omega-sync-wasm", "--target", WASM_TRIPLE];
  return suite(cargo, args, { ...env, ...runner, ...driver, ...where });
}

/** Several files of it need the server's end in WebAssembly, and run at once: it is built before. */
async function js() {
  await run(process.execPath, [join(ROOT, "scripts", "room.mjs")], { log: "room-end-before-js" });
  return node("js");
}

/** All tests of one folder, with Node's own runner. @param {string} folder of tests/ */
async function node(folder) {
  const path = join(ROOT, "tests", folder);
  const files = readdirSync(path).filter((file) => file.endsWith(".test.mjs"));
  if (files.length === 0) throw new Complaint(`no *.test.mjs in ${path}`);
  const args = ["--test", "--test-reporter=spec", ...files.sort().map((file) => join(path, file))];
  return suite(process.execPath, args, process.env);
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
function suite(command, args, env) {
  return run(command, args, { env, show: true, timeoutMs: SUITE_MS_MAX });
}
