// One tunnel: what moves there, who serves it, and what can be done with it.

import { change, path } from "./api.js";
import { graph } from "./chart.js";
import { confirm, notify } from "./dialogs.js";
import { h, keyed, mark, say } from "./dom.js";
import { can } from "./features.js";
import { bytes, count, often, rate, wait } from "./format.js";
import { live, ratesOf, refresh, tunnelOf, watch } from "./live.js";
import { address, button, choice, clientCommand, empty, fact, failure, head, pill, section, skeleton, stateOf } from "./parts.js";

// How much of what this page has seen is shown, in seconds.
const RANGES = [[60, "1 min"], [180, "3 min"]];

const STATUSES = [["1xx", "idle"], ["2xx", "good"], ["3xx", "calm"], ["4xx", "fair"], ["5xx", "bad"]];

export function tunnel(id) {
  const place = h("div", {}, skeleton(8));
  const node = h("div", { class: "page" }, place);
  let shown = null;
  const unwatch = watch((state) => {
    const now = tunnelOf(id);
    if (!state.isKnown) {
      if (state.problem) place.replaceChildren(failure(state.problem));
    } else if (now) {
      if (!shown) {
        shown = details(now);
        place.replaceChildren(shown.node);
      }
      shown.update(now);
    } else if (shown) {
      shown.gone();
    } else {
      place.replaceChildren(head(id), empty("There is no such tunnel", "It has gone, it is somebody else's, or its client has never been here:", clientCommand()));
    }
  });
  return { node, title: id, dispose: () => (unwatch(), shown?.dispose()) };
}

function details(first) {
  const [state, at] = [pill(), h("div", { class: "addresses" })];
  const addresses = keyed(at, () => {
    const one = address();
    return { node: one.node, update: (text) => one.set(text) };
  }, (text) => text);
  const acts = actions(first);
  const graphs = moving(first.id);
  const figures = [
    ["Over", (one) => count(one.requests)], ["Going on", (one) => count(one.in_flight)], ["Errors", (one) => count(one.errors)],
    ["First byte", (one) => wait(one.average_latency_seconds)], ["From visitors", (one) => bytes(one.bytes_in)], ["To visitors", (one) => bytes(one.bytes_out)],
  ].map(([name, value]) => ({ ...fact(name), read: value }));
  const clients = serving();
  const [statuses, outcomes, faults] = [bars("by_status", STATUSES), bars("by_outcome"), bars("faults")];
  const notice = h("p", { class: "notice", role: "status", hidden: true });
  const node = h("div", { class: "stack" },
    h("a", { class: "back", href: "#/tunnels" }, "All tunnels"),
    head(first.id, state.node, h("span", { class: "tag" }, first.kind), acts.node), notice, at,
    h("dl", { class: "figures card" }, figures.map((one) => one.nodes)),
    graphs.node,
    h("div", { class: "columns" },
      h("div", { class: "column-wide" }, section("Clients", clients.node)),
      h("div", { class: "column" }, section("How it ended", statuses.node, outcomes.node, faults.node))));
  return {
    node,
    update(now) {
      state.set(stateOf(now));
      addresses(now.public);
      acts.update(now);
      for (const one of figures) one.set(one.read(now));
      graphs.update();
      clients.update(now);
      for (const one of [statuses, outcomes, faults]) one.update(now);
      mark(notice, "hidden", true);
    },
    gone() {
      state.set("gone");
      say(notice, "The tunnel has gone: its client has left, and it is kept no longer.");
      mark(notice, "hidden", null);
    },
    dispose: () => graphs.dispose(),
  };
}

/** What can be done, as far as the relay can do it. */
function actions(first) {
  const call = async (method, at, said) => {
    await change(method, at);
    notify(said);
    refresh();
  };
  const tell = (doing) => () => doing().catch((problem) => notify(problem.message, "bad"));
  const pause = can("post", "/tunnels/{}/pause") && button("Pause", { on: tell(() => call("POST", path`/tunnels/${first.id}/pause`, "Paused: visitors are told so.")) });
  const resume = can("post", "/tunnels/{}/resume") && button("Resume", { kind: "primary", on: tell(() => call("POST", path`/tunnels/${first.id}/resume`, "Visitors come in again.")) });
  const remove = can("delete", "/tunnels/{}") && button("Delete …", {
    kind: "danger",
    on: () => confirm({
      title: `Delete ${first.id}?`,
      text: "What is kept of it goes, and visitors find nothing there. This cannot be undone.",
      yes: "Delete it",
      act: () => call("DELETE", path`/tunnels/${first.id}`, `${first.id} is deleted.`),
    }),
  });
  return {
    node: h("span", { class: "actions" }, pause, resume, remove),
    update(now) {
      const isPaused = now.state === "paused";
      if (pause) mark(pause, "hidden", isPaused);
      if (resume) mark(resume, "hidden", !isPaused);
    },
  };
}

function moving(id) {
  let range = RANGES[1][0];
  const made = [
    { label: "Requests and visits", series: [{ name: "Over", kind: "out", filled: true }, { name: "Failed", kind: "bad" }], format: (value) => `${often(value)}/s`, of: (rates) => [rates.requests, rates.errors] },
    { label: "Traffic", series: [{ name: "To visitors", kind: "out", filled: true }, { name: "From visitors", kind: "into" }], format: rate, of: (rates) => [rates.out, rates.into] },
  ].map((one) => ({ ...one, graph: graph(one) }));
  function update() {
    const rates = ratesOf(id);
    const times = rates.times.values;
    if (times.length === 0) return;
    const to = times[times.length - 1];
    for (const one of made) {
      const from = times.findIndex((time) => time >= to - range);
      one.graph.update({ times: times.slice(from), values: one.of(rates).map((ring) => ring.values.slice(from)), from: to - range, to });
    }
  }
  const pick = choice("Time", RANGES, range, (next) => ((range = next), update()));
  return {
    node: h("div", { class: "graphs" }, h("div", { class: "graphs-head" }, h("h2", {}, "As it happens"), pick), h("div", { class: "pair" }, made.map((one) => h("section", { class: "card" }, one.graph.node)))),
    update,
    dispose: () => made.forEach((one) => one.graph.dispose()),
  };
}

/** Who serves it, and who would. */
function serving() {
  const list = h("ul", { class: "clients" });
  const none = h("div", {}, empty("No client serves it", "Visitors are told so until one comes:", clientCommand()));
  const update = keyed(list, makeClient, (client) => client.sessions.join(" "));
  return {
    node: h("div", {}, list, none),
    update(now) {
      update(now.clients);
      mark(none, "hidden", now.clients.length > 0);
    },
  };
}

function makeClient() {
  const [standing, agent, from] = [pill(), h("span", { class: "clip" }), h("span", { class: "quiet num clip" })];
  return {
    node: h("li", {}, standing.node, h("span", { class: "client-who" }, agent, from)),
    update(client) {
      standing.set(client.standing === "live" && !client.healthy ? "unhealthy" : client.standing);
      const sessions = live.sessions.filter((session) => client.sessions.includes(session.id));
      say(agent, sessions[0]?.agent ?? "a client");
      say(from, sessions.map((session) => `${session.address} · ${wait(session.round_trip_seconds)}`).join(", "));
    },
  };
}

/** How many of each kind, with a bar as long as its part. */
function bars(name, kinds = []) {
  const list = h("ul", { class: "bars" });
  const node = h("div", {}, list);
  const update = keyed(list, ([key]) => {
    const [number, bar] = [h("span", { class: "num" }), h("span", { class: "bar" })];
    return {
      node: h("li", { class: (kinds.find(([one]) => one === key) ?? [key, name === "faults" ? "bad" : "calm"])[1] }, h("span", {}, key.replaceAll("_", " ")), bar, number),
      update([, amount, part]) {
        say(number, count(amount));
        bar.style.setProperty("--part", part.toFixed(3));
      },
    };
  }, ([key]) => key);
  return {
    node,
    update(now) {
      const found = Object.entries(now[name]).filter(([, amount]) => amount > 0);
      const all = found.reduce((sum, [, amount]) => sum + amount, 0);
      update(found.map(([key, amount]) => [key, amount, amount / all]));
      mark(node, "hidden", found.length === 0);
    },
  };
}
