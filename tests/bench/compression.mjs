// `npm run --silent bench -- compression FILE FILE …`: would compressing what devices and server
// send pay, on top of our encoding, and what would it make of plainer ones? The bodies come from
// traces (tests/bench/trace/file.mjs) of several households: a dictionary is trained on others than
// the one it is used for. The program in tests/compression sends them and does zstd; brotli is
// Node's.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { brotliCompressSync, constants } from "node:zlib";
import { CARGO_TARGET } from "../../scripts/paths.mjs";
import { Complaint, main, run } from "../../scripts/steps.mjs";
import { nativeToolchain } from "../../scripts/toolchain.mjs";

const USAGE = "npm run --silent bench -- compression FILE FILE …  (at least two traces)";
const PACKAGE = ["--locked", "-p", "omega-sync-compression", "--features", "zstd"];
const WAYS = /** @type {const} */ (["zstd_3", "zstd_19", "zstd_3_dictionary", "brotli_11"]);
/** Brotli's window: as small as holds the largest body. */
const WINDOW_BITS_MIN = 10;
const WINDOW_BITS_MAX = 24;

/** @typedef {[string, number, number, number]} Line a body's hex digits; its bytes by zstd */

/**
 * @typedef {object} Measured
 * @property {{kind: string, form: string, records: number}} of
 * @property {Array<{samples: number, bytes: number, trained: boolean}>} dictionaries
 * @property {Line[]} bodies
 */

main(async () => {
  const files = process.argv.slice(2);
  if (files.length < 2) throw new Complaint(USAGE);
  await build();
  /** @type {Record<string, object>} */
  const kinds = {};
  for await (const { of, dictionaries, bodies } of measured(files)) {
    const records_mean = tenths(of.records / bodies.length);
    const before = kinds[of.kind];
    kinds[of.kind] = { records_mean, ...before, [of.form]: figures(bodies, dictionaries) };
  }
  console.log(JSON.stringify({ bench: "compression", traces: files.length, kinds }));
});

/** Clippy first: `npm run check` leaves out what compiles zstd. */
async function build() {
  const { cargo, env } = nativeToolchain();
  const log = { env, log: "compression" };
  const strict = ["--all-targets", "--", "-D", "warnings"];
  await run(cargo, ["clippy", "--release", ...PACKAGE, ...strict], log);
  await run(cargo, ["build", "--release", ...PACKAGE], log);
}

/** @param {string[]} files @returns {AsyncGenerator<Measured>} */
async function* measured(files) {
  const program = join(CARGO_TARGET, "release", "compression");
  const child = spawn(program, files, { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line);
  const [code] = await closed;
  if (code !== 0) throw new Complaint("the measurement failed: its reason is above");
}

/**
 * @param {Line[]} bodies at least one
 * @param {Measured["dictionaries"]} dictionaries
 */
function figures(bodies, dictionaries) {
  const rows = bodies.map(([hex, ...zstd]) => {
    const body = Buffer.from(hex, "hex");
    return { plain: body.length, ways: [...zstd, brotli(body)] };
  });
  const plain = sum(rows.map((row) => row.plain));
  const ways = WAYS.map((way, at) => {
    const pairs = rows.map(({ plain, ways }) => ({ plain, bytes: ways[at] ?? Number.NaN }));
    const pays = pairs.filter(({ plain, bytes }) => bytes < plain);
    const smaller = pairs.map(({ plain, bytes }) => Math.min(plain, bytes));
    const figures = {
      bytes_mean: tenths(sum(pairs.map(({ bytes }) => bytes)) / rows.length),
      smaller_percent: tenths((100 * pays.length) / rows.length),
      // Had each body been sent in the smaller form, at no cost for saying which.
      saved_percent: tenths(100 * (1 - sum(smaller) / plain)),
    };
    return [way, figures];
  });
  const bytes_mean = tenths(plain / rows.length);
  return { bodies: rows.length, bytes_mean, ...Object.fromEntries(ways), dictionaries };
}

/** @param {Buffer} body @returns {number} bytes */
function brotli(body) {
  const bits = Math.ceil(Math.log2(body.length + 16));
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
    [constants.BROTLI_PARAM_LGWIN]: Math.min(WINDOW_BITS_MAX, Math.max(WINDOW_BITS_MIN, bits)),
  };
  return brotliCompressSync(body, { params }).length;
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number} value */
function tenths(value) {
  return Math.round(value * 10) / 10;
}
