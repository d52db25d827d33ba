// Every feature on every old TV engine: the table of docs/tv.md, which `--write` puts there. Needs `npm run
// build`, and the engines: node tests/engines/install.mjs all
import { writeFileSync } from "node:fs";
import { DOCUMENT, ROWS, rewritten, Stage, table, visitTwice, WAYS } from "../engines/matrix.mjs";

const asked = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const write = process.argv.includes("--write");
const engines = ROWS.map(({ name }) => name).filter(
  (name) => asked.length === 0 || asked.includes(name),
);
const stage = await Stage.open();
/** Of a test, what is used: what ends with it. @type {Array<() => unknown>} */
const ends = [];
const context = /** @type {import("node:test").TestContext} */ (
  /** @type {unknown} */ ({ after: (/** @type {() => unknown} */ end) => ends.push(end) })
);
try {
  const results = [];
  for (const engine of engines) {
    for (const way of WAYS) {
      const result = await visitTwice(context, stage, engine, way);
      results.push(result);
      console.log(`${engine} ${way}: ${result.works.join(" ")} ${result.trouble}`);
    }
  }
  for (const end of ends) await end();
  const lines = table(results);
  console.log(lines.join("\n"));
  if (write) writeFileSync(DOCUMENT, rewritten(lines));
  console.log(JSON.stringify({ bench: "engines", results }));
} finally {
  await stage.close();
}
