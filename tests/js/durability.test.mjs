// Proof that the server waits for the disk: it is traced, and in the order of its system calls each ack
// comes after an fsync that began after the operations had arrived. kill -9 alone can't show that,
// because the operating system keeps what was written without an fsync.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv } from "./tv.mjs";
import { until } from "./until.mjs";

const WRITES = 40;
/** System calls by which the server hears, speaks and reaches the disk. */
const CALLS = "recvfrom,sendto,sendmsg,write,writev,fsync,fdatasync,sync_file_range";

test("an fsync ends between the arrival of operations and their ack", async (context) => {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const folder = mkdtempSync(join(tmpdir(), "omega-trace-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv-living");
  await tv.watchlist.add("tmdb:0");
  await tv.flushed();

  const file = join(folder, "trace");
  const flags = ["-f", "-xx", "-s", "64", "-e", `trace=${CALLS}`, "-o", file];
  const strace = spawn("strace", [...flags, "-p", String(edge.pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(strace, "exit");
  let said = "";
  strace.stderr.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  await until("strace is attached to every thread", () => said.includes("attached"));
  for (let number = 1; number <= WRITES; number++) {
    await tv.watchlist.add(`tmdb:${number}`);
    await tv.flushed();
  }
  strace.kill("SIGTERM");
  await ended;

  const { deltas, acks, syncs, early } = readTrace(readFileSync(file, "utf8"));
  assert.ok(deltas >= WRITES, `only ${deltas} deltas seen: the trace was not understood`);
  assert.ok(acks >= WRITES, `only ${acks} acks seen: the trace was not understood`);
  assert.equal(early, 0, `${early} of ${acks} acks left before the disk had what they promise`);
  context.diagnostic(`${deltas} deltas, ${syncs} fsyncs, ${acks} acks, ${early} too early`);
});

/**
 * Reads the calls in the order in which they began or ended. A delta makes the server owe an fsync; one
 * that begins later and ends pays; an ack that leaves in between is early.
 * @param {string} text
 */
function readTrace(text) {
  const seen = { deltas: 0, acks: 0, syncs: 0, early: 0 };
  let owed = 0;
  /** How much each thread's running fsync pays. @type {Map<string, number>} */
  const running = new Map();
  /** What a call that was interrupted in the trace had said so far. @type {Map<string, string>} */
  const unfinished = new Map();
  for (const line of text.split("\n")) {
    const [, thread, rest] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (thread === undefined || rest === undefined) continue;
    const begins = !rest.startsWith("<...");
    const ends = !rest.endsWith("<unfinished ...>");
    if (!ends) unfinished.set(thread, rest);
    const call = begins ? rest : `${unfinished.get(thread) ?? ""}${rest}`;
    const isSync = /^(fsync|fdatasync|sync_file_range)\(/.test(call);
    if (isSync && begins) running.set(thread, owed);
    if (isSync && ends) {
      owed -= Math.min(owed, running.get(thread) ?? 0);
      seen.syncs += 1;
    }
    const bytes = quoted(call);
    if (ends && call.startsWith("recvfrom(") && isDelta(bytes)) {
      seen.deltas += 1;
      owed += 1;
    }
    if (begins && /^(sendto|sendmsg|write|writev)\(/.test(call) && isAck(bytes)) {
      seen.acks += 1;
      if (owed > 0) seen.early += 1;
    }
  }
  return seen;
}

/** The first string of a call, as bytes. @param {string} call */
function quoted(call) {
  const text = /"((?:\\x[0-9a-f]{2})*)"/.exec(call)?.[1] ?? "";
  return Buffer.from(text.replaceAll("\\x", ""), "hex");
}

/** The lower half of a frame's first byte is its tag. */
const TAG_BITS = 0x0f;
const DELTA = 1;
const ACK = 4;

/** A masked binary WebSocket message that is a delta frame. @param {Buffer} bytes */
function isDelta(bytes) {
  const [head, , mask = 0, , , , first] = bytes;
  return head === 0x82 && first !== undefined && ((first ^ mask) & TAG_BITS) === DELTA;
}

/** A binary WebSocket message that is an ack frame. @param {Buffer} bytes */
function isAck(bytes) {
  const [head, length, first = 0] = bytes;
  return head === 0x82 && length === 1 && (first & TAG_BITS) === ACK;
}
