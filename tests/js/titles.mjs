// Titles with made-up embeddings: those of one theme lie as near to each other as titles of one genre.
const DIMENSIONS = 384;
/** So far from the theme that two titles have a cosine of about 0.3. */
const APART = 1.5;

/**
 * A title of a theme.
 * @param {string} genre @param {number} theme @param {number} number
 */
export function title(genre, theme, number) {
  const toward = direction(theme);
  const noise = direction(1_000 + theme * 10_000 + number);
  const embedding = toward.map((component, at) => component + APART * (noise[at] ?? 0));
  return { content: `${genre}:${number}`, genre, embedding };
}

/** @param {string} genre @param {number} theme @param {number} from @param {number} to */
export function titles(genre, theme, from, to) {
  return Array.from({ length: to - from }, (_, at) => title(genre, theme, from + at));
}

/** A direction that depends on the number alone (mulberry32). @param {number} number */
function direction(number) {
  let state = (number * 0x9e37_79b9) | 0;
  const uniform = () => {
    state = (state + 0x6d2b_79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32 - 0.5;
  };
  return Array.from({ length: DIMENSIONS }, () => uniform() + uniform() + uniform());
}
