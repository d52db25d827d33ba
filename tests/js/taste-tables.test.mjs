// Tables of the operator's own: a TV fetches them from the server by itself, once, and keeps them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MemoryStorage, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { EDGE_BINARY } from "../../scripts/paths.mjs";
import { Edge } from "./edge.mjs";
import { titles } from "./titles.mjs";
import { newHousehold } from "./tv.mjs";
import { eventually } from "./until.mjs";

const BINARY = process.env.OMEGA_EDGE_BIN ?? EDGE_BINARY;
/** Titles of a catalogue, enough to train on. */
const CATALOGUE = 400;

/** @type {Edge} */
let edge;
/** @type {string} */
let folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "omega-tables-"));
  edge = await Edge.start("--pattern-tables", trained());
});
after(async () => {
  await edge?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** @returns {string} the file of tables, made as an operator makes it */
function trained() {
  const list = titles("Drama", 1, 0, CATALOGUE / 2).concat(titles("Crime", 2, 0, CATALOGUE / 2));
  const catalogue = join(folder, "catalogue.npy");
  writeFileSync(catalogue, numpy(list.map(({ embedding }) => embedding)));
  const lines = list.map(({ genre }) => JSON.stringify({ genre, pop: 1 }));
  const meta = join(folder, "catalogue.jsonl");
  writeFileSync(meta, `${lines.join("\n")}\n`);
  const out = join(folder, "own.tables");
  execFileSync(BINARY, ["train", catalogue, "--meta", meta, "--out", out], { stdio: "pipe" });
  return out;
}

/** Rows of float32 in NumPy's format, version 1. @param {number[][]} rows */
function numpy(rows) {
  const shape = `(${rows.length}, ${rows[0]?.length})`;
  const words = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const magic = Buffer.from("\x93NUMPY\x01\x00\x00\x00", "latin1");
  const header = `${words.padEnd(128 - magic.length - 1)}\n`;
  magic.writeUInt16LE(header.length, 8);
  return Buffer.concat([
    magic,
    Buffer.from(header),
    Buffer.from(Float32Array.from(rows.flat()).buffer),
  ]);
}

/** The paths of tables that were asked for, from now on. @param {import("node:test").TestContext} context */
function watchFetches(context) {
  const { fetch } = globalThis;
  /** @type {string[]} */
  const asked = [];
  globalThis.fetch = (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : input);
    if (pathname.includes("/taste/tables/")) asked.push(pathname);
    return fetch(input, init);
  };
  context.after(() => {
    globalThis.fetch = fetch;
  });
  return asked;
}

test("a function of the app that throws instead of giving tables: told, and the rest goes on", async (context) => {
  const household = newHousehold();
  const tv = await open({
    url: edge.address,
    device: "tv",
    token: async () => edge.token(household, "tv"),
    storage: "memory",
    WebSocket,
    taste: {
      tables: () => {
        throw new Error("no such file");
      },
    },
  });
  context.after(() => tv.close());
  /** @type {string[]} */
  const errors = [];
  tv.on("error", ({ code, cause }) => errors.push(`${code}: ${cause}`));
  await eventually(tv, "live", () => tv.status().state === "live");
  await tv.taste.learnTitles(titles("Drama", 1, 0, 12));
  await assert.rejects(tv.taste.sync(), { code: "tables_failed" });
  assert.equal(errors[0], "tables_failed: Error: no such file");
  await tv.taste.record({ content: "Drama:1", watched: 1 });
  await tv.close();
});

test("a TV fetches the operator's tables once, and has them after a restart", async (context) => {
  const asked = watchFetches(context);
  const household = newHousehold();
  const storage = new MemoryStorage();
  const storages = /** @type {const} */ ([new MemoryStorage(), new MemoryStorage()]);
  const openTv = async () => {
    const tv = await open({
      url: edge.address,
      device: "tv",
      token: async () => edge.token(household, "tv"),
      storage,
      WebSocket,
      taste: { storages },
    });
    context.after(() => tv.close());
    await eventually(tv, "live", () => tv.status().state === "live");
    return tv;
  };

  const first = await openTv();
  assert.equal(first.taste.status().hasTables, false);
  await first.taste.learnTitles(titles("Drama", 1, 0, 12));
  for (let at = 0; at < 12; at += 1) {
    await first.taste.record({ content: `Drama:${at}`, watched: 1 });
  }
  assert.equal(await first.taste.sync(), "ok");
  // The tables may have come within that sync, and the patterns leave with the next.
  if (first.taste.contributions().length === 0) assert.equal(await first.taste.sync(), "ok");
  assert.equal(first.taste.contributions().length, 1, "the server could read what it was sent");
  assert.equal(asked.length, 1);
  const headers = { Authorization: `Bearer ${edge.token(household, "tv")}` };
  const served = await fetch(`${edge.address}${asked.pop()}`, { headers });
  const own = readFileSync(join(folder, "own.tables"));
  assert.deepEqual(Buffer.from(await served.arrayBuffer()), own, "those of the operator");
  asked.pop();
  await first.close();

  const second = await openTv();
  assert.ok(second.taste.status().hasTables);
  await second.taste.learnTitles(titles("Drama", 1, 12, 15));
  for (let at = 12; at < 15; at += 1) {
    await second.taste.record({ content: `Drama:${at}`, watched: 1 });
  }
  assert.equal(await second.taste.sync(), "ok");
  assert.equal(second.taste.contributions()[0]?.sampleCount, 15);
  assert.deepEqual(asked, [], "not again");
});
