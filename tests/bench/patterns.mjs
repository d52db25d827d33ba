// `npm run --silent bench -- patterns --patterns P.npy --patterns-meta P.jsonl --globals G.npy
// --globals-meta G.jsonl --out DIR [--floor 0.98] [--tables FILE]`: what learned patterns cost on the
// wire, and how near to the truth they arrive. One process encodes, another decodes, which sees the
// messages and the tables only; the same is done in WebAssembly, whose bytes must be the same.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { CARGO_TARGET, PATTERNS_END, ROOT } from "../../scripts/paths.mjs";
import { Complaint, main, run } from "../../scripts/steps.mjs";
import { firstsAndLaters, globals, readRows } from "./patterns/rows.mjs";

const MODULE = "omega_sync_patterns";
const USAGE =
  "npm run --silent bench -- patterns --patterns P.npy --patterns-meta P.jsonl --globals G.npy --globals-meta G.jsonl --out DIR [--floor 0.98] [--tables FILE]";

/** @typedef {import("./patterns/rows.mjs").Rows} Rows */
/** @typedef {import("./patterns/rows.mjs").Plan} Plan */

main(async () => {
  const { values } = parseArgs({
    options: {
      patterns: { type: "string" },
      "patterns-meta": { type: "string" },
      globals: { type: "string" },
      "globals-meta": { type: "string" },
      out: { type: "string" },
      floor: { type: "string", default: "0.98" },
      tables: { type: "string", default: join(ROOT, "core", "tables", "default.bin") },
    },
  });
  const { patterns, globals: all, out } = values;
  const [patternsMeta, globalsMeta] = [values["patterns-meta"], values["globals-meta"]];
  const floor = Number(values.floor);
  if (!patterns || !patternsMeta || !all || !globalsMeta || !out || !(floor > 0)) {
    throw new Complaint(USAGE);
  }
  await run(process.execPath, [join(ROOT, "scripts", "patterns.mjs")], { show: false });
  mkdirSync(out, { recursive: true });
  const own = readRows(patterns, patternsMeta);
  const plans = firstsAndLaters(own);
  const first = await measure("patterns", own, plans.messages, floor, values.tables, out);
  const shared = readRows(all, globalsMeta);
  const released = globals(shared);
  const last = await measure(
    "globals",
    released.rows,
    released.messages,
    floor,
    values.tables,
    out,
  );

  write(out, "first", own, first.results.slice(0, plans.firsts));
  write(out, "incremental", own, first.results.slice(plans.firsts));
  write(out, "global", shared, last.results);
  const cosines = [...first.results, ...last.results].flatMap(({ rows }) =>
    rows.map((r) => r.cosine),
  );
  const ten = (/** @type {Result[]} */ results) =>
    results.filter(({ rows }) => rows.length === 10).map(({ bytes }) => bytes);
  const [firsts, laters] = [
    ten(first.results.slice(0, plans.firsts)),
    ten(first.results.slice(plans.firsts)),
  ];
  const globalRows = sum(last.results.map(({ rows }) => rows.length));
  const globalBytes = sum(last.results.map(({ bytes }) => bytes));
  const parts = [first, last];
  const per = (
    /** @type {"encode_us" | "decode_us" | "encode_wasm_us" | "decode_wasm_us"} */ field,
  ) =>
    hundredths(
      sum(parts.map((part) => part[field] * part.count)) / sum(parts.map((part) => part.count)),
    );
  const report = {
    bench: "patterns",
    floor,
    tables: first.tables,
    first10_bytes_mean: hundredths(mean(firsts)),
    first10_bytes_max: Math.max(...firsts),
    first10_messages: firsts.length,
    incremental10_bytes_mean: hundredths(mean(laters)),
    incremental10_messages: laters.length,
    global100_bytes: Math.round((globalBytes * 100) / globalRows),
    global_scaled: `${globalBytes} bytes of ${globalRows} patterns in ${last.results.length} messages, times 100 / ${globalRows}`,
    worst_cosine: Math.min(...cosines),
    mean_cosine: mean(cosines),
    estimate_error_percent_max: hundredths(Math.max(first.estimateError, last.estimateError)),
    encode_us: per("encode_us"),
    decode_us: per("decode_us"),
    encode_wasm_us: per("encode_wasm_us"),
    decode_wasm_us: per("decode_wasm_us"),
    rows: {
      first: sum(first.results.slice(0, plans.firsts).map((r) => r.rows.length)),
      incremental: sum(first.results.slice(plans.firsts).map((r) => r.rows.length)),
      global: globalRows,
    },
    note: "first: each pattern's first version that passes the quality filter (success_rate >= 0.7, sample_count >= 10), ten a message in the order of the file; incremental: its later versions that pass, against the last decoded one, ten a message by how many came before; shorter messages are sent but not in the means. Global ids count from 0, because the server gives them.",
  };
  console.log(JSON.stringify(report));
});

/** @typedef {{bytes: number, rows: Array<{row: number, cosine: number, embedding: Float32Array}>}} Result */

/**
 * Encodes and decodes a job, natively in two processes and in WebAssembly.
 *
 * @param {string} name @param {Rows} rows @param {Plan[]} messages @param {number} floor
 * @param {string} tables @param {string} out
 */
async function measure(name, rows, messages, floor, tables, out) {
  const file = (/** @type {string} */ ending) => join(out, `${name}.${ending}`);
  const job = JSON.stringify({ floor, rows: rows.meta, messages });
  writeFileSync(file("job.json"), job);
  writeFileSync(file("input.f32"), Buffer.from(rows.values.buffer));
  const program = join(CARGO_TARGET, "release", "patterns");
  const encoded = call(program, [
    "encode",
    file("job.json"),
    file("input.f32"),
    tables,
    file("messages"),
  ]);
  const decoded = call(program, ["decode", file("messages"), tables, file("decoded.f32")]);
  const values = floats(readFileSync(file("decoded.f32")));
  let at = 0;
  /** @type {Result[]} */
  const results = messages.map((plan, number) => {
    const wanted = new Map(plan.rows.map((row) => [rows.meta[row]?.id.padStart(32, "0"), row]));
    const list = decoded.messages[number].map((/** @type {any} */ pattern) => {
      const row = wanted.get(pattern.id);
      const meta = row === undefined ? undefined : rows.meta[row];
      const same =
        meta?.genre.toLowerCase() === pattern.genre &&
        meta?.sample_count === pattern.sample_count &&
        meta?.success_count === pattern.success_count;
      if (row === undefined || !same) throw new Complaint(`${name}: ${pattern.id} came out wrong`);
      const embedding = values.slice(384 * at, 384 * ++at);
      return {
        row,
        embedding,
        cosine: cosine(embedding, rows.values.subarray(384 * row, 384 * row + 384)),
      };
    });
    if (list.length !== plan.rows.length) throw new Complaint(`${name}: patterns are missing`);
    return { bytes: encoded.sizes[number], rows: list };
  });
  const estimateError = Math.max(
    ...encoded.sizes.map(
      (/** @type {number} */ size, /** @type {number} */ n) =>
        (100 * Math.abs(encoded.estimates[n] - size)) / size,
    ),
  );
  const wasm = await inWasm(
    readFileSync(tables),
    job,
    rows,
    messages,
    readFileSync(file("messages")),
    values,
  );
  const count = results.reduce((total, { rows }) => total + rows.length, 0);
  const { encode_us } = encoded;
  return {
    results,
    estimateError,
    count,
    encode_us,
    decode_us: decoded.decode_us,
    tables: encoded.tables,
    ...wasm,
  };
}

/**
 * The same in WebAssembly, byte for byte and bit for bit.
 *
 * @param {Uint8Array} tables @param {string} job @param {Rows} rows @param {Plan[]} messages
 * @param {Buffer} native the messages as the native program wrote them @param {Float32Array} values
 */
async function inWasm(tables, job, rows, messages, native, values) {
  const module = await import(pathToFileURL(join(PATTERNS_END, `${MODULE}_bg.js`)).href);
  const binary = await WebAssembly.compile(readFileSync(join(PATTERNS_END, `${MODULE}_bg.wasm`)));
  const imports = { [`./${MODULE}_bg.js`]: module };
  const instance = await WebAssembly.instantiate(binary, imports);
  module.__wbg_set_wasm(instance.exports);
  /** @type {any} */ (instance.exports).__wbindgen_start?.();
  const input = new Uint8Array(rows.values.buffer);
  const sender = new module.Codec(tables, job, input);
  const receiver = new module.Codec(
    tables,
    JSON.stringify({ floor: 0.98, rows: [], messages: [] }),
    new Uint8Array(),
  );
  let [at, place, encodeMs, decodeMs, count] = [0, 0, 0, 0, 0];
  for (const plan of messages) {
    const before = performance.now();
    const bytes = sender.encode(Uint32Array.from(plan.rows), plan.fresh);
    const between = performance.now();
    const units = receiver.decode(bytes);
    decodeMs += performance.now() - between;
    encodeMs += between - before;
    count += plan.rows.length;
    const length = native.readUInt32LE(at);
    const same = Buffer.compare(native.subarray(at + 4, at + 4 + length), bytes) === 0;
    if (!same) throw new Complaint("WebAssembly encodes to other bytes");
    at += 4 + length;
    for (const unit of units) {
      if (unit !== Math.round((values[place++] ?? 0) * 32768)) {
        throw new Complaint("WebAssembly decodes to other bits");
      }
    }
  }
  return { encode_wasm_us: (1000 * encodeMs) / count, decode_wasm_us: (1000 * decodeMs) / count };
}

/** @param {string} out @param {string} name @param {Rows} rows @param {Result[]} results */
function write(out, name, rows, results) {
  const list = results.flatMap((result) => result.rows);
  const embeddings = new Float32Array(384 * list.length);
  list.forEach(({ embedding }, at) => {
    embeddings.set(embedding, 384 * at);
  });
  writeFileSync(join(out, `${name}.f32`), Buffer.from(embeddings.buffer));
  const inputs = list.map(({ row }) => rows.places[row]);
  writeFileSync(join(out, `${name}.rows.json`), JSON.stringify(inputs));
}

/** @param {string} program @param {string[]} args */
function call(program, args) {
  const options = { encoding: /** @type {const} */ ("utf8"), maxBuffer: 1 << 30 };
  const { status, stdout, stderr } = spawnSync(program, args, options);
  if (status !== 0) throw new Complaint(`patterns ${args[0]} failed: ${stderr}`);
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

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number[]} values */
function mean(values) {
  return sum(values) / values.length;
}

/** @param {number} value */
function hundredths(value) {
  return Math.round(value * 100) / 100;
}
