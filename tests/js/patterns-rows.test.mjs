// Files that the measurement of patterns reads: other layouts of the same rows, and what it must refuse.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { asGiven, counted, firstsAndLaters, globals, readRows } from "../bench/patterns/rows.mjs";

const DIMENSIONS = 384;
/** @typedef {{descr?: string, columns?: boolean, shape?: string, lines?: any[]}} Layout */

/** What the files of rows are read as. @param {number[][]} rows @param {Layout} [layout] */
function read(rows, { descr = "<f4", columns = false, shape, lines } = {}) {
  const size = Number(descr.slice(2));
  const data = Buffer.alloc(size * DIMENSIONS * rows.length);
  rows.forEach((row, at) => {
    for (let component = 0; component < DIMENSIONS; component += 1) {
      const place = columns ? component * rows.length + at : at * DIMENSIONS + component;
      const value = row[component] ?? 0;
      if (size === 8) data.writeDoubleLE(value, 8 * place);
      else if (size === 4) data.writeFloatLE(value, 4 * place);
      // 1, -1 and 0 in half precision.
      else data.writeUInt16LE(value === 0 ? 0 : value > 0 ? 0x3c00 : 0xbc00, 2 * place);
    }
  });
  const of = shape ?? `(${rows.length}, ${DIMENSIONS})`;
  const order = columns ? "True" : "False";
  const head = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${of}, }`;
  const padded = `${head.padEnd(117)}\n`;
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, padded.length, 0]);
  const folder = mkdtempSync(join(tmpdir(), "omega-rows-"));
  try {
    const [array, meta] = [join(folder, "rows.npy"), join(folder, "rows.jsonl")];
    writeFileSync(array, Buffer.concat([start, Buffer.from(padded), data]));
    const about = lines ?? rows.map((_, at) => line(at));
    writeFileSync(meta, about.map((of) => `${JSON.stringify(of)}\n`).join(""));
    return readRows(array, meta);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param {unknown} id @param {object} [more] */
function line(id, more = {}) {
  return { id: typeof id === "number" ? `p${id}` : id, genre: "Drama", ...many, ...more };
}

const many = { sample_count: 20, success_count: 18 };
/** @param {number} at */
const axis = (at) => Array.from({ length: DIMENSIONS }, (_, place) => (place === at ? -1 : 0));

test("an array is the same in each precision and order", () => {
  const rows = [axis(0), axis(5), axis(383)];
  const wanted = Float32Array.from(rows.flat());
  for (const descr of ["<f2", "<f4", "<f8"]) {
    for (const columns of [false, true]) {
      assert.deepEqual(read(rows, { descr, columns }).values, wanted, `${descr} ${columns}`);
    }
  }
  assert.equal(read([]).values.length, 0);
  assert.equal(read([[1e-42]]).values[0], Math.fround(1e-42), "too small for a full precision");
});

test("what is no row of a pattern is refused, and the message says where it is", () => {
  const rows = [axis(1), axis(2)];
  const bad = (/** @type {number} */ value) => [axis(1), [...axis(2).slice(0, 383), value]];
  assert.throws(() => read(bad(Number.NaN)), /row 1, component 383 is not finite/);
  assert.throws(() => read(bad(Number.NEGATIVE_INFINITY)), /row 1, component 383 is not finite/);
  assert.throws(() => read(bad(1e300), { descr: "<f8" }), /component 383 is not finite/);
  assert.throws(() => read([axis(1), []]), /row 1 is zero/);
  assert.throws(() => read(rows, { descr: ">f4" }), /neither float16 nor float32 nor float64/);
  for (const shape of ["(2, 385)", "(768,)", "(2, 384, 1)", "(-2, 384)"]) {
    assert.throws(() => read(rows, { shape }), /not rows of 384/, shape);
  }
  assert.throws(() => read(rows, { shape: "(3, 384)" }), /bytes of data are not 3 rows/);
  assert.throws(() => read(rows, { lines: [line(0)] }), /2 rows, .* 1 lines/);
  for (const [field, wrong] of /** @type {Array<[string, unknown]>} */ ([
    ["id", 1.5],
    ["id", null],
    ["genre", undefined],
    ["sample_count", 0],
    ["sample_count", "20"],
    ["success_count", 21],
    ["success_count", 3.5],
    ["success_count", -1],
  ])) {
    const lines = [line(0), line(1, { [field]: wrong })];
    assert.throws(() => read(rows, { lines }), /line 2: (id|genre|sample|success)/, field);
  }
  const counts = { success_count: undefined, success_rate: undefined };
  assert.throws(() => read(rows, { lines: [line(0), line(1, counts)] }), /line 2: success_count/);
});

test("ids may be any text or number; only those that are sent must be 128 bits", () => {
  const lines = [line("f".repeat(32)), line("pattern/ä".repeat(40)), line(7), line("pattern/")];
  const rows = read([axis(0), axis(1), axis(2), axis(3)], { lines });
  const ids = counted(rows).meta.map(({ id }) => id);
  assert.deepEqual(
    ids,
    ["0", "1", "2", "3"].map((id) => id.padStart(32, "0")),
  );
  assert.throws(() => asGiven(rows), /line 2: to be sent/);
  const hex = read([axis(0)], { lines: [line("AB")] });
  assert.equal(asGiven(hex).meta[0]?.id, "ab".padStart(32, "0"));
});

test("a pattern's versions are in their order, whatever the order of the rows", () => {
  const few = { sample_count: 9, success_count: 9 };
  const lines = [
    line("b", { version: 2 }),
    line("a", { version: 1 }),
    line("b", { version: 0, ...few }),
    line("a", { version: 0 }),
    line("b", { version: 1 }),
    line("c"),
    line("c"),
  ];
  const rows = counted(
    read(
      lines.map((_, at) => axis(at)),
      { lines },
    ),
  );
  const plan = firstsAndLaters(rows);
  assert.equal(plan.firsts, 1);
  const sent = plan.messages.map(({ rows }) => rows);
  assert.deepEqual(sent, [
    [3, 4, 5],
    [1, 0, 6],
  ]);
});

test("every global row is in one message, none twice in it, and no message is too long", () => {
  for (const count of [0, 1, 10, 256, 257, 1000]) {
    const lines = Array.from({ length: count }, (_, at) => line(at, { snapshot: 0 }));
    const { messages } = globals(
      read(
        lines.map((_, at) => axis(at % DIMENSIONS)),
        { lines },
      ),
    );
    const all = messages.flatMap(({ rows }) => rows);
    assert.deepEqual(all, [...lines.keys()]);
    assert.ok(messages.every(({ rows, fresh }) => rows.length <= 256 && fresh));
  }
  const lines = [line("a"), line("b"), line("a"), line("b")];
  const { messages } = globals(
    read(
      lines.map((_, at) => axis(at)),
      { lines },
    ),
  );
  const rows = messages.map(({ rows }) => rows);
  assert.deepEqual(rows, [
    [0, 1],
    [2, 3],
  ]);
});
