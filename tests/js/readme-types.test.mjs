// The examples of the package's README compile, with strict types, as a newcomer's own modules would.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PKG, ROOT } from "../../scripts/paths.mjs";

/** What the app has that an example is part of. */
const APP = `
import type { OpenOptions } from "omega-sync";
import type { PatternsClient, TasteTitle } from "omega-sync/patterns";
import type { memo as memoize, ReactNode } from "react";

declare global {
  const client: PatternsClient;
  const settings: OpenOptions;
  const url: string;
  const device: string;
  const token: () => Promise<string>;
  const catalogue: TasteTitle[];
  const nameOf: (content: string) => string | undefined;
  const player: { pause(): void; open(content: string, seconds: number): void };
  const element: HTMLElement;
  const createRoot: (element: Element) => { render(node: ReactNode): void };
  const memo: typeof memoize;
}
`;

const OPTIONS = {
  strict: true,
  noEmit: true,
  target: "es2022",
  lib: ["es2022", "dom"],
  module: "esnext",
  moduleResolution: "bundler",
  jsx: "react-jsx",
  types: [],
};

/** @param {string} file of a document @returns {{kind: string, code: string}[]} */
function examplesOf(file) {
  const blocks = readFileSync(file, "utf8").matchAll(/^```(tsx?)\n(.*?)^```$/gms);
  return Array.from(blocks, ([, kind = "", code = ""]) => ({ kind, code }));
}

test("every example of the package's README compiles", (context) => {
  // Within the project, where the packages are found that the examples import.
  mkdirSync(join(ROOT, "target"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, "target", "readme-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const examples = examplesOf(join(PKG, "README.md"));
  assert.ok(examples.length >= 7, "the examples were found");
  for (const [at, { kind, code }] of examples.entries()) {
    writeFileSync(join(folder, `example-${at + 1}.${kind}`), `${code}\nexport {};\n`);
  }
  writeFileSync(join(folder, "app.d.ts"), APP);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: OPTIONS }));
  const compiler = join(ROOT, "node_modules", ".bin", "tsc");
  const { status, stdout } = spawnSync(compiler, ["-p", folder], { encoding: "utf8" });
  assert.equal(stdout, "");
  assert.equal(status, 0);
});
