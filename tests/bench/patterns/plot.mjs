// `node tests/bench/patterns/plot.mjs P.npy P.jsonl FILE.svg`: bytes of ten first versions against the mean
// cosine, for several floors, beside the rate-distortion bound of a Gaussian source. Run the
// measurement `patterns` before: it builds the native program.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../../scripts/paths.mjs";
import { Complaint, main } from "../../../scripts/steps.mjs";
import { measure } from "./measure.mjs";
import { counted, firstsAndLaters, readRows } from "./rows.mjs";

const DIMENSIONS = 384;
const FLOORS = [0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995];
const TABLES = join(ROOT, "core", "tables", "default.bin");
/** The picture, in its own units. */
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 420, 64, 20, 40, 52];
const BYTES_STEP = 200;

/** @typedef {Array<[number, number]>} Line cosine and bytes */

main(async () => {
  const [array, lines, file] = process.argv.slice(2);
  if (!array || !lines || !file) throw new Complaint("name P.npy, P.jsonl and FILE.svg");
  const rows = counted(readRows(array, lines));
  const plan = firstsAndLaters(rows);
  const messages = plan.messages.slice(0, plan.firsts).filter(({ rows }) => rows.length === 10);
  if (messages.length === 0) throw new Complaint("fewer than ten patterns pass the filter");
  const out = mkdtempSync(join(tmpdir(), "patterns-"));
  /** @type {Line} */
  const measured = FLOORS.map((floor) => {
    const { results } = measure("plot", { rows, messages }, { floor, tables: TABLES, out });
    const cosines = results.flatMap(({ rows }) => rows.map(({ cosine }) => cosine));
    const point = [mean(cosines), mean(results.map(({ bytes }) => bytes))];
    console.log(
      `floor ${floor}: mean cosine ${point[0]?.toFixed(5)}, ${point[1]?.toFixed(1)} bytes`,
    );
    return /** @type {[number, number]} */ (point);
  });
  rmSync(out, { recursive: true });
  const variances = eigenvalues(
    covariance(
      rows,
      messages.flatMap(({ rows }) => rows),
    ),
  );
  /** @type {Line} */
  const bound = Array.from({ length: 92 }, (_, at) => {
    const cosine = 0.95 + at * 0.0005;
    return [cosine, (10 * bits(variances, 1 - cosine * cosine)) / 8];
  });
  for (const [cosine, bytes] of bound.filter((_, at) => at % 10 === 0)) {
    console.log(`bound at ${cosine.toFixed(3)}: ${bytes.toFixed(1)} bytes`);
  }
  writeFileSync(file, picture(measured, bound));
});

/**
 * The covariance of unit vectors around the mean of their genre.
 *
 * @param {import("./rows.mjs").Rows} rows @param {number[]} chosen
 */
function covariance({ meta, values }, chosen) {
  /** @type {Map<string, number[][]>} */
  const genres = new Map();
  for (const row of chosen) {
    const vector = [...values.subarray(DIMENSIONS * row, DIMENSIONS * (row + 1))];
    const norm = Math.hypot(...vector);
    const genre = meta[row]?.genre ?? "";
    genres.set(genre, [...(genres.get(genre) ?? []), vector.map((value) => value / norm)]);
  }
  const matrix = Array.from({ length: DIMENSIONS }, () => new Float64Array(DIMENSIONS));
  for (const vectors of genres.values()) {
    const middle = Array.from({ length: DIMENSIONS }, (_, at) =>
      mean(vectors.map((v) => v[at] ?? 0)),
    );
    for (const vector of vectors) {
      const offset = Float64Array.from(vector, (value, at) => value - (middle[at] ?? 0));
      matrix.forEach((line, i) => {
        for (let j = 0; j < DIMENSIONS; j++) {
          line[j] = (line[j] ?? 0) + ((offset[i] ?? 0) * (offset[j] ?? 0)) / chosen.length;
        }
      });
    }
  }
  return matrix;
}

/** Of a symmetric matrix, by Jacobi's rotations. @param {Float64Array[]} matrix */
function eigenvalues(matrix) {
  const at = (/** @type {number} */ i, /** @type {number} */ j) => matrix[i]?.[j] ?? 0;
  const trace = matrix.reduce((sum, line, i) => sum + (line[i] ?? 0), 0);
  for (let sweep = 0; sweep < 30; sweep++) {
    let largest = 0;
    for (let p = 0; p < DIMENSIONS; p++) {
      for (let q = p + 1; q < DIMENSIONS; q++) {
        largest = Math.max(largest, Math.abs(at(p, q)));
        if (Math.abs(at(p, q)) > 1e-12 * trace) rotate(matrix, p, q);
      }
    }
    if (largest < 1e-9 * trace) break;
  }
  return matrix.map((line, i) => line[i] ?? 0);
}

/** Makes the element (p, q) zero. @param {Float64Array[]} matrix @param {number} p @param {number} q */
function rotate(matrix, p, q) {
  const [a, b] = [matrix[p], matrix[q]];
  if (!a || !b) return;
  const theta = ((b[q] ?? 0) - (a[p] ?? 0)) / (2 * (a[q] ?? 0));
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (const line of matrix) {
    const [x, y] = [line[p] ?? 0, line[q] ?? 0];
    [line[p], line[q]] = [c * x - s * y, s * x + c * y];
  }
  for (let k = 0; k < DIMENSIONS; k++) {
    const [x, y] = [a[k] ?? 0, b[k] ?? 0];
    [a[k], b[k]] = [c * x - s * y, s * x + c * y];
  }
}

/**
 * Fewest bits for a Gaussian vector at a mean squared error: water filling (Cover and Thomas, 10.3.3).
 * Of a unit vector at error D the best estimate has the cosine √(1 − D) on average.
 *
 * @param {number[]} variances @param {number} error
 */
function bits(variances, error) {
  let [low, high] = [0, Math.max(...variances)];
  for (let round = 0; round < 100; round++) {
    const level = (low + high) / 2;
    const left = variances.reduce((sum, variance) => sum + Math.min(variance, level), 0);
    if (left < error) low = level;
    else high = level;
  }
  return variances.reduce((sum, v) => sum + (v > low ? Math.log2(v / low) / 2 : 0), 0);
}

/** @param {Line} measured @param {Line} bound */
function picture(measured, bound) {
  const most = Math.max(...measured.map(([, bytes]) => bytes));
  const top = BYTES_STEP * Math.ceil(most / BYTES_STEP);
  const x = (/** @type {number} */ cosine) =>
    LEFT + ((cosine - 0.95) / 0.05) * (WIDTH - LEFT - RIGHT);
  const y = (/** @type {number} */ bytes) =>
    HEIGHT - BOTTOM - (bytes / top) * (HEIGHT - TOP - BOTTOM);
  const points = (/** @type {Line} */ line) =>
    line
      .filter(([, bytes]) => bytes <= top)
      .map(([cosine, bytes]) => `${x(cosine).toFixed(1)},${y(bytes).toFixed(1)}`);
  const drawn = (/** @type {Line} */ line, /** @type {string} */ style) =>
    `<polyline points="${points(line).join(" ")}" fill="none" ${style}/>`;
  const text = (/** @type {number} */ a, /** @type {number} */ b, /** @type {string} */ words) =>
    `<text x="${a.toFixed(1)}" y="${b.toFixed(1)}">${words}</text>`;
  const grid = [];
  for (let bytes = 0; bytes <= top; bytes += BYTES_STEP) {
    grid.push(`<path d="M${LEFT} ${y(bytes).toFixed(1)}H${WIDTH - RIGHT}" stroke="#ddd"/>`);
    grid.push(text(16, y(bytes) + 4, String(bytes)));
  }
  for (const cosine of [0.95, 0.96, 0.97, 0.98, 0.99, 1]) {
    grid.push(`<path d="M${x(cosine).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>`);
    grid.push(text(x(cosine) - 12, HEIGHT - BOTTOM + 18, cosine.toFixed(2)));
  }
  const legend = [
    ["#06c", "messages as sent, floors 0.95 to 0.995"],
    ["#c30", "bound of the vectors alone"],
  ].map(([colour, words], at) => {
    const line = TOP + 20 + 20 * at;
    return `<path d="M${LEFT + 12} ${line - 4}h24" stroke="${colour}" stroke-width="2"/>${text(LEFT + 44, line, words ?? "")}`;
  });
  const dots = points(measured).map((point) => {
    const [cx, cy] = point.split(",");
    return `<circle cx="${cx}" cy="${cy}" r="3.5" fill="#06c"/>`;
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    "<title>Bytes of a message with ten first versions, against the cosine</title>",
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(16, 22, "Bytes of a message with ten first versions"),
    ...grid,
    text(WIDTH / 2 - 90, HEIGHT - 14, "mean cosine to what was encoded"),
    drawn(bound, 'stroke="#c30" stroke-width="2"'),
    drawn(measured, 'stroke="#06c" stroke-width="2"'),
    ...dots,
    ...legend,
    "</svg>",
  ].join("\n")}\n`;
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
