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
    /** @param {any} source bytes or a module @param {WebAssembly.Imports} imports */
    const watched = async (source, imports) => {
      WebAssembly.instantiate = instantiate;
      /** @type {any} */
      const started = await instantiate(source, imports);
      // Bytes give a module as well, a module its instance alone.
      const { exports } = started.instance ?? started;
      resolve(/** @type {WebAssembly.Memory} */ (exports.memory));
      return started;
    };
    WebAssembly.instantiate = /** @type {typeof instantiate} */ (watched);
  });
}
