// Fetches TV engines by hand: node tests/engines/install.mjs m53 m64 m79 | all
import { main, step } from "../../scripts/steps.mjs";
import { ENGINES, installEngines } from "./engines.mjs";
import { installOldEngines, OLD_ENGINES, oldEngine } from "./old.mjs";

main(async () => {
  const asked = process.argv.slice(2);
  const every = [...ENGINES, ...OLD_ENGINES].map((one) => one.name);
  const names = asked.length === 0 || asked.includes("all") ? every : asked;
  const [old, others] = [names.filter(oldEngine), names.filter((name) => !oldEngine(name))];
  await step("TV engines", () => installEngines(others));
  await step("engines from before WebAssembly", () => installOldEngines(old));
});
