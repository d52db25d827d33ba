// The package as a stranger gets it: packed, installed into an empty folder without a network, built by
// Vite, webpack and esbuild or put into a script tag, and then two devices sync in Chromium.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build as esbuild } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { build as vite } from "vite";
import webpack from "webpack";
import { PKG, ROOT } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold } from "../js/tv.mjs";
import { WAIT_MS } from "../js/until.mjs";
import { launchBrowser, syncTwoPages } from "./browser.mjs";

const folder = mkdtempSync(join(tmpdir(), "omega-packaging-"));
const site = join(folder, "site");
const installed = join(folder, "node_modules", "omega-sync");
/** @type {string} */
let tarball;
/** @type {Edge} */
let edge;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  mkdirSync(site);
  const packed = npm(["pack", "--json", "--pack-destination", folder], PKG);
  tarball = join(folder, JSON.parse(packed)[0].filename);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  npm(["install", "--offline", "--no-audit", "--no-fund", tarball], folder);
  edge = await Edge.start("--static", site);
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await edge?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** @param {string[]} args @param {string} cwd */
function npm(args, cwd) {
  return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** A program that imports the package, in a folder of its own. @param {string} name @param {string} code */
function program(name, code) {
  const source = join(folder, name);
  mkdirSync(source);
  writeFileSync(join(source, "main.js"), code);
  return source;
}

/** @param {string} name of the page @param {string} script its address */
function page(name, script) {
  const tag = `<script type="module" src="${script}"></script>`;
  writeFileSync(join(site, `${name}.html`), `<!doctype html><meta charset="utf-8">${tag}`);
}

const IMPORT = `import { open } from "omega-sync"; window.entry = { open };`;

test("esbuild, with the wasm file's address from its loader", async () => {
  const code = `
    import { open } from "omega-sync";
    import wasm from "omega-sync/wasm";
    window.entry = { open: (options) => open({ ...options, wasm: new URL(wasm, location.href) }) };`;
  await bundle("esbuild", code, { loader: { ".wasm": "file" } });
});

test("esbuild, with patterns: the addresses of both files from its loader", async () => {
  const code = `
    import { open } from "omega-sync/patterns";
    import wasm from "omega-sync/patterns-wasm";
    import tables from "omega-sync/patterns-tables";
    const taste = { tables };
    window.entry = { open: (options) => open({ ...options, taste, wasm: new URL(wasm, location.href) }) };`;
  await bundle("esbuild-patterns", code, { loader: { ".wasm": "file", ".bin": "file" } });
  hasFiles(join(site, "esbuild-patterns"), /\.wasm$/, /\.bin$/);
});

test("esbuild, with everything in one file", async () => {
  await bundle("esbuild-inline", IMPORT.replace("omega-sync", "omega-sync/inline"), {});
  assert.deepEqual(readdirSync(join(site, "esbuild-inline")), ["main.js"]);
});

/** @param {string} name @param {string} code @param {import("esbuild").BuildOptions} options */
async function bundle(name, code, options) {
  const source = program(name, code);
  const outdir = join(site, name);
  const entryPoints = [join(source, "main.js")];
  await esbuild({
    ...{ entryPoints, outdir, bundle: true, format: "esm", publicPath: `/${name}/` },
    ...{ logLevel: "silent", ...options },
  });
  page(name, `${name}/main.js`);
  await syncTwoPages(browser, edge, `${name}.html`);
}

/**
 * Entries, with the files that a bundler has to copy beside its own.
 * @type {{name: string, entry: string, file?: RegExp, beside?: RegExp}[]}
 */
const ENTRIES = [
  { name: "", entry: "omega-sync", file: /\.wasm$/ },
  { name: "-patterns", entry: "omega-sync/patterns", file: /\.wasm$/, beside: /\.bin$/ },
  { name: "-worker", entry: "omega-sync/worker", file: /iife.*\.js$|^[0-9a-f]{20}\.js$/ },
  { name: "-inline", entry: "omega-sync/inline" },
];

for (const { name, entry, file, beside = file } of ENTRIES) {
  test(`Vite, as it comes, ${entry}`, async () => {
    const root = program(`vite${name}`, IMPORT.replace("omega-sync", entry));
    const html = `<!doctype html><meta charset="utf-8"><script type="module" src="/main.js"></script>`;
    writeFileSync(join(root, "index.html"), html);
    const outDir = join(site, `vite${name}`);
    await vite({ root, base: `/vite${name}/`, logLevel: "error", build: { outDir } });
    hasFiles(join(outDir, "assets"), file, beside);
    await syncTwoPages(browser, edge, `vite${name}/index.html`);
  });

  test(`webpack, as it comes, ${entry}`, async () => {
    const context = program(`webpack${name}`, IMPORT.replace("omega-sync", entry));
    const output = { path: join(site, `webpack${name}`), publicPath: `/webpack${name}/` };
    await new Promise((resolve, reject) => {
      webpack({ mode: "production", context, entry: "./main.js", output }, (error, stats) => {
        if (error || stats?.hasErrors()) reject(error ?? new Error(stats?.toString()));
        else resolve(undefined);
      });
    });
    hasFiles(output.path, file, beside);
    page(`webpack${name}`, `webpack${name}/main.js`);
    await syncTwoPages(browser, edge, `webpack${name}.html`);
  });
}

/** Or that there is nothing but scripts. @param {string} folder @param {(RegExp | undefined)[]} wanted */
function hasFiles(folder, ...wanted) {
  const files = readdirSync(folder);
  for (const file of wanted) {
    const has = file === undefined ? files.every(isScript) : files.some((name) => file.test(name));
    assert.ok(has, files.join());
  }
}

/** @param {string} name */
function isScript(name) {
  return name.endsWith(".js");
}

test("React is the app's own, and nobody else's: Vite, the hooks beside the default entry", async () => {
  assert.ok(!existsSync(join(folder, "node_modules", "react")), "installed unasked");
  for (const name of ["react", "react-dom", "scheduler", "@types"]) {
    symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
  }
  const code = `
    import { createElement } from "react";
    import { createRoot } from "react-dom/client";
    import { open } from "omega-sync";
    import { OmegaSyncProvider, useWatchlist } from "omega-sync/react";
    const List = () => createElement("p", null, useWatchlist().length);
    async function openShown(options) {
      const client = await open(options);
      const root = createRoot(document.body.appendChild(document.createElement("div")));
      root.render(createElement(OmegaSyncProvider, { client }, createElement(List)));
      return client;
    }
    window.entry = { open: openShown };`;
  const root = program("react", code);
  const html = `<!doctype html><meta charset="utf-8"><body><script type="module" src="/main.js"></script>`;
  writeFileSync(join(root, "index.html"), html);
  await vite({
    ...{ root, base: "/react/", logLevel: "error" },
    build: { outDir: join(site, "react") },
  });
  await syncTwoPages(browser, edge, "react/index.html", undefined, (page) =>
    page.getByText("2", { exact: true }).waitFor(),
  );
});

// The last one loads the first.
for (const build of ["iife", "patterns.iife", "nowasm", "worker"]) {
  test(`a script tag, ${build}`, async () => {
    const file = `omega-sync.${build}.js`;
    copyFileSync(join(installed, "dist", file), join(site, file));
    // Without a word about its encoding: the script says it itself.
    const scripts = `<script src="${file}"></script><script>window.entry = OmegaSync</script>`;
    writeFileSync(join(site, `${build}.html`), `<!doctype html>${scripts}`);
    await syncTwoPages(browser, edge, `${build}.html`);
  });
}

for (const entry of ["index", "patterns", "inline", "worker"]) {
  test(`a script tag of the type module, without a bundler, ${entry}.js`, async () => {
    cpSync(join(installed, "dist"), join(site, "dist"), { recursive: true });
    const code = `import { open } from "./dist/${entry}.js"; window.entry = { open };`;
    const script = `<script type="module">${code}</script>`;
    writeFileSync(join(site, `${entry}.html`), `<!doctype html><meta charset="utf-8">${script}`);
    await syncTwoPages(browser, edge, `${entry}.html`);
  });
}

for (const entry of ["omega-sync", "omega-sync/patterns"]) {
  test(`Node, ${entry}: written, sent, read by another device, and the process ends`, () => {
    const household = newHousehold();
    const ran = ["tv", "phone"].map((device) => {
      const settings = { url: edge.address, device, storage: "memory", poll: { everySeconds: 60 } };
      const code = `
        import { open } from "${entry}";
        const token = async () => "${edge.token(household, device)}";
        const client = await open({ ...${JSON.stringify(settings)}, token });
        await client.watchlist.add("${device}");
        await client.syncNow();
        console.log(client.watchlist.items().map(({ content }) => content).sort().join());
        await client.close();`;
      const args = ["--input-type=module", "--eval", code];
      const options = { cwd: folder, encoding: "utf8", timeout: WAIT_MS };
      return execFileSync(process.execPath, args, /** @type {any} */ (options)).trim();
    });
    assert.deepEqual(ran, ["tv", "phone,tv"]);
  });
}

test("a program in TypeScript, strict, with the types checked too", () => {
  const source = join(folder, "types.ts");
  const names = ["omega-sync", "omega-sync/inline", "omega-sync/worker", "omega-sync/patterns"];
  const code = names.map(
    (entry, at) => `
      import { open as open${at}, type Client as Client${at}, OmegaError as Error${at} } from "${entry}";
      export const client${at}: Promise<Client${at}> =
        open${at}({ url: "https://sync.example", device: "tv", token: async () => "" });
      export const code${at} = new Error${at}("closed", "").code;`,
  );
  code.push(`
    import { useStatus, useWatchlist } from "omega-sync/react";
    export const added = () => useWatchlist()[0]?.addedMs.toFixed();
    export const state = () => useStatus(({ state }) => state).length;`);
  writeFileSync(source, code.join("\n"));
  const tsc = join(createRequire(import.meta.url).resolve("typescript/package.json"), "../bin/tsc");
  const lib = ["--target", "es2022", "--lib", "es2022,dom", "--types", ""];
  for (const module of ["nodenext", "esnext"]) {
    const resolution = module === "esnext" ? ["--moduleResolution", "bundler"] : [];
    const flags = ["--noEmit", "--strict", "--module", module, ...resolution, ...lib, source];
    const done = spawnSync(process.execPath, [tsc, ...flags], { cwd: folder, encoding: "utf8" });
    assert.equal(done.status, 0, done.stdout);
  }
});

test("publint finds nothing", async () => {
  const { messages, pkg } = await publint({ pkgDir: installed, strict: true });
  assert.deepEqual(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
});

test("are-the-types-wrong finds nothing", () => {
  const attw = join(ROOT, "node_modules", ".bin", "attw");
  // No types belong to these: classic scripts, files that are no script, and the manifest.
  const files = ["wasm", "patterns-wasm", "patterns-tables", "package.json"];
  const untyped = ["iife", "patterns-iife", "worker-iife", "nowasm", ...files];
  const args = ["--profile", "esm-only", "--exclude-entrypoints", ...untyped, "--"];
  const done = spawnSync(attw, [...args, tarball], { encoding: "utf8" });
  assert.equal(done.status, 0, done.stdout);
});
