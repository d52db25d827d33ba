// Builds what measurements in Node need: the npm package, and the server's end of a household
// (tests/room), compiled like the package's own module but never shipped. Unchanged parts are
// skipped.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build, wasmTools } from "./build.mjs";
import { ROOM_END, WASM_BUILD, WASM_TARGET } from "./paths.mjs";
import { unlessStamped } from "./stamp.mjs";
import { main, run, step } from "./steps.mjs";
import { WASM_TRIPLE } from "./toolchain.mjs";

const MODULE = "omega_sync_room_end";

main(async () => {
  await build({ server: false, demo: false });
  await step("server's end in WebAssembly", buildRoomEnd);
});

/** Cargo decides what is fresh; the profile is the package's, so the standard library is there. */
async function buildRoomEnd() {
  const { cargo, env } = wasmTools();
  const profile = ["--locked", "--profile", "wasm", "-p", "omega-sync-room-end"];
  await run(cargo, ["build", ...profile, "--target", WASM_TRIPLE], { env, log: "room-end" });
  const compiled = join(WASM_TARGET, WASM_TRIPLE, "wasm", `${MODULE}.wasm`);
  const what = { inputs: [compiled, WASM_BUILD], outputs: [ROOM_END] };
  return unlessStamped("room-end", what, async () => {
    rmSync(ROOM_END, { recursive: true, force: true });
    mkdirSync(ROOM_END, { recursive: true });
    await run(WASM_BUILD, ["bind", compiled, ROOM_END]);
  });
}
