// `npm run check`: format, lint and types, with every warning an error. Builds what the types of
// the demo and the tests come from, nothing more.
import { join } from "node:path";
import { build } from "./build.mjs";
import { ROOT } from "./paths.mjs";
import { placesAreThere } from "./planted.mjs";
import { nativeIsReady, setUpBuildTools, setUpNpm } from "./setup.mjs";
import { Complaint, main, run, step, stepsToTheEnd } from "./steps.mjs";
import { FEATURES, nativeToolchain } from "./toolchain.mjs";

/** Packages with native code, and the wasm package, which compiles natively too. */
const LINTED = [
  { name: "workspace", folder: ROOT, args: ["--workspace", ...FEATURES] },
  { name: "wasm-build", folder: join(ROOT, "scripts", "wasm-build"), args: [] },
];
const TYPED = ["scripts", "pkg", "web-demo", "tests"];

main(async () => {
  await step("npm packages", setUpNpm);
  if (!nativeIsReady()) await step("build tools", setUpBuildTools);
  const { cargo, env } = nativeToolchain();
  await step("Rust components", () => need(cargo, env));
  const failed = await stepsToTheEnd([biome(), plantedFaults(), ...rust(cargo, env)]);
  await build({ server: false, demo: false });
  failed.push(...(await stepsToTheEnd(TYPED.map(types))));
  if (failed.length === 0) return;
  throw new Complaint(`these checks failed: ${failed.join(", ")}`);
});

/** @param {string} name of a command that an npm package brings */
function bin(name) {
  return join(ROOT, "node_modules", ".bin", name);
}

function biome() {
  const args = ["check", "--error-on-warnings"];
  return { name: "biome", work: () => run(bin("biome"), args, { show: true }) };
}

/** Said here, so that whoever moves code need not wait for the tests to hear it. */
function plantedFaults() {
  return { name: "places of the planted faults", work: async () => placesAreThere() };
}

/** @param {string} folder */
function types(folder) {
  const args = ["--noEmit", "-p", folder];
  return { name: `tsc ${folder}`, work: () => run(bin("tsc"), args, { show: true }) };
}

/** @param {string} cargo @param {NodeJS.ProcessEnv} env */
function rust(cargo, env) {
  const checks = LINTED.flatMap(({ name, folder, args }) => {
    const fmt = { cwd: folder, env, show: true };
    const clippy = { cwd: folder, env, log: `clippy-${name}` };
    const flags = ["--locked", "--all-targets", ...args, "--", "-D", "warnings"];
    return [
      { name: `cargo fmt, ${name}`, work: () => run(cargo, ["fmt", "--check"], fmt) },
      { name: `cargo clippy, ${name}`, work: () => run(cargo, ["clippy", ...flags], clippy) },
    ];
  });
  const strict = { ...env, RUSTDOCFLAGS: "-D warnings" };
  const doc = ["doc", "--locked", "--workspace", "--no-deps"];
  return [
    ...checks,
    { name: "cargo doc", work: () => run(cargo, doc, { env: strict, log: "doc" }) },
  ];
}

/** @param {string} cargo @param {NodeJS.ProcessEnv} env */
async function need(cargo, env) {
  for (const component of ["fmt", "clippy"]) {
    await run(cargo, [component, "--version"], { env, log: "components" }).catch(() => {
      throw new Complaint(
        `cargo ${component} is missing: rustup component add rustfmt clippy (Debian's packages have neither)`,
      );
    });
  }
}
