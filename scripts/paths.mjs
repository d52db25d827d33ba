// Where things are. Every script and every JavaScript test asks here.
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What a later run can use again and no clone owns: engines and, in CI, compiled code. */
export const CACHE = join(homedir(), ".cache", "omega-sync");

/** Cargo's own variable is honoured, so that a build and the tests agree with a plain `cargo`. */
export const CARGO_TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");

/** A folder apart for each compiler, so that two builds run at once without waiting on a lock. */
export const WASM_TARGET = join(CARGO_TARGET, "web");
export const TOOL_TARGET = join(CARGO_TARGET, "wasm-build");

export const WASM_BUILD = join(TOOL_TARGET, "release", "wasm-build");
export const TEST_RUNNER = join(TOOL_TARGET, "release", "wasm-bindgen-test-runner");
export const EDGE_BINARY = join(CARGO_TARGET, "release", "omega-edge");

export const PKG = join(ROOT, "pkg");
export const PKG_WASM = join(PKG, "wasm");
/** The module that learns taste too. */
export const PKG_WASM_PATTERNS = join(PKG, "wasm-patterns");
export const DEMO = join(ROOT, "web-demo");
export const DEMO_DIST = join(DEMO, "dist");
export const DATA = join(ROOT, "data");

/** The server's end of a household for measurements; in the checkout, whose modules are ES modules. */
export const ROOM_END = join(ROOT, "target", "room-end");
/** The pattern codec in WebAssembly, for measurements. */
export const PATTERNS_END = join(ROOT, "target", "patterns-end");

/** Stamps speak about this checkout's files, so they stay in it even if Cargo's output does not. */
export const STAMPS = join(ROOT, "target", "stamps");
export const LOGS = join(ROOT, "target", "logs");
