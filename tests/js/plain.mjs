// The engine of `omega-sync.nowasm.js` alone, with the interface of `omega-sync/engine`: built from
// the package's sources the way that file is.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { plainEngine as plugin } from "../../pkg/plain-engine.mjs";
import { PKG, ROOT } from "../../scripts/paths.mjs";

const ENTRY = `
export * from "./src/engine.ts";
import * as plain from "omega-sync-plain-engine";
import { startEngine } from "./src/engine.ts";
export const started = startEngine(() => () => plain);
`;

/** @returns {Promise<typeof import("omega-sync/engine")>} started already */
export async function plainEngine() {
  mkdirSync(join(ROOT, "target"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, "target", "plain-"));
  try {
    const outfile = join(folder, "engine.mjs");
    await build({
      stdin: { contents: ENTRY, resolveDir: PKG, loader: "ts" },
      outfile,
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2016",
      logLevel: "warning",
      plugins: [plugin],
    });
    const engine = await import(pathToFileURL(outfile).href);
    await engine.started;
    return engine;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
