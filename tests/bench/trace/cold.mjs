// What a process that has nothing yet waits for until its first operation is done. Each sample is a
// process of its own, and the kinds take turns, so that a busy moment hits all of them.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { median } from "./figures.mjs";

const PROCESSES = 15;
const KINDS = /** @type {const} */ (["package", "engine", "empty"]);
/** A WebAssembly module with nothing in it: magic number and version. */
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

export function coldStarts() {
  const folder = mkdtempSync(join(tmpdir(), "omega-cold-"));
  try {
    const empty = join(folder, "empty.wasm");
    writeFileSync(empty, EMPTY);
    /** @type {Record<(typeof KINDS)[number], number[]>} */
    const samples = { package: [], engine: [], empty: [] };
    for (let round = 0; round < PROCESSES; round += 1) {
      for (const kind of KINDS) samples[kind].push(sample(kind, empty));
    }
    return {
      cold_ms: median(samples.package),
      cold_engine_ms: median(samples.engine),
      cold_empty_ms: median(samples.empty),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} kind @param {string} empty path of the empty module */
function sample(kind, empty) {
  const script = fileURLToPath(new URL("./cold/start.mjs", import.meta.url));
  const said = execFileSync(process.execPath, [script, kind, empty], { encoding: "utf8" });
  const took_ms = Number(said);
  if (!(took_ms > 0)) throw new Error(`a cold start said ${said}`);
  return took_ms;
}
