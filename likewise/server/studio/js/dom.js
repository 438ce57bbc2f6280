/** Elements, icons, messages and numbers in words. */

/** @typedef {Node|string|number|null|undefined|false} Child */

/**
 * An element. Keys that begin with "on" are listeners, `value` and `checked` properties, others attributes.
 * @param {string} tag @param {Record<string, any>} [props] @param {...(Child|Child[])} children @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked") /** @type {any} */ (element)[key] = value;
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((c) => c !== false && c != null).map((c) => (typeof c === "number" ? String(c) : /** @type {Node} */ (c))));
  return element;
}

/** @param {string} name of a symbol of index.html */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon alone, named for screen readers and by its title. @param {string} name @param {string} label @param {() => void} action @param {Record<string, any>} [props] */
export const iconButton = (name, label, action, props = {}) =>
  h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick: action, ...props }, icon(name));

/** @param {string} name @param {string} label @param {() => void} action @param {Record<string, any>} [props] */
export const button = (name, label, action, props = {}) =>
  h("button", { type: "button", class: "button", onclick: action, ...props }, name && icon(name), label);

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

let ids = 0;
/** @param {string} [prefix] */
export const newId = (prefix = "x") => `${prefix}-${++ids}`;

/** A label above a control. @param {string} text @param {HTMLElement} control @param {string} [hint] */
export function labelled(text, control, hint) {
  control.id ||= newId("c");
  if (hint) control.setAttribute("aria-describedby", `${control.id}-hint`);
  return h("div", { class: "field", title: hint }, h("label", { for: control.id }, text), control,
    hint && h("p", { class: "hint", id: `${control.id}-hint` }, hint));
}

/** Say it to screen readers. @param {string} text */
export const announce = (text) => { byId("live").textContent = text; };

/** Show a message for some seconds; errors stay until they are closed. @param {string} text @param {"info"|"error"} [kind] */
export function toast(text, kind = "info") {
  const box = h("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" }, h("p", {}, text),
    iconButton("close", "Close the message", () => box.remove()));
  byId("toasts").append(box);
  if (kind === "info") setTimeout(() => box.remove(), 6000);
}

/** Do something and show what goes wrong. @param {() => Promise<any>} action */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "AbortError") toast(/** @type {Error} */ (error).message, "error");
    return null;
  }
}

/** @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** @param {number} n */
export const compact = (n) => new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(n);

/** A number with at most four significant digits; other values as they are. @param {any} v */
export const short = (v) => (typeof v === "number" && !Number.isInteger(v) ? String(Number(v.toPrecision(4))) : String(v));

/** @param {Blob} blob @returns {Promise<string>} */
export const dataURL = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(String(reader.result));
  reader.onerror = () => reject(new Error("the file cannot be read"));
  reader.readAsDataURL(blob);
});
