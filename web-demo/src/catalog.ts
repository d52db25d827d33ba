/**
 * The titles there are to watch, and how a title without a picture looks.
 *
 * The list is made by `make-catalog.mjs`; its source and licence are in `CATALOG.md`.
 */

import titles from "./catalog.json";

/** A film. */
export interface Title {
  id: string;
  name: string;
  year: number;
  genre: string;
  minutes: number;
  rating: string;
}

/** Every title, the best known first. */
export const TITLES: readonly Title[] = titles;

const BY_ID = new Map(TITLES.map((title) => [title.id, title]));

/** Each genre has a family of colours: hue in degrees. */
const GENRE_HUES = new Map([
  ["Action", 12],
  ["Adventure", 158],
  ["Black Comedy", 285],
  ["Comedy", 42],
  ["Drama", 222],
  ["Horror", 340],
  ["Thriller", 262],
]);
const HUE_SPREAD = 34;

/** The title with that id; one that another device knows and this catalogue does not has no more than its id. */
export function titleOf(id: string): Title {
  const known = BY_ID.get(id);
  return known ?? { id, name: id, year: 0, genre: "Unknown", minutes: 0, rating: "" };
}

/** One line about a title. */
export function factsOf(title: Title): string {
  const length = `${Math.floor(title.minutes / 60)} h ${title.minutes % 60} min`;
  return [title.year, title.genre, length, title.rating].join("  ·  ");
}

/** A position in a film as a person reads it. */
export function clockOf(totalSeconds: number): string {
  const minutes = Math.floor(totalSeconds / 60);
  const pair = (value: number) => String(value).padStart(2, "0");
  return `${Math.floor(minutes / 60)}:${pair(minutes % 60)}:${pair(totalSeconds % 60)}`;
}

/** Gives an element the title's artwork: light and shapes from its id, so they never change. */
export function paint(element: HTMLElement, title: Title): void {
  const seed = hashOf(title.id);
  const hue = (GENRE_HUES.get(title.genre) ?? 200) + (seed % HUE_SPREAD) - HUE_SPREAD / 2;
  const style = element.style;
  style.setProperty("--hue", String(hue));
  style.setProperty("--x", `${15 + ((seed >>> 5) % 70)}%`);
  style.setProperty("--y", `${5 + ((seed >>> 12) % 50)}%`);
  style.setProperty("--turn", `${(seed >>> 18) % 180}deg`);
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash;
}
