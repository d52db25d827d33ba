// The demo's focus: one pure function, on small layouts.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { DEMO } from "../../scripts/paths.mjs";

/** @typedef {{id: string, contents: string[]}} Row */
/** @typedef {{row: string, contents: Record<string, string>}} Focus */
/**
 * @typedef {object} FocusModule
 * @property {(focus: Focus) => string | undefined} focused
 * @property {(rows: Row[], focus: Focus, key: string) => Focus} moveFocus
 * @property {(before: Row[], after: Row[], focus: Focus) => Focus} keepFocus
 */

const built = await build({
  entryPoints: [join(DEMO, "src", "focus.ts")],
  bundle: true,
  format: "esm",
  write: false,
});
const source = built.outputFiles[0]?.text ?? "";
/** @type {FocusModule} */
const { focused, keepFocus, moveFocus } = await import(
  `data:text/javascript,${encodeURIComponent(source)}`
);

/** @param {string} layout rows as "name: a b c", one a line @returns {Row[]} */
function rowsOf(layout) {
  return layout
    .trim()
    .split("\n")
    .map((line) => {
      const [id = "", contents = ""] = line.trim().split(":");
      return { id, contents: contents.split(" ").filter((content) => content !== "") };
    });
}

const ROWS = rowsOf(`
  top: a b c
  empty:
  low: a d`);

/** Where a walk ends, as "row/content". @param {string} keys @param {Row[]} rows */
function walk(keys, rows = ROWS) {
  let focus = keepFocus([], rows, { row: "top", contents: {} });
  for (const key of keys.split(" ")) focus = moveFocus(rows, focus, key);
  return `${focus.row}/${focused(focus)}`;
}

test("left and right move within a row and stop at its ends", () => {
  assert.equal(walk("right"), "top/b");
  assert.equal(walk("right right right right"), "top/c");
  assert.equal(walk("right left left"), "top/a");
});

test("up and down pass over empty rows and stop at the first and the last", () => {
  assert.equal(walk("down"), "low/a");
  assert.equal(walk("down down"), "low/a");
  assert.equal(walk("down up up"), "top/a");
});

test("each row remembers where it was left", () => {
  assert.equal(walk("right right down right up"), "top/c");
  assert.equal(walk("right right down right up down"), "low/d");
});

test("enter and back move nothing", () => {
  assert.equal(walk("right enter back"), "top/b");
});

test("the focus stays on its title when another TV changes the row", () => {
  const focus = { row: "top", contents: { top: "b" } };
  const after = rowsOf("top: x y a b c");
  assert.equal(focused(keepFocus(ROWS, after, focus)), "b");
});

test("a title that goes away leaves the focus at its place", () => {
  const focus = { row: "top", contents: { top: "b" } };
  assert.equal(focused(keepFocus(ROWS, rowsOf("top: a c"), focus)), "c");
  assert.equal(focused(keepFocus(ROWS, rowsOf("top: a"), focus)), "a");
});

test("a row that becomes empty hands the focus to the nearest one", () => {
  const focus = { row: "low", contents: { low: "a" } };
  const kept = keepFocus(ROWS, rowsOf("top: a b\nempty:\nlow:"), focus);
  assert.deepEqual(kept, { row: "top", contents: { top: "a" } });
  const nothing = keepFocus(ROWS, rowsOf("top:\nempty:\nlow:"), focus);
  assert.equal(focused(nothing), undefined);
  assert.equal(moveFocus(rowsOf("top:\nempty:\nlow:"), nothing, "down").row, "low");
});
