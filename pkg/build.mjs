// Makes dist/: the ESM build, its Node entry, the engine alone, the single-file build, the wasm file
// and the types.
//
// Syntax is lowered to Chromium 63 (Tizen 5.0). `import.meta`, which that engine cannot parse, is
// left in one small file that is only loaded when no `wasm` option was given.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const DIST = join(HERE, "dist");
const WASM = "omega_sync_wasm_bg.wasm";

/** @type {import("esbuild").BuildOptions} */
const SHARED = {
  absWorkingDir: HERE,
  bundle: true,
  target: "chrome63",
  legalComments: "none",
  logLevel: "warning",
  charset: "utf8",
};

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST);
await Promise.all([
  build({
    ...SHARED,
    entryPoints: ["src/index.ts"],
    outfile: "dist/index.js",
    format: "esm",
    external: ["./wasm-url.js"],
  }),
  build({
    ...SHARED,
    entryPoints: ["src/engine.ts"],
    outfile: "dist/engine.js",
    format: "esm",
  }),
  build({
    ...SHARED,
    entryPoints: ["src/wasm-url.ts"],
    outfile: "dist/wasm-url.js",
    format: "esm",
    supported: { "import-meta": true },
  }),
  build({
    ...SHARED,
    entryPoints: ["src/node.ts"],
    outfile: "dist/node.js",
    format: "esm",
    platform: "node",
    target: "node20",
    // One small file: loading three takes Node longer than compiling the engine, and each kilobyte
    // of this one about 50 µs.
    minify: true,
  }),
  build({
    ...SHARED,
    entryPoints: ["src/inline.ts"],
    outfile: "dist/omega-sync.iife.js",
    format: "iife",
    globalName: "OmegaSync",
    minify: true,
    alias: { "omega-sync-wasm-base64": `./wasm/${WASM}` },
    loader: { ".wasm": "base64" },
    external: ["./wasm-url.js"],
  }),
]);
copyFileSync(join(HERE, "wasm", WASM), join(DIST, WASM));
declareTypes();

/** The compiler comes without a JavaScript API: its program is run. */
function declareTypes() {
  const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
  const tsc = join(manifest, "..", "bin", "tsc");
  const flags = ["--emitDeclarationOnly", "--declaration", "--outDir", "dist"];
  const done = spawnSync(process.execPath, [tsc, "-p", "tsconfig.json", ...flags], {
    cwd: HERE,
    stdio: "inherit",
  });
  if (done.status !== 0) process.exit(done.status ?? 1);
}
