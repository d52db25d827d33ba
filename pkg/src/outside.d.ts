/** What the package uses from outside the browser's own interfaces. */

/** The WebAssembly file as base64: a name that `build.mjs` gives to it for the single-file build. */
declare module "omega-sync-wasm-base64" {
  const base64: string;
  export default base64;
}

/** The functions of Node that `node.ts` needs; all its types would hide browser mistakes. */
declare module "node:fs/promises" {
  export function open(file: string): Promise<{
    read(buffer: Uint32Array): Promise<{ bytesRead: number }>;
    close(): Promise<void>;
  }>;
  export function readFile(file: URL): Promise<Uint8Array<ArrayBuffer>>;
}
