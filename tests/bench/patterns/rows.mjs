// Rows of a measurement of patterns, and which of them travel together.
import { readFileSync } from "node:fs";
import { Complaint } from "../../../scripts/steps.mjs";

/** Patterns in a message. */
const MESSAGE_PATTERNS = 10;
/** The quality filter's defaults. */
const SUCCESS_RATE_MIN = 0.7;
const SAMPLE_COUNT_MIN = 10;

/** @typedef {{id: string, genre: string, sample_count: number, success_count: number}} Meta */
/** @typedef {{rows: number[], fresh: boolean}} Plan */
/**
 * @typedef {object} Rows
 * @property {any[]} lines of the file
 * @property {Meta[]} meta what the codec takes of them
 * @property {Float32Array} values 384 a row
 * @property {number[]} places of each row in the input
 */

/** @param {string} array NumPy file @param {string} lines @returns {Rows} */
export function readRows(array, lines) {
  const values = readArray(array);
  const texts = readFileSync(lines, "utf8").split("\n").filter(Boolean);
  const parsed = texts.map((text) => JSON.parse(text));
  if (values.length !== 384 * parsed.length)
    throw new Complaint(`${lines}: not a line for each row`);
  const meta = parsed.map(({ id, genre, sample_count, success_count, success_rate }) => ({
    id,
    genre,
    sample_count,
    success_count: success_count ?? Math.round(success_rate * sample_count),
  }));
  return { lines: parsed, meta, values, places: parsed.map((_, at) => at) };
}

/**
 * First versions that pass the filter, then the later ones that pass: all second messages of a pattern
 * before any third one. Ten a message, in the order of the file.
 *
 * @param {Rows} rows
 */
export function firstsAndLaters({ lines, meta }) {
  /** @type {number[][]} */
  const waves = [];
  /** @type {Map<string, number>} */
  const sent = new Map();
  meta.forEach(({ id, sample_count, success_count }, row) => {
    const rate = lines[row].success_rate ?? success_count / sample_count;
    if (rate < SUCCESS_RATE_MIN || sample_count < SAMPLE_COUNT_MIN) return;
    const wave = sent.get(id) ?? 0;
    sent.set(id, wave + 1);
    waves[wave] ??= [];
    waves[wave].push(row);
  });
  const messages = waves.map((wave) => parts(wave, MESSAGE_PATTERNS));
  return { firsts: messages[0]?.length ?? 0, messages: messages.flat() };
}

/**
 * Each snapshot whole, to somebody who has nothing, under ids as a server gives them: from 0.
 *
 * @param {Rows} rows
 */
export function globals(rows) {
  /** @type {Map<string, number>} */
  const ids = new Map();
  const meta = rows.meta.map((row) => {
    const id = ids.get(row.id) ?? ids.size;
    ids.set(row.id, id);
    return { ...row, id: id.toString(16) };
  });
  /** @type {Map<number, number[]>} */
  const snapshots = new Map();
  rows.lines.forEach((line, row) => {
    const snapshot = line.snapshot ?? 0;
    snapshots.set(snapshot, [...(snapshots.get(snapshot) ?? []), row]);
  });
  const whole = [...snapshots.values()].flatMap((list) => parts(list, 256));
  return {
    rows: { ...rows, meta },
    messages: whole.map((list) => ({ ...list, fresh: true })),
  };
}

/** @param {number[]} rows @param {number} size @returns {Plan[]} */
function parts(rows, size) {
  const count = Math.ceil(rows.length / size);
  return Array.from({ length: count }, (_, part) => ({
    rows: rows.slice(part * size, (part + 1) * size),
    fresh: false,
  }));
}

/** @param {string} path of a NumPy array of float16 or float32 */
function readArray(path) {
  const bytes = readFileSync(path);
  const long = (bytes[6] ?? 1) > 1;
  const start = long ? 12 + bytes.readUInt32LE(8) : 10 + bytes.readUInt16LE(8);
  const head = bytes.subarray(0, start).toString("latin1");
  const data = bytes.subarray(start);
  if (!head.includes(", 384)") || head.includes("'fortran_order': True")) {
    throw new Complaint(`${path}: not rows of 384`);
  }
  if (head.includes("'<f4'")) {
    return Float32Array.from({ length: data.length / 4 }, (_, at) => data.readFloatLE(4 * at));
  }
  if (!head.includes("'<f2'")) throw new Complaint(`${path}: neither float16 nor float32`);
  return Float32Array.from({ length: data.length / 2 }, (_, at) => half(data.readUInt16LE(2 * at)));
}

/** IEEE 754 binary16. @param {number} bits */
function half(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return (sign * fraction) / 2 ** 24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
