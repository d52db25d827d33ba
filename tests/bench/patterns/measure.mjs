// Encodes and decodes rows of patterns: natively in two processes, and in WebAssembly.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { CARGO_TARGET, PATTERNS_END } from "../../../scripts/paths.mjs";
import { Complaint } from "../../../scripts/steps.mjs";

const MODULE = "omega_sync_patterns";
const DIMENSIONS = 384;
/** @type {Promise<any> | undefined} */
let instance;

/** @typedef {import("./rows.mjs").Rows} Rows */
/** @typedef {import("./rows.mjs").Plan} Plan */
/** @typedef {{row: number, cosine: number, embedding: Float32Array}} Arrived */
/** @typedef {{bytes: number, estimate: number, rows: Arrived[]}} Result of one message */
/** @typedef {{rows: Rows, messages: Plan[]}} Job */
/** @typedef {{floor: number, tables: string, out: string}} Settings */

/**
 * One process encodes; another one decodes, which gets the messages and the tables only.
 *
 * @param {string} name of its files in the folder `out` @param {Job} job @param {Settings} settings
 */
export function measure(name, { rows, messages }, { floor, tables, out }) {
  const file = (/** @type {string} */ ending) => join(out, `${name}.${ending}`);
  const [job, sent] = [file("job.json"), file("messages")];
  writeFileSync(job, JSON.stringify({ floor, rows: rows.meta, messages }));
  writeFileSync(file("input.f32"), Buffer.from(rows.values.buffer));
  const encoded = call(name, ["encode", job, file("input.f32"), tables, sent]);
  const decoded = call(name, ["decode", sent, tables, file("decoded.f32")]);
  const values = floats(readFileSync(file("decoded.f32")));
  let at = 0;
  const results = messages.map((plan, number) => {
    const embeddings = values.subarray(DIMENSIONS * at);
    at += plan.rows.length;
    return {
      bytes: /** @type {number} */ (encoded.sizes[number]),
      estimate: /** @type {number} */ (encoded.estimates[number]),
      rows: arrived(name, rows, plan, decoded.messages[number], embeddings),
    };
  });
  return {
    results,
    values,
    /** @type {string} */
    tables: encoded.tables,
    /** @type {number} */
    encode_us: encoded.encode_us,
    /** @type {number} */
    decode_us: decoded.decode_us,
  };
}

/**
 * The patterns of one message, each with its row; all but the embedding must be what was sent.
 *
 * @param {string} name @param {Rows} rows @param {Plan} plan @param {any[]} patterns
 * @param {Float32Array} values the embeddings of the patterns, and more
 * @returns {Arrived[]}
 */
function arrived(name, rows, plan, patterns, values) {
  const wanted = new Map(plan.rows.map((row) => [rows.meta[row]?.id, row]));
  if (patterns.length !== plan.rows.length) throw new Complaint(`${name}: patterns are missing`);
  return patterns.map((pattern, at) => {
    const row = wanted.get(pattern.id);
    const meta = row === undefined ? undefined : rows.meta[row];
    const same =
      meta?.genre.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) === pattern.genre &&
      meta?.sample_count === pattern.sample_count &&
      meta?.success_count === pattern.success_count;
    if (row === undefined || !same) throw new Complaint(`${name}: ${pattern.id} came out wrong`);
    const embedding = values.slice(DIMENSIONS * at, DIMENSIONS * (at + 1));
    const input = rows.values.subarray(DIMENSIONS * row, DIMENSIONS * (row + 1));
    return { row, embedding, cosine: cosine(embedding, input) };
  });
}

/**
 * The same in WebAssembly, byte for byte and bit for bit.
 *
 * @param {string} name @param {Job} job @param {Settings} settings
 * @param {ReturnType<typeof measure>} native
 */
export async function inWasm(name, { rows, messages }, { tables, out }, native) {
  const module = await loaded();
  const bytes = readFileSync(join(out, `${name}.messages`));
  const job = readFileSync(join(out, `${name}.job.json`), "utf8");
  const nothing = JSON.stringify({ ...JSON.parse(job), rows: [], messages: [] });
  const table = readFileSync(tables);
  const sender = new module.Codec(table, job, new Uint8Array(rows.values.buffer));
  const receiver = new module.Codec(table, nothing, new Uint8Array());
  let [at, place, encodeMs, decodeMs, count] = [0, 0, 0, 0, 0];
  messages.forEach((plan, number) => {
    const before = performance.now();
    const message = sender.encode(Uint32Array.from(plan.rows), plan.fresh);
    const between = performance.now();
    const units = receiver.decode(message);
    decodeMs += performance.now() - between;
    encodeMs += between - before;
    count += plan.rows.length;
    const end = at + 4 + bytes.readUInt32LE(at);
    if (Buffer.compare(bytes.subarray(at + 4, end), message) !== 0) {
      throw new Complaint(`${name}: WebAssembly encodes message ${number} to other bytes`);
    }
    at = end;
    for (const unit of units) {
      if (unit !== Math.round((native.values[place++] ?? 0) * 32768)) {
        throw new Complaint(`${name}: WebAssembly decodes message ${number} to other bits`);
      }
    }
  });
  return { encode_wasm_us: (1000 * encodeMs) / count, decode_wasm_us: (1000 * decodeMs) / count };
}

/** The glue keeps one instance and views of its memory: a second one would be read through the first one's. */
function loaded() {
  instance ??= load();
  return instance;
}

async function load() {
  const module = await import(pathToFileURL(join(PATTERNS_END, `${MODULE}_bg.js`)).href);
  const binary = await WebAssembly.compile(readFileSync(join(PATTERNS_END, `${MODULE}_bg.wasm`)));
  const made = await WebAssembly.instantiate(binary, { [`./${MODULE}_bg.js`]: module });
  module.__wbg_set_wasm(made.exports);
  /** @type {any} */ (made.exports).__wbindgen_start?.();
  return module;
}

/** @param {string} name @param {string[]} args */
function call(name, args) {
  const program = join(CARGO_TARGET, "release", "patterns");
  const options = { encoding: /** @type {const} */ ("utf8"), maxBuffer: 1 << 30 };
  const { status, stdout, stderr, error } = spawnSync(program, args, options);
  if (status !== 0) {
    throw new Complaint(`${name}: can't ${args[0]}: ${error?.message ?? stderr.trim()}`);
  }
  return JSON.parse(stdout);
}

/** @param {Buffer} bytes */
function floats(bytes) {
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** @param {Float32Array} a @param {Float32Array} b */
function cosine(a, b) {
  let [dot, x, y] = [0, 0, 0];
  for (let at = 0; at < a.length; at++) {
    const [p, q] = [a[at] ?? 0, b[at] ?? 0];
    [dot, x, y] = [dot + p * q, x + p * p, y + q * q];
  }
  return dot / Math.sqrt(x * y);
}
