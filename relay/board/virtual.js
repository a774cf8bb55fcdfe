// A list of which only those rows are elements that are in sight, so that ten thousand are as quick
// as ten. The page itself scrolls, as pages do. All rows are of one height.

import { h, mark } from "./dom.js";

// So many rows beyond those in sight are there already.
const AHEAD = 6;

/**
 * `make(item)` gives `{ node, update(item) }`; `key(item)` tells items apart; `height()` is that of a
 * row, in pixels, which may be another one when the window has another width.
 */
export function virtualRows({ make, key, height, label, columns, before }) {
  const body = h("div", { class: "rows", role: "rowgroup" });
  const node = h("div", { class: "table", role: "table", "aria-label": label, "aria-colcount": columns }, before, body);
  let items = [];
  const shown = new Map();
  let due = 0;

  function render() {
    due = 0;
    const begin = performance.now();
    const row = height();
    body.style.height = `${items.length * row}px`;
    const top = -body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / row) - AHEAD);
    const last = Math.min(items.length, Math.ceil((top + innerHeight) / row) + AHEAD);
    const wanted = new Set();
    let previous = null;
    for (let at = first; at < last; at += 1) {
      const item = items[at];
      const id = key(item);
      wanted.add(id);
      let one = shown.get(id);
      if (!one) {
        one = make(item);
        shown.set(id, one);
      }
      one.update(item);
      one.node.style.transform = `translateY(${at * row}px)`;
      // The head of the table is the first of its rows.
      mark(one.node, "aria-rowindex", at + 2);
      const place = previous ? previous.nextSibling : body.firstChild;
      if (place !== one.node) body.insertBefore(one.node, place);
      previous = one.node;
    }
    for (const [id, one] of shown) {
      if (wanted.has(id)) continue;
      // Whoever is there with the keyboard stays there.
      if (one.node.contains(document.activeElement) && items.some((item) => key(item) === id)) continue;
      one.node.remove();
      shown.delete(id);
    }
    performance.measure("board:rows", { start: begin });
  }

  function soon() {
    due ||= requestAnimationFrame(render);
  }

  /** Up and down lead from row to row, also to those that are not there yet. */
  function step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const from = event.target.closest("[aria-rowindex]");
    if (!by || !from || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = Number(from.getAttribute("aria-rowindex")) - 2 + by;
    if (at < 0 || at >= items.length) return;
    event.preventDefault();
    const row = height();
    const top = body.getBoundingClientRect().top + at * row;
    if (top < row * 2) scrollBy(0, top - row * 2);
    if (top + row * 2 > innerHeight) scrollBy(0, top + row * 2 - innerHeight);
    render();
    shown.get(key(items[at]))?.node.querySelector("a, button")?.focus({ preventScroll: true });
  }

  body.addEventListener("keydown", step);
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon, { passive: true });
  return {
    node,
    body,
    set(next) {
      items = next;
      mark(node, "aria-rowcount", items.length + 1);
      // What is there already is renewed at once; the rest when it is its turn.
      soon();
    },
    dispose() {
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
      cancelAnimationFrame(due);
    },
  };
}
