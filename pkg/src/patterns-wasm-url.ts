/**
 * Where the files of the entry with patterns are when the app does not say: beside this script.
 *
 * Alone in its file for the same reason as `wasm-url.ts`.
 */

/** Address of the WebAssembly file. */
export const wasmUrl = new URL("./omega_sync_patterns_bg.wasm", import.meta.url);
/** Address of the tables that patterns are coded with. */
export const tablesUrl = new URL("./omega-sync-tables.bin", import.meta.url);
