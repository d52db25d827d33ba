/** Says how the lists of an engine differ from what was said before; see `view.ts`. */

import { type Cells, type Keeper, partOf, type ReadName } from "../calls.js";
import { type Lists, type Patch, patched, type ViewUpdate } from "./view.js";

/** Patches of so many characters, or as many as the lists have, are followed by all lists anew. */
export const PATCHES_LENGTH_MIN = 8_192;
/** Lists of the household and what is known of this copy, without those of each profile. */
const COMMON = ["profiles", "devices", "rejected", "about", "pending"];

/** What the other side has been told. */
export class ViewWriter {
  /** Each list's rows as JSON; nothing before the first time. */
  private said: Map<string, string[]> | undefined;
  private patchesLength = 0;
  private listsLength = 0;
  private readonly dirty = new Set<string>();
  /** All progress of a profile, while its two lists are made. */
  private readonly progress = new Map<string, Cells[]>();

  constructor(private readonly keeper: Pick<Keeper, "rows" | "pending">) {}

  /** The other side has this: all lists, then patches of them; or nothing. */
  begin(shown: ViewUpdate[]): void {
    this.said = shown.length === 0 ? undefined : new Map();
    this.patchesLength = 0;
    this.listsLength = 0;
    const lists = new Map<string, Cells[]>();
    for (const update of shown) {
      if ("lists" in update) {
        for (const key of Object.keys(update.lists)) {
          const text = update.lists[key] ?? "[]";
          this.listsLength += text.length;
          lists.set(key, JSON.parse(text));
        }
      } else {
        this.patchesLength += update.patches.length;
        const patches: Record<string, Patch> = JSON.parse(update.patches);
        for (const key of Object.keys(patches)) {
          lists.set(key, patched(lists.get(key) ?? [], patches[key] ?? []));
        }
      }
    }
    lists.forEach((rows, key) => {
      this.said?.set(key, textsOf(rows));
    });
  }

  /** These lists may differ. */
  touch(keys: Iterable<string>): void {
    for (const key of Array.from(keys)) {
      this.dirty.add(key);
      // To the engine they are one.
      if (key.startsWith("progress:")) this.dirty.add(key.replace("progress:", "completed:"));
    }
  }

  /** All may differ. */
  touchAll(): void {
    this.touch(COMMON);
    this.touch(this.profileKeys());
    if (this.said !== undefined) this.touch(this.said.keys());
  }

  /** What to say, if anything. */
  update(): ViewUpdate | undefined {
    if (this.said === undefined) this.touchAll();
    else if (this.dirty.has("profiles")) {
      const { said } = this;
      this.touch(this.profileKeys().filter((key) => !said.has(key)));
    }
    const keys = Array.from(this.dirty);
    this.dirty.clear();
    this.progress.clear();
    const { said } = this;
    if (said === undefined) return this.everything(keys);
    const patches: Record<string, Patch> = {};
    for (const key of keys) {
      const rows = this.rowsOf(key);
      const texts = textsOf(rows);
      const patch = patchOf(said.get(key) ?? [], texts, rows);
      said.set(key, texts);
      if (patch !== undefined) patches[key] = patch;
    }
    if (Object.keys(patches).length === 0) return undefined;
    const text = JSON.stringify(patches);
    this.patchesLength += text.length;
    if (this.patchesLength > Math.max(PATCHES_LENGTH_MIN, this.listsLength)) {
      return this.everything(Array.from(said.keys()));
    }
    return { patches: text };
  }

  private everything(keys: string[]): ViewUpdate {
    const lists: Lists = {};
    for (const key of keys) lists[key] = JSON.stringify(this.rowsOf(key));
    const update = { lists };
    this.begin([update]);
    return update;
  }

  private rowsOf(key: string): Cells[] {
    if (key === "pending") return [[this.keeper.pending()]];
    const [name = "", profile] = key.split(":");
    if (profile === undefined) return this.keeper.rows(name as ReadName);
    // What is asked of a profile that was deleted is refused.
    if (!this.profileKeys().includes(key)) return [];
    if (name === "watchlist") return this.keeper.rows(name, profile);
    const all = this.progress.get(profile) ?? this.keeper.rows("progressAll", profile);
    this.progress.set(profile, all);
    return partOf(name === "completed" ? name : "inProgress", all);
  }

  private profileKeys(): string[] {
    const keys = this.keeper
      .rows("profiles")
      .map(([id]) => [`watchlist:${id}`, `progress:${id}`, `completed:${id}`]);
    return ([] as string[]).concat(...keys);
  }
}

function textsOf(rows: Cells[]): string[] {
  return rows.map((row) => JSON.stringify(row));
}

/** How a list became what it is; nothing when it is what it was. No two rows of a list are the same. */
function patchOf(before: string[], after: string[], rows: Cells[]): Patch | undefined {
  const places = new Map(before.map((text, place) => [text, place]));
  const patch: Patch = [];
  let [from, to] = [0, 0];
  const endRun = () => {
    if (to > from) patch.push(from, to - from);
    [from, to] = [0, 0];
  };
  after.forEach((text, at) => {
    const place = places.get(text);
    if (place === undefined || place !== to) endRun();
    if (place === undefined) patch.push(rows[at] ?? []);
    else if (to === from) [from, to] = [place, place + 1];
    else to += 1;
  });
  const isWhole = patch.length === 0 && from === 0 && to === before.length;
  endRun();
  return isWhole && after.length === before.length ? undefined : patch;
}
