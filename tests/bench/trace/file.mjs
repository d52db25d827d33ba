// A trace of a household, one JSON object a line, and the final state that it must lead to.
import { readFileSync } from "node:fs";
import { Complaint } from "../../../scripts/steps.mjs";

/** What the numbers of a trace's play states mean. @type {import("omega-sync").PlayState[]} */
const STATES = ["playing", "paused", "finished"];

/**
 * @typedef {object} Operation of device `d` at time `t`
 * @property {"add" | "rem" | "prog"} k
 * @property {number} t
 * @property {number} d
 * @property {string} c
 * @property {number} [p] position
 * @property {number} [u] duration
 * @property {number} [s] state
 */

/**
 * @typedef {object} Describe device `d` writes its own record
 * @property {"dev"} k
 * @property {number} t
 * @property {number} d
 * @property {string} name
 * @property {string} model
 * @property {string} app
 * @property {string[]} caps
 */

/**
 * The network goes or returns.
 * @typedef {{k: "off", t: number, d: number} | {k: "on", t: number, d: number}} Switch
 */

/** @typedef {Operation | Describe | Switch} TraceEvent */

/** @typedef {{seed: number, days: number, t0: number, devices: string[]}} Header */

/** @typedef {{header: Header, events: TraceEvent[]}} Trace */

/**
 * @typedef {object} Oracle
 * @property {string[]} watch
 * @property {Record<string, [number, number, number, number]>} prog position, duration, state, time
 * @property {number[]} dev
 */

/** Fields that each kind of event has beside `k`, `t` and `d`. */
const FIELDS = new Map([
  ["add", ["c"]],
  ["rem", ["c"]],
  ["prog", ["c", "p", "u", "s"]],
  ["dev", ["name", "model", "app", "caps"]],
  ["off", []],
  ["on", []],
]);

/** @param {string} path @returns {Trace} */
export function readTrace(path) {
  return parseTrace(read(path));
}

/** @param {string} path @returns {Oracle} */
export function readOracle(path) {
  const oracle = JSON.parse(read(path));
  if (Array.isArray(oracle.watch) && oracle.prog && Array.isArray(oracle.dev)) return oracle;
  throw new Complaint(`${path} is no oracle: gen-trace.mjs --expect writes one`);
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Complaint(`cannot read ${path}: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {string} text @returns {Trace} */
export function parseTrace(text) {
  const lines = text.split("\n").filter((line) => line !== "");
  const [header, ...events] = lines.map((line) => JSON.parse(line));
  if (header?.k !== "hdr" || header.v !== 1 || !Array.isArray(header.devices)) {
    throw new Complaint("this file is no trace of version 1: gen-trace.mjs --out writes one");
  }
  let last = header.t0;
  for (const event of events) {
    const fields = FIELDS.get(event.k);
    if (!fields) {
      throw new Complaint(`event ${event.k} is not replayed: write the trace without it`);
    }
    const missing = fields.find((field) => event[field] === undefined);
    if (missing || !(event.t >= last) || header.devices[event.d] === undefined) {
      throw new Complaint(`not a trace event in time order: ${JSON.stringify(event)}`);
    }
    last = event.t;
  }
  return { header, events };
}

/** @param {TraceEvent} event @returns {event is Operation} */
export function isOperation(event) {
  return event.k === "add" || event.k === "rem" || event.k === "prog";
}

/** @param {number} number as a trace has it */
export function playState(number) {
  const state = STATES[number];
  if (state === undefined) throw new Complaint(`a trace has no play state ${number}`);
  return state;
}

/**
 * @param {import("omega-sync").PlayState} state
 * @returns {number} as an oracle has it; -1 for one that no trace has
 */
export function stateNumber(state) {
  return STATES.indexOf(state);
}
