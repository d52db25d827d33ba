// What a TV downloads: for each entry of the package every byte that is fetched until a first sync of two
// devices is complete, as one JSON object; and, on standard error, each built file of package and demo.
// Brotli is at its highest level. `--write` sets the budget anew. Needs `npm run build`.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join, relative } from "node:path";
import { DEMO_DIST, PKG, ROOT } from "../../scripts/paths.mjs";
import { BUDGET_FILE, budgetFor } from "./size/budget.mjs";
import { brotliBytes, ENTRY_NAMES, measureEntries } from "./size/entries.mjs";

const SHIPPED = new Set([".js", ".wasm", ".css", ".html"]);

for (const folder of [join(PKG, "dist"), DEMO_DIST]) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !SHIPPED.has(extname(entry.name))) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    console.error(`${relative(ROOT, path)}: ${bytes.length} B, brotli ${brotliBytes(bytes)} B`);
  }
}
const costs = await measureEntries(ENTRY_NAMES);
/** @type {Record<string, {raw: number, brotli: number}>} */
const result = {};
for (const [name, { files, raw, brotli }] of costs) {
  result[name] = { raw, brotli };
  console.error(
    `${name}: fetched ${files.map((file) => `${file.path} ${file.brotli}`).join(", ")}`,
  );
}
if (process.argv.includes("--write")) {
  writeFileSync(BUDGET_FILE, `${JSON.stringify(budgetFor(result), undefined, 2)}\n`);
}
console.log(JSON.stringify(result));
