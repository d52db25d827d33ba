/**
 * Where the Worker's script is when the app does not say: beside this one. Alone in its file for the
 * reasons of `wasm-url.ts`.
 */

/** Address of the script that the Worker loads. */
export const scriptUrl = new URL("./omega-sync.iife.js", import.meta.url);
