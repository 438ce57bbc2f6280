/** The queue: a card for each waiting or running job, with its previews, time left and a way to cancel it. */
import { announce, attempt, byId, duration, h, iconButton } from "./dom.js";
import * as store from "./jobs.js";
import { title } from "./settings.js";

/** @typedef {import("./api.js").Job} Job */

/** @type {Map<string, {element: HTMLElement, update: (job: Job) => void}>} */
const cards = new Map();

/** @param {Job} job @param {number} ahead jobs before this one */
function words(job, ahead) {
  const left = job.eta_seconds != null ? `, about ${duration(job.eta_seconds)} left` : "";
  if (job.status === "queued") return `${ahead ? `${ahead} before it` : "next"}${left}`;
  return job.progress?.steps ? `step ${job.progress.step} of ${job.progress.steps}${left}` : `begins${left}`;
}

/** @param {Job} job */
function card(job) {
  const previews = h("div", { class: "previews" });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const state = h("p", { class: "hint" });
  const name = title(job.request);
  const text = h("p", { class: "stream" });
  const element = h("article", { class: "card", "data-job": job.id, "aria-label": name }, previews,
    h("div", { class: "card-text" }, h("p", { class: "card-title" }, name), state, text, bar), iconButton("close", `Cancel ${name}`, () => attempt(() => store.cancel(job.id))));
  /** @param {Job} now */
  function update(now) {
    const line = store.active();
    element.dataset.status = now.status;
    state.textContent = words(now, line.findIndex((j) => j.id === now.id));
    if (now.progress?.steps) bar.value = now.progress.step / now.progress.steps;
    else bar.removeAttribute("value");
    bar.hidden = now.status === "queued";
    const live = store.live.get(now.id);
    text.textContent = live?.texts.size ? `${now.request.prompt ?? ""}${live.texts.get(0)}` : "";
    for (const [index, address] of live?.previews ?? []) {
      while (previews.children.length <= index) previews.append(h("img", { alt: "", class: "pixels" }));
      if (previews.children[index].src !== address) previews.children[index].src = address;
    }
  }
  return { element, update };
}

export function renderQueue() {
  const box = byId("queue");
  const line = store.active();
  for (const [id, { element }] of cards) if (!line.some((j) => j.id === id)) { element.remove(); cards.delete(id); }
  for (const job of line) {
    let entry = cards.get(job.id);
    if (!entry) {
      entry = card(job);
      cards.set(job.id, entry);
      box.append(entry.element);
    }
    entry.update(job);
  }
  const badge = byId("badge");
  badge.textContent = String(line.length);
  badge.hidden = !line.length;
  byId("state").textContent = line.length ? `${line.length} in the queue` : "";
}

/** Cancel the job that runs, or else the one that waits at the front. */
export async function cancelFirst() {
  const [job] = store.active();
  if (!job) return;
  await attempt(() => store.cancel(job.id));
  announce("Cancelled");
}

export function setUp() {
  store.on("job", renderQueue);
  store.on("live", renderQueue);
  store.on("gone", renderQueue);
  store.on("list", renderQueue);
  const ended = /** @type {Record<string, string>} */ ({ succeeded: "is ready", failed: "failed", cancelled: "was cancelled" });
  store.on("job", (/** @type {Job} */ job) => { if (cards.has(job.id) && ended[job.status]) announce(`${title(job.request)} ${ended[job.status]}`); });
}
