// Quality against privacy as an SVG: the mean cosine of released patterns with the truth, by the
// epsilon of a year, beside that of the public centres and of a release without noise.

/**
 * @typedef {{mean: number, p10: number, worst: number} | null} Spread
 * @typedef {{epsilon: number | null, cosine: Spread, public_centre: Spread}} Row
 * @typedef {{households: number, catalogue: string, privacy: Row[]}} Figures
 */

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 60;
const RIGHT = 170;
const TOP = 40;
const BOTTOM = 50;

/** @param {Figures} figures @returns {string} */
export function plot(figures) {
  const rows = figures.privacy.filter((row) => row.epsilon !== null && row.cosine !== null);
  const exact = figures.privacy.find((row) => row.epsilon === null)?.cosine?.mean ?? Number.NaN;
  const values = rows.flatMap((row) => [row.cosine?.mean ?? 1, row.public_centre?.mean ?? 1]);
  const low = Math.floor(Math.min(...values, exact) * 50 - 0.2) / 50;
  /** @param {number} epsilon */
  const x = (epsilon) => {
    const first = Math.log2(rows[0]?.epsilon ?? 1);
    const last = Math.log2(rows.at(-1)?.epsilon ?? 2);
    return LEFT + ((Math.log2(epsilon) - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  };
  /** @param {number} cosine */
  const y = (cosine) => TOP + ((1 - cosine) / (1 - low)) * (HEIGHT - TOP - BOTTOM);
  /** @param {"cosine" | "public_centre"} name @param {string} colour @param {string} label */
  const line = (name, colour, label) => {
    const points = rows.map((row) => [x(row.epsilon ?? 1), y(row[name]?.mean ?? low)]);
    const path = points.map(([px = 0, py = 0]) => `${px.toFixed(1)},${py.toFixed(1)}`);
    const end = points.at(-1)?.[1] ?? 0;
    return `<polyline points="${path.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>
${points.map(([px = 0, py = 0]) => `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="3" fill="${colour}"/>`).join("")}
<text x="${WIDTH - RIGHT + 8}" y="${(end + (name === "cosine" ? -4 : 14)).toFixed(1)}" fill="${colour}">${label}</text>`;
  };
  const ticks = Array.from({ length: 5 }, (_, at) => low + ((1 - low) * at) / 4);
  const grid = ticks.map(
    (
      tick,
    ) => `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/>
<text x="${LEFT - 8}" y="${y(tick) + 4}" text-anchor="end">${tick.toFixed(3)}</text>`,
  );
  const names = rows.map(
    (row) =>
      `<text x="${x(row.epsilon ?? 1)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${row.epsilon}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<title>Quality against privacy</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${LEFT}" y="20" font-size="14">Released patterns against the truth: ${figures.households.toLocaleString("en")} households, catalogue ${figures.catalogue}</text>
${grid.join("\n")}
<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(exact)}" y2="${y(exact)}" stroke="#666" stroke-dasharray="5 4"/>
<text x="${LEFT + 6}" y="${y(exact) - 5}" fill="#666">without noise</text>
${line("public_centre", "#b35900", "public centre alone")}
${line("cosine", "#0b5cad", "released")}
${names.join("\n")}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 12}" text-anchor="middle">epsilon of a year, delta = 1e-6, four releases</text>
<text x="16" y="${HEIGHT / 2}" transform="rotate(-90 16 ${HEIGHT / 2})" text-anchor="middle">mean cosine of clusters</text>
</svg>
`;
}
