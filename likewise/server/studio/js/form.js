/** The form of the Create view: what a model can be asked, and the request that comes of it. */
import { get, schema } from "./api.js";
import { announce, attempt, button, byId, compact, h, labelled, newId, toast } from "./dom.js";
import { columnField, fileField, optionField, randomSeed, seedField, textField } from "./fields.js";
import { axisChoices, gridField, gridRequests } from "./grid.js";
import { MaskEditor } from "./canvas.js";
import * as store from "./jobs.js";

/** @typedef {import("./api.js").Schema} Schema */
/** @typedef {import("./fields.js").Field} Field */
/** @typedef {{model?: string, mode?: string, given?: any, to?: any, negative?: any, options?: any, seed?: number, seeds?: number[], n?: number, strength?: number, start?: any, prompt?: string, suffix?: string, stop?: string[]}} Settings */

const DRAFT = "likewise.draft";
const MAIN_OPTIONS = ["steps", "guidance", "sampler", "tokens", "temperature", "top_p"]; // shown; the others are folded away
const MODES = /** @type {const} */ ({ draw: "Draw", edit: "Edit", vary: "Vary", interpolate: "Interpolate", grid: "Grid" });

/** @type {{id: string, schema: Schema}|null} */
let model = null;
let mode = "draw";
/** @type {Record<string, Field>} */
let given = {};
/** @type {Record<string, Field>} */
let to = {};
/** @type {Record<string, Field>} */
let negative = {};
/** @type {Record<string, Field>} */
let options = {};
/** @type {Record<string, any>} */
let extra = {};
/** @type {MaskEditor|null} */
let editor = null;
/** @type {any} */
let start = null; // the values that Vary begins with

/** @type {Promise<any>} */
let changing = Promise.resolve(); // until the form is that of the model that was chosen

const form = byId("form");
const picker = h("select", { "aria-label": "Model", onchange: () => { changing = attempt(() => use(picker.value)); } });
const about = h("p", { class: "about" });
const modes = h("div", { class: "segments", role: "group", "aria-label": "What to do" });
const body = h("div", { class: "panel-body" });
const submitButton = h("button", { type: "submit", class: "button primary", title: "Ctrl-Enter" }, "Draw");

/** The largest picture among the targets, that can be edited and varied. */
const picture = () => model?.schema.columns.filter((c) => c.role === "target" && c.shape?.width && c.media_type.startsWith("image/")).sort((a, b) => (b.shape?.width ?? 0) - (a.shape?.width ?? 0))[0];
/** @param {string} control */
const can = (control) => Boolean(model?.schema.controls.includes(control));
const language = () => can("prompt");

/** @param {Record<string, Field>} fields values of those that are not empty */
const read = (fields) => Object.fromEntries(Object.entries(fields).map(([k, f]) => [k, f.get()]).filter(([, v]) => v !== undefined));
/** @param {Record<string, Field>} fields @param {Record<string, any>} [values] */
const write = (fields, values = {}) => Object.entries(fields).forEach(([name, field]) => field.set(values[name]));
/** @param {string} title @param {(Node|false|undefined)[]} content @param {boolean} [open] */
const folded = (title, content, open = false) => h("details", { class: "fold", open }, h("summary", {}, title), h("div", { class: "fold-body" }, content));

/** @param {string} id of a model @param {Settings} [settings] */
async function use(id, settings) {
  const found = await schema(id);
  model = { id, schema: found };
  picker.value = id;
  start = null;
  about.replaceChildren(h("code", {}, found.formula), ` · ${[found.family, found.parameters ? `${compact(found.parameters)} parameters` : ""].filter(Boolean).join(" · ")}`);
  const available = { draw: can("sample"), edit: can("known") && picture(), vary: can("init") && picture(), interpolate: can("interpolate") && !language(), grid: can("sample") && axisChoices(found).length > 0 };
  const names = /** @type {(keyof typeof MODES)[]} */ (Object.keys(MODES)).filter((name) => available[name]);
  mode = names.includes(/** @type {any} */ (settings?.mode ?? mode)) ? settings?.mode ?? mode : "draw";
  modes.hidden = names.length < 2;
  modes.replaceChildren(...names.map((name) => h("button", { type: "button", "data-mode": name, "aria-pressed": String(name === mode), onclick: () => setMode(name) }, MODES[name])));
  build(settings ?? drafts()[id] ?? {});
  setMode(mode);
  form.dataset.model = id;
}

/** @param {Settings} settings */
function build(settings) {
  const { columns, options: all } = /** @type {{schema: Schema}} */ (model).schema;
  const sources = columns.filter((c) => c.role === "source");
  const targets = columns.filter((c) => c.role === "target");
  const cells = targets.filter((c) => model?.schema.kind !== "pipeline" || c.input !== "file"); // its pictures are views of one
  const joint = targets.length > 1 && cells.length > 0;
  const make = (/** @type {import("./api.js").Column[]} */ list, /** @type {string} */ empty) => Object.fromEntries(list.map((c) => [c.name, columnField(c, empty)]));
  const elements = (/** @type {Record<string, Field>} */ fields) => Object.values(fields).map((f) => f.element);
  const from = make(sources, "any");
  const known = joint ? make(cells, "to be drawn") : {};
  given = { ...from, ...known };
  to = make(sources, "any");
  negative = make(sources, "none");
  options = Object.fromEntries(Object.entries(all.properties ?? {}).map(([name, s]) => [name, optionField(name, s)]));
  extra = {
    seed: seedField("Seed"), seedTo: seedField("Seed at the end"), n: numberField("How many", 1, 64, 1), frames: numberField("Steps between", 2, 24, 7),
    strength: optionField("strength", { type: "number", minimum: 0.01, maximum: 1, default: 0.5, description: "Near 0 the picture comes back, 1 draws a new one." }),
    prompt: textField("Begins with", "Leave empty to begin anywhere", 4), suffix: textField("Ends with", "What comes after the gap", 2), stop: textField("Stop at", "A text a line", 1),
    grid: gridField(/** @type {{schema: Schema}} */ (model).schema, given),
    start: fileField({ name: "Begin with", role: "target", kind: "image", input: "file", media_type: "image/png" }, "or choose Vary at a picture of the gallery"),
  };
  const main = MAIN_OPTIONS.filter((name) => name in options);
  const rest = Object.keys(options).filter((name) => !main.includes(name));
  submitButton.disabled = !can("sample");
  if (!can("sample")) { body.replaceChildren(h("p", { class: "empty" }, "This model compares values rather than sampling them. It can be used through the API, and begun with in Train.")); return; }
  body.replaceChildren(...[
    show("vary", extra.start.element), show("vary", extra.strength.element),
    language() && show("draw", extra.prompt.element), language() && can("suffix") && show("draw", extra.suffix.element),
    sources.length > 0 && h("fieldset", { class: "group plain" }, h("legend", { class: "visually-hidden" }, "Given"), elements(from)),
    joint && h("fieldset", { class: "group row" }, h("legend", {}, "A row: leave empty what is to be drawn"), h("div", { class: "cells" }, elements(known))),
    show("interpolate", h("fieldset", { class: "group" }, h("legend", {}, "At the end"), can("interpolate_sources") && elements(to), extra.seedTo.element)),
    show("grid", extra.grid.element),
    sources.length > 0 && can("negative") && folded("Negative: keep away from", elements(negative), Object.keys(settings.negative ?? {}).length > 0),
    h("div", { class: "lines" }, main.map((name) => options[name].element)),
    h("div", { class: "pair" }, extra.seed.element, hide("interpolate grid", extra.n.element), show("interpolate", extra.frames.element)),
    (rest.length > 0 || can("stop")) && folded("More options", [can("stop") && extra.stop.element, ...rest.map((name) => options[name].element)]),
  ].filter(Boolean));
  fill(settings);
}

/** @param {string} label @param {number} low @param {number} high @param {number} initial @returns {Field} */
function numberField(label, low, high, initial) {
  const box = h("input", { type: "number", min: low, max: high, step: 1, value: String(initial), inputmode: "numeric" });
  return { element: labelled(label, box), get: () => Number(box.value || initial), set: (v) => { box.value = String(v ?? initial); } };
}

/** @param {string} name of the mode in which an element is shown @param {HTMLElement} element */
function show(name, element) { element.dataset.modes = name; return element; }
/** @param {string} names of modes in which it is hidden @param {HTMLElement} element */
function hide(names, element) { element.dataset.notModes = names; return element; }

/** @param {Settings} settings */
function fill(settings) {
  write(given, settings.given);
  write(to, settings.to);
  write(negative, settings.negative);
  write(options, settings.options);
  extra.seed.set(settings.seeds?.[0] ?? settings.seed ?? -1);
  extra.seedTo.set(settings.seeds?.[1] ?? -1);
  extra[settings.mode === "interpolate" ? "frames" : "n"].set(settings.n);
  for (const name of ["strength", "prompt", "suffix"]) extra[name].set(settings[/** @type {"prompt"} */ (name)]);
  extra.stop.set(settings.stop?.join("\n"));
  const column = picture();
  if (settings.start && column) { start = settings.start; extra.start.set(start[column.name]); }
}

/** @param {string} name */
function setMode(name) {
  mode = name;
  for (const b of modes.children) b.setAttribute("aria-pressed", String(b.dataset.mode === name));
  for (const e of body.querySelectorAll("[data-modes]")) e.hidden = !e.dataset.modes.split(" ").includes(name);
  for (const e of body.querySelectorAll("[data-not-modes]")) e.hidden = e.dataset.notModes.split(" ").includes(name);
  const column = picture();
  for (const f of column && given[column.name] ? [given[column.name].element] : []) f.hidden = name === "edit";
  byId("stage").hidden = name !== "edit";
  byId("workspace").dataset.mode = name;
  if (name === "edit" && column?.shape) {
    editor ??= new MaskEditor(byId("stage"));
    editor.resize(column.shape.width, column.shape.height);
  }
  submitButton.textContent = { edit: "Draw what is marked", vary: "Draw variations", interpolate: "Draw the strip", grid: "Draw the grid" }[name] ?? (language() ? "Write" : "Draw");
}

/** @returns {Record<string, Settings>} */
const drafts = () => { try { return JSON.parse(localStorage.getItem(DRAFT) ?? "{}"); } catch { return {}; } };

function save() {
  if (!model) return;
  const draft = { ...drafts(), last: model.id, [model.id]: { mode, given: read(given), to: read(to), negative: read(negative), options: read(options), seed: extra.seed.get(), n: extra.n.get(), prompt: extra.prompt.get(), suffix: extra.suffix.get() } };
  try { localStorage.setItem(DRAFT, JSON.stringify(draft)); } catch { /* a large picture: the draft is not kept */ }
}

/** @param {Record<string, any>} values without the empty ones */
const present = (values) => Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined && !(v && typeof v === "object" && !Array.isArray(v) && Object.keys(v).length === 0)));

/** The requests of the form: paths and bodies. @returns {Promise<[string, any][]>} */
async function requests() {
  const id = /** @type {{id: string}} */ (model).id;
  const row = read(given);
  const common = present({ model: id, negative: read(negative), options: read(options), previews: 8 });
  const seeded = { ...common, seed: extra.seed.get(), n: extra.n.get() };
  const column = /** @type {import("./api.js").Column} */ (picture());
  if (mode === "edit") {
    const { image, mask } = await /** @type {MaskEditor} */ (editor).request();
    return [["/v1/infill", { ...seeded, row: { ...row, [column.name]: image }, mask: { [column.name]: mask } }]];
  }
  if (mode === "vary") {
    if (extra.start.get() === undefined) throw new Error("Choose a picture to vary: a file, or Vary at a picture of the gallery.");
    const values = Object.fromEntries(Object.entries({ ...start, [column.name]: extra.start.get() }).filter(([name]) => !(name in row) && (name === column.name || name in given)));
    return [["/v1/sample", present({ ...seeded, given: row, init: { values, strength: extra.strength.get() ?? 0.5 } })]];
  }
  if (mode === "interpolate") {
    const seeds = [extra.seed.get(), extra.seedTo.get()].map((s) => (s < 0 ? randomSeed() : s));
    const { previews: _, ...rest } = common;
    return [["/v1/interpolate", { ...rest, first: row, last: can("interpolate_sources") ? { ...row, ...read(to) } : row, n: extra.frames.get(), seeds }]];
  }
  if (mode === "grid") return gridRequests(extra.grid.get(), { ...common, given: row, seed: extra.seed.get() < 0 ? randomSeed() : extra.seed.get() }).map((r) => ["/v1/sample", r]);
  const stop = (extra.stop.get() ?? "").split("\n").filter(Boolean);
  return [["/v1/sample", present({ ...seeded, given: row, ...(language() ? { prompt: extra.prompt.get(), suffix: extra.suffix.get(), stop: stop.length ? stop : undefined } : {}) })]];
}

export async function draw() {
  await changing;
  if (!model || submitButton.disabled) return;
  save();
  await attempt(async () => {
    const all = await requests();
    announce(all.length > 1 ? `${all.length} requests are in the queue` : "In the queue");
    form.dispatchEvent(new CustomEvent("submitted", { bubbles: true }));
    for (const [path, request] of all) {
      const job = await store.submit(path, request);
      for (const warning of job.warnings ?? []) toast(warning);
    }
  });
}

/** Take the settings of a request into the form. @param {Settings} settings */
export async function apply(settings) {
  if (![...picker.options].some((/** @type {HTMLOptionElement} */ o) => o.value === settings.model) || !settings.model) throw new Error(`The model ${settings.model} is not here any more.`);
  await use(settings.model, { mode: "draw", ...settings });
  save();
  announce("The settings are in the form");
}

/** Open a picture in the mask editor. @param {any} value @param {Settings} settings */
export async function edit(value, settings) {
  await apply({ ...settings, mode: "edit", seed: -1, n: 1 });
  await editor?.load(value);
}

/** Ask for the models again, and keep the choice. @param {string} [choose] */
export async function loadModels(choose) {
  const { data } = await get("/v1/models");
  picker.replaceChildren(...data.map((/** @type {any} */ m) => h("option", { value: m.id }, m.id)));
  const ids = data.map((/** @type {any} */ m) => m.id);
  const newest = [...data].sort((a, b) => b.created - a.created)[0]?.id;
  const wish = [choose, model?.id, /** @type {any} */ (drafts()).last, newest].find((id) => ids.includes(id));
  if (!wish) body.replaceChildren(h("p", { class: "empty" }, "No model is here yet. Train one, or put run folders where the server looks."));
  else if (wish !== model?.id) await use(wish, choose ? {} : undefined);
  submitButton.disabled ||= !wish;
}

export function setUp() {
  const label = h("label", { for: (picker.id = newId("c")) }, "Model");
  picker.removeAttribute("aria-label");
  form.append(h("div", { class: "panel-head" }, h("div", { class: "field" }, label, picker, about), modes), body,
    h("div", { class: "panel-foot" }, submitButton, button("", "Reset", () => model && use(model.id, { mode }), { title: "All settings as they were at first" })));
  form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); draw(); });
  form.addEventListener("input", save);
  store.on("job", (job) => { if (job.model === model?.id && job.data?.[0]?.seed !== undefined) extra.seed?.note(job.data[0].seed); });
}
