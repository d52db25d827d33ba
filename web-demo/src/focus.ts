/**
 * Where the focus goes: one pure function from (rows, focus, key) to the next focus.
 *
 * Focus names a title in a row, not a place: when another TV changes the lists, the viewer stays on
 * the title they were on. Each row remembers the title it was left at.
 */

/** The keys of a remote control. */
export type RemoteKey = "up" | "down" | "left" | "right" | "enter" | "back";

/** A row of the screen: its name and its titles from left to right. */
export interface Row {
  id: string;
  contents: readonly string[];
}

/** The focused row, and in each row the title that has or had the focus. */
export interface Focus {
  row: string;
  contents: Readonly<Record<string, string>>;
}

/** The title that has the focus, if any row has titles. */
export function focused(focus: Focus): string | undefined {
  return focus.contents[focus.row];
}

/** The focus after an arrow key; at an edge it stays. Empty rows are passed over. */
export function moveFocus(rows: readonly Row[], focus: Focus, key: RemoteKey): Focus {
  if (key === "left" || key === "right") return moveAlong(rows, focus, key === "left" ? -1 : 1);
  if (key === "up" || key === "down") return moveAcross(rows, focus, key === "up" ? -1 : 1);
  return focus;
}

/**
 * The focus after the lists changed from `before` to `after`: on the same title if it is still in
 * its row, else on the one that took its place, else in the nearest row that has titles.
 */
export function keepFocus(before: readonly Row[], after: readonly Row[], focus: Focus): Focus {
  const contents: Record<string, string> = {};
  for (const row of after) {
    const wanted = focus.contents[row.id];
    const place = wanted === undefined ? 0 : placeOf(before, row.id, wanted);
    const kept = wanted !== undefined && row.contents.includes(wanted);
    const content = kept ? wanted : row.contents[Math.min(place, row.contents.length - 1)];
    if (content !== undefined) contents[row.id] = content;
  }
  if (contents[focus.row] !== undefined) return { row: focus.row, contents };
  return { row: nearestRow(after, focus.row)?.id ?? focus.row, contents };
}

function moveAlong(rows: readonly Row[], focus: Focus, step: number): Focus {
  const row = rows.find((candidate) => candidate.id === focus.row);
  const content = focused(focus);
  if (row === undefined || content === undefined) return focus;
  const next = row.contents[row.contents.indexOf(content) + step];
  if (next === undefined) return focus;
  return { row: focus.row, contents: { ...focus.contents, [focus.row]: next } };
}

function moveAcross(rows: readonly Row[], focus: Focus, step: number): Focus {
  let at = rows.findIndex((row) => row.id === focus.row) + step;
  for (let row = rows[at]; row !== undefined; at += step, row = rows[at]) {
    const [first] = row.contents;
    if (first === undefined) continue;
    const content = focus.contents[row.id] ?? first;
    return { row: row.id, contents: { ...focus.contents, [row.id]: content } };
  }
  return focus;
}

function placeOf(rows: readonly Row[], id: string, content: string): number {
  const row = rows.find((candidate) => candidate.id === id);
  return Math.max(0, row === undefined ? 0 : row.contents.indexOf(content));
}

function nearestRow(rows: readonly Row[], id: string): Row | undefined {
  const from = rows.findIndex((row) => row.id === id);
  const distance = (row: Row) => Math.abs(rows.indexOf(row) - from);
  const filled = rows.filter((row) => row.contents.length > 0);
  return filled.sort((a, b) => distance(a) - distance(b))[0];
}
