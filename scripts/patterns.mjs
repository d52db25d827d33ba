// Builds what the measurement `patterns` needs: its native program, and the same codec in
// WebAssembly, compiled like the package's own module but never shipped. `--module`: the latter alone.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build, wasmTools } from "./build.mjs";
import { PATTERNS_END, WASM_BUILD, WASM_TARGET } from "./paths.mjs";
import { unlessStamped } from "./stamp.mjs";
import { main, run, step } from "./steps.mjs";
import { nativeToolchain, WASM_TRIPLE } from "./toolchain.mjs";

const PACKAGE = "omega-sync-patterns";
const MODULE = "omega_sync_patterns";

main(async () => {
  await build({ server: false, demo: false });
  if (!process.argv.includes("--module")) await step("pattern codec", buildNative);
  await step("pattern codec in WebAssembly", buildModule);
});

function buildNative() {
  const { cargo, env } = nativeToolchain();
  const args = ["build", "--locked", "--release", "-p", PACKAGE];
  return run(cargo, args, { env, log: "patterns" });
}

async function buildModule() {
  const { cargo, env } = wasmTools();
  // That of the package's entry with patterns.
  const profile = ["--locked", "--profile", "wasm-patterns", "-p", PACKAGE, "--lib"];
  await run(cargo, ["build", ...profile, "--target", WASM_TRIPLE], { env, log: "patterns-wasm" });
  const compiled = join(WASM_TARGET, WASM_TRIPLE, "wasm-patterns", `${MODULE}.wasm`);
  const what = { inputs: [compiled, WASM_BUILD], outputs: [PATTERNS_END] };
  return unlessStamped("patterns-end", what, async () => {
    rmSync(PATTERNS_END, { recursive: true, force: true });
    mkdirSync(PATTERNS_END, { recursive: true });
    await run(WASM_BUILD, ["bind", compiled, PATTERNS_END]);
  });
}
