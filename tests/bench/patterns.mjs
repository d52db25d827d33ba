// `npm run --silent bench -- patterns --patterns P.npy --patterns-meta P.jsonl --globals G.npy
// --globals-meta G.jsonl --out DIR [--floor 0.98] [--tables FILE] [--ids given]`: what learned patterns cost on the
// wire, and how near to the truth they arrive. One process encodes, another decodes, which sees the
// messages and the tables only; the same is done in WebAssembly, whose bytes must be the same.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../../scripts/paths.mjs";
import { Complaint, main, run } from "../../scripts/steps.mjs";
import { inWasm, measure } from "./patterns/measure.mjs";
import { asGiven, counted, firstsAndLaters, globals, readRows } from "./patterns/rows.mjs";

const NOTE =
  "first: each pattern's first version (least field version, else first row) that passes the quality filter (success_rate >= 0.7, sample_count >= 10), ten a message in the order of the file; incremental: its later versions that pass, against the last decoded one, ten a message by how many came before; shorter messages count only where there is no whole one, scaled. global: every snapshot of the file whole, to somebody who has nothing. ids count from 0 in the order of each file, as devices and the server number what they send; --ids given sends those of the file.";
const USAGE =
  "npm run --silent bench -- patterns --patterns P.npy --patterns-meta P.jsonl --globals G.npy --globals-meta G.jsonl --out DIR [--floor 0.98] [--tables FILE] [--ids given]";

/** @typedef {import("./patterns/measure.mjs").Result} Result */
/** @typedef {"encode_us" | "decode_us" | "encode_wasm_us" | "decode_wasm_us"} Time */

main(async () => {
  const { patterns, patternsMeta, globals: shared, globalsMeta, givenIds, settings } = given();
  const read = (/** @type {string} */ array, /** @type {string} */ lines) => {
    const rows = readRows(array, lines);
    return givenIds ? asGiven(rows) : counted(rows);
  };
  const own = read(patterns, patternsMeta);
  const all = read(shared, globalsMeta);
  await run(process.execPath, [join(ROOT, "scripts", "patterns.mjs")], { show: false });
  mkdirSync(settings.out, { recursive: true });

  const plan = firstsAndLaters(own);
  const jobs = { patterns: { rows: own, messages: plan.messages }, globals: globals(all) };
  /** @type {Array<ReturnType<typeof measure> & Awaited<ReturnType<typeof inWasm>>>} */
  const parts = [];
  for (const [name, job] of Object.entries(jobs)) {
    const native = measure(name, job, settings);
    parts.push({ ...native, ...(await inWasm(name, job, settings, native)) });
  }
  const [mine, released] = parts.map(({ results }) => results);
  if (!mine || !released) throw new Complaint("nothing was measured");
  const first = mine.slice(0, plan.firsts);
  const incremental = mine.slice(plan.firsts);
  const kinds = { first, incremental, global: released };
  for (const [kind, results] of Object.entries(kinds)) write(settings.out, kind, results);

  const cosines = [...mine, ...released].flatMap(({ rows }) => rows.map((row) => row.cosine));
  if (cosines.length === 0) throw new Complaint("no row passes the quality filter");
  const time = (/** @type {Time} */ field) => {
    const count = (/** @type {(typeof parts)[number]} */ part) => rowsOf(part.results);
    const total = sum(parts.map((part) => (count(part) > 0 ? part[field] * count(part) : 0)));
    return hundredths(total / cosines.length);
  };
  const report = {
    bench: "patterns",
    floor: settings.floor,
    tables: parts[0]?.tables,
    ids: givenIds ? "as given" : "counted from 0",
    ...tens("first10", first),
    ...tens("incremental10", incremental),
    ...hundred(released),
    worst_cosine: cosines.reduce((worst, cosine) => Math.min(worst, cosine), 1),
    mean_cosine: sum(cosines) / cosines.length,
    estimate_error_percent_max: each(kinds, estimateError),
    encode_us: time("encode_us"),
    decode_us: time("decode_us"),
    encode_wasm_us: time("encode_wasm_us"),
    decode_wasm_us: time("decode_wasm_us"),
    rows: each(kinds, rowsOf),
    note: NOTE,
  };
  console.log(JSON.stringify(report));
});

/** What the command line says. */
function given() {
  const text = /** @type {const} */ ({ type: "string" });
  const options = {
    patterns: text,
    "patterns-meta": text,
    globals: text,
    "globals-meta": text,
    out: text,
    floor: { ...text, default: "0.98" },
    ids: { ...text, default: "counted" },
    tables: { ...text, default: join(ROOT, "core", "tables", "default.bin") },
  };
  const { values } = parseArgs({ options });
  const { patterns, globals, out, tables } = values;
  const [patternsMeta, globalsMeta] = [values["patterns-meta"], values["globals-meta"]];
  const floor = Number(values.floor);
  if (!patterns || !patternsMeta || !globals || !globalsMeta || !out) throw new Complaint(USAGE);
  if (!["counted", "given"].includes(values.ids)) throw new Complaint(USAGE);
  if (!(floor >= 0.5 && floor <= 0.999)) throw new Complaint("--floor must be 0.5 to 0.999");
  const givenIds = values.ids === "given";
  return {
    patterns,
    patternsMeta,
    globals,
    globalsMeta,
    givenIds,
    settings: { floor, tables, out },
  };
}

/** Bytes of ten patterns; of fewer, scaled, when no message has ten. @param {string} name @param {Result[]} results */
function tens(name, results) {
  const whole = results.filter(({ rows }) => rows.length === 10);
  const counted = whole.length > 0 ? whole : results;
  const bytes = counted.map(({ bytes, rows }) => (10 * bytes) / rows.length);
  const figures = {
    [`${name}_bytes_mean`]: bytes.length > 0 ? hundredths(sum(bytes) / bytes.length) : null,
    [`${name}_bytes_max`]: bytes.length > 0 ? bytes.reduce((a, b) => Math.max(a, b)) : null,
    [`${name}_messages`]: counted.length,
  };
  if (whole.length > 0 || results.length === 0) return figures;
  return { ...figures, [`${name}_scaled`]: `${rowsOf(results)} patterns, times 10 / their number` };
}

/** @param {Result[]} results of global patterns */
function hundred(results) {
  const [bytes, count] = [sum(results.map(({ bytes }) => bytes)), rowsOf(results)];
  const messages = results.map(({ bytes, rows }) => ({ patterns: rows.length, bytes }));
  const figures = {
    global100_bytes: count > 0 ? Math.round((100 * bytes) / count) : null,
    global_messages: messages,
  };
  if (count === 0 || messages.every(({ patterns }) => patterns === 100)) return figures;
  const scaled = `${bytes} bytes of ${count} patterns in ${messages.length} messages, times 100 / ${count}`;
  return { ...figures, global_scaled: scaled };
}

/** How far estimates are from the truth, in percent of it. @param {Result[]} results */
function estimateError(results) {
  const errors = results.map(({ bytes, estimate }) => (100 * Math.abs(estimate - bytes)) / bytes);
  return hundredths(errors.reduce((most, error) => Math.max(most, error), 0));
}

/**
 * @param {Record<string, Result[]>} kinds
 * @param {(results: Result[]) => number} of
 */
function each(kinds, of) {
  return Object.fromEntries(Object.entries(kinds).map(([kind, results]) => [kind, of(results)]));
}

/** @param {string} out @param {string} name @param {Result[]} results */
function write(out, name, results) {
  const list = results.flatMap((result) => result.rows);
  const embeddings = new Float32Array(384 * list.length);
  list.forEach(({ embedding }, at) => {
    embeddings.set(embedding, 384 * at);
  });
  writeFileSync(join(out, `${name}.f32`), Buffer.from(embeddings.buffer));
  writeFileSync(join(out, `${name}.rows.json`), JSON.stringify(list.map(({ row }) => row)));
}

/** @param {Result[]} results */
function rowsOf(results) {
  return sum(results.map(({ rows }) => rows.length));
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number} value */
function hundredths(value) {
  return Math.round(value * 100) / 100;
}
