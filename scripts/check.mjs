// `npm run check`: format, lint and types, with every warning an error. Builds what the types of
// the demo and the tests come from, nothing more.
import { join } from "node:path";
import { build } from "./build.mjs";
import { ROOT } from "./paths.mjs";
import { nativeIsReady, setUpBuildTools, setUpNpm } from "./setup.mjs";
import { Complaint, main, run, step } from "./steps.mjs";
import { nativeToolchain } from "./toolchain.mjs";

/** Packages with native code, and the wasm package, which compiles natively too. */
const LINTED = [
  { name: "workspace", folder: ROOT, args: ["--workspace"] },
  { name: "wasm-build", folder: join(ROOT, "scripts", "wasm-build"), args: [] },
];
const TYPED = ["scripts", "pkg", "web-demo", "tests"];

main(async () => {
  await step("npm packages", setUpNpm);
  if (!nativeIsReady()) await step("build tools", setUpBuildTools);
  const { cargo, env } = nativeToolchain();
  await step("Rust components", () => need(cargo, env));
  const bin = (/** @type {string} */ name) => join(ROOT, "node_modules", ".bin", name);

  await step("biome", () => run(bin("biome"), ["check", "--error-on-warnings"], { show: true }));
  for (const { name, folder, args } of LINTED) {
    const fmt = () => run(cargo, ["fmt", "--check"], { cwd: folder, env, show: true });
    await step(`cargo fmt, ${name}`, fmt);
    const flags = ["--locked", "--all-targets", ...args, "--", "-D", "warnings"];
    const clippy = () => run(cargo, ["clippy", ...flags], { cwd: folder, env, log: "clippy" });
    await step(`cargo clippy, ${name}`, clippy);
  }
  const strict = { ...env, RUSTDOCFLAGS: "-D warnings" };
  const doc = ["doc", "--locked", "--workspace", "--no-deps"];
  await step("cargo doc", () => run(cargo, doc, { env: strict, log: "doc" }));

  await build({ server: false, demo: false });
  for (const folder of TYPED) {
    await step(`tsc, ${folder}`, () => run(bin("tsc"), ["--noEmit", "-p", folder], { show: true }));
  }
});

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
