// What an app's developer reads in the editor: each name that the package's entries export, and each
// member of it, has words; what returns a promise says when it resolves and how it rejects.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { PKG } from "../../scripts/paths.mjs";

// The project's own compiler has no stable API for this yet; a tool that tests the package has one.
const tool = createRequire(import.meta.url).resolve("@arethetypeswrong/core/package.json");
/** @type {any} */
const ts = createRequire(tool)("typescript");

const manifest = JSON.parse(readFileSync(join(PKG, "package.json"), "utf8"));
const entries = Object.values(manifest.exports).flatMap(({ types }) =>
  types === undefined ? [] : [join(PKG, types)],
);
const program = ts.createProgram(entries, {
  ...{ target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext },
  ...{ moduleResolution: ts.ModuleResolutionKind.NodeNext, types: [] },
});
const checker = program.getTypeChecker();

/** What the entries export, each once, wherever it is declared. @returns {Map<any, string>} */
function exported() {
  const found = new Map();
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry));
    for (const name of checker.getExportsOfModule(module)) {
      const isAlias = (name.flags & ts.SymbolFlags.Alias) !== 0;
      found.set(isAlias ? checker.getAliasedSymbol(name) : name, name.name);
    }
  }
  return found;
}

/** @param {any} symbol @returns {string} */
function wordsOf(symbol) {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker));
}

/** Members that apps see. @param {any} symbol @returns {any[]} */
function membersOf(symbol) {
  const { members = new Map() } = symbol;
  return [...members.values()].filter((/** @type {any} */ member) => {
    const [declaration] = member.declarations ?? [];
    const kinds = [ts.SyntaxKind.Constructor, ts.SyntaxKind.TypeParameter];
    const isPrivate = ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Private;
    return !kinds.includes(declaration.kind) && !isPrivate;
  });
}

/** @param {any} symbol */
function givesPromise(symbol) {
  const [declaration] = symbol.declarations;
  const { type } = declaration;
  return ts.isFunctionLike(declaration) && /^Promise\b/.test(type?.getText() ?? "");
}

/** @param {string} words */
function saysHowItEnds(words) {
  return /resolves?\b/i.test(words) && /\b(rejects?|never)\b/i.test(words);
}

test("every exported name and member has words, and each promise says how it ends", () => {
  /** @type {string[]} */
  const wordless = [];
  /** @type {string[]} */
  const endless = [];
  const names = exported();
  let members = 0;
  for (const [symbol, name] of names) {
    const words = wordsOf(symbol);
    if (words === "") wordless.push(name);
    if (givesPromise(symbol) && !saysHowItEnds(words)) endless.push(name);
    for (const member of membersOf(symbol)) {
      members += 1;
      const own = wordsOf(member);
      if (own === "") wordless.push(`${name}.${member.name}`);
      if (givesPromise(member) && !saysHowItEnds(words + own))
        endless.push(`${name}.${member.name}`);
    }
  }
  assert.ok(names.size > 60 && members > 200, `${names.size} names, ${members} members`);
  assert.deepEqual({ wordless, endless }, { wordless: [], endless: [] });
});
