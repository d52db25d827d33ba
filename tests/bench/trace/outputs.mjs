// What the server's end from tests/room wants done, as it says it; in Node and in a page.

const SEND = 0;

/**
 * Cuts what a room end wants done into rows.
 * @param {unknown[]} flat @returns {Array<{connection: number, frame?: Uint8Array, code?: number}>}
 */
export function roomOutputs(flat) {
  const rows = [];
  for (let at = 0; at < flat.length; at += 3) {
    const connection = Number(flat[at + 1]);
    const value = flat[at + 2];
    if (flat[at] === SEND) rows.push({ connection, frame: /** @type {Uint8Array} */ (value) });
    else rows.push({ connection, code: Number(value) });
  }
  return rows;
}
