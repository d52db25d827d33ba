/** What the package uses from outside the browser's own interfaces. */

/** The WebAssembly file as base64: a name that `build.mjs` gives to it for the single-file build. */
declare module "omega-sync-wasm-base64" {
  const base64: string;
  export default base64;
}

/** The functions of Node that `node.ts` needs; all its types would hide browser mistakes. */
declare module "node:fs" {
  export function openSync(file: string, flags: string): number;
  export function readSync(file: number, buffer: Uint32Array): number;
  export function closeSync(file: number): void;
  export function readFileSync(file: URL): Uint8Array<ArrayBuffer>;
}

/** What Node has from 20.16 on. */
declare const process: {
  getBuiltinModule?: (name: "node:fs") => typeof import("node:fs");
};
