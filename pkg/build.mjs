// Makes dist/: the ESM build, its Node entry, the engine alone, the builds with everything inside,
// the one without WebAssembly, the wasm file and the types.
//
// Syntax is lowered to Chromium 63 (Tizen 5.0). `import.meta`, which that engine cannot parse, is
// left in one small file that is only loaded when no `wasm` option was given.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { privateNames, squeeze } from "./minify.mjs";
import { plainEngine, substitutes } from "./plain-engine.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const DIST = join(HERE, "dist");
const WASM = join(HERE, "wasm", "omega_sync_wasm_bg.wasm");

/**
 * Before a classic script: whatever the page's encoding, it is read as UTF-8. To JavaScript it is
 * white space.
 */
const BYTE_ORDER_MARK = "\uFEFF";

/** The engine that learns taste too. */
const PATTERNS = join(HERE, "wasm-patterns");
const PATTERNS_WASM = join(PATTERNS, "omega_sync_wasm_bg.wasm");
/** What patterns are coded with, unless the operator has tables of its own. */
const TABLES = join(HERE, "..", "core", "tables", "default.bin");

const WASM_TEXT_SHIFT = 35;
/** What page and Worker compare. */
const VERSION = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8")).version;

/** @type {import("esbuild").BuildOptions} */
const SHARED = {
  absWorkingDir: HERE,
  bundle: true,
  minify: true,
  mangleProps: privateNames(join(HERE, "src")),
  define: { OMEGA_SYNC_VERSION: JSON.stringify(VERSION) },
  target: "chrome63",
  legalComments: "none",
  logLevel: "warning",
  charset: "utf8",
};

/**
 * A wasm file as a text with a character for each byte, `WASM_TEXT_SHIFT` of `wasm-bytes.ts` further up:
 * there the common bytes are ASCII and none needs an escape but one. Brotli finds in it what it finds in
 * the file, which base64 hides from it (it would be a quarter more), and it is a sixth shorter than that.
 * @param {string} file @returns {import("esbuild").Plugin}
 */
const wasmAsText = (file) => ({
  name: "wasm-as-text",
  setup(builder) {
    builder.onResolve({ filter: /^omega-sync-wasm-text$/ }, () => ({ path: file }));
    builder.onLoad({ filter: /\.wasm$/ }, ({ path }) => {
      const characters = Array.from(readFileSync(path), (byte) =>
        String.fromCharCode(byte + WASM_TEXT_SHIFT),
      );
      return { contents: characters.join(""), loader: "text" };
    });
  },
});

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST);
copyFileSync(join(HERE, "..", "LICENSE"), join(DIST, "LICENSE"));
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
    // One small file: loading three takes Node longer than compiling the engine, and each kilobyte
    // of this one about 50 µs.
    target: "node20",
  }),
  build({
    ...SHARED,
    entryPoints: ["src/patterns.ts"],
    outfile: "dist/patterns.js",
    format: "esm",
    external: ["./wasm-url.js", "./patterns-wasm-url.js"],
  }),
  build({
    ...SHARED,
    entryPoints: ["src/patterns-wasm-url.ts"],
    outfile: "dist/patterns-wasm-url.js",
    format: "esm",
    supported: { "import-meta": true },
  }),
  build({
    ...SHARED,
    entryPoints: ["src/patterns-node.ts"],
    outfile: "dist/patterns-node.js",
    format: "esm",
    platform: "node",
    target: "node20",
  }),
  build({
    ...SHARED,
    entryPoints: ["src/react.ts"],
    outfile: "dist/react.js",
    format: "esm",
    external: ["react"],
  }),
  build({
    ...SHARED,
    entryPoints: ["src/inline.ts"],
    outfile: "dist/inline.js",
    format: "esm",
    plugins: [wasmAsText(WASM)],
    external: ["./wasm-url.js"],
  }),
  build({
    ...classic("iife", "serve"),
    outfile: "dist/omega-sync.iife.js",
    plugins: [wasmAsText(WASM)],
    external: ["./wasm-url.js"],
  }),
  build({
    ...classic("patterns-iife"),
    outfile: "dist/omega-sync.patterns.iife.js",
    plugins: [wasmAsText(PATTERNS_WASM)],
    external: ["./wasm-url.js", "./patterns-wasm-url.js"],
  }),
  build({
    ...SHARED,
    entryPoints: ["src/worker.ts"],
    outfile: "dist/worker.js",
    format: "esm",
    external: ["./script-url.js"],
  }),
  build({
    ...SHARED,
    entryPoints: ["src/script-url.ts"],
    outfile: "dist/script-url.js",
    format: "esm",
    supported: { "import-meta": true },
  }),
  build({
    ...classic("worker-classic"),
    outfile: "dist/omega-sync.worker.js",
    external: ["./script-url.js"],
  }),
  withoutWasm(),
]);
for (const build of ["iife", "patterns.iife", "worker", "nowasm"])
  asVariable(`omega-sync.${build}.js`);
// Of those that are nothing but code, and that a TV fetches.
await Promise.all(["index.js", "patterns.js"].map((name) => squeeze(join(DIST, name))));
copyFileSync(WASM, join(DIST, "omega_sync_wasm_bg.wasm"));
copyFileSync(PATTERNS_WASM, join(DIST, "omega_sync_patterns_bg.wasm"));
copyFileSync(TABLES, join(DIST, "omega-sync-tables.bin"));
declareTypes();

/**
 * A classic script of an entry, until {@link asVariable}. @param {string} entry
 * @param {string[]} more exports than all have @returns {import("esbuild").BuildOptions}
 */
function classic(entry, ...more) {
  const names = ["MemoryStorage", "OmegaError", "open", "wipe", ...more].join();
  const contents = `"use strict"; import {${names}} from "./src/${entry}.ts"; exported({${names}});`;
  const banner = { js: BYTE_ORDER_MARK };
  return { ...SHARED, stdin: { contents, resolveDir: HERE }, format: "iife", banner };
}

/**
 * Gives a classic script its global variable. The bundler's own way, an object of getters that is copied,
 * costs an old engine as much as all classes. And a function in parentheses is compiled at once: old
 * engines do so for `function` only and read an arrow's body twice, which is the whole script.
 * @param {string} name
 */
function asVariable(name) {
  const path = join(DIST, name);
  const text = readFileSync(path, "utf8");
  const [, head, body, exported] =
    /^(\uFEFF\s*"use strict";)?\(\(\)=>\{(.*)exported\((\{[^{}]*\})\);\}\)\(\);\s*$/s.exec(text) ??
    [];
  if (exported === undefined) throw new Error(`${name} is not as it should be`);
  writeFileSync(path, `${head ?? ""}var OmegaSync=(function(){${body}return${exported}})();\n`);
}

async function withoutWasm() {
  // webOS 4 has Chromium 53: async functions become generators, classes stay.
  const lowered = { ...SHARED, target: ["es2016", "chrome53"] };
  const { outputFiles } = await build({
    ...classic("nowasm"),
    ...lowered,
    format: "esm",
    banner: {},
    write: false,
    plugins: [plainEngine],
    external: ["./wasm-url.js"],
  });
  await build({
    ...lowered,
    stdin: { contents: outputFiles[0]?.text ?? "", sourcefile: "nowasm.js" },
    outfile: "dist/omega-sync.nowasm.js",
    format: "iife",
    // The same in every encoding that a page may have.
    charset: "ascii",
    plugins: [substitutes],
  });
}

/** The compiler comes without a JavaScript API: its program is run. */
function declareTypes() {
  const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
  const tsc = join(dirname(manifest), "bin", "tsc");
  const flags = ["--emitDeclarationOnly", "--declaration", "--outDir", "dist"];
  const done = spawnSync(process.execPath, [tsc, "-p", "tsconfig.json", ...flags], {
    cwd: HERE,
    stdio: "inherit",
  });
  if (done.status !== 0) process.exit(done.status ?? 1);
}
