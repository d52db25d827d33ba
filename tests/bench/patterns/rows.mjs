// Rows of a measurement of patterns, and which of them travel together.
import { readFileSync } from "node:fs";
import { Complaint } from "../../../scripts/steps.mjs";

/** Patterns in a message. */
const MESSAGE_PATTERNS = 10;
/** The quality filter's defaults. */
const SUCCESS_PERMILLE_MIN = 700;
const SAMPLE_COUNT_MIN = 10;
const DIMENSIONS = 384;

/** Most patterns of a message: MESSAGE_PATTERNS_MAX of the codec. */
const MESSAGE_PATTERNS_MAX = 256;

/** @typedef {{id: string, genre: string, sample_count: number, success_count: number}} Meta */
/** @typedef {{rows: number[], fresh: boolean}} Plan */
/**
 * @typedef {object} Rows
 * @property {any[]} lines of the file
 * @property {Meta[]} meta what the codec takes of them
 * @property {Float32Array} values 384 a row
 */

/** @param {string} array NumPy file @param {string} lines @returns {Rows} */
export function readRows(array, lines) {
  const values = readArray(array);
  const texts = readText(lines).toString("utf8").split("\n").filter(Boolean);
  if (values.length !== DIMENSIONS * texts.length) {
    const rows = values.length / DIMENSIONS;
    throw new Complaint(`${array} has ${rows} rows, ${lines} has ${texts.length} lines`);
  }
  const parsed = texts.map((text, at) => object(text, `${lines}, line ${at + 1}`));
  const meta = parsed.map((line, at) => metaOf(line, `${lines}, line ${at + 1}`));
  return { lines: parsed, meta, values };
}

/** @param {string} text @param {string} where */
function object(text, where) {
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object") return value;
  } catch {}
  throw new Complaint(`${where}: not a JSON object`);
}

/** @param {any} line @param {string} where @returns {Meta} */
function metaOf(line, where) {
  const { id, genre, sample_count } = line;
  const success_count = line.success_count ?? Math.round(line.success_rate * sample_count);
  const wrong = (/** @type {string} */ what) => new Complaint(`${where}: ${what}`);
  if (!(typeof id === "string" || Number.isSafeInteger(id))) {
    throw wrong("id must be text or a whole number below 2^53");
  }
  if (typeof genre !== "string") throw wrong("genre must be text");
  if (!Number.isInteger(sample_count) || sample_count < 1) {
    throw wrong("sample_count must be a whole number of at least 1");
  }
  const whole = Number.isInteger(success_count);
  if (!(whole && success_count >= 0 && success_count <= sample_count)) {
    throw wrong("success_count (or success_rate) must be 0 to sample_count (1)");
  }
  return { id: String(id), genre, sample_count, success_count };
}

/**
 * The ids of the file: hex digits, as the codec's program takes them.
 *
 * @param {Rows} rows @returns {Rows}
 */
export function asGiven({ lines, meta, values }) {
  const padded = meta.map((row, at) => {
    if (!/^[0-9a-f]{1,32}$/i.test(row.id)) {
      throw new Complaint(`line ${at + 1}: to be sent, id must be 1 to 32 hex digits`);
    }
    return { ...row, id: row.id.toLowerCase().padStart(32, "0") };
  });
  return { lines, meta: padded, values };
}

/**
 * First versions that pass the filter, then the later ones that pass: all second messages of a pattern
 * before any third one. Ten a message, in the order of the file.
 *
 * @param {Rows} rows
 */
export function firstsAndLaters(rows) {
  const { meta } = rows;
  const passing = inOrder(rows).filter((row) => {
    const { sample_count = 0, success_count = 0 } = meta[row] ?? {};
    const passes = success_count * 1000 >= SUCCESS_PERMILLE_MIN * sample_count;
    return passes && sample_count >= SAMPLE_COUNT_MIN;
  });
  const messages = waves(meta, passing).map((wave) => parts(wave, MESSAGE_PATTERNS, false));
  return { firsts: messages[0]?.length ?? 0, messages: messages.flat() };
}

/**
 * Ids as a device gives them to its patterns, and the server to global ones: from 0, in the order in which
 * they come. The same for all versions of a pattern.
 *
 * @param {Rows} rows @returns {Rows}
 */
export function counted({ lines, meta, values }) {
  const ids = new Map([...new Set(meta.map(({ id }) => id))].map((id, at) => [id, at]));
  const renamed = meta.map((row) => ({
    ...row,
    id: (ids.get(row.id) ?? 0).toString(16).padStart(32, "0"),
  }));
  return { lines, meta: renamed, values };
}

/**
 * Each snapshot whole, to somebody who has nothing. Without the field `snapshot` an id's first row is of
 * the first one, its second row of the second one.
 *
 * @param {Rows} rows
 */
export function globals(rows) {
  const { lines, meta } = rows;
  /** @type {Map<unknown, number[]>} */
  const snapshots = new Map();
  lines.forEach(({ snapshot }, row) => {
    snapshots.set(snapshot, [...(snapshots.get(snapshot) ?? []), row]);
  });
  const wholes = [...snapshots.values()].flatMap((list) => waves(meta, list));
  const messages = wholes.flatMap((list) => {
    const count = Math.ceil(list.length / MESSAGE_PATTERNS_MAX);
    return parts(list, Math.ceil(list.length / count), true);
  });
  return { rows, messages };
}

/**
 * All rows in the order of the file, but of one id by the field `version`, where there is one.
 *
 * @param {Rows} rows
 */
function inOrder({ lines, meta }) {
  /** @type {Map<string, number[]>} */
  const places = new Map();
  meta.forEach(({ id }, row) => {
    const list = places.get(id);
    if (list) list.push(row);
    else places.set(id, [row]);
  });
  const order = meta.map((_, row) => row);
  for (const list of places.values()) {
    const version = (/** @type {number} */ row) => Number(lines[row]?.version ?? 0);
    const sorted = [...list].sort((a, b) => version(a) - version(b) || a - b);
    list.forEach((place, at) => {
      order[place] = sorted[at] ?? place;
    });
  }
  return order;
}

/**
 * The first row of each id, the second one of each, and so on: no message holds an id twice.
 *
 * @param {Meta[]} meta @param {number[]} rows
 */
function waves(meta, rows) {
  /** @type {number[][]} */
  const found = [];
  /** @type {Map<string, number>} */
  const seen = new Map();
  for (const row of rows) {
    const id = meta[row]?.id ?? "";
    const wave = seen.get(id) ?? 0;
    seen.set(id, wave + 1);
    found[wave] ??= [];
    found[wave].push(row);
  }
  return found;
}

/** @param {number[]} rows @param {number} size @param {boolean} fresh @returns {Plan[]} */
function parts(rows, size, fresh) {
  const count = Math.ceil(rows.length / size);
  return Array.from({ length: count }, (_, part) => ({
    rows: rows.slice(part * size, (part + 1) * size),
    fresh,
  }));
}

/** @param {string} path @returns {Buffer} */
function readText(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Complaint(`can't read ${path}: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {string} path of a NumPy array of float16, float32 or float64, rows or columns first */
function readArray(path) {
  const bytes = readText(path);
  if (bytes.length < 12 || bytes.toString("latin1", 0, 6) !== "\x93NUMPY") {
    throw new Complaint(`${path}: not an array in NumPy's format`);
  }
  const start = bytes.readUInt8(6) > 1 ? 12 + bytes.readUInt32LE(8) : 10 + bytes.readUInt16LE(8);
  const head = bytes.toString("latin1", 0, start);
  const data = bytes.subarray(start);
  const shape = head.match(/'shape': ?\((\d+), ?(\d+)\)/);
  const rows = Number(shape?.[1] ?? Number.NaN);
  if (!(rows >= 0 && Number(shape?.[2]) === DIMENSIONS)) {
    throw new Complaint(`${path}: not rows of ${DIMENSIONS}`);
  }
  const kind = /** @type {keyof typeof NUMBERS} */ (head.match(/'descr': ?'<(f[248])'/)?.[1] ?? "");
  const read = NUMBERS[kind];
  if (!read) throw new Complaint(`${path}: neither float16 nor float32 nor float64, little endian`);
  const size = Number(kind.slice(1));
  if (data.length !== size * DIMENSIONS * rows) {
    throw new Complaint(`${path}: ${data.length} bytes of data are not ${rows} rows`);
  }
  const columns = head.includes("'fortran_order': True");
  const values = new Float32Array(DIMENSIONS * rows);
  for (let row = 0; row < rows; row++) {
    for (let at = 0; at < DIMENSIONS; at++) {
      const place = columns ? at * rows + row : row * DIMENSIONS + at;
      const value = read(data, size * place);
      // A float64 that is finite may be none as float32.
      if (!Number.isFinite(Math.fround(value))) {
        throw new Complaint(`${path}: row ${row}, component ${at} is not finite`);
      }
      values[row * DIMENSIONS + at] = value;
    }
    const some = values.subarray(row * DIMENSIONS, (row + 1) * DIMENSIONS);
    if (some.every((value) => value === 0)) throw new Complaint(`${path}: row ${row} is zero`);
  }
  return values;
}

/** How a number at a place of the data is read. */
const NUMBERS = {
  f2: (/** @type {Buffer} */ data, /** @type {number} */ at) => half(data.readUInt16LE(at)),
  f4: (/** @type {Buffer} */ data, /** @type {number} */ at) => data.readFloatLE(at),
  f8: (/** @type {Buffer} */ data, /** @type {number} */ at) => data.readDoubleLE(at),
};

/** IEEE 754 binary16. @param {number} bits */
function half(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return (sign * fraction) / 2 ** 24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
