// What makes the package's scripts shorter than a bundler alone does.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { minify } from "terser";

const COMMENTS = /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm;
const DECLARED = String.raw`\bprivate (?:readonly |async |get |set )*`;

/**
 * The members that TypeScript keeps private and that nothing but `this` ever names: they may have any
 * name. A name that stands anywhere else in the sources, be it for something else, stays.
 * @param {string} folder of the sources @returns {RegExp} that matches these names
 */
export function privateNames(folder) {
  const files = readdirSync(folder, { encoding: "utf8", recursive: true }).filter((name) =>
    name.endsWith(".ts"),
  );
  const texts = files.map((name) => readFileSync(join(folder, name), "utf8"));
  const code = texts.join("\n").replace(COMMENTS, "");
  /** @param {string} pattern */
  const count = (pattern) => code.match(new RegExp(pattern, "g"))?.length ?? 0;
  const declared = Array.from(
    code.matchAll(new RegExp(`${DECLARED}(\\w+)`, "g")),
    ([, name]) => name,
  );
  const names = Array.from(new Set(declared)).filter(
    (name) => count(`\\b${name}\\b`) === count(`(?:\\bthis\\.|${DECLARED})${name}\\b`),
  );
  return new RegExp(`^(?:${names.join("|")})$`);
}

/** Compresses a module in its place. @param {string} file */
export async function squeeze(file) {
  const options = { module: true, ecma: /** @type {const} */ (2017), compress: { passes: 3 } };
  const { code } = await minify(readFileSync(file, "utf8"), options);
  if (!code) throw new Error(`${file}: nothing is left`);
  writeFileSync(file, code);
}
