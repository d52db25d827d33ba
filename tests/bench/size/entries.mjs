// What each entry of the package costs a TV: every byte that Chromium fetches from it until a first sync
// of two devices is complete, parts that are loaded later included. Needs `npm run build`.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { PKG } from "../../../scripts/paths.mjs";
import { launchBrowser, syncTwoPages } from "../../e2e/browser.mjs";
import { Edge } from "../../js/edge.mjs";

/** @typedef {{path: string, raw: number, brotli: number}} Fetched */
/** @typedef {{files: Fetched[], raw: number, brotli: number}} Cost */

/** How a page gets an entry: a module's address, or that of a classic script. */
const ENTRIES = {
  default: { module: "index.js" },
  patterns: { module: "patterns.js" },
  inline: { module: "inline.js" },
  iife: { script: "omega-sync.iife.js" },
  "patterns-iife": { script: "omega-sync.patterns.iife.js" },
  worker: { script: "omega-sync.worker.js" },
  nowasm: { script: "omega-sync.nowasm.js" },
};
export const ENTRY_NAMES = Object.keys(ENTRIES);

/** The package's own files, and the tables of patterns, which the server hands out. */
const COUNTED = /^\/(package|api\/v1\/taste\/tables)\//;
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };

/** @param {Uint8Array} bytes */
export function brotliBytes(bytes) {
  return brotliCompressSync(bytes, BROTLI).length;
}

/**
 * @param {string[]} names of entries
 * @returns {Promise<Map<string, Cost>>}
 */
export async function measureEntries(names) {
  const folder = mkdtempSync(join(tmpdir(), "omega-size-"));
  mkdirSync(join(folder, "package"));
  cpSync(join(PKG, "dist"), join(folder, "package"), { recursive: true });
  for (const name of names) writeFileSync(join(folder, `${name}.html`), page(name));
  const edge = await Edge.start("--static", folder);
  const browser = await launchBrowser();
  try {
    /** @type {Map<string, Cost>} */
    const costs = new Map();
    for (const name of names) costs.set(name, await measure(browser, edge, name));
    return costs;
  } finally {
    await browser.close();
    await edge.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} name @returns {string} a page that puts the entry's exports into `window.entry` */
function page(name) {
  const { module, script } = /** @type {{module?: string, script?: string}} */ (
    Reflect.get(ENTRIES, name)
  );
  const code = module
    ? `<script type="module">import * as entry from "./package/${module}"; window.entry = entry;</script>`
    : `<script src="package/${script}"></script><script>window.entry = OmegaSync;</script>`;
  return `<!doctype html><meta charset="utf-8"><title>${name}</title>${code}`;
}

/** @param {import("playwright-core").Browser} browser @param {Edge} edge @param {string} name */
async function measure(browser, edge, name) {
  /** @type {Array<Promise<Fetched>>} */
  const fetched = [];
  await syncTwoPages(browser, edge, `${name}.html`, (response) => {
    const { pathname } = new URL(response.url());
    if (COUNTED.test(pathname)) fetched.push(costOf(pathname, response));
  });
  const files = await Promise.all(fetched);
  return {
    files,
    raw: files.reduce((sum, file) => sum + file.raw, 0),
    brotli: files.reduce((sum, file) => sum + file.brotli, 0),
  };
}

/** @param {string} path @param {import("playwright-core").Response} response @returns {Promise<Fetched>} */
async function costOf(path, response) {
  // Asked for in vain: nothing to count. A part that is needed would keep the page from syncing.
  if (!response.ok()) return { path: `${path} (${response.status()})`, raw: 0, brotli: 0 };
  const bytes = await response.body();
  return { path, raw: bytes.length, brotli: brotliBytes(bytes) };
}
