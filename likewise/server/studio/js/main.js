/** The studio: views, keys, dropped files, and what happens first. */
import { call } from "./api.js";
import * as compare from "./compare.js";
import { announce, attempt, byId, toast } from "./dom.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import { active, load } from "./jobs.js";
import * as queue from "./queue.js";
import * as train from "./train.js";
import * as viewer from "./viewer.js";

const VIEWS = ["create", "gallery", "train", "compare"];
const narrow = matchMedia("(max-width: 859px)");

/** The view that the address names; the slash keeps browsers from scrolling to an element of that name. */
const place = () => location.hash.slice(2);

/** @param {string} name */
function go(name) {
  const view = VIEWS.includes(name) ? name : "create";
  document.body.dataset.view = view;
  byId("workspace").hidden = !["create", "gallery"].includes(view);
  byId("train").hidden = view !== "train";
  byId("compare").hidden = view !== "compare";
  for (const b of document.querySelectorAll("[data-go]")) {
    const own = /** @type {HTMLElement} */ (b).dataset.go;
    const here = own === view || (!narrow.matches && own === "create" && view === "gallery");
    if (here) b.setAttribute("aria-current", "page");
    else b.removeAttribute("aria-current");
  }
  if (place() !== view) history.replaceState(null, "", `#/${view}`);
  if (view === "train") train.open();
  if (view === "compare") compare.open();
}

/** Show the settings of a PNG that was dropped or pasted. @param {File} file */
const recall = (file) => attempt(async () => {
  const data = new FormData();
  data.append("image", file, "image.png");
  const { request } = await call("POST", "/v1/recall", data);
  viewer.viewFile(file, request);
});

function keys() {
  document.addEventListener("keydown", (event) => {
    if (byId("viewer").open || event.defaultPrevented || !["create", "gallery"].includes(document.body.dataset.view ?? "")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.draw();
    } else if (event.key === "Escape" && active().length) queue.cancelFirst();
  });
}

function drops() {
  const hint = byId("drop-hint");
  const files = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") && ["create", "gallery"].includes(document.body.dataset.view ?? "");
  addEventListener("dragenter", (event) => { if (files(event)) hint.hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) hint.hidden = true; });
  addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    hint.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (!file || !files(event)) return;
    event.preventDefault();
    recall(file);
  });
  addEventListener("paste", (event) => { const file = event.clipboardData?.files[0]; if (file) recall(file); });
}

async function begin() {
  form.setUp();
  queue.setUp();
  gallery.setUp();
  viewer.setUp();
  train.setUp({ use: async (model) => { await form.loadModels(model); go("create"); announce(`The model ${model} is chosen`); } });
  compare.setUp();
  keys();
  drops();
  for (const b of document.querySelectorAll("[data-go]")) b.addEventListener("click", () => go(/** @type {HTMLElement} */ (b).dataset.go ?? ""));
  addEventListener("hashchange", () => go(place()));
  narrow.addEventListener("change", () => go(document.body.dataset.view ?? ""));
  document.addEventListener("submitted", () => { if (narrow.matches) go("gallery"); });
  document.addEventListener("applied", () => { go("create"); scrollTo(0, 0); byId("form").querySelector(".panel-body :is(textarea, select, input:not([type='file'])):not([hidden] *)")?.focus(); });
  go(place());
  await Promise.all([attempt(() => form.loadModels()), attempt(load)]);
  document.body.dataset.ready = "true";
}

begin().catch((error) => toast(error.message, "error"));
