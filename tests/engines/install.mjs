// Fetches TV engines by hand: node tests/engines/install.mjs m64 m79 | all
import { main, step } from "../../scripts/steps.mjs";
import { ENGINES, installEngines, TESTED } from "./engines.mjs";

main(async () => {
  const asked = process.argv.slice(2);
  const names = asked.includes("all") ? ENGINES.map((one) => one.name) : asked;
  await step("TV engines", () => installEngines(names.length > 0 ? names : TESTED));
});
