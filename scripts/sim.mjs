// `npm run sim -- [--seeds N] [--seed S]`: the seeded simulation of households. The last line is a
// summary in JSON; it fails when a seed fails or, in a big run, when a fault never happened.
import { main, run } from "./steps.mjs";
import { nativeToolchain } from "./toolchain.mjs";

main(() => {
  const { cargo, env } = nativeToolchain();
  const binary = [
    "run",
    "--locked",
    "--quiet",
    "--release",
    "-p",
    "omega-sync-tests",
    "--bin",
    "sim",
  ];
  return run(cargo, [...binary, "--", ...process.argv.slice(2)], { env, show: true });
});
