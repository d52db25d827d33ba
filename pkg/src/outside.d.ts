/** What the package uses from outside the browser's own interfaces. */

/** The WebAssembly file as a text, a character for each byte: `build.mjs` gives the name its meaning. */
declare module "omega-sync-wasm-text" {
  const text: string;
  export default text;
}

/** The same as plain JavaScript: a module with its exports, see `plain-engine.mjs`. */
declare module "omega-sync-plain-engine";

/** The functions of Node that `node.ts` needs; all its types would hide browser mistakes. */
declare module "node:fs" {
  export function openSync(file: string, flags: string): number;
  export function readSync(file: number, buffer: Uint32Array): number;
  export function closeSync(file: number): void;
  export function readFileSync(file: URL): Uint8Array<ArrayBuffer>;
}

/** The package's version, which `build.mjs` writes in its place. */
declare const OMEGA_SYNC_VERSION: string;

/** What Node has from 20.16 on. */
declare const process: {
  getBuiltinModule?: (name: "node:fs") => typeof import("node:fs");
};
