// What is published: complete, without globals, without syntax that old engines cannot parse.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import vm from "node:vm";
import { parse } from "acorn";
import { PKG } from "../../scripts/paths.mjs";

const manifest = JSON.parse(readFileSync(join(PKG, "package.json"), "utf8"));

/** @param {string} name of a file in dist/ */
function dist(name) {
  return readFileSync(join(PKG, "dist", name), "utf8");
}

test("everything the manifest points to is packed", () => {
  const output = execFileSync("npm", ["pack", "--dry-run", "--json"], {
    cwd: PKG,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  /** @type {Array<{files: Array<{path: string}>}>} */
  const packed = JSON.parse(output);
  const files = new Set(packed[0]?.files.map((file) => `./${file.path}`));
  const targets = Object.values(manifest.exports).flatMap((target) =>
    typeof target === "string" ? [target] : Object.values(target),
  );
  for (const target of targets) assert.ok(files.has(target), `${target} is not packed`);
  assert.ok(files.has("./dist/wasm-url.js"));
});

test("every type that the declarations import is packed", () => {
  const seen = new Set(["dist/index.d.ts", "dist/engine.d.ts", "dist/react.d.ts"]);
  for (const file of seen) {
    const text = readFileSync(join(PKG, file), "utf8");
    for (const [, target = ""] of text.matchAll(/from "(\.[^"]+)\.js"/g)) {
      const path = join(file, "..", `${target}.d.ts`);
      assert.ok(existsSync(join(PKG, path)), `${file} imports ${path}`);
      seen.add(path);
    }
  }
  assert.ok(seen.size > 3);
});

test("what is for this package's own tests is no setting of an app", () => {
  const declared = readFileSync(join(PKG, "dist", "api.d.ts"), "utf8");
  assert.match(declared, /\bpoll\?:/);
  assert.doesNotMatch(declared, /testing/);
});

test("there are no run-time dependencies, and React only for who asks for it", () => {
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual(manifest.peerDependenciesMeta, { react: { optional: true } });
  const users = readdirSync(join(PKG, "dist")).filter(
    (name) => name.endsWith(".js") && /from ?"react"/.test(dist(name)),
  );
  assert.deepEqual(users, ["react.js"]);
});

test("every browser build shows the same names", async () => {
  const { openWith: _, ...shown } = await import("../../pkg/dist/index.js");
  const inline = await import("../../pkg/dist/inline.js");
  assert.deepEqual(Object.keys(inline).sort(), Object.keys(shown).sort());
  // The first one is what the Worker of the last one loads, too.
  const builds = { iife: ["serve"], "patterns.iife": [], nowasm: [], worker: [] };
  for (const [build, more] of Object.entries(builds)) {
    const name = `omega-sync.${build}.js`;
    const page = { document: {}, HTMLScriptElement: class {} };
    const context = vm.createContext({ TextDecoder, TextEncoder, ...page });
    const before = new Set(Object.getOwnPropertyNames(context));
    vm.runInContext(dist(name), context);
    // `var` at the top of a script makes a property of the global object; anything else would too.
    const added = Object.getOwnPropertyNames(context).filter((name) => !before.has(name));
    assert.deepEqual(added, ["OmegaSync"]);
    const names = vm.runInContext("Object.keys(OmegaSync).sort()", context);
    assert.deepEqual([...names], [...Object.keys(shown), ...more].sort(), name);
  }
});

test("a page of any encoding reads the single files as they are meant", () => {
  for (const build of ["iife", "patterns.iife", "worker"])
    assert.ok(dist(`omega-sync.${build}.js`).startsWith("\uFEFF"), build);
  assert.match(dist("omega-sync.nowasm.js"), /^[\t\n -~]*$/);
});

/** What Chromium 63 lacks, of the language's library and the platform's; what `typeof` asks for is no use. */
const AFTER_CHROMIUM_63 = [
  ...["Object.fromEntries", "Object.hasOwn", "Object.groupBy", "Promise.allSettled", "Promise.any"],
  ...["Promise.withResolvers", "globalThis", "BigInt", "WeakRef", "FinalizationRegistry"],
  ...[".flat(", ".flatMap(", ".at(", ".findLast", ".toSorted(", ".matchAll(", ".replaceAll("],
  ...[".trimStart(", ".trimEnd(", ".encodeInto(", "queueMicrotask(", "structuredClone("],
  ...["new AbortController", "AbortSignal", "new EventTarget", "randomUUID", "indexedDB.databases"],
  ...["requestStorageAccess", ".replaceChildren(", "new ResizeObserver", "Array.prototype.at"],
];
/** Interfaces that Chromium 53 has not; what `typeof` asks for first is no use of it. */
const AFTER_CHROMIUM_53 = [
  ...AFTER_CHROMIUM_63,
  ...["Object.entries", "Object.values", "Object.getOwnPropertyDescriptors"],
  ...[".padStart(", ".padEnd(", ".finally(", "URLSearchParams", "new BroadcastChannel"],
  "WebAssembly.Memory(",
];
/** Loaded last, and only without the option in their place: they have `import.meta`, of Chromium 64. */
const LAST = ["wasm-url.js", "patterns-wasm-url.js", "script-url.js"];
const FOR_NODE = ["node.js", "patterns-node.js"];

/**
 * Throws for syntax that Chromium 63 cannot parse. It knows that of ES2018, but for names of groups and
 * classes of Unicode in regular expressions, and `import()`, which here is read as a call.
 * @param {string} text
 */
function parseAsChromium63(text) {
  parse(text.replace(/\bimport\(/g, "_mport("), {
    ecmaVersion: 2018,
    sourceType: "module",
    /** @param {any} token of which the types of acorn leave the value out */
    onToken: ({ type, value }) => {
      if (type.label !== "regexp" || !/\(\?<[^=!]|\\p\{/i.test(value.pattern)) return;
      throw new SyntaxError(`/${value.pattern}/ is newer`);
    },
  });
}

test("every script but those that are loaded last is what Chromium 63 can parse, and asks for nothing newer", () => {
  const newer = [
    "try{}catch{}",
    "a?.b",
    "import.meta",
    "/(?<a>b)/",
    "/\\p{L}/u",
    "class A{b=1}",
    "1n",
  ];
  for (const text of newer) assert.throws(() => parseAsChromium63(text), SyntaxError, text);
  const scripts = readdirSync(join(PKG, "dist")).filter((name) => name.endsWith(".js"));
  const apart = [...LAST, ...FOR_NODE];
  assert.deepEqual(
    apart.filter((name) => !scripts.includes(name)),
    [],
  );
  for (const name of scripts.filter((name) => !apart.includes(name))) {
    const text = dist(name);
    assert.doesNotThrow(() => parseAsChromium63(text), name);
    const used = AFTER_CHROMIUM_63.filter((word) => text.includes(word));
    assert.deepEqual(used, [], name);
  }
  for (const name of LAST) assert.ok(dist(name).includes("import.meta.url"), name);
});

test("the build without WebAssembly is what Chromium 53 can parse, and asks for nothing newer", () => {
  const text = dist("omega-sync.nowasm.js");
  parse(text, { ecmaVersion: 2016, sourceType: "script" });
  for (const name of ["index.js", "omega-sync.iife.js"]) {
    const newer = () => parse(dist(name), { ecmaVersion: 2016, sourceType: "module" });
    assert.throws(newer, SyntaxError, `${name} has nothing newer: the parser can't tell`);
  }
  const used = AFTER_CHROMIUM_53.filter((name) => text.includes(name));
  assert.deepEqual(used, []);
});
