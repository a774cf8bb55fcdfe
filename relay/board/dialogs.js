// Windows in the page, and short words at its edge.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const SHOWN = 6000;

/** Says something that needs no answer. */
export function notify(text, kind = "") {
  const place = document.getElementById("said");
  const node = h("div", { class: `toast ${kind}` }, text);
  place.append(node);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(() => node.remove(), SHOWN);
}

/** A window with a title. It is gone when it is closed, and the focus is where it was. */
export function show(title, ...content) {
  const close = h("button", { type: "button", class: "icon-button", "aria-label": "Close", on: { click: () => node.close() } }, icon("close"));
  const node = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title", on: { close: () => node.remove() } },
    h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title), close),
    h("div", { class: "dialog-body" }, content));
  node.addEventListener("click", (event) => event.target === node && node.close());
  document.querySelector("dialog[open]")?.close();
  document.body.append(node);
  node.showModal();
  return node;
}

/**
 * Asks before something that cannot be undone, and does it: `act()` throws what is shown if it fails.
 */
export function confirm({ title, text, yes, act }) {
  return form({ title, text, yes, isDangerous: true, act });
}

/**
 * Asks for something. `fields` are nodes with `read()`, or nothing to ask; `act(values)` does it, and
 * throws what is shown if it fails.
 */
export function form({ title, text, fields = [], yes, isDangerous = false, act }) {
  const complaint = h("p", { class: "complaint", role: "alert" });
  const no = h("button", { type: "button", class: "button", on: { click: () => window.close() } }, "Cancel");
  const go = h("button", { type: "submit", class: `button ${isDangerous ? "danger" : "primary"}` }, yes);
  const content = h("form", { class: "form", on: { submit } }, text && h("p", {}, text), fields.map((one) => one.node),
    complaint, h("div", { class: "form-end" }, no, go));
  const window = show(title, content);
  (isDangerous ? no : content.querySelector("input, select, textarea") ?? go).focus();

  async function submit(event) {
    event.preventDefault();
    complaint.textContent = "";
    go.disabled = true;
    try {
      const values = Object.fromEntries(fields.map((one) => [one.name, one.read()]));
      await act(values);
      window.close();
    } catch (problem) {
      complaint.textContent = problem.message;
      go.disabled = false;
    }
  }
  return window;
}

let fieldsMade = 0;

/** A line to type into, or another element of forms with the same value. */
export function field({ name, label, hint, kind = "input", options, ...props }) {
  const id = `field-${(fieldsMade += 1)}`;
  const note = hint && h("span", { class: "hint", id: `${id}-hint` }, hint);
  const input = h(kind, { id, name, autocomplete: "off", "aria-describedby": hint && `${id}-hint`, ...props },
    (options ?? []).map(([value, text]) => h("option", { value }, text)));
  const node = h("div", { class: "field" }, h("label", { for: id }, label), input, note);
  return { name, node, input, read: () => input.value.trim() };
}

/** Boxes of which any number are ticked. */
export function boxes({ name, label, options }) {
  const inputs = options.map(([value, text, hint]) => {
    const input = h("input", { type: "checkbox", value });
    return { input, node: h("label", { class: "box" }, input, h("span", {}, h("b", {}, text), hint && h("span", { class: "hint" }, hint))) };
  });
  const node = h("fieldset", { class: "field" }, h("legend", {}, label), inputs.map((one) => one.node));
  return { name, node, read: () => inputs.filter(({ input }) => input.checked).map(({ input }) => input.value) };
}
