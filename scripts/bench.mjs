// `npm run bench -- NAME …`: one measurement of tests/bench. Its last line is one JSON object.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.mjs";
import { Complaint, main, run } from "./steps.mjs";

const FOLDER = join(ROOT, "tests", "bench");

main(() => {
  const [name, ...args] = process.argv.slice(2);
  const names = readdirSync(FOLDER)
    .filter((file) => file.endsWith(".mjs"))
    .map((file) => file.slice(0, -".mjs".length));
  if (!name || !names.includes(name)) {
    throw new Complaint(`name a measurement: npm run bench -- ${names.join(" | ")}`);
  }
  return run(process.execPath, [join(FOLDER, `${name}.mjs`), ...args], { show: true });
});
