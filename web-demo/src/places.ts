/**
 * Where each title of the demo lies among the others, for learning taste.
 *
 * A real catalogue has embeddings of its titles' descriptions. The demo has no descriptions and ships no
 * foreign vectors, so it makes its own from the facts in `catalog.json`: each genre, decade, rating, length
 * and word of a name is a direction drawn from its text alone, and a title is the weighted sum of its own.
 */

import { DIMENSIONS, type TasteTitle } from "omega-sync/patterns";
import type { Title } from "./catalog.js";

const GENRE_WEIGHT = 1;
const DECADE_WEIGHT = 0.7;
const RATING_WEIGHT = 0.4;
const LENGTH_WEIGHT = 0.3;
const WORD_WEIGHT = 0.5;
const LONG_MINUTES = 130;
/** Words that say nothing of a film. */
const COMMON = new Set(["a", "an", "and", "in", "of", "on", "the", "to"]);

/** All titles with their places. */
export function placesOf(titles: readonly Title[]): TasteTitle[] {
  return titles.map((title) => ({
    content: title.id,
    genre: title.genre,
    embedding: placeOf(title),
  }));
}

function placeOf(title: Title): number[] {
  const decade = Math.floor(title.year / 10) * 10;
  const words = title.name.toLowerCase().split(/[^a-z0-9]+/);
  const telling = words.filter((word) => word !== "" && !COMMON.has(word));
  const parts: [string, number][] = [
    [`genre ${title.genre}`, GENRE_WEIGHT],
    [`decade ${decade}`, DECADE_WEIGHT],
    [`rating ${title.rating}`, RATING_WEIGHT],
    [title.minutes >= LONG_MINUTES ? "long" : "short", LENGTH_WEIGHT],
    ...telling.map((word): [string, number] => [`word ${word}`, WORD_WEIGHT]),
  ];
  const place: number[] = new Array(DIMENSIONS).fill(0);
  for (const [text, weight] of parts) {
    direction(text).forEach((component, at) => {
      place[at] = (place[at] ?? 0) + weight * component;
    });
  }
  return place;
}

/** A direction that depends on the text alone: its FNV-1a hash starts a xorshift generator. */
function direction(text: string): number[] {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    state = Math.imul(state ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32 - 0.5;
  };
  return Array.from({ length: DIMENSIONS }, () => next() + next());
}
