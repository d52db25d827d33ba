// Builds everything there is to run: the wasm module, the npm package, the demo and
// the edge server. Independent parts run side by side, since each has a time in which it cannot use
// all cores. A part whose inputs are unchanged is skipped.
import { copyFileSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as paths from "./paths.mjs";
import { nativeIsReady, setUpBuildTools, setUpNpm } from "./setup.mjs";
import { unlessStamped } from "./stamp.mjs";
import { Complaint, main, run, step } from "./steps.mjs";
import { nativeToolchain, WASM_TRIPLE, wasmToolchain } from "./toolchain.mjs";

const MODULE = "omega_sync_wasm";
const TOOL_FOLDER = join(paths.ROOT, "scripts", "wasm-build");
const LOCK = join(paths.ROOT, "package-lock.json");

/**
 * The modules of the package: the usual one, and the one with patterns.
 * @typedef {{name: string, profile: string, features: string[], folder: string, plain: boolean}} Module
 */
/** @type {Module} */
const DEFAULT = {
  name: "default",
  profile: "wasm",
  features: [],
  folder: paths.PKG_WASM,
  plain: true,
};
/** @type {Module} */
const PATTERNS = {
  name: "patterns",
  profile: "wasm-patterns",
  features: ["--features", "patterns"],
  folder: paths.PKG_WASM_PATTERNS,
  plain: false,
};

const WASM_OPT = [
  "--strip-debug",
  "--strip-producers",
  "--strip-target-features",
  // Without it wasm-opt adds sign extension.
  "--mvp-features",
  "-Oz",
  // Nothing but the end of the stack lies below 1 KiB, where a folded offset could make a difference.
  "--low-memory-unused",
  // A function put into its only caller makes that one longer than brotli can see similarities in.
  "--one-caller-inline-max-function-size=40",
];

/** The translation to plain JavaScript, for TVs without WebAssembly. */
const WASM2JS = ["-Oz"];

/** What is in no test: the module calls a function that only the package has. */
const SHIPPED = ["--cfg", "shipped"];

/**
 * @param {object} [parts]
 * @param {boolean} [parts.server]
 * @param {boolean} [parts.demo]
 * @param {boolean} [parts.testRunner] what runs the tests compiled to wasm
 */
export async function build({ server = true, demo = true, testRunner = false } = {}) {
  const npm = step("npm packages", setUpNpm);
  const tools = step("build tools", setUpBuildTools);
  // Native code need not wait for the tools that only WebAssembly is missing.
  const native = nativeIsReady() ? Promise.resolve() : tools;
  const binder = native.then(() => step("wasm build program", () => buildBinder(testRunner)));
  const module = tools.then(() => step("wasm module", () => buildModule(DEFAULT)));
  // After the other one, whose compiled libraries are used again.
  const patterns = module.then(() => step("wasm module, patterns", () => buildModule(PATTERNS)));
  const edge = server && native.then(() => step("edge server", buildServer));
  const checked = Promise.all([npm, binder, patterns]).then(() =>
    step("wasm-opt", () => Promise.all([DEFAULT, PATTERNS].map(optimise)).then(one)),
  );
  const pkg = checked.then(() => step("npm package", buildPackage));
  const site = demo && pkg.then(() => step("demo", buildDemo));
  await Promise.all([npm, tools, binder, module, edge, checked, pkg, site]);
}

/** Cargo decides what is fresh: it knows every file, flag and variable that counts. */
function buildServer() {
  const { cargo, env } = nativeToolchain();
  return run(cargo, ["build", "--locked", "--release", "-p", "omega-edge"], { env, log: "edge" });
}

/** @param {boolean} testRunner */
function buildBinder(testRunner) {
  const { cargo, env } = nativeToolchain();
  const features = testRunner ? ["--features", "test-runner"] : [];
  return run(cargo, ["build", "--locked", "--release", ...features], {
    cwd: TOOL_FOLDER,
    env: { ...env, CARGO_TARGET_DIR: paths.TOOL_TARGET },
    log: "wasm-build",
  });
}

/** @param {Module} module */
async function buildModule({ name, profile, features }) {
  const { cargo, env } = wasmTools();
  const what = ["--locked", "--profile", profile, "-p", "omega-sync-wasm", ...features];
  // Not beside the library that the tests link: what that one exports could not be left out here.
  const crate = ["--lib", "--crate-type", "cdylib"];
  const args = ["rustc", ...what, ...crate, "--target", WASM_TRIPLE, "--", ...SHIPPED];
  await run(cargo, args, { env, log: `wasm-${name}` });
  // Cargo gives all of them one name.
  mkdirSync(dirname(kept(name)), { recursive: true });
  copyFileSync(join(paths.WASM_TARGET, WASM_TRIPLE, profile, `${MODULE}.wasm`), kept(name));
}

/** @param {string} name of the module */
function kept(name) {
  return join(paths.WASM_TARGET, "modules", name, `${MODULE}.wasm`);
}

/** What a step that does several things says. @param {("built" | "unchanged")[]} said */
function one(said) {
  return said.includes("built") ? "built" : "unchanged";
}

export function wasmTools() {
  const toolchain = wasmToolchain();
  if (toolchain) return toolchain;
  throw new Complaint("no Rust that builds WebAssembly: run npm run build, which installs one");
}

/**
 * The module is written beside its place and moved there once it has passed every check.
 * @param {Module} module
 */
function optimise({ name, folder, plain }) {
  const compiled = kept(name);
  const inputs = [compiled, TOOL_FOLDER, LOCK];
  const facts = [...WASM_OPT, ...WASM2JS];
  return unlessStamped(`wasm-opt-${name}`, { inputs, facts, outputs: [folder] }, async () => {
    const made = `${folder}.new`;
    const module = join(made, `${MODULE}_bg.wasm`);
    rmSync(made, { recursive: true, force: true });
    mkdirSync(made, { recursive: true });
    await run(paths.WASM_BUILD, ["check", compiled], { log: `check-${name}` });
    // wasm-opt exits 0 on a module that it could not keep MVP: hence the second check.
    await binaryen("wasm-opt", name, [...WASM_OPT, compiled, "-o", module]);
    await run(paths.WASM_BUILD, ["check", module], { log: `check-${name}` });
    if (plain) {
      const plainEngine = join(made, `${MODULE}_plain.js`);
      await binaryen("wasm2js", name, [...WASM2JS, module, "-o", plainEngine]);
    }
    rmSync(folder, { recursive: true, force: true });
    renameSync(made, folder);
  });
}

/** @param {string} tool its program @param {string} name of the module @param {string[]} args */
function binaryen(tool, name, args) {
  const program = join(paths.ROOT, "node_modules", "binaryen", "bin", tool);
  return run(process.execPath, [program, ...args], { log: `${tool}-${name}` });
}

function buildPackage() {
  const what = { inputs: [paths.PKG, LOCK], outputs: [join(paths.PKG, "dist")] };
  return unlessStamped("pkg", what, () =>
    run("npm", ["run", "build", "-w", "pkg"], { log: "pkg" }),
  );
}

function buildDemo() {
  const inputs = [paths.DEMO, join(paths.PKG, "dist"), LOCK];
  return unlessStamped("web-demo", { inputs, outputs: [paths.DEMO_DIST] }, () =>
    run("npm", ["run", "build", "-w", "web-demo"], { log: "web-demo" }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(() => build());
