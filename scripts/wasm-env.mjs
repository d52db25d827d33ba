// For a shell: eval "$(node scripts/wasm-env.mjs)" makes a plain `cargo … --target
// wasm32-unknown-unknown`, or wasm-pack, use the compiler and the flags of the build.
import { dirname } from "node:path";
import { TEST_RUNNER } from "./paths.mjs";
import { Complaint, main } from "./steps.mjs";
import { wasmToolchain } from "./toolchain.mjs";

main(async () => {
  const toolchain = wasmToolchain();
  if (!toolchain) throw new Complaint("no Rust that builds WebAssembly yet: npm run build");
  const added = Object.entries(toolchain.env).filter(
    ([name, value]) => name !== "PATH" && value !== process.env[name],
  );
  for (const [name, value] of added) console.log(`export ${name}='${value}'`);
  const folders = [dirname(TEST_RUNNER)];
  if (toolchain.cargo.startsWith("/")) folders.push(dirname(toolchain.cargo));
  console.log(`export PATH='${folders.join(":")}':"$PATH"`);
  console.log("unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTUP_TOOLCHAIN");
});
