// Makes dist/: the two pages, their script and style sheet, what starts them without a server, and the
// engine's two files.
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const DIST = join(HERE, "dist");

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST);
await build({
  absWorkingDir: HERE,
  entryPoints: ["src/main.ts", "src/offline.ts", "src/style.css"],
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "chrome63",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
  // The page says where the wasm file is, so the package's own default is never loaded.
  external: ["./wasm-url.js", "./patterns-wasm-url.js"],
});
for (const page of ["index.html", "tv.html"]) copyFileSync(join(HERE, page), join(DIST, page));
const wasm = fileURLToPath(import.meta.resolve("omega-sync/patterns-wasm"));
copyFileSync(wasm, join(DIST, basename(wasm)));
const tables = join(dirname(wasm), "omega-sync-tables.bin");
if (existsSync(tables)) copyFileSync(tables, join(DIST, basename(tables)));
