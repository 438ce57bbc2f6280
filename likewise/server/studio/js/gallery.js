/** The gallery: everything that was drawn, newest first, by day. */
import { isMedia, isPicture, mediaURL } from "./api.js";
import { attempt, button, byId, h, iconButton, short } from "./dom.js";
import { gridPlace, gridTable } from "./grid.js";
import * as store from "./jobs.js";
import { title } from "./settings.js";
import { view } from "./viewer.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Sample} Sample */

const SHORT = 24; // characters of texts that are shown as a table, if there are several
const ROWS_SHOWN = 50; // of a table; all are in its file

/** @type {Map<string, {element: HTMLElement, created: number, jobs: Map<string, Job>}>} a block for each job, or for each grid of jobs */
const blocks = new Map();

/** @param {Sample} sample */
const pictures = (sample) => Object.entries(sample.values).filter(([, v]) => isPicture(v));
/** The values beside the pictures, in a line. @param {Sample} sample @param {any} request */
const rest = (sample, request) => Object.entries(sample.values).filter(([k, v]) => !isMedia(v) && !(k in (request.given ?? request.row ?? {}))).map(([k, v]) => `${k} ${short(v)}`).join(", ");

/** @param {Job} job @param {Sample} sample */
function tile(job, sample) {
  const [name, value] = /** @type {[string, any]} */ (pictures(sample).at(-1)); // of a pipeline the last one is the result
  const caption = [rest(sample, job.request), title(job.request)].filter(Boolean).join(" – ");
  return h("button", { type: "button", class: "tile", "data-job": job.id, "data-index": sample.index, "aria-label": `View ${caption}${sample.seed === undefined ? `, ${sample.index + 1}` : `, seed ${sample.seed}`}`, onclick: () => view(job, sample) },
    h("img", { src: mediaURL(value), alt: "", loading: "lazy", class: "pixels", "data-column": name }), h("span", { class: "caption", "aria-hidden": "true" }, caption));
}

/** @param {Job} job @param {Sample} sample */
function card(job, sample) {
  const text = Object.entries(sample.values).map(([, v]) => (isMedia(v) ? h("a", { href: mediaURL(v), download: true }, v.media_type) : short(v)));
  const sounds = Object.values(sample.values).filter((v) => isMedia(v) && /^(audio|video)\//.test(v.media_type)).map((v) => h(v.media_type.split("/")[0], { src: mediaURL(v), controls: true }));
  return h("article", { class: "text-card", "data-job": job.id, "data-index": sample.index }, sounds, h("p", { class: "text" }, text),
    h("div", { class: "card-foot" }, h("span", { class: "hint" }, `${job.model} · seed ${sample.seed}`), button("", "View", () => view(job, sample), { class: "button small" })));
}

/** @param {any} value the class of its cell */
const kind = (value) => (typeof value === "number" ? "number" : "");

/** @param {Job} job rows without files, as a table */
function rows(job) {
  const names = Object.keys(job.data[0].values);
  const download = () => {
    const lines = job.data.map((s) => JSON.stringify(s.values)).join("\n");
    h("a", { href: URL.createObjectURL(new Blob([`${lines}\n`], { type: "application/jsonl" })), download: `${job.id}.jsonl` }).click();
  };
  return h("article", { class: "wide", "data-job": job.id, "aria-label": title(job.request) }, head(job, [...new Set([title(job.request), job.model])].join(" · "), [button("", "View", () => view(job, job.data[0]), { class: "button small" }), iconButton("download", "Download the rows", download)]),
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Rows" }, h("table", { class: "rows" }, h("thead", {}, h("tr", {}, names.map((n) => h("th", { scope: "col", class: kind(job.data[0].values[n]) }, n)))),
      h("tbody", {}, job.data.slice(0, ROWS_SHOWN).map((s) => h("tr", {}, names.map((n) => h("td", { class: kind(s.values[n]) }, short(s.values[n])))))))),
    job.data.length > ROWS_SHOWN && h("p", { class: "hint" }, `${ROWS_SHOWN} of ${job.data.length} rows`));
}

/** @param {Job} job @param {string} text @param {Node[]} [actions] */
const head = (job, text, actions = []) => h("header", { class: "wide-head" }, h("h3", {}, text), actions, iconButton("trash", `Delete ${text}`, () => attempt(() => store.drop(job.id))));

/** @param {Map<string, Job>} members of a grid */
function grid(members) {
  const cells = [...members.values()].map((job) => ({ place: /** @type {any} */ (gridPlace(job.request)), element: job.data[0] ? show(job, job.data[0]) : h("p", { class: "hint" }, job.error?.message ?? job.status) }));
  const [first] = members.values();
  const all = () => attempt(async () => { for (const id of [...members.keys()]) await store.drop(id); });
  return h("article", { class: "wide" }, h("header", { class: "wide-head" }, h("h3", {}, `Grid: ${title(first.request)}`), iconButton("trash", "Delete the grid", all)), gridTable(cells));
}

/** @param {Job} job @param {Sample} sample */
const show = (job, sample) => (pictures(sample).length ? tile(job, sample) : card(job, sample));

/** @param {Job} job @returns {HTMLElement[]} */
function content(job) {
  if (job.status === "failed") return [h("article", { class: "wide error" }, head(job, `Failed: ${title(job.request)}`), h("p", {}, job.error?.message ?? "The server did not say why."))];
  const samples = job.data ?? [];
  if (!samples.length || store.isActive(job)) return [];
  if (job.kind === "interpolate" && pictures(samples[0]).length) return [h("article", { class: "wide" }, head(job, title(job.request)), h("div", { class: "strip" }, samples.map((s) => tile(job, s))))];
  const values = Object.values(samples[0].values);
  const plain = values.length > 1 || typeof values[0] !== "string" || (samples.length > 3 && samples.every((s) => String(Object.values(s.values)[0]).length < SHORT));
  if (!values.some(isMedia) && plain) return [rows(job)];
  return samples.map((s) => show(job, s));
}

/** @param {number} time seconds @returns {string} */
function day(time) {
  const date = new Date(time * 1000);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 864e5);
  return days < 1 ? "Today" : days < 2 ? "Yesterday" : date.toLocaleDateString(undefined, { dateStyle: "long" });
}

/** The grid of tiles of a day, made where it belongs. @param {number} time @returns {HTMLElement} */
function section(time) {
  const key = new Date(time * 1000).toDateString();
  const box = byId("gallery");
  const found = [...box.querySelectorAll("section")].find((s) => s.dataset.day === key);
  if (found) return found.querySelector(".tiles");
  const made = h("section", { "data-day": key, "data-time": time, "aria-label": day(time) }, h("h2", {}, day(time)), h("div", { class: "tiles" }));
  box.insertBefore(made, [...box.querySelectorAll("section")].find((s) => Number(s.dataset.time) < time) ?? null);
  return made.querySelector(".tiles");
}

/** @param {Job} job */
function put(job) {
  if (!store.isDrawing(job)) return;
  const place = gridPlace(job.request);
  const key = place ? `grid ${place.id}` : job.id;
  let block = blocks.get(key);
  const parts = content(job);
  if (!block && !parts.length && !place) return;
  if (!block) {
    block = { element: h("div", { class: "block" }), created: job.created_at, jobs: new Map() };
    blocks.set(key, block);
    const tiles = section(job.created_at);
    const time = job.created_at;
    block.element.dataset.time = String(time);
    tiles.insertBefore(block.element, [.../** @type {any} */ (tiles).children].find((e) => Number(e.dataset.time) < time) ?? null);
  }
  block.jobs.set(job.id, job);
  block.element.replaceChildren(...(place ? [grid(block.jobs)] : parts));
  empty();
}

/** @param {string} id */
function gone(id) {
  for (const [key, block] of blocks) {
    if (!block.jobs.delete(id)) continue;
    if (block.jobs.size) block.element.replaceChildren(grid(block.jobs));
    else {
      const day = block.element.closest("section");
      block.element.remove();
      blocks.delete(key);
      if (!day?.querySelector(".block")) day?.remove();
    }
  }
  empty();
}

const hint = h("p", { class: "empty" }, "What you draw appears here, and stays. Drop a PNG that likewise made to see its settings.");
const older = button("", "Older", () => attempt(store.loadOlder), { class: "button older", hidden: true });

function empty() {
  hint.hidden = blocks.size > 0;
  older.hidden = !store.hasMore();
}

export function setUp() {
  byId("gallery").after(hint, older);
  store.on("job", put);
  store.on("gone", gone);
  store.on("list", empty);
}
