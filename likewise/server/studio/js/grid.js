/** The X/Y grid: two options, each with some values, and a sample for each pair. */
import { h, labelled, newId } from "./dom.js";

/** @typedef {import("./api.js").Schema} Schema */
/** @typedef {{key: string, values: (string|number|boolean)[]}} Axis */

const MOST = 36; // samples of a grid
/** @type {Record<string, string>} values to begin with */
const SUGGESTED = { "options.steps": "2, 4, 8, 16", "options.guidance": "1, 2, 4", "options.temperature": "0.5, 0.8, 1", seed: "1, 2, 3, 4" };

/** What can vary along an axis: options, the seed and sources that are classes or numbers. @param {Schema} schema @returns {{key: string, label: string, classes?: string[]}[]} */
export function axisChoices(schema) {
  const options = Object.entries(schema.options.properties ?? {}).filter(([, s]) => !s.properties).map(([name, s]) => ({ key: `options.${name}`, label: name.replaceAll("_", " "), classes: s.enum }));
  const sources = schema.columns.filter((c) => c.role === "source" && ["class", "number"].includes(c.input)).map((c) => ({ key: `given.${c.name}`, label: c.name, classes: c.classes?.slice(0, 6) }));
  return options.length + sources.length ? [...options, ...sources, { key: "seed", label: "seed" }] : [];
}

/** @param {string} text values with commas between them */
const parse = (text) => text.split(",").map((t) => t.trim()).filter(Boolean).map((t) => (t === "true" || t === "yes" ? true : t === "false" || t === "no" ? false : t !== "" && Number.isFinite(Number(t)) ? Number(t) : t));

/** @param {Schema} schema @param {Record<string, any>} given fields, whose classes stay words */
export function gridField(schema, given) {
  const choices = axisChoices(schema);
  const axes = ["Across", "Down"].map((title, i) => {
    const what = h("select", {}, i === 1 && h("option", { value: "" }, "nothing"), choices.map((c) => h("option", { value: c.key }, c.label)));
    const values = h("input", { type: "text", id: newId("c"), placeholder: "values, with commas" });
    const suggest = () => {
      const choice = choices.find((c) => c.key === what.value);
      values.value = choice?.classes?.join(", ") ?? SUGGESTED[what.value] ?? "";
      values.disabled = !what.value;
    };
    what.addEventListener("change", suggest);
    what.value = [["options.steps", choices[0]?.key], ["options.guidance", ""]][i].find((key) => key === "" || choices.some((c) => c.key === key)) ?? "";
    suggest();
    return { what, values, element: h("div", { class: "pair" }, labelled(title, what), labelled("Values", values)) };
  });
  return {
    element: h("fieldset", { class: "group" }, h("legend", {}, "Grid"), axes.map((a) => a.element)),
    /** @returns {Axis[]} */
    get: () => axes.map((a) => ({ key: a.what.value, values: a.what.value.startsWith("given.") && given[a.what.value.slice(6)] ? a.values.value.split(",").map((/** @type {string} */ v) => v.trim()).filter(Boolean) : parse(a.values.value) })),
  };
}

/** A request for each cell, all with one seed unless it is an axis. @param {Axis[]} axes @param {any} base */
export function gridRequests([x, y], base) {
  const across = x.values;
  const down = y.key ? y.values : [null];
  if (!across.length || !down.length) throw new Error("Write the values of each axis, with commas between them.");
  if (across.length * down.length > MOST) throw new Error(`A grid has at most ${MOST} cells, and this one would have ${across.length * down.length}.`);
  const id = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`;
  return down.flatMap((b) => across.map((a) => {
    const request = structuredClone({ ...base, n: 1, metadata: { grid: JSON.stringify({ id, x: [x.key, a], y: [y.key, b] }) } });
    for (const [key, value] of [[x.key, a], [y.key, b]]) {
      if (!key) continue;
      const [part, name] = String(key).split(/\.(.*)/s);
      if (part === "seed") request.seed = value;
      else request[part] = { ...request[part], [name]: value };
    }
    return request;
  }));
}

/** The place of a job in a grid. @param {any} request @returns {{id: string, x: [string, any], y: [string, any]}|null} */
export function gridPlace(request) {
  try { return request?.metadata?.grid ? JSON.parse(request.metadata.grid) : null; } catch { return null; }
}

/** A table of the cells. @param {{place: NonNullable<ReturnType<gridPlace>>, element: HTMLElement}[]} cells */
export function gridTable(cells) {
  const name = (/** @type {string} */ key) => key.replace(/^(options|given)\./, "").replaceAll("_", " ");
  const xs = [...new Set(cells.map((c) => c.place.x[1]))].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : 0));
  const ys = [...new Set(cells.map((c) => c.place.y[1]))].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : 0));
  const { x, y } = cells[0].place;
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Grid" }, h("table", { class: "xy" },
    h("thead", {}, h("tr", {}, h("td", {}), xs.map((v) => h("th", { scope: "col" }, `${name(x[0])} ${v}`)))),
    h("tbody", {}, ys.map((b) => h("tr", {}, y[0] ? h("th", { scope: "row" }, `${name(y[0])} ${b}`) : h("td", {}), xs.map((a) => h("td", {}, cells.find((c) => c.place.x[1] === a && c.place.y[1] === b)?.element ?? "")))))));
}
