// Installs what is missing, and only that: npm packages everywhere, system packages on Debian as
// root. Anywhere else one line says what to install.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.mjs";
import { unlessStamped } from "./stamp.mjs";
import { Complaint, run } from "./steps.mjs";
import { nativeToolchain, wasmToolchain } from "./toolchain.mjs";

const WASM_PACKAGES = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
/** A C compiler links Rust programs and builds the embedded database. */
const C_PACKAGES = ["gcc", "libc6-dev"];
/** The browser and its driver, a font for its pictures, the witness of each fsync. */
const TEST_PACKAGES = [
  ...["chromium", "chromium-driver", "fonts-dejavu-core", "strace", "python3", "python3-venv"],
];
/** What the old TV engines link to. */
const ENGINE_PACKAGES = ["libnss3", "libnspr4", "libexpat1", "libuuid1"];
/** The same for those from before WebAssembly: Python, which brings them, an X server, Qt's libraries. */
const OLD_ENGINE_PACKAGES = [
  ...["python3", "python3-pip", "xvfb", "libgl1", "libgl1-mesa-dri", "libglx-mesa0", "libegl1"],
  ...["libasound2", "libdbus-1-3", "libfontconfig1", "libfreetype6", "libglib2.0-0", "libice6"],
  ...["libsm6", "libx11-6", "libx11-xcb1", "libxcb1", "libxcomposite1", "libxcursor1"],
  ...["libxdamage1", "libxext6", "libxfixes3", "libxi6", "libxrandr2", "libxrender1"],
  ...["libxslt1.1", "libxss1", "libxtst6"],
];
const APT_LOCK_WAIT_S = 300;

/** Node packages, exactly as locked. */
export async function setUpNpm() {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const folders = ["", ...manifest.workspaces];
  const inputs = [
    ...folders.map((folder) => join(ROOT, folder, "package.json")),
    join(ROOT, "package-lock.json"),
    join(ROOT, ".npmrc"),
  ];
  // npm's own record of what is installed changes when somebody installs by hand.
  const outputs = [join(ROOT, "node_modules", ".package-lock.json")];
  const facts = [process.version, process.platform, process.arch];
  return unlessStamped("npm", { inputs, outputs, facts }, () => run("npm", ["ci"], { log: "npm" }));
}

/** True when native code can be compiled before the build tools are set up. */
export function nativeIsReady() {
  if (!hasCCompiler()) return false;
  try {
    nativeToolchain();
    return true;
  } catch (error) {
    if (error instanceof Complaint) return false;
    throw error;
  }
}

/** What a build needs beside a Rust for native code. */
export async function setUpBuildTools() {
  const missing = [];
  if (!wasmToolchain()) missing.push(...WASM_PACKAGES);
  if (!hasCCompiler()) missing.push(...C_PACKAGES);
  if (missing.length === 0) return "unchanged";
  await aptInstall(
    missing,
    "a C compiler, and the Rust that builds WebAssembly (with rustup: rustup component add rust-src)",
  );
  if (wasmToolchain()) return "installed";
  throw new Complaint(
    "Debian's rustc-web is older than rust-version in Cargo.toml: run apt-get update && apt-get install rustc-web cargo-web rust-web-src lld-22",
  );
}

/** What the tests need beside the build's tools. */
export async function setUpTestTools() {
  if (!isDebian()) {
    const commands = {
      chromium: "--version",
      chromedriver: "--version",
      strace: "-V",
      python3: "-V",
    };
    const missing = Object.entries(commands)
      .filter(([command, flag]) => !runs(command, [flag]))
      .map(([command]) => command);
    if (missing.length === 0) return "unchanged";
    throw new Complaint(`the tests need ${missing.join(", ")} on the PATH: install them first`);
  }
  const old = process.arch === "x64" ? OLD_ENGINE_PACKAGES : [];
  const wanted = [...TEST_PACKAGES, ...ENGINE_PACKAGES, ...old];
  const missing = wanted.filter((name) => !isInstalled(name));
  if (missing.length === 0) return "unchanged";
  await aptInstall(missing, "the browser tests' tools");
  return "installed";
}

/** @param {string[]} packages @param {string} purpose */
async function aptInstall(packages, purpose) {
  const words = `apt-get install ${packages.join(" ")}`;
  if (!isDebian()) throw new Complaint(`install ${purpose}; on Debian that is: ${words}`);
  if (process.getuid?.() !== 0) throw new Complaint(`run this first: sudo ${words}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const wait = ["-o", `DPkg::Lock::Timeout=${APT_LOCK_WAIT_S}`];
  await run("apt-get", [...wait, "update"], { env, log: "apt-update" });
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  await run("apt-get", [...wait, ...install], { env, log: "apt-install" });
}

function hasCCompiler() {
  return runs("cc", ["--version"]);
}

function isDebian() {
  if (!existsSync("/etc/os-release")) return false;
  return /^ID=debian$/m.test(readFileSync("/etc/os-release", "utf8"));
}

/** @param {string} name of a Debian package */
function isInstalled(name) {
  const answer = spawnSync("dpkg", ["--status", name], { encoding: "utf8" });
  return answer.status === 0 && /^Status: install ok installed$/m.test(answer.stdout);
}

/** @param {string} command @param {string[]} args */
function runs(command, args) {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}
