// Which Rust compiles what.
//
// Native code: the developer's own (rustup), else Debian's. WebAssembly: one that has the source of
// the standard library, because only a rebuilt one is free of instructions that Chromium 63 lacks:
// Debian's rustc-web, else a rustup toolchain with rust-src. Nothing here downloads a toolchain.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { CARGO_TARGET, ROOT, WASM_TARGET } from "./paths.mjs";
import { Complaint } from "./steps.mjs";

/**
 * @typedef {object} Toolchain
 * @property {string} cargo
 * @property {NodeJS.ProcessEnv} env
 * @property {string} version the compiler's own words, part of what a stamp knows
 */

const STD_SOURCE = "lib/rustlib/src/rust/library/Cargo.lock";
const WASM_LINKER = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER";

/** Features that the server is tested with beside those of the lean build that `npm run build` makes. */
export const FEATURES = ["--features", "omega-edge/otel"];
export const WASM_TRIPLE = "wasm32-unknown-unknown";
/** Rebuilds the standard library: Cargo's `build-std`, in the form that any program can pass on. */
const BUILD_STD = {
  RUSTC_BOOTSTRAP: "1",
  CARGO_UNSTABLE_BUILD_STD: "std,panic_abort",
  CARGO_UNSTABLE_BUILD_STD_FEATURES: "optimize_for_size",
  // What ships traps where it would panic, without first writing a message that nobody reads: the
  // package then refuses to go on. Not in Cargo.toml, since a stable Cargo does not know the word.
  CARGO_UNSTABLE_PANIC_IMMEDIATE_ABORT: "true",
  CARGO_PROFILE_WASM_PANIC: "immediate-abort",
  CARGO_PROFILE_WASM_PATTERNS_PANIC: "immediate-abort",
};

/** A rustup proxy must neither install nor update a toolchain on its own. */
const QUIET_RUSTUP = { RUSTUP_AUTO_INSTALL: "0" };

/** @returns {Toolchain} */
export function nativeToolchain() {
  const found = rustupToolchain() ?? debianToolchain();
  if (found) return found;
  const needed = rustVersionNeeded();
  throw new Complaint(
    `no Rust ${needed} or later: install it with rustup, or on Debian: apt-get install rustc-web cargo-web`,
  );
}

/** The toolchain for `WASM_TRIPLE`, or nothing when none is installed. @returns {Toolchain | undefined} */
export function wasmToolchain() {
  const debian = debianToolchain();
  const linker = debianWasmLinker();
  const base =
    debian && linker && existsSync(join("/usr", STD_SOURCE)) ? debian : rustupWithSource();
  if (!base) return undefined;
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...base.env, ...BUILD_STD, CARGO_TARGET_DIR: WASM_TARGET };
  if (base === debian) env[WASM_LINKER] = linker;
  // These would replace the flags of .cargo/config.toml, MVP among them.
  delete env.RUSTFLAGS;
  delete env.CARGO_ENCODED_RUSTFLAGS;
  return { ...base, env };
}

/** @returns {Toolchain | undefined} */
function rustupToolchain() {
  const path = [process.env.PATH, join(homedir(), ".cargo", "bin")].join(delimiter);
  const env = { ...process.env, ...QUIET_RUSTUP, PATH: path, CARGO_TARGET_DIR: CARGO_TARGET };
  return accepted({ cargo: "cargo", env, version: compilerVersion("rustc", env) });
}

/** @returns {Toolchain | undefined} */
function debianToolchain() {
  if (!existsSync("/usr/bin/cargo")) return undefined;
  /** @type {NodeJS.ProcessEnv} */
  const env = {
    ...process.env,
    RUSTC: "/usr/bin/rustc",
    RUSTDOC: "/usr/bin/rustdoc",
    CARGO_TARGET_DIR: CARGO_TARGET,
  };
  delete env.RUSTUP_TOOLCHAIN;
  return accepted({
    cargo: "/usr/bin/cargo",
    env,
    version: compilerVersion("/usr/bin/rustc", env),
  });
}

/** @returns {Toolchain | undefined} */
function rustupWithSource() {
  const toolchain = rustupToolchain();
  if (!toolchain) return undefined;
  const sysroot = output("rustc", ["--print", "sysroot"], toolchain.env);
  return sysroot && existsSync(join(sysroot, STD_SOURCE)) ? toolchain : undefined;
}

/** Debian's linker carries its version in its name; the newest one fits the newest compiler. */
function debianWasmLinker() {
  const versions = readdirSync("/usr/bin")
    .map((name) => /^wasm-ld-(\d+)$/.exec(name)?.[1])
    .filter((version) => version !== undefined)
    .map(Number);
  return versions.length > 0 ? `/usr/bin/wasm-ld-${Math.max(...versions)}` : undefined;
}

/** @param {Toolchain} toolchain @returns {Toolchain | undefined} */
function accepted(toolchain) {
  const [major, minor] = numbers(/release: (\S+)/.exec(toolchain.version)?.[1] ?? "0.0");
  const [neededMajor, neededMinor] = numbers(rustVersionNeeded());
  const newEnough = major > neededMajor || (major === neededMajor && minor >= neededMinor);
  return newEnough ? toolchain : undefined;
}

function rustVersionNeeded() {
  const manifest = readFileSync(join(ROOT, "Cargo.toml"), "utf8");
  const version = /^rust-version = "([\d.]+)"/m.exec(manifest)?.[1];
  if (!version) throw new Error("Cargo.toml states no rust-version");
  return version;
}

/** @param {string} version @returns {[number, number]} */
function numbers(version) {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  return [major, minor];
}

/** @param {string} rustc @param {NodeJS.ProcessEnv} env */
function compilerVersion(rustc, env) {
  return output(rustc, ["-vV"], env);
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
function output(command, args, env) {
  const result = spawnSync(command, args, { env, encoding: "utf8", cwd: ROOT });
  return result.status === 0 ? result.stdout.trim() : "";
}
