// The engine's memory, seen from outside the package: where it lies, and who may call it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/paths.mjs";

/** The engine's stack, as the build sets it: from 0 up to this address. */
export const STACK_BYTES = Number(
  /-zstack-size=(\d+)/.exec(readFileSync(join(ROOT, ".cargo", "config.toml"), "utf8"))?.[1],
);

/**
 * Notes the memory of the engine that the package starts next. The package keeps it to itself, so the
 * platform is asked, which is left as it was.
 * @returns {Promise<WebAssembly.Memory>} once the engine is started
 */
export function nextMemory() {
  const { instantiate } = WebAssembly;
  return new Promise((resolve) => {
    /** @param {BufferSource} bytes @param {WebAssembly.Imports} imports */
    const watched = async (bytes, imports) => {
      WebAssembly.instantiate = instantiate;
      const started = await instantiate(bytes, imports);
      resolve(/** @type {WebAssembly.Memory} */ (started.instance.exports.memory));
      return started;
    };
    WebAssembly.instantiate = /** @type {typeof instantiate} */ (watched);
  });
}
