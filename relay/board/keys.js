// What can be done with the keyboard alone.

import { h } from "./dom.js";
import { show } from "./dialogs.js";

// How long the second key of two may take, in milliseconds.
const SECOND = 1200;

/** Listens for keys. `places`: `[key, title, address]` of each page. */
export function listen(places) {
  let first = 0;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const isSecond = event.timeStamp - first < SECOND;
    first = 0;
    if (event.key === "?") {
      help(places());
    } else if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
      search.select();
    } else if (isSecond) {
      const place = places().find(([key]) => key === event.key);
      if (place) location.hash = place[2];
    } else if (event.key === "g") {
      first = event.timeStamp;
    }
  });
}

/** Shows what there is. */
export function help(places) {
  const line = (keys, text) => h("div", { class: "key-line" }, h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, text));
  show("Keys", h("dl", { class: "keys" },
    line(["/"], "search in the page"),
    places.map(([key, title]) => line(["g", key], title.toLowerCase())),
    line(["↑", "↓"], "from row to row in a list"),
    line(["Esc"], "close a window"),
    line(["?"], "this")));
}

function isTyping(node) {
  return node instanceof HTMLElement && (node.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName));
}
