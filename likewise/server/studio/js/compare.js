/** The Compare view: evaluations on held-out rows, side by side, and their reports. */
import { get, post, remove } from "./api.js";
import { announce, attempt, button, byId, h, iconButton, labelled, short } from "./dom.js";
import { isActive } from "./jobs.js";

const EVERY = 2000; // ms between looks at the evaluations that run

/** @type {number|undefined} */
let timer;
const models = h("div", { class: "checks", role: "group", "aria-label": "Models" });
const count = h("input", { type: "number", min: 2, step: 1, value: "100", inputmode: "numeric" });
const list = h("div", { class: "columns-report" });
const table = h("div", {});
const report = h("div", {});

const run = () => attempt(async () => {
  const chosen = [...models.querySelectorAll("input:checked")].map((/** @type {any} */ box) => box.value);
  if (!chosen.length) throw new Error("Choose one or more models.");
  for (const model of chosen) await post("/v1/evaluations", { model, n: Number(count.value) });
  announce(`${chosen.length} evaluations begin`);
  await look();
});

/** The metrics of an evaluation. @param {any} job @returns {any[]} */
const metrics = (job) => job.data?.[0]?.metrics ?? job.data?.metrics ?? [];

/** @param {any} job */
const show = (job) => report.replaceChildren(h("h2", {}, `The report of ${job.model}`), h("iframe", { src: `/v1/jobs/${job.id}/report`, title: `Report of ${job.model}`, sandbox: "", loading: "lazy" }));

/** @param {any[]} jobs that have ended well, the newest of each model */
function comparison(jobs) {
  const names = [...new Set(jobs.flatMap((j) => metrics(j).map((m) => m.name)))];
  if (!names.length) return "";
  const cell = (/** @type {any} */ m) => (m ? [short(m.value), m.interval && h("span", { class: "hint" }, ` [${m.interval.map(short).join(", ")}]`), m.real != null && h("span", { class: "hint" }, ` real ${short(m.real)}`)] : "–");
  return h("section", { class: "box", "aria-label": "Comparison" }, h("h2", {}, "Side by side"), h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Metrics" }, h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "metric"), jobs.map((j) => h("th", { scope: "col" }, j.model)))),
    h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, name), jobs.map((j) => h("td", {}, cell(metrics(j).find((m) => m.name === name))))))))));
}

/** What an evaluation does now. @param {any} job */
function stage({ progress, position, status }) {
  if (status === "queued") return position ? `${position} before it` : "next";
  if (!progress) return "begins";
  return progress.steps ? `part ${progress.step + 1} of ${progress.steps}: ${progress.stage}` : progress.stage;
}

/** @param {any} job */
function line(job) {
  const done = job.status === "succeeded";
  return h("article", { class: "job", "data-job": job.id }, h("header", {}, h("h3", {}, job.model), h("span", { class: "tag" }, done ? "ready" : job.status)),
    isActive(job) && h("progress", { max: 1, "aria-label": "Progress", ...(job.progress?.steps ? { value: job.progress.step / job.progress.steps } : {}) }),
    isActive(job) && h("p", { class: "hint" }, stage(job)),
    job.error && h("p", { class: "error-text" }, job.error.message),
    h("div", { class: "buttons" }, done && button("", "Report", () => { show(job); report.scrollIntoView({ block: "start" }); }), isActive(job) && button("close", "Stop", () => attempt(async () => { await post(`/v1/jobs/${job.id}/cancel`); await look(); })),
      !isActive(job) && iconButton("trash", `Delete the evaluation of ${job.model}`, () => attempt(async () => { await remove(`/v1/jobs/${job.id}`); await look(); }))));
}

async function look() {
  clearTimeout(timer);
  const { data } = await get("/v1/jobs?kind=evaluate&limit=50");
  list.replaceChildren(...data.map(line));
  const newest = data.filter((/** @type {any} */ j, /** @type {number} */ i) => j.status === "succeeded" && data.findIndex((/** @type {any} */ k) => k.model === j.model && k.status === "succeeded") === i);
  table.replaceChildren(comparison(newest));
  if (!data.length) list.replaceChildren(h("p", { class: "empty" }, "Evaluations appear here."));
  const busy = data.some(isActive);
  if (document.body.dataset.view === "compare" && busy) timer = setTimeout(() => look().catch(() => {}), EVERY);
}

/** Called each time when the view is shown. */
export function open() {
  attempt(async () => {
    const { data } = await get("/v1/models");
    const chosen = new Set([...models.querySelectorAll("input:checked")].map((/** @type {any} */ box) => box.value));
    models.replaceChildren(...data.map((/** @type {any} */ m) => h("label", { class: "check" }, h("input", { type: "checkbox", value: m.id, checked: chosen.has(m.id) }), m.id)));
    await look();
  });
}

export function setUp() {
  byId("compare").replaceChildren(h("h1", {}, "Compare"), h("p", { class: "lead" }, "Samples are measured beside real rows and chance, on rows that were held out of training."),
    h("div", { class: "columns" },
      h("form", { class: "box", novalidate: true, onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); run(); } }, h("h2", {}, "Evaluate"), models, labelled("Samples", count), h("button", { type: "submit", class: "button primary" }, "Evaluate")), list),
    h("div", { class: "stack" }, table, report));
}
