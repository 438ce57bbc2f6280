/** The dialog of one result: large, with its settings; to view is not to apply. */
import { isMedia, isPicture, mediaURL, schema } from "./api.js";
import { attempt, button, byId, h, iconButton, short, toast } from "./dom.js";
import { apply, edit } from "./form.js";
import * as store from "./jobs.js";
import { describe, settingsOf } from "./settings.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Sample} Sample */

const dialog = byId("viewer");
/** @type {(step: number) => void} */
let turn = () => {};

/** Go to the form, with what was chosen. @param {() => Promise<any>} action */
const leave = (action) => attempt(async () => {
  await action();
  dialog.close();
  dialog.dispatchEvent(new CustomEvent("applied", { bubbles: true }));
});

/** @param {Node[]} shown @param {[string, string][]} details @param {Node[]} actions @param {string} name @param {Node[]} [turns] */
function open(shown, details, actions, name, turns = []) {
  const focus = dialog.open && document.activeElement?.getAttribute("data-turn");
  dialog.setAttribute("aria-label", name);
  dialog.replaceChildren(h("div", { class: "viewer-picture" }, shown, turns),
    h("div", { class: "viewer-side" }, h("header", {}, h("h2", {}, name), iconButton("close", "Close", () => dialog.close(), { autofocus: true })),
      h("dl", {}, details.map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, v)))), h("div", { class: "buttons" }, actions)));
  if (!dialog.open) dialog.showModal();
  if (focus) dialog.querySelector(`[data-turn="${focus}"]`)?.focus();
}

/** A result and what can be done with it. @param {Job} job @param {Sample} sample */
export async function view(job, sample) {
  const settings = settingsOf(job.request, sample);
  const found = await schema(job.model).catch(() => null); // the model may be gone; its samples stay
  const shown = Object.entries(sample.values).map(([name, v]) => (isPicture(v) ? h("img", { src: mediaURL(v), alt: `${name}: ${describe(settings).map(([, w]) => w).slice(1, 3).join(", ")}`, class: "pixels" })
    : isMedia(v) ? h("a", { href: mediaURL(v), download: true }, name) : h("p", { class: "text" }, Object.keys(sample.values).length > 1 ? h("b", {}, `${name}: `) : "", short(v))));
  const picture = Object.values(sample.values).filter(isPicture).at(-1);
  const targets = found?.columns.filter((c) => c.role === "target").map((c) => c.name) ?? [];
  const start = Object.fromEntries(Object.entries(sample.values).filter(([name]) => targets.includes(name)));
  const own = { ...settings, given: Object.fromEntries(Object.entries(settings.given ?? {}).filter(([, v]) => v === null || typeof v !== "object")) };
  const actions = [
    found && button("apply", "Apply settings", () => leave(() => apply(settings)), { class: "button primary" }),
    found && picture && found.controls.includes("known") && button("brush", "Edit", () => leave(() => edit(picture, own))),
    found && picture && found.controls.includes("init") && button("vary", "Vary", () => leave(() => apply({ ...own, mode: "vary", start, seed: -1, n: 4 }))),
    picture && h("a", { class: "button", href: mediaURL(picture), download: `${job.id}-${sample.index}.png` }, "Download"),
    button("trash", "Delete", () => dropOne(job, sample)),
    job.data.length > 1 && button("trash", `Delete all ${job.data.length}`, () => leaveAfterDelete(job)),
  ].filter(Boolean);
  const at = job.data.findIndex((s) => s.index === sample.index);
  turn = (step) => { const next = job.data[(at + step + job.data.length) % job.data.length]; if (next !== sample) view(job, next); };
  const turns = job.data.length < 2 ? [] : [iconButton("prev", "The one before", () => turn(-1), { "data-turn": "prev" }), iconButton("next", "The next one", () => turn(1), { "data-turn": "next" })];
  const details = describe(settings);
  if (job.started_at && job.finished_at) details.push(["drawn", new Date(job.finished_at * 1000).toLocaleString()]);
  open(shown, details, /** @type {Node[]} */ (actions), "Result", turns);
}

/** Delete this one, and show the next. @param {Job} job @param {Sample} sample */
const dropOne = (job, sample) => (job.data.length < 2 ? leaveAfterDelete(job) : attempt(async () => {
  await store.dropSample(job.id, sample.index);
  const left = store.jobs.get(job.id);
  const next = left?.data.find((s) => s.index > sample.index) ?? left?.data.at(-1);
  if (left && next) await view(left, next);
  else dialog.close();
  toast("Deleted");
}));

/** @param {Job} job */
const leaveAfterDelete = (job) => attempt(async () => {
  await store.drop(job.id);
  dialog.close();
  toast("Deleted");
});

/** A picture that was dropped: what made it. @param {File} file @param {any} request */
export function viewFile(file, request) {
  const settings = settingsOf(request);
  const address = URL.createObjectURL(file);
  dialog.addEventListener("close", () => URL.revokeObjectURL(address), { once: true });
  turn = () => {};
  open([h("img", { src: address, alt: file.name, class: "pixels" })], describe(settings), [button("apply", "Apply settings", () => leave(() => apply(settings)), { class: "button primary" })], file.name);
}

export function setUp() {
  dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
}
