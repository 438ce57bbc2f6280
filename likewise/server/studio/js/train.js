/** The Train view: data, formula, training, and the runs that learn. */
import { get, mediaURL, isPicture, post, remove, upload } from "./api.js";
import { chart } from "./chart.js";
import { announce, attempt, button, byId, duration, h, icon, labelled, newId, short, toast } from "./dom.js";
import { optionField } from "./fields.js";
import { formulaField } from "./formula.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const ROWS_SHOWN = 5;
const EVERY = 2000; // ms between looks at the runs that learn

/** @type {{use: (model: string) => Promise<void>}} */
let actions;
/** @type {Record<string, string>} */
let columns = {};
/** @type {any} */
let checked = null; // the data set of the report
/** @type {number|undefined} */
let timer;
/** @type {Map<string, {element: HTMLElement, update: (job: any) => void}>} */
const cards = new Map();

const choice = h("select", { onchange: () => attempt(check) });
const file = h("input", { type: "file", class: "visually-hidden", id: newId("c"), onchange: () => attempt(async () => {
  if (!file.files[0]) return;
  announce("Uploading");
  const sent = await upload(file.files[0], "fine-tune");
  file.value = "";
  await listData(sent.id);
  await check();
}) });
const report = h("div", { class: "columns-report", role: "region", "aria-label": "The check of the data", "aria-live": "polite" });
const skip = h("input", { type: "checkbox", checked: true });
const chips = h("div", { class: "buttons" });
const formula = formulaField(() => columns);
const family = h("select", { onchange: () => showOptions() });
const minutes = h("input", { type: "number", min: 0.1, step: "any", value: "10", inputmode: "decimal" });
const more = h("div", { class: "fold-body" });
/** @type {any[]} */
let families = [];
/** @type {Record<string, import("./fields.js").Field>} */
let options = {};
const name = h("input", { type: "text", placeholder: "a name of your own" });
const begin = h("select", { onchange: () => { family.disabled = begin.value !== ""; } });
const start = h("button", { type: "submit", class: "button primary", disabled: true }, icon("play"), "Train");
const runs = h("div", { "aria-label": "Runs", role: "group" });

/** @param {string} [chosen] */
async function listData(chosen) {
  const { data } = await get("/v1/data");
  choice.replaceChildren(h("option", { value: "" }, "Choose data"), ...data.map((/** @type {any} */ d) => h("option", { value: d.id ?? d.name, title: d.description }, d.name ?? d.id)));
  if (chosen) choice.value = chosen;
}

/** The request that names the data. */
const dataOf = () => (choice.value.startsWith("file-") ? { file_id: choice.value } : { name: choice.value });

async function check() {
  columns = {};
  checked = null;
  chips.replaceChildren();
  report.replaceChildren();
  ready();
  if (!choice.value) return;
  report.replaceChildren(h("p", { class: "hint" }, "Reading the data …"));
  let answer;
  try {
    answer = await post("/v1/data/check", dataOf());
  } catch (error) {
    report.replaceChildren(h("p", { class: "message bad", role: "alert" }, /** @type {Error} */ (error).message));
    return;
  }
  checked = choice.value;
  columns = Object.fromEntries(answer.columns.map((/** @type {any} */ c) => [c.name, c.kind]));
  chips.replaceChildren(...(answer.formulas ?? []).map((/** @type {string} */ f) => button("", f, () => formula.set(f), { class: "button small" })));
  report.replaceChildren(...reportOf(answer));
  formula.check();
}

/** @param {any} answer of /v1/data/check @returns {HTMLElement[]} */
function reportOf(answer) {
  const cell = (/** @type {any} */ v) => (isPicture(v) ? h("img", { src: mediaURL(v), alt: "", class: "pixels" }) : short(v ?? "").slice(0, 120));
  const table = (/** @type {string} */ label, /** @type {string[]} */ names, /** @type {any[][]} */ rows) => h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": label }, h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, names.map((n) => h("th", { scope: "col" }, n)))), h("tbody", {}, rows.map((r) => h("tr", {}, r.map((v) => h("td", {}, v)))))));
  const names = answer.columns.map((/** @type {any} */ c) => c.name);
  const bad = answer.bad_rows ?? [];
  const notes = answer.notes ?? [];
  return [
    h("p", {}, h("b", {}, `${answer.rows} rows`), bad.length ? `, ${answer.bad_rows_total} of them cannot be used` : ", all can be used", `; ${answer.heldout} are held out of training to measure on`),
    notes.length > 0 && h("ul", { class: "notes" }, notes.map((/** @type {string} */ n) => h("li", {}, n))),
    table("Columns", ["column", "kind", "why"], answer.columns.map((/** @type {any} */ c) => [c.name, c.kind, c.reason ?? c.description ?? ""])),
    bad.length > 0 && h("details", { class: "fold", open: true }, h("summary", {}, "Rows that cannot be used"), table("Rows that cannot be used", ["row", "column", "why"], bad.map((/** @type {any} */ r) => [[r.file, r.row].filter((v) => v != null).join(" "), r.column ?? "", r.reason])), h("label", { class: "check" }, skip, "Leave these rows out")),
    answer.preview?.length > 0 && h("details", { class: "fold", open: true }, h("summary", {}, "The first rows"), table("The first rows", names, answer.preview.slice(0, ROWS_SHOWN).map((/** @type {any} */ r) => names.map((/** @type {string} */ n) => cell(r[n]))))),
    h("details", { class: "fold" }, h("summary", {}, "The whole report"), h("pre", { class: "report", tabindex: 0 }, answer.report.join("\n"))),
  ].filter(Boolean);
}

function ready() { start.disabled = !(checked && formula.valid()); }

/** The options of the family that was chosen; without one none, as the formula decides it. */
function showOptions() {
  const schemas = families.find((f) => f.id === family.value)?.options.properties ?? {};
  options = Object.fromEntries(Object.entries(schemas).filter(([n]) => n !== "minutes").map(([n, s]) => [n, optionField(n, s)]));
  more.replaceChildren(...Object.values(options).map((f) => f.element));
  more.parentElement.hidden = !Object.keys(options).length;
}

const train = () => attempt(async () => {
  const given = Object.entries(options).map(([n, f]) => [n, f.get()]).filter(([, v]) => v !== undefined);
  const hyperparameters = { ...Object.fromEntries(given), formula: formula.value(), minutes: Number(minutes.value), ...(skip.isConnected && skip.checked ? { skip_bad: true } : {}), ...(family.value && !begin.value ? { family: family.value } : {}) };
  const body = { model: begin.value || "new", training_file: choice.value, suffix: name.value.trim() || undefined, hyperparameters };
  const job = await post("/v1/fine_tuning/jobs", body);
  for (const warning of job.warnings) toast(warning);
  announce("Training begins");
  await look();
  cards.get(job.id)?.element.scrollIntoView({ block: "nearest" });
});

/** @param {any} job */
function card(job) {
  const path = `/v1/fine_tuning/jobs/${job.id}`;
  const act = (/** @type {string} */ verb) => () => attempt(async () => { await post(`${path}/${verb}`); await look(); });
  const tag = h("span", { class: "tag" });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const state = h("p", { class: "hint" });
  const curve = h("div", {});
  const samples = h("img", { class: "pixels", alt: "Samples of the model so far", hidden: true });
  const error = h("p", { class: "error-text" });
  const controls = {
    pause: button("pause", "Pause", act("pause")), resume: button("play", "Resume", act("resume")), stop: button("close", "Stop", act("cancel")),
    use: button("create", "Draw from it", () => attempt(() => actions.use(now.fine_tuned_model)), { class: "button primary" }),
    remove: button("trash", "Delete", () => attempt(async () => { await remove(`/v1/jobs/${job.id}`); cards.delete(job.id); element.remove(); })),
  };
  let now = job;
  const title = h("h3", {});
  const element = h("article", { class: "job", "data-job": job.id }, h("header", {}, title, tag), state, bar, curve, samples, error, h("div", { class: "buttons" }, Object.values(controls)));
  samples.addEventListener("error", () => { samples.hidden = true; });
  samples.addEventListener("load", () => { samples.hidden = false; });
  let drawn = -1;
  /** @param {any} next */
  function update(next) {
    now = next;
    const progress = next.progress ?? {};
    const status = next.status;
    const left = next.estimated_finish && !ENDED.includes(status) ? duration(next.estimated_finish - Date.now() / 1000) : "";
    title.textContent = next.metadata?.formula ?? next.model;
    tag.textContent = { running: "learning", succeeded: "ready" }[/** @type {string} */ (status)] ?? status;
    state.textContent = [next.user_provided_suffix, next.position ? `${next.position} before it` : "", progress.step !== undefined ? `step ${progress.step}` : "", progress.loss !== undefined ? `loss ${short(progress.loss)}` : "", left && `about ${left} left`].filter(Boolean).join(" · ");
    if (progress.share !== undefined) bar.value = progress.share;
    else bar.removeAttribute("value");
    bar.hidden = ENDED.includes(status) || status === "paused";
    error.textContent = next.error?.message ?? "";
    controls.pause.hidden = status !== "running";
    controls.resume.hidden = status !== "paused";
    controls.stop.hidden = ENDED.includes(status);
    controls.use.hidden = !next.fine_tuned_model || status === "failed";
    controls.remove.hidden = !ENDED.includes(status);
    const key = ENDED.includes(status) ? Infinity : progress.step ?? 0;
    if (key === drawn || !next.progress) return;
    drawn = key;
    get(`${path}/curve`).then(({ data }) => {
      const points = (/** @type {string} */ n) => data.filter((/** @type {any} */ d) => typeof d[n] === "number").map((/** @type {any} */ d) => [d.step, d[n]]);
      const curves = [{ name: "training", points: points("loss") }, { name: "held out", points: points("valid_loss") }].filter((c) => c.points.length > 1);
      curve.replaceChildren(...[curves.length ? chart(curves) : null].filter((c) => c !== null));
    }).catch(() => {});
    samples.src = `${path}/samples.png?step=${key}`;
  }
  return { element, update };
}

/** Ask how the runs are. */
async function look() {
  clearTimeout(timer);
  const { data } = await get("/v1/fine_tuning/jobs?limit=50");
  for (const job of [...data].reverse()) {
    let entry = cards.get(job.id);
    if (!entry) {
      entry = card(job);
      cards.set(job.id, entry);
      runs.prepend(entry.element);
    }
    entry.update(job);
  }
  if (!cards.size) runs.replaceChildren(h("p", { class: "empty" }, "Runs appear here, with their samples and curves, while they learn."));
  else runs.querySelector(".empty")?.remove();
  const busy = data.some((/** @type {any} */ j) => !ENDED.includes(j.status));
  if (document.body.dataset.view === "train") timer = setTimeout(() => look().catch(() => {}), busy ? EVERY : 10 * EVERY);
}

/** Called each time when the view is shown. */
export function open() {
  attempt(async () => {
    if (choice.options.length < 2) await listData();
    const models = (await get("/v1/models")).data.map((/** @type {any} */ m) => m.id);
    const chosen = begin.value;
    begin.replaceChildren(h("option", { value: "" }, "a new model"), ...models.map((/** @type {string} */ m) => h("option", { value: m }, m)));
    begin.value = chosen;
    if (!families.length) {
      families = (await get("/v1/fine_tuning/families")).data;
      family.replaceChildren(h("option", { value: "" }, "the one that suits"), ...families.map((f) => h("option", { value: f.id, title: f.description }, f.id)));
      showOptions();
    }
    await look();
  });
}

/** @param {{use: (model: string) => Promise<void>}} given */
export function setUp(given) {
  actions = given;
  formula.element.addEventListener("checked", ready);
  const form = h("form", { novalidate: true, onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); train(); } },
    h("section", { class: "box", "aria-label": "Data" }, h("h2", {}, "Data"), labelled("Bundled or uploaded", choice), h("div", { class: "file-field" }, file, h("label", { class: "file-label", for: file.id }, "Upload a table, texts, or a .zip of pictures")), report),
    h("section", { class: "box", "aria-label": "Distribution" }, h("h2", {}, "Distribution"), formula.element, chips,
      h("div", { class: "pair" }, labelled("Family", family), labelled("Minutes", minutes)), h("div", { class: "pair" }, labelled("Begin with", begin), labelled("Name", name)), h("details", { class: "fold" }, h("summary", {}, "More options"), more), start));
  byId("train").replaceChildren(h("h1", {}, "Train"), h("p", { class: "lead" }, "Choose data, write the distribution you want of it, and watch a model learn it on this machine."), h("div", { class: "columns" }, form, runs));
}
