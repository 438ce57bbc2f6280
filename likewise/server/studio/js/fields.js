/** Form controls made of a model's schema: one for each kind of column and option. */
import { dataURL, h, iconButton, labelled, newId, short, toast } from "./dom.js";
import { mediaURL, reference } from "./api.js";

/** @typedef {import("./api.js").Column} Column */
/**
 * A control: its element; its value, undefined where it is empty; and a way to write one.
 * @typedef {{element: HTMLElement, get: () => any, set: (value: any) => void}} Field
 */

const MANY_CLASSES = 60; // beyond, a class is typed with suggestions rather than chosen from a menu
const MAX_SEED = 2 ** 31 - 1; // of the random seeds: easy to read and to type

/** @param {string} text @param {any} control @param {(text: string) => any} parse @param {string} [hint] @returns {Field} */
const simple = (text, control, parse, hint) => ({
  element: labelled(text, control, hint),
  get: () => (control.value.trim() === "" ? undefined : parse(control.value)),
  set: (value) => {
    control.value = value ?? "";
    control.dispatchEvent(new Event("input", { bubbles: true }));
  },
});

/** @param {string} label @param {string} [placeholder] @param {number} [rows] @returns {Field} */
export const textField = (label, placeholder, rows = 3) =>
  simple(label, h("textarea", { rows, placeholder, spellcheck: "false" }), (text) => text);

/** @param {string} text a number as it was typed, which the server refuses if it is none */
const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);

/** @param {string} text a list of numbers, as JSON or with commas */
function json(text) {
  try { return JSON.parse(text.trim().startsWith("[") || text.trim().startsWith("{") ? text : `[${text}]`); } catch { return text; }
}

/** @param {Column} column @param {string} empty what leaving it empty means @returns {Field} */
export function columnField(column, empty) {
  const label = column.name;
  if (column.input === "class" && (column.classes?.length ?? 0) <= MANY_CLASSES)
    return simple(label, h("select", {}, h("option", { value: "" }, empty), (column.classes ?? []).map((c) => h("option", { value: c }, c))), String);
  if (column.input === "class") {
    const list = h("datalist", { id: newId("list") }, (column.classes ?? []).map((c) => h("option", { value: c })));
    const field = simple(label, h("input", { type: "text", list: list.id, placeholder: empty }), String);
    field.element.append(list);
    return field;
  }
  const range = column.range?.low !== undefined && column.range?.high !== undefined ? `, ${short(column.range.low)} to ${short(column.range.high)} in training` : "";
  if (column.input === "number") return simple(label, h("input", { type: "text", inputmode: "decimal", placeholder: `${empty}${range}`, title: column.description }), number);
  if (column.input === "file") return fileField(column, empty);
  if (column.input === "json") return simple(label, h("textarea", { rows: 2, placeholder: `${empty}, or a list`, spellcheck: "false" }), json);
  return textField(label, empty, 2);
}

/** A file of a column, shown if it is a picture; a click or a drop chooses it. @param {Column} column @param {string} empty @returns {Field} */
export function fileField(column, empty) {
  /** @type {any} */
  let value;
  const input = h("input", { type: "file", class: "visually-hidden", accept: `${column.media_type.split("/")[0]}/*`, onchange: () => take(input.files[0]) });
  const shown = h("span", { class: "file-shown" });
  const clear = iconButton("close", `Leave ${column.name} out`, () => set(undefined));
  const box = h("div", { class: "file-field" }, input, h("label", { class: "file-label" }, shown), clear);
  input.id = newId("c");
  box.querySelector("label").htmlFor = input.id;
  /** @param {any} next */
  function set(next) {
    value = next ?? undefined;
    input.value = "";
    const address = typeof value === "string" ? value : value && (value.url || value.b64_json || value.file_id) ? mediaURL(value) : "";
    const picture = column.media_type.startsWith("image/") && address;
    shown.replaceChildren(...(picture ? [h("img", { src: address, alt: column.name, class: "pixels" })] : []), value ? (picture ? "Replace" : "A file is chosen") : `Choose a file – ${empty}`);
    clear.hidden = value === undefined;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  /** @param {File|undefined} file */
  async function take(file) {
    if (file) set(await dataURL(file).catch((error) => void toast(error.message, "error")));
  }
  box.addEventListener("dragover", (/** @type {DragEvent} */ event) => event.preventDefault());
  box.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    event.stopPropagation();
    take(event.dataTransfer?.files[0]);
  });
  set(undefined);
  return { element: h("div", { class: "field", role: "group", "aria-label": column.name }, h("span", { class: "label" }, column.name), box), get: () => reference(value), set };
}

/** The type of an option and its range, out of a JSON schema that may allow null. @param {any} schema */
function plain(schema) {
  const branches = schema.anyOf ?? schema.oneOf ?? [schema];
  const main = branches.find((/** @type {any} */ b) => b.enum || [b.type].flat().some((t) => t && t !== "null")) ?? branches[0];
  const type = [main.type].flat().find((t) => t !== "null");
  return { ...main, type, default: schema.default, description: schema.description ?? main.description };
}

/** What an option is where it is not given. @param {any} value */
const word = (value) => (value == null ? "auto" : value === true ? "yes" : value === false ? "no" : short(value));

/**
 * An option of a model: a switch, a menu, or a number with a slider over the useful part of its range; of the links of
 * a pipeline a group.
 * @param {string} name @param {any} schema @returns {Field}
 */
export function optionField(name, schema) {
  const s = plain(schema);
  const label = name.replaceAll("_", " ");
  if (s.properties) return groupField(label, s.properties);
  const choices = s.enum ?? (s.type === "boolean" ? [true, false] : null);
  if (choices) return menuField(label, choices.filter((/** @type {any} */ c) => c !== null), s);
  if (s.type !== "integer" && s.type !== "number") return line(simple(label, h("input", { type: "text", placeholder: word(s.default) }), String, s.description));
  const low = s.minimum ?? s.exclusiveMinimum ?? 0;
  const high = s.maximum ?? s.exclusiveMaximum ?? Infinity;
  const soft = high <= 1 ? high : Math.min(high, s.default ? s.default * 8 : 10); // the slider ends here, the box takes all
  const box = h("input", { type: "number", min: low, max: Number.isFinite(high) ? high : null, step: s.type === "integer" ? 1 : "any", placeholder: word(s.default), inputmode: "decimal" });
  const field = line(simple(label, box, number, s.description));
  if (s.default == null && high > 100) return field;
  const slider = h("input", { type: "range", min: low, max: soft, step: s.type === "integer" ? 1 : soft - low <= 1 ? 0.01 : 0.1, "aria-label": `${label}, slider`, tabindex: -1 });
  const follow = () => { slider.value = box.value || (s.default ?? low); slider.classList.toggle("unset", box.value === ""); };
  slider.addEventListener("input", () => { box.value = slider.value; follow(); });
  box.addEventListener("input", follow);
  follow();
  box.before(slider);
  return field;
}

/** A control beside its label rather than below it. @param {Field} field */
const line = (field) => { field.element.classList.add("line"); return field; };

/** @param {string} label @param {any[]} choices @param {any} s @returns {Field} */
function menuField(label, choices, s) {
  const initial = s.default == null ? "" : word(s.default);
  const select = h("select", {}, s.default == null && h("option", { value: "" }, "auto"), choices.map((c) => h("option", { value: word(c) }, word(c))));
  select.value = initial;
  return line({
    element: labelled(label, select, s.description),
    get: () => (select.value === initial ? undefined : choices.find((c) => word(c) === select.value)),
    set: (value) => { select.value = value == null ? initial : word(value); select.dispatchEvent(new Event("input", { bubbles: true })); },
  });
}

/** Options that belong together. @param {string} label @param {Record<string, any>} schemas @returns {Field} */
function groupField(label, schemas) {
  const fields = Object.entries(schemas).map(([name, s]) => /** @type {[string, Field]} */ ([name, optionField(name, s)]));
  return {
    element: h("fieldset", { class: "group row" }, h("legend", {}, label), fields.map(([, f]) => f.element)),
    get: () => {
      const values = Object.fromEntries(fields.map(([n, f]) => [n, f.get()]).filter(([, v]) => v !== undefined));
      return Object.keys(values).length ? values : undefined;
    },
    set: (value) => fields.forEach(([n, f]) => f.set(value?.[n])),
  };
}

/** A random seed. */
export const randomSeed = () => Math.floor(Math.random() * MAX_SEED);

/**
 * A seed: -1 is a new one for each draw; locked, it stays. `note` tells it what was drawn last.
 * @param {string} label @returns {Field & {note: (seed: number) => void}}
 */
export function seedField(label) {
  let last = -1;
  const box = h("input", { type: "number", min: -1, step: 1, value: "-1", inputmode: "numeric", oninput: () => show() });
  const lock = iconButton("unlock", "Lock the seed", () => set(locked() ? -1 : last >= 0 ? last : randomSeed()), { "aria-pressed": "false" });
  const roll = iconButton("dice", "Roll another seed", () => set(randomSeed()));
  const locked = () => Number(box.value) >= 0 && box.value !== "";
  const show = () => {
    lock.setAttribute("aria-pressed", String(locked()));
    lock.querySelector("use").setAttribute("href", locked() ? "#i-lock" : "#i-unlock");
    lock.title = locked() ? "Unlock: a new seed for each draw" : "Lock the seed";
  };
  /** @param {number} seed */
  function set(seed) {
    box.value = String(seed ?? -1);
    show();
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  const field = labelled(label, box);
  const line = h("div", { class: "with-buttons" });
  box.replaceWith(line);
  line.append(box, lock, roll);
  return { element: field, get: () => (box.value === "" ? -1 : Number(box.value)), set, note: (seed) => { last = seed; } };
}
