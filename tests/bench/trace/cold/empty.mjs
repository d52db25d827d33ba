// A package that only instantiates a module, as the smallest thing that a cold start can be.
import { readFile } from "node:fs/promises";

/** @param {string | undefined} path of a WebAssembly module */
export async function instantiateFile(path = "") {
  await WebAssembly.instantiate(await readFile(path));
}
