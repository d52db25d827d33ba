// `npm run sim -- …`: the seeded simulation of a household, with these arguments.
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
