// Chromium from before WebAssembly, as the QtWebEngine of PyQt5 wheels. Needs Linux on x86-64, CPython
// 3.11, and an X server without a screen. `sha256` is that of the wheel.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE } from "../../scripts/paths.mjs";
import { Complaint, run } from "../../scripts/steps.mjs";

/** @typedef {import("./engines.mjs").Engine} Engine */

/** @type {Engine[]} */
export const OLD_ENGINES = [
  {
    name: "m49",
    chromium: "49.0.2623",
    source: "PyQt5==5.7.1",
    sha256: "9b6e7e17242c3ca6581bed06b5c16b2ab0207f66865d3b27334aef01965b49fc",
    standsFor: "newer than Tizen 3, 2017 (M47), and webOS 3, 2016 (M38): oldest there is",
  },
  {
    name: "m53",
    chromium: "53.0.2785",
    source: "PyQt5==5.8",
    sha256: "0572bd079830e00fbe3165fba9e8d8295277afbfbb1987b2a5b4149785b1de0a",
    standsFor: "webOS 4, 2018",
  },
  {
    name: "m56",
    chromium: "56.0.2924",
    source: "PyQt5==5.9.2",
    sha256: "5dab7244b6932606490b47a0692e03d7b72d89f7d3dfa3d147a8b34d6af72451",
    standsFor: "Tizen 4.0, 2018",
  },
];

/** The ABI that the wheels were built for, in its present package. */
const SIP = {
  source: "PyQt5-sip==12.11.0",
  sha256: "ec1d8ce50be76c5c1d1c86c6dc0ccacc2446172dde98b663a17871f532f9bd44",
};

export const PYTHON = "python3.11";
const FOLDER = join(CACHE, "engines");

/** @param {string} name */
export function oldEngine(name) {
  return OLD_ENGINES.find((one) => one.name === name);
}

/** Where an engine lies once it is installed. @param {Engine} wanted */
export function homeOf(wanted) {
  return join(FOLDER, `${wanted.name}-${wanted.sha256.slice(0, 16)}`);
}

/** Why an engine can't run here, if so. @param {Engine} wanted */
export function problemOf(wanted) {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `there is no such engine for ${process.platform} on ${process.arch}`;
  }
  for (const [command, flag] of [
    [PYTHON, "--version"],
    ["Xvfb", "-help"],
  ]) {
    const answer = spawnSync(/** @type {string} */ (command), [/** @type {string} */ (flag)]);
    if (answer.error || answer.status !== 0) return `${command} is not on the PATH`;
  }
  if (existsSync(join(homeOf(wanted), "sip.so"))) return undefined;
  return `not installed: node tests/engines/install.mjs ${wanted.name}`;
}

/** Fetches the engines that are not there yet. @param {string[]} names */
export async function installOldEngines(names) {
  const wanted = OLD_ENGINES.filter((one) => names.includes(one.name));
  const missing = wanted.filter((one) => !existsSync(join(homeOf(one), "sip.so")));
  for (const one of missing) await install(one);
  for (const one of wanted) checkLibraries(one);
  return missing.length === 0 ? "unchanged" : "installed";
}

/** Unpacks beside its place; pip has compared the hashes. @param {Engine} wanted */
async function install(wanted) {
  mkdirSync(FOLDER, { recursive: true });
  const scratch = mkdtempSync(join(FOLDER, "new-"));
  try {
    for (const folder of ["qt", "sip", "ready"]) mkdirSync(join(scratch, folder));
    await download(wanted, ["36", "abi3"], join(scratch, "qt"));
    await download(SIP, ["311", "cp311"], join(scratch, "sip"));
    await run(PYTHON, ["-c", UNPACK, scratch], { log: `engine-${wanted.name}` });
    renameSync(join(scratch, "ready"), homeOf(wanted));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {{source: string, sha256: string}} wheel
 * @param {[string, string]} python version and ABI that the wheel names
 * @param {string} folder
 */
async function download({ source, sha256 }, [version, abi], folder) {
  const list = join(folder, "requirements.txt");
  writeFileSync(list, `${source} --hash=sha256:${sha256}\n`);
  await run(
    PYTHON,
    [
      ...["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"],
      ...["--only-binary", ":all:", "--implementation", "cp", "--platform", "manylinux1_x86_64"],
      ...["--python-version", version, "--abi", abi, "--require-hashes", "-d", folder, "-r", list],
    ],
    { log: `pip-${source}` },
  );
}

const UNPACK = `
import glob, os, sys, zipfile
top = sys.argv[1]
qt = zipfile.ZipFile(glob.glob(top + "/qt/*.whl")[0])
wanted = [n for n in qt.namelist() if n.startswith("PyQt5/") and not n.startswith("PyQt5/Qt/qml/")]
qt.extractall(top + "/ready", wanted)
os.chmod(top + "/ready/PyQt5/Qt/libexec/QtWebEngineProcess", 0o755)
sip = zipfile.ZipFile(glob.glob(top + "/sip/*.whl")[0])
[file] = [n for n in sip.namelist() if n.startswith("PyQt5/sip.") and n.endswith(".so")]
open(top + "/ready/sip.so", "wb").write(sip.read(file))
`;

/** @param {Engine} wanted */
function checkLibraries(wanted) {
  const qt = join(homeOf(wanted), "PyQt5", "Qt");
  const files = ["lib/libQt5WebEngineCore.so.5", "plugins/platforms/libqxcb.so"];
  const answer = spawnSync(
    "ldd",
    files.map((file) => join(qt, file)),
    { encoding: "utf8" },
  );
  const missing = answer.stdout.split("\n").filter((line) => line.includes("not found"));
  if (missing.length === 0) return;
  throw new Complaint(
    `${wanted.name} needs libraries that are not installed: ${missing.join(",")}`,
  );
}
