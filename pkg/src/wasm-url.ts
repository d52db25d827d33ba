/**
 * Where the WebAssembly file is when the app does not say: beside this script.
 *
 * Alone in its file because `import.meta` is a syntax error before Chromium 64; the file is loaded
 * only when `open` got no `wasm` option. Bundlers know this form and copy the file along.
 */

/** Address of the WebAssembly file. */
export const wasmUrl = new URL("./omega_sync_wasm_bg.wasm", import.meta.url);
