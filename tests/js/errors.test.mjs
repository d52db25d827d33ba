// The README's table of errors and the package's type name the same codes with the same words.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PKG } from "../../scripts/paths.mjs";

test("every code is in the table, and no other", () => {
  const source = readFileSync(join(PKG, "src", "errors.ts"), "utf8");
  const type = source.slice(source.indexOf("type ErrorCode ="), source.indexOf("/** Thrown"));
  const codes = [...type.matchAll(/\/\*\*\s*([\s\S]*?)\s*\*\/\s*\|\s*"(\w+)"/g)].map(
    ([, meaning = "", code = ""]) => `${code}: ${meaning.replace(/\s*\n\s*\*\s*/g, " ")}`,
  );
  assert.ok(codes.length > 20, "the type was read");
  assert.equal(codes.length, (type.match(/^ {2}\| "/gm) ?? []).length, "each code has its words");
  const readme = readFileSync(join(PKG, "README.md"), "utf8");
  const table = readme.slice(readme.indexOf("## Errors"), readme.indexOf("## What it counts"));
  const rows = [...table.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map(
    ([, code, meaning]) => `${code}: ${meaning}`,
  );
  assert.deepEqual(rows, codes);
});
