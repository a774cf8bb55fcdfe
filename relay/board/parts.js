// What several pages are made of.

import { h, isSafe, mark, say } from "./dom.js";
import { iso, moment, relative } from "./format.js";
import { icon } from "./icons.js";
import { notify, show } from "./dialogs.js";
import { qr } from "./qr.js";
import { live } from "./live.js";

/** The head of a page, and what belongs to the right of it. */
export function head(title, ...beside) {
  return h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "head-more" }, beside));
}

export function section(title, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title), content);
}

/** What is shown where there is nothing: what it would be, and what to type for it. */
export function empty(title, text, command) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", {}, text), command && commandLine(command));
}

/** A command to copy. */
export function commandLine(text) {
  return h("div", { class: "command" }, h("code", { tabindex: "0" }, text), copyButton(() => text, "Copy the command"));
}

export function button(text, { on, kind = "", small = false, picture, ...props }) {
  const kinds = `button ${kind} ${small ? "small" : ""}`.trim();
  return h("button", { type: "button", class: kinds, on: { click: on }, ...props }, picture && icon(picture), text);
}

/** A button that is a picture only. */
export function iconButton(picture, label, on) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click: on } }, icon(picture));
}

/** Copies whatever `text()` gives, and says so. */
export function copyButton(text, label = "Copy") {
  const node = iconButton("copy", label, async () => {
    const done = await copy(text());
    notify(done ? "Copied." : "The browser lets nothing be copied: select it and copy it yourself.");
    if (!done) return;
    node.replaceChildren(icon("done"));
    setTimeout(() => node.replaceChildren(icon("copy")), 1500);
  });
  return node;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text);
  }
}

/** Without TLS there is no clipboard for scripts, but what is selected can be copied. */
function copyOldWay(text) {
  const field = h("textarea", { class: "hidden", readonly: true, "aria-hidden": "true", value: text });
  const open = document.querySelector("dialog[open]") ?? document.body;
  const focused = document.activeElement;
  open.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}

/** An address of a tunnel, with what can be done with it. `set(address)` shows another one. */
export function address() {
  let shown = "";
  const text = h("a", { class: "mono clip address-text" });
  const code = iconButton("qr", "Show as a QR code", () => showCode(shown));
  const node = h("span", { class: "address" }, text, h("span", { class: "address-tools" }, copyButton(() => shown, "Copy the address"), code));
  return {
    node,
    set(next) {
      shown = next ?? "";
      say(text, shown || "no address");
      const leads = shown !== "" && isSafe(shown);
      mark(text, "href", leads ? shown : null);
      mark(text, "target", leads ? "_blank" : null);
      mark(text, "rel", leads ? "noopener noreferrer" : null);
      mark(text, "title", shown || null);
      mark(node.lastChild, "hidden", shown === "");
    },
  };
}

function showCode(text) {
  const picture = qr(text) ?? h("p", {}, "The address is too long for a QR code.");
  show("QR code", h("div", { class: "code" }, picture, h("p", { class: "mono break" }, text)));
}

/** A moment (seconds since 1970): how long ago, with the whole of it behind. */
export function time(seconds, none = "never") {
  if (seconds === null || seconds === undefined) return h("span", { class: "quiet" }, none);
  return h("time", { datetime: iso(seconds), title: moment(seconds) }, relative(seconds));
}

const STATES = {
  live: ["good", "live"],
  waiting: ["idle", "no client"],
  paused: ["idle", "paused"],
  unhealthy: ["bad", "unhealthy"],
  gone: ["idle", "gone"],
  standby: ["idle", "standing by"],
  withdrawn: ["bad", "withdrawn"],
  disabled: ["bad", "disabled"],
  expired: ["bad", "expired"],
  revoked: ["idle", "revoked"],
  good: ["good", "good"],
  ends: ["bad", "ends soon"],
  proven: ["good", "proven"],
  kept: ["good", "kept"],
  "proof gone": ["bad", "proof gone"],
};

/** A state, in a word and a colour. */
export function pill() {
  const word = h("span", {});
  const node = h("span", { class: "pill" }, h("span", { class: "dot", "aria-hidden": "true" }), word);
  return {
    node,
    set(state) {
      const [kind, text] = STATES[state] ?? ["idle", state];
      mark(node, "class", `pill ${kind}`);
      say(word, text);
    },
  };
}

export function pillOf(state) {
  const one = pill();
  one.set(state);
  return one.node;
}

/** How a tunnel is, in one word. */
export function stateOf(tunnel) {
  if (tunnel.gone) return "gone";
  if (tunnel.state !== "live") return tunnel.state;
  return tunnel.clients.some((client) => client.standing === "live" && !client.healthy) ? "unhealthy" : "live";
}

/** Grey bars where something is still to come, as high as it will be. */
export function skeleton(rows) {
  return h("div", { class: "skeleton", "aria-hidden": "true" }, Array.from({ length: rows }, () => h("div", { class: "skeleton-row" })));
}

/** A button for each of a few choices, of which one is chosen. */
export function choice(label, options, chosen, on) {
  const buttons = options.map(([value, text]) => h("button", {
    type: "button",
    "aria-pressed": String(value === chosen),
    on: { click: () => pick(value) },
  }, text));
  function pick(value) {
    options.forEach(([one], at) => mark(buttons[at], "aria-pressed", String(one === value)));
    on(value);
  }
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

/** What a client is to be told to reach this relay. */
export function clientCommand(what = "http 3000") {
  const control = live.health?.transport?.listeners?.control ?? ":4444";
  return `client ${what} --server ${location.hostname}:${control.slice(control.lastIndexOf(":") + 1)}`;
}

/** What could not be read, and a way to try again. */
export function failure(problem, again) {
  return h("div", { class: "failure", role: "alert" }, icon("warn"), h("p", {}, problem.message), again && button("Try again", { on: again, small: true }));
}

/** A small heading with its value. */
export function fact(name) {
  const value = h("dd", { class: "num" });
  return { nodes: h("div", { class: "fact" }, h("dt", {}, name), value), set: (text) => say(value, text), value };
}
