/** The formula: typed with completion, and checked while it is typed. */
import { post } from "./api.js";
import { h, labelled, newId } from "./dom.js";

const PAUSE = 200; // ms without a key before the server is asked

/**
 * A combobox of the formula. `check` asks again, after the columns have changed.
 * @param {() => Record<string, string>} columns of the data: name -> kind
 * @returns {{element: HTMLElement, value: () => string, set: (text: string) => void, valid: () => boolean, check: () => void}}
 */
export function formulaField(columns) {
  let valid = false;
  let chosen = -1;
  /** @type {string[]} */
  let offers = [];
  let asked = 0;
  /** @type {number|undefined} */
  let timer;
  const list = h("ul", { class: "options", role: "listbox", id: newId("options"), "aria-label": "Completions", hidden: true });
  const input = h("input", { type: "text", role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list", spellcheck: "false", autocapitalize: "off", placeholder: "image | text",
    oninput: () => { clearTimeout(timer); timer = setTimeout(() => ask(true), PAUSE); }, onblur: () => setTimeout(close, 150), onkeydown: key });
  const message = h("p", { class: "message", role: "status" });
  const element = h("div", {}, labelled("Formula", h("div", { class: "combobox" }, input, list)), message);
  input.id = newId("c");
  /** @type {any} */ (element.querySelector("label")).htmlFor = input.id;
  message.id = newId("m");
  input.setAttribute("aria-describedby", message.id);

  /** @param {boolean} open whether to show the completions */
  async function ask(open) {
    const number = ++asked;
    const formula = input.value.trim();
    const answer = await post("/v1/formulas/check", { formula: input.value, columns: columns(), cursor: input.selectionStart ?? input.value.length }).catch((error) => ({ valid: false, error, completions: [] }));
    if (number !== asked) return; // a later key was faster
    valid = Boolean(answer.valid);
    const error = formula ? answer.error?.message : undefined;
    message.textContent = error ?? (valid ? answer.meaning ?? "The formula fits the data." : "Targets stand left of the bar, sources right of it.");
    message.className = `message ${error ? "bad" : valid ? "good" : ""}`;
    input.setAttribute("aria-invalid", String(Boolean(error)));
    element.dispatchEvent(new Event("checked"));
    offers = answer.completions ?? [];
    chosen = -1;
    list.replaceChildren(...offers.map((o, i) => h("li", { role: "option", id: `${list.id}-${i}`, "aria-selected": "false", onmousedown: (/** @type {Event} */ e) => { e.preventDefault(); take(o); } }, o)));
    list.hidden = !open || !offers.length || document.activeElement !== input;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** Put a completion in the place of the word that is being written. @param {string} word */
  function take(word) {
    const end = input.selectionStart ?? input.value.length;
    const before = input.value.slice(0, end).replace(/("[^"]*|[^\s,|@"]*)$/, "");
    const space = before && !/[\s@[]$/.test(before) ? " " : "";
    input.value = before + space + word + input.value.slice(end);
    const at = (before + space + word).length;
    input.setSelectionRange(at, at);
    close();
    ask(false);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && list.hidden) ask(true);
    else if (step) {
      chosen = (chosen + step + offers.length) % offers.length;
      [...list.children].forEach((/** @type {any} */ item, i) => item.setAttribute("aria-selected", String(i === chosen)));
      list.children[chosen].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", `${list.id}-${chosen}`);
    } else if ((event.key === "Enter" || event.key === "Tab") && !list.hidden && chosen >= 0) take(offers[chosen]);
    else if (event.key === "Escape" && !list.hidden) close();
    else return;
    event.preventDefault();
  }

  return { element, value: () => input.value.trim(), set: (text) => { input.value = text; ask(false); }, valid: () => valid, check: () => ask(false) };
}
