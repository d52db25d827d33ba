/**
 * What a page shows whose engine is in a Worker: the lists as plain rows, without WebAssembly.
 *
 * The Worker sends every list once, then only how it differs (`view-writer.ts`). A list stays a text
 * until it is asked for: parsing a year of a household takes the oldest TVs longer than a frame. What was
 * watched to the end is a list of its own, because most of a year is, and a first screen does without.
 */

import type { Cells, ReadName } from "../calls.js";
import { checkId, checkProfile } from "../settings.js";

/** Each list as JSON, by its key: `profiles`, `watchlist:` and a profile's id, and so on. */
export type Lists = Record<string, string>;

/**
 * How a list comes from its last form: two numbers stand for a run of its rows, the first one's place
 * and how many; the rest are new rows.
 */
export type Patch = (number | Cells)[];

/** All lists, or patches of those that differ, as JSON by their keys. */
export type ViewUpdate = { lists: Lists } | { patches: string };

/** What a list of the engine is called here, when it is one of each profile. */
const OF_PROFILES: Partial<Record<ReadName, string>> = {
  watchlist: "watchlist:",
  inProgress: "progress:",
  completed: "completed:",
};
/** Half of a profile's id. */
const HALF_ID_DIGITS = 8;
const HEXADECIMAL = 16;

/** The lists of a household. */
export class View {
  private readonly lists = new Map<string, string | Cells[]>();
  /** Patches of lists that are still a text, in their order. */
  private readonly late = new Map<string, Patch[]>();

  /** Takes an update. @returns the keys of the lists that may look different */
  take(update: ViewUpdate): string[] {
    if ("lists" in update) {
      const keys = Object.keys(update.lists);
      return keys.filter((key) => {
        const text = update.lists[key] ?? "[]";
        const isNew = this.lists.get(key) !== text;
        this.lists.set(key, text);
        return this.late.delete(key) || isNew;
      });
    }
    const patches: Record<string, Patch> = JSON.parse(update.patches);
    for (const key of Object.keys(patches)) {
      const list = this.lists.get(key) ?? [];
      const patch = patches[key] ?? [];
      if (typeof list !== "string") this.lists.set(key, patched(list, patch));
      else this.late.set(key, (this.late.get(key) ?? []).concat([patch]));
    }
    return Object.keys(patches);
  }

  /** What the engine would answer; throws `invalid_profile` or `invalid_content_id` as it would refuse. */
  rows(name: ReadName, ...values: string[]): Cells[] {
    const [profile = "", content = ""] = values;
    if (values.length > 0) checkProfile(profile);
    if (values.length > 1) checkId(content, "invalid_content_id");
    switch (name) {
      case "has":
        return [[this.find(`watchlist:${profile}`, content) === undefined ? 0 : 1]];
      case "progress": {
        const row =
          this.find(`progress:${profile}`, content) ?? this.find(`completed:${profile}`, content);
        return row === undefined ? [] : [row.slice(1)];
      }
      case "newProfileId":
        return [[newProfileId()]];
      default: {
        const prefix = OF_PROFILES[name];
        return this.list(prefix === undefined ? name : prefix + profile).slice();
      }
    }
  }

  /** One list by its key. */
  list(key: string): Cells[] {
    const list = this.lists.get(key) ?? [];
    if (typeof list !== "string") return list;
    let rows: Cells[] = JSON.parse(list);
    for (const patch of this.late.get(key) ?? []) rows = patched(rows, patch);
    this.late.delete(key);
    this.lists.set(key, rows);
    return rows;
  }

  private find(key: string, content: string): Cells | undefined {
    return this.list(key).find((row) => row[0] === content);
  }
}

/** What a patch makes of a list. */
export function patched(list: Cells[], patch: Patch): Cells[] {
  const parts: Cells[][] = [];
  for (let at = 0; at < patch.length; at += 1) {
    const part = patch[at];
    if (typeof part === "number") {
      at += 1;
      parts.push(list.slice(part, part + Number(patch[at])));
    } else if (part !== undefined) parts.push([part]);
  }
  return ([] as Cells[]).concat(...parts);
}

/** As the engine draws it: 64 random bits as hexadecimal digits. */
function newProfileId(): string {
  const words = crypto.getRandomValues(new Uint32Array(2));
  const digits = (word: number) => word.toString(HEXADECIMAL).padStart(HALF_ID_DIGITS, "0");
  return Array.from(words, digits).join("");
}
