// The most that each entry may cost: what it cost when the budget was written, plus 2 %.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PKG } from "../../../scripts/paths.mjs";
import { ENTRY_NAMES } from "./entries.mjs";

export const BUDGET_FILE = fileURLToPath(new URL("budget.json", import.meta.url));
const MARGIN = 1.02;

/** The files that stand for the entries in the package's `dist`. */
const FILES = { patterns: "patterns.js" };

/** @returns {{built: string[], missing: string[]}} which entries this package has */
export function entriesBuilt() {
  const missing = Object.entries(FILES)
    .filter(([, file]) => !existsSync(join(PKG, "dist", file)))
    .map(([name]) => name);
  return { built: ENTRY_NAMES.filter((name) => !missing.includes(name)), missing };
}

/** Brotli bytes that each entry may have. @returns {Record<string, number>} */
export function budget() {
  return JSON.parse(readFileSync(BUDGET_FILE, "utf8"));
}

/** @param {Record<string, {brotli: number}>} result */
export function budgetFor(result) {
  const entries = Object.entries(result);
  return Object.fromEntries(
    entries.map(([name, { brotli }]) => [name, Math.floor(brotli * MARGIN)]),
  );
}
