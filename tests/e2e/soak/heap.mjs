// What lives in a page's JavaScript heap, by kind and name, from a snapshot as DevTools takes it. The
// engine's own book-keeping (code, types it has met, what it knows of them) is left out: it goes on
// growing in a program that does the same all over again.

/** Kinds of what a program itself keeps. */
const KEPT = new Set([
  ...["object", "closure", "array", "native", "regexp", "symbol", "bigint", "number"],
  ...["string", "concatenated string", "sliced string"],
]);
/** What the browser keeps beside what a program made of its objects: tables that it resizes, and times. */
const BROWSERS = /^native (system \/|blink::Heap|Performance|Task|blink::ScriptTiming)/;

/** @typedef {Map<string, {count: number, bytes: number}>} Heap */

/**
 * Reads a snapshot.
 * @param {string} text the chunks of `HeapProfiler.addHeapSnapshotChunk`
 * @returns {Heap} by kind and name
 */
export function heapOf(text) {
  const { snapshot, nodes, strings } = JSON.parse(text);
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [type, name, size] = ["type", "name", "self_size"].map((field) => fields.indexOf(field));
  /** @type {Heap} */
  const heap = new Map();
  for (let at = 0; at < nodes.length; at += fields.length) {
    const kind = types[type][nodes[at + type]];
    if (!KEPT.has(kind)) continue;
    // A text is not named after itself.
    const key = /string|number|bigint/.test(kind) ? kind : `${kind} ${strings[nodes[at + name]]}`;
    if (BROWSERS.test(key)) continue;
    const seen = heap.get(key) ?? { count: 0, bytes: 0 };
    seen.count += 1;
    seen.bytes += nodes[at + size];
    heap.set(key, seen);
  }
  return heap;
}

/** Bytes of all of it. @param {Heap} heap */
export function bytesOf(heap) {
  return Array.from(heap.values()).reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * What grew most, for people.
 * @param {Heap} before @param {Heap} after
 */
export function grown(before, after) {
  const rows = Array.from(after, ([key, { count, bytes }]) => {
    const was = before.get(key) ?? { count: 0, bytes: 0 };
    return { key, count: count - was.count, bytes: bytes - was.bytes };
  });
  const most = rows.filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes);
  return most.map(({ key, count, bytes }) => `${bytes} bytes, ${count} more: ${key}`).slice(0, 12);
}
