/** A chart of losses over training, as SVG. */

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [520, 150, 44, 20, 8];

/** @param {string} tag @param {Record<string, any>} attributes @param {string} [text] */
function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** @param {number[]} values @param {number} share */
const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))];

/**
 * Curves over steps; the few highest first values are cut, so that the rest is seen.
 * @param {{name: string, points: [number, number][]}[]} curves @returns {SVGElement|null} null without two points
 */
export function chart(curves) {
  const all = curves.flatMap((c) => c.points);
  if (all.length < 2) return null;
  const xs = all.map((p) => p[0]);
  const ys = all.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(quantile(ys, 0.98), Math.min(...ys) + 1e-9)];
  const px = (/** @type {number} */ x) => LEFT + ((x - x0) / Math.max(1e-9, x1 - x0)) * (WIDTH - LEFT - 8);
  const py = (/** @type {number} */ y) => TOP + (1 - (Math.min(y, y1) - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  const last = curves[0].points.at(-1);
  const box = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Loss over steps; ${last?.[1].toPrecision(3)} at step ${last?.[0]}` });
  for (const y of [y0, (y0 + y1) / 2, y1]) {
    box.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 8, y1: py(y), y2: py(y) }), svg("text", { x: LEFT - 8, y: py(y) + 4, "text-anchor": "end" }, y.toPrecision(3)));
  }
  box.append(svg("text", { x: LEFT, y: HEIGHT - 4 }, `step ${x0}`), svg("text", { x: WIDTH - 8, y: HEIGHT - 4, "text-anchor": "end" }, String(x1)));
  curves.forEach((curve, i) => {
    box.append(svg("polyline", { class: i ? "line two" : "line", points: curve.points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ") }));
    if (curves.length > 1) box.append(svg("text", { x: WIDTH - 8, y: TOP + 12 + 14 * i, "text-anchor": "end" }, `${i ? "- -" : "—"} ${curve.name}`));
  });
  return box;
}
