// The lists of tests/planted, and how their entries become branches in a copy of the source.
//
// An entry looks like a piece of a patch, in which white space does not count:
//
//     ## a session number is not stored
//     in session/client.rs
//     caught by sim within 20 seeds
//     -self.append(record, outputs);
//     +drop(record);
//
// "caught by core NAME" and "caught by suite NAME" name a test instead. What stands before the first
// entry, and lines that begin with "//", are for the reader.
import { Complaint } from "./steps.mjs";

/** @typedef {{by: "sim", seeds: number} | {by: "core" | "suite", test: string}} Caught */
/**
 * @typedef {object} Fault
 * @property {string} name
 * @property {string} where file and line of the entry
 * @property {string} file below core/src
 * @property {string} before
 * @property {string} after
 * @property {Caught | undefined} caught
 * @property {number} number
 */

/** A piece of a source that entries replace. @typedef {{start: number, end: number, faults: Fault[]}} Place */

/** @param {string} path of the list, for messages @param {string} text @returns {Fault[]} */
export function parse(path, text) {
  /** @type {Fault[]} */
  const faults = [];
  text.split("\n").forEach((line, index) => {
    const last = faults.at(-1);
    const where = `${path}:${index + 1}`;
    if (line.startsWith("## ")) {
      const name = line.slice(3);
      faults.push({ name, where, file: "", before: "", after: "", caught: undefined, number: 0 });
    } else if (last && line.startsWith("-")) last.before += `${line.slice(1)}\n`;
    else if (last && line.startsWith("+")) last.after += `${line.slice(1)}\n`;
    else if (last && line.startsWith("in ")) last.file = line.slice(3);
    else if (last && line.startsWith("caught by ")) last.caught = catcher(line, where);
    else if (last && line !== "" && !line.startsWith("//")) {
      throw new Complaint(`${where}: not a line of an entry: ${line}`);
    }
  });
  for (const { where, file, before } of faults) {
    if (file === "" || before.trim() === "") {
      throw new Complaint(`${where}: an entry needs "in FILE" and the lines it replaces, with "-"`);
    }
  }
  return faults;
}

/** @param {string} line @param {string} where @returns {Caught} */
function catcher(line, where) {
  const seeds = /^caught by sim within (\d+) seeds$/.exec(line)?.[1];
  if (seeds) return { by: "sim", seeds: Number(seeds) };
  const [, by, test] = /^caught by (core|suite) ([\w:]+)$/.exec(line) ?? [];
  if (test && (by === "core" || by === "suite")) return { by, test };
  throw new Complaint(`${where}: "caught by sim within N seeds", "… core TEST" or "… suite TEST"`);
}

/**
 * The source with a branch for each fault.
 * @param {string} text
 * @param {Fault[]} faults
 * @param {string[]} stale gets a message for each entry whose text is not there exactly once
 */
export function plant(text, faults, stale) {
  /** @type {Map<string, Place>} */
  const places = new Map();
  for (const fault of faults) {
    const found = find(text, fault.before);
    const [first] = found;
    if (!first || found.length > 1) {
      stale.push(staleEntry(fault, found.length));
      continue;
    }
    const start = first.index;
    const end = start + first[0].length;
    const place = places.get(`${start}-${end}`) ?? { start, end, faults: [] };
    place.faults.push(fault);
    places.set(`${start}-${end}`, place);
  }
  const sorted = [...places.values()].sort((a, b) => a.start - b.start || b.end - a.end);
  return branches(text, 0, text.length, sorted);
}

/** Where an entry's text is. @param {string} text @param {string} before */
function find(text, before) {
  const words = before.trim().split(/\s+/);
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+");
  return [...text.matchAll(new RegExp(pattern, "g"))];
}

/** @param {Fault} fault @param {number} count how often its text is there */
function staleEntry({ name, where, file }, count) {
  const there = count === 0 ? "is no longer" : `stands ${count} times`;
  return `${where}: what "${name}" replaces ${there} in core/src/${file}`;
}

/**
 * The text from `start` to `end` with what is planted in it, from the outside in.
 * @param {string} text @param {number} start @param {number} end @param {Place[]} places sorted
 */
function branches(text, start, end, places) {
  let result = "";
  let at = start;
  for (const place of places) {
    if (place.start < at) continue;
    if (place.end > end) {
      throw new Complaint(`${place.faults[0]?.where}: overlaps another entry: choose less text`);
    }
    const inner = places.filter(
      (other) => other !== place && other.start >= place.start && other.start < place.end,
    );
    const original = branches(text, place.start, place.end, inner);
    result += text.slice(at, place.start) + branch(place.faults, original);
    at = place.end;
  }
  return result + text.slice(at, end);
}

/** @param {Fault[]} faults @param {string} original */
function branch(faults, original) {
  const planted = faults.map(({ number, after }) => {
    return `if crate::planted::is(${number}) { ${after} } else `;
  });
  const whole = `${planted.join("")}{ ${original}\n}`;
  // A piece that ends as a statement does is one; any other is a value.
  return /[;}]$/.test(original.trim()) ? whole : `(${whole})`;
}
