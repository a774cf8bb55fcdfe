// All tunnels, as many as there may be.

import { sparkline } from "./chart.js";
import { h, mark, say } from "./dom.js";
import { count, many, often, rate, wait } from "./format.js";
import { live, ratesOf, watch } from "./live.js";
import { address, choice, clientCommand, empty, failure, head, pill, skeleton, stateOf } from "./parts.js";
import { virtualRows } from "./virtual.js";

// What there is to sort by: `[id, heading, value of a tunnel, whether the greatest comes first]`.
const COLUMNS = [
  ["name", "Tunnel", (tunnel) => tunnel.id, false],
  ["state", "State", (tunnel) => stateOf(tunnel), false],
  ["address", "Address", (tunnel) => tunnel.public[0] ?? "", false],
  ["activity", "Lately", (tunnel) => total(tunnel, "requests"), true],
  ["requests", "Per second", (tunnel) => ratesOf(tunnel.id).requests.last, true],
  ["traffic", "Traffic", (tunnel) => ratesOf(tunnel.id).out.last + ratesOf(tunnel.id).into.last, true],
  ["latency", "First byte", (tunnel) => tunnel.average_latency_seconds ?? -1, true],
  ["errors", "Errors", (tunnel) => tunnel.errors, true],
];
const SPARK = 60;
const NARROW = matchMedia("(max-width: 820px)");
const ROW = 60;
const CARD = 150;

export function tunnels({ me, params }) {
  const filter = { text: params.get("q") ?? "", state: "all", sort: "name", isDown: false };
  const search = h("input", {
    type: "search", class: "search", placeholder: "Filter by name, owner or address", "aria-label": "Filter tunnels",
    "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false", value: filter.text,
    on: { input: () => ((filter.text = search.value), put(true)) },
  });
  const states = choice("State", [["all", "All"], ["live", "Live"], ["unhealthy", "Unhealthy"], ["waiting", "No client"]], "all", (state) => ((filter.state = state), put(true)));
  const sortBy = h("select", { class: "sort", "aria-label": "Sort by", on: { change: () => sort(sortBy.value) } }, COLUMNS.map(([id, text]) => h("option", { value: id }, text)));
  const told = h("p", { class: "quiet found num", role: "status" });
  const heads = COLUMNS.map(([id, text]) => h("span", { role: "columnheader", class: `cell-${id}` }, h("button", { type: "button", on: { click: () => sort(id) } }, text)));
  const headings = h("div", { role: "rowgroup", class: "row-head" }, h("div", { role: "row", class: "row tunnel-row", "aria-rowindex": "1" }, heads));
  const list = virtualRows({ make: makeRow, key: (tunnel) => tunnel.id, height: () => (NARROW.matches ? CARD : ROW), label: "Tunnels", columns: COLUMNS.length, before: headings });
  const place = h("div", {}, skeleton(6));
  const node = h("div", { class: "page" }, head("Tunnels", told), h("div", { class: "filters" }, search, states, sortBy), place);
  let order = [];

  function sort(id) {
    const [, , , isDown] = COLUMNS.find(([one]) => one === id);
    filter.isDown = filter.sort === id ? !filter.isDown : isDown;
    filter.sort = id;
    sortBy.value = id;
    put(true);
  }

  /** Shows what is wanted. Rows keep their places while somebody points at them, unless they are asked for anew. */
  function put(isAsked) {
    if (!live.isKnown) {
      if (live.problem) place.replaceChildren(failure(live.problem));
      return;
    }
    const wanted = live.tunnels.filter((tunnel) => fits(tunnel, filter));
    const isHeld = !isAsked && list.body.matches(":hover, :focus-within");
    order = isHeld ? held(order, wanted) : sorted(wanted, filter);
    say(told, wanted.length === live.tunnels.length ? many(wanted.length, "tunnel") : `${count(wanted.length)} of ${many(live.tunnels.length, "tunnel")}`);
    COLUMNS.forEach(([id], at) => mark(heads[at], "aria-sort", id !== filter.sort ? null : filter.isDown ? "descending" : "ascending"));
    if (live.tunnels.length === 0) place.replaceChildren(empty("No tunnel yet", "A tunnel is there as soon as a client asks for it:", clientCommand()));
    else if (order.length === 0) place.replaceChildren(empty("Nothing of that kind", "No tunnel fits the filter. Take something of it away."));
    else if (place.firstChild !== list.node) place.replaceChildren(list.node);
    list.set(order);
  }

  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && search.value) {
      search.value = filter.text = "";
      put(true);
    }
  });
  const turned = () => put(false);
  NARROW.addEventListener("change", turned);
  const unwatch = watch(() => put(false));
  return { node, dispose: () => (unwatch(), list.dispose(), NARROW.removeEventListener("change", turned)) };

  function makeRow(first) {
    const name = h("a", { class: "row-name clip", href: `#/tunnels/${encodeURIComponent(first.id)}` }, first.name);
    const owner = h("span", { class: "quiet clip" }, first.owner === me.name ? first.kind : `${first.kind} · ${first.owner}`);
    const [state, at, spark] = [pill(), address(), sparkline(SPARK)];
    const [requests, into, out, latency, errors] = Array.from({ length: 5 }, () => h("span", { class: "num" }));
    const cell = (id, ...content) => h("div", { role: "cell", class: `cell cell-${id}` }, content);
    const word = (text) => h("span", { class: "on-card quiet" }, text);
    const row = h("div", { role: "row", class: "row tunnel-row" },
      cell("name", name, owner), cell("state", state.node), cell("address", at.node), cell("activity", spark.node),
      cell("requests", requests, word("/s")), cell("traffic", out, into), cell("latency", latency), cell("errors", errors, word("errors")));
    return {
      node: row,
      update(tunnel) {
        const rates = ratesOf(tunnel.id);
        state.set(stateOf(tunnel));
        at.set(tunnel.public[0]);
        spark.update(rates.requests.values.slice(-SPARK));
        say(requests, often(rates.requests.last));
        say(out, `↓ ${rate(rates.out.last)}`);
        say(into, `↑ ${rate(rates.into.last)}`);
        say(latency, wait(tunnel.average_latency_seconds));
        say(errors, count(tunnel.errors));
        mark(errors, "class", tunnel.errors > 0 ? "num fair" : "num quiet");
        mark(row, "data-gone", tunnel.gone ? "" : null);
      },
    };
  }
}

function total(tunnel, name) {
  return ratesOf(tunnel.id)[name].values.reduce((all, one) => all + one, 0);
}

function fits(tunnel, { text, state }) {
  if (state !== "all" && stateOf(tunnel) !== state) return false;
  const wanted = text.toLowerCase();
  return wanted === "" || [tunnel.id, tunnel.kind, ...tunnel.public].some((one) => one.toLowerCase().includes(wanted));
}

function sorted(tunnels, { sort, isDown }) {
  const [, , value] = COLUMNS.find(([id]) => id === sort);
  const valued = tunnels.map((tunnel) => [value(tunnel), tunnel]);
  const way = isDown ? -1 : 1;
  valued.sort(([a, one], [b, other]) => (a < b ? -way : a > b ? way : one.id < other.id ? -1 : 1));
  return valued.map(([, tunnel]) => tunnel);
}

/** The same order: what has gone stays in its place, what has come is at the end. */
function held(before, now) {
  const there = new Map(now.map((tunnel) => [tunnel.id, tunnel]));
  const kept = before.map((tunnel) => {
    const same = there.get(tunnel.id);
    there.delete(tunnel.id);
    return same ?? { ...tunnel, gone: true };
  });
  return [...kept, ...there.values()];
}
