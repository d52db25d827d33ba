// The most that each entry may cost: what it cost when the budget was written, plus 2 %.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const BUDGET_FILE = fileURLToPath(new URL("budget.json", import.meta.url));
const MARGIN = 1.02;

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
