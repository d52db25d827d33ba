// What a TV downloads: each built file of the package and the demo, raw and compressed by brotli
// at its highest level. Needs `npm run build`.
import { readdirSync, readFileSync } from "node:fs";
import { extname, join, relative } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { DEMO_DIST, PKG, PKG_WASM, ROOT } from "../../scripts/paths.mjs";

const SHIPPED = new Set([".js", ".wasm", ".css", ".html"]);
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };

/** @type {Record<string, {raw_bytes: number, brotli_bytes: number}>} */
const files = {};
for (const folder of [PKG_WASM, join(PKG, "dist"), DEMO_DIST]) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !SHIPPED.has(extname(entry.name))) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    const sizes = {
      raw_bytes: bytes.length,
      brotli_bytes: brotliCompressSync(bytes, BROTLI).length,
    };
    files[relative(ROOT, path)] = sizes;
    console.log(`${relative(ROOT, path)}: ${sizes.raw_bytes} B, brotli ${sizes.brotli_bytes} B`);
  }
}
console.log(JSON.stringify({ bench: "size", files }));
