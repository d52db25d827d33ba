// `npm run sim -- [--seeds N] [--seed S]`: the seeded simulation of households. The last line is a
// summary in JSON; it fails when a seed fails or, in a big run, when a fault never happened.
// With `--planted` it proves that known bugs would be caught, see planted.mjs.
import { planted } from "./planted.mjs";
import { main, run } from "./steps.mjs";
import { nativeToolchain } from "./toolchain.mjs";

main(() => {
  const words = process.argv.slice(2);
  if (words[0] === "--planted") return planted(words.slice(1));
  const { cargo, env } = nativeToolchain();
  const binary = [
    "run",
    "--locked",
    "--quiet",
    "--profile",
    "sim",
    "-p",
    "omega-sync-tests",
    "--bin",
    "sim",
  ];
  return run(cargo, [...binary, "--", ...words], { env, show: true });
});
