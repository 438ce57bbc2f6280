/** The queue: a card for each waiting or running job, with its previews, time left and a way to cancel it. */
import { announce, attempt, byId, duration, h, iconButton } from "./dom.js";
import { gridPlace } from "./grid.js";
import * as store from "./jobs.js";
import { title } from "./settings.js";

/** @typedef {import("./api.js").Job} Job */

/** @type {Map<string, {element: HTMLElement, update: (jobs: Job[]) => void}>} */
const cards = new Map();

/** The jobs of the queue; those of a grid are one entry. @returns {Map<string, Job[]>} */
function entries() {
  /** @type {Map<string, Job[]>} */
  const found = new Map();
  for (const job of store.active()) {
    const key = gridPlace(job.request)?.id ?? job.id;
    found.set(key, [...(found.get(key) ?? []), job]);
  }
  return found;
}

/** @param {Job} job @param {number} ahead entries before this one @param {number} count jobs of the entry */
function words(job, ahead, count) {
  const left = job.eta_seconds == null ? "" : job.eta_seconds < 1 ? ", under 1 s left" : `, about ${duration(job.eta_seconds)} left`;
  if (count > 1) return `${count} samples to draw`;
  if (job.status === "queued") return `${ahead ? `${ahead} before it` : "next"}${left}`;
  return job.progress?.steps ? `step ${job.progress.step} of ${job.progress.steps}${left}` : `begins${left}`;
}

/** @param {Job[]} jobs */
const cancel = (jobs) => attempt(async () => { for (const job of [...jobs].reverse()) await store.cancel(job.id); });

/** @param {Job[]} first */
function card(first) {
  let jobs = first;
  const name = `${first.length > 1 ? "Grid: " : ""}${title(first[0].request)}`;
  const previews = h("div", { class: "previews" });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const state = h("p", { class: "hint" });
  const text = h("p", { class: "stream" });
  const element = h("article", { class: "card", "data-job": first[0].id, "aria-label": name }, previews,
    h("div", { class: "card-text" }, h("p", { class: "card-title" }, name), state, text, bar), iconButton("close", `Cancel ${name}`, () => cancel(jobs)));
  /** @param {Job[]} now */
  function update(now) {
    jobs = now;
    const [job] = now;
    element.dataset.status = job.status;
    state.textContent = words(job, [...entries().values()].findIndex((e) => e[0].id === job.id), now.length);
    if (job.progress?.steps) bar.value = job.progress.step / job.progress.steps;
    else bar.removeAttribute("value");
    bar.hidden = job.status === "queued";
    const live = store.live.get(job.id);
    text.textContent = live?.texts.size ? `${job.request.prompt ?? ""}${live.texts.get(0) ?? ""}` : "";
    for (const [index, address] of live?.previews ?? []) {
      while (previews.children.length <= index) previews.append(h("img", { alt: "", class: "pixels" }));
      if (previews.children[index].src !== address) previews.children[index].src = address;
    }
  }
  return { element, update };
}

function render() {
  const box = byId("queue");
  const line = entries();
  for (const [key, { element }] of cards) if (!line.has(key)) { element.remove(); cards.delete(key); }
  [...line].forEach(([key, jobs], place) => {
    const entry = cards.get(key) ?? card(jobs);
    cards.set(key, entry);
    if (box.children[place] !== entry.element) box.insertBefore(entry.element, box.children[place] ?? null);
    entry.update(jobs);
  });
  const count = store.active().length;
  const badge = byId("badge");
  badge.textContent = String(count);
  badge.hidden = !count;
  byId("state").textContent = count ? `${count} in the queue` : "";
}

/** Cancel what runs, or else what waits at the front. */
export async function cancelFirst() {
  const [jobs] = entries().values();
  if (!jobs) return;
  await cancel(jobs);
  announce("Cancelled");
}

export function setUp() {
  const ended = /** @type {Record<string, string>} */ ({ succeeded: "is ready", failed: "failed", cancelled: "was cancelled" });
  store.on("job", (/** @type {Job} */ job) => { if (cards.has(job.id) && ended[job.status]) announce(`${title(job.request)} ${ended[job.status]}`); });
  for (const event of ["job", "live", "gone", "list"]) store.on(event, render);
}
