// How the relay is at a glance, and what needs somebody.

import { readAll } from "./api.js";
import { graph, sparkline } from "./chart.js";
import { h, keyed, mark, say } from "./dom.js";
import { can } from "./features.js";
import { count, many, often, rate, relative, span, wait } from "./format.js";
import { icon } from "./icons.js";
import { WINDOW, live, ratesOf, watch } from "./live.js";
import { LATE } from "./page_certificates.js";
import { clientCommand, commandLine, copyButton, fact, failure, head, pill, section, stateOf } from "./parts.js";

// Tokens that end within so many seconds are told of.
const SOON = 7 * 86400;
// How long tokens and certificates that were read stay good, in milliseconds.
const FRESH = 60_000;
const BUSIEST = 5;
// The traffic of at least so many seconds is shown.
const SHORTEST = 120;
// So much of what a tunnel answers may fail before it is told of.
const TOO_MANY_ERRORS = 0.05;

export function overview({ me }) {
  const tiles = [
    tile("Requests, visits", "per second", (state) => [often(state.rates.requests.last), `${count(sum(state.tunnels, "in_flight"))} going on`], (rates) => rates.requests),
    tile("To visitors", "per second", (state) => [rate(state.rates.out.last), `${rate(state.rates.into.last)} from them`], (rates) => rates.out),
    tile("First byte", "on average", (state) => [wait(lately(state.rates.latency.values)), "from the visitor's request"], (rates) => rates.latency),
    tile("Tunnels", "with a client", (state) => {
      const there = state.tunnels.filter((one) => one.state === "live").length;
      return [`${count(there)} of ${count(state.tunnels.length)}`, many(state.sessions.length, "connection")];
    }),
  ];
  const traffic = graph({
    label: "Traffic",
    series: [{ name: "To visitors", kind: "out", filled: true }, { name: "From visitors", kind: "into" }],
    format: rate,
  });
  const needs = attention(me);
  const busiest = busy();
  const about = facts();
  const welcome = h("div", {});
  const trouble = h("div", {});
  const node = h("div", { class: "page" }, head("Overview"), trouble, welcome,
    h("div", { class: "tiles" }, tiles.map((one) => one.node)),
    h("div", { class: "columns" },
      h("div", { class: "column-wide" }, h("section", { class: "card" }, traffic.node), section("Busiest tunnels", busiest.node)),
      h("div", { class: "column" }, section("Needs somebody", needs.node), section("This relay", about.node))));

  const unwatch = watch((state) => {
    trouble.replaceChildren(...(state.isKnown || !state.problem ? [] : [failure(state.problem)]));
    if (!state.isKnown) return;
    for (const one of tiles) one.update(state);
    const times = state.rates.times.values;
    const to = times[times.length - 1] ?? Date.now() / 1000;
    // It grows with what has been seen, up to ten minutes.
    const from = Math.min(times[0] ?? to, to - SHORTEST);
    traffic.update({ times, values: [state.rates.out.values, state.rates.into.values], from, to });
    needs.update(state);
    busiest.update(state);
    about.update(state);
    greet(welcome, state, me);
  });
  return { node, dispose: () => (unwatch(), traffic.dispose(), needs.dispose()) };
}

function sum(tunnels, name) {
  return tunnels.reduce((all, tunnel) => all + tunnel[name], 0);
}

/** The mean of the latest values that there are. */
function lately(values) {
  const there = values.slice(-15).filter((value) => value !== null);
  return there.length ? there.reduce((all, value) => all + value, 0) / there.length : null;
}

function tile(title, unit, values, line) {
  const [number, beside] = [h("p", { class: "tile-number num" }, "–"), h("p", { class: "tile-beside num" }, "\u00a0")];
  const spark = line && sparkline(WINDOW / 5);
  const node = h("section", { class: "card tile" }, h("h2", {}, title, " ", h("span", { class: "quiet" }, unit)), number, beside, spark?.node);
  return {
    node,
    update(state) {
      const [main, second] = values(state);
      say(number, main);
      say(beside, second);
      spark?.update(line(state.rates).values.slice(-WINDOW / 5));
    },
  };
}

/** For a relay that has no tunnel yet: what to type. */
function greet(place, state, me) {
  const isNew = state.tunnels.every((tunnel) => tunnel.state !== "live") && state.sessions.length === 0;
  if (isNew === place.hasChildNodes()) return;
  if (!isNew) {
    place.replaceChildren();
    return;
  }
  const tls = state.health.transport.tls;
  place.replaceChildren(h("section", { class: "card welcome" },
    h("h2", {}, "No client is here yet"),
    h("p", {}, "On the machine with your service, here a web server on port 3000:"),
    commandLine(clientCommand("http 3000")),
    h("p", {}, "Anything else that is TCP, such as SSH:"),
    commandLine(clientCommand("tcp 22")),
    me.name !== "(operator)" && h("p", { class: "hint" }, "The client asks for a token: make one ", h("a", { href: "#/tokens" }, "here"), tls ? "." : ", and give the relay TLS before it crosses the internet.")));
}

/** What is not as it should be, the worst first. */
function attention(me) {
  const list = h("ul", { class: "alerts" });
  const calm = h("p", { class: "quiet calm" }, icon("done"), "Nothing. All is well.");
  const node = h("div", {}, list, calm);
  let [tokens, certificates] = [[], []];
  const update = keyed(list, makeAlert, (alert) => alert.id);
  const canSeeAll = me.scopes.includes("admin") && can("get", "/certificates");
  const timer = setInterval(learn, FRESH);

  async function learn() {
    tokens = await readAll("/tokens").catch(() => []);
    if (canSeeAll) certificates = await readAll("/certificates").catch(() => []);
    if (live.isKnown) put(live);
  }

  function put(state) {
    const alerts = [...ofRelay(state, me), ...state.tunnels.flatMap(ofTunnel), ...tokens.flatMap(ofToken), ...certificates.flatMap(ofCertificate)];
    alerts.sort((a, b) => b.weight - a.weight);
    update(alerts.slice(0, 8));
    mark(calm, "hidden", alerts.length > 0);
  }

  learn();
  return { node, update: put, dispose: () => clearInterval(timer) };
}

function makeAlert() {
  const text = h("span", {});
  const link = h("a", {});
  const node = h("li", {}, icon("warn"), h("span", { class: "alert-text" }, link, " ", text));
  return {
    node,
    update(alert) {
      mark(node, "class", alert.weight >= 60 ? "bad" : "fair");
      mark(link, "href", alert.at);
      say(link, alert.name);
      say(text, alert.text);
    },
  };
}

function ofRelay({ health }, me) {
  const found = [];
  if (health.status === "stopping") found.push({ id: "stopping", weight: 100, name: "The relay", text: "stops: visits that are open may finish, no more come in.", at: "#/" });
  if (!health.transport.tls && me.scopes.includes("admin") && !isLoopback(health.transport.listeners.control)) {
    found.push({ id: "tls", weight: 10, name: "The way to clients", text: "has no TLS. On the open internet others can read it: see relay init.", at: "#/clients" });
  }
  return found;
}

function isLoopback(at) {
  return /^(127\.|\[::1\])/.test(at);
}

function ofTunnel(tunnel) {
  const at = `#/tunnels/${encodeURIComponent(tunnel.id)}`;
  const alert = (kind, weight, text) => ({ id: `${kind} ${tunnel.id}`, weight, name: tunnel.id, text, at });
  const found = [];
  const state = stateOf(tunnel);
  if (state === "unhealthy") found.push(alert("ill", 80, "Its local service is not healthy, as its client says."));
  // The tunnel `default` is there without anybody who wants it.
  if (state === "waiting" && tunnel.requests > 0) found.push(alert("away", 40, "No client serves it any more."));
  const lately = ratesOf(tunnel.id);
  const [errors, requests] = ["errors", "requests"].map((name) => lately[name].values.reduce((all, one) => all + one, 0));
  if (requests > 0 && errors / requests > TOO_MANY_ERRORS) {
    found.push(alert("errors", 60, `${Math.round((100 * errors) / requests)} % of the last three minutes failed.`));
  }
  return found;
}

function ofToken({ id, owner, name, grant, revoked, replaced }) {
  const ends = Math.min(grant.expires ?? Infinity, replaced ?? Infinity);
  const away = ends - Date.now() / 1000;
  if (revoked || away > SOON) return [];
  const text = away < 0 ? `expired ${relative(ends)}.` : `ends ${relative(ends)}.`;
  return [{ id: `token ${id}`, weight: away < 0 ? 20 : 50, name: `Token ${owner}/${name}`, text, at: "#/tokens" }];
}

function ofCertificate({ name, expires, renews }) {
  const left = expires - Date.now() / 1000;
  // Those that are ordered are renewed before that, unless something is wrong.
  if (left > LATE || (renews && left > SOON)) return [];
  return [{ id: `certificate ${name}`, weight: 90, name: `The certificate of ${name}`, text: `${left < 0 ? "has expired" : "expires"} ${relative(expires)}.`, at: "#/certificates" }];
}

/** The tunnels at which most happens. Those that are shown change places only when nobody points at them. */
function busy() {
  const list = h("div", { class: "busy" });
  const none = h("p", { class: "quiet" }, "Nothing has moved in the last minutes.");
  const node = h("div", { class: "busy-place" }, list, none);
  const update = keyed(list, makeBusy, (tunnel) => tunnel.id);
  let order = [];
  return {
    node,
    update(state) {
      if (!list.matches(":hover, :focus-within")) {
        const weight = (tunnel) => {
          const { out, into, requests } = ratesOf(tunnel.id);
          const all = (ring) => ring.values.reduce((a, b) => a + b, 0);
          return all(out) + all(into) + all(requests);
        };
        const weighed = state.tunnels.map((tunnel) => [weight(tunnel), tunnel.id]).filter(([amount]) => amount > 0);
        weighed.sort((a, b) => b[0] - a[0]);
        order = weighed.slice(0, BUSIEST).map(([, id]) => id);
      }
      const known = new Map(state.tunnels.map((tunnel) => [tunnel.id, tunnel]));
      update(order.map((id) => known.get(id)).filter(Boolean));
      mark(none, "hidden", order.length > 0);
    },
  };
}

function makeBusy() {
  const [name, state, spark] = [h("a", { class: "clip" }), pill(), sparkline(60)];
  const [requests, out] = [h("span", { class: "num" }), h("span", { class: "num" })];
  const node = h("div", { class: "busy-row" }, name, state.node, spark.node, requests, out);
  return {
    node,
    update(tunnel) {
      const rates = ratesOf(tunnel.id);
      say(name, tunnel.id);
      mark(name, "href", `#/tunnels/${encodeURIComponent(tunnel.id)}`);
      state.set(stateOf(tunnel));
      spark.update(rates.out.values.slice(-60));
      say(requests, `${often(rates.requests.last)}/s`);
      say(out, rate(rates.out.last));
    },
  };
}

function facts() {
  const [version, up, tls] = [fact("Version"), fact("Up for"), fact("TLS for clients")];
  const places = h("dl", { class: "facts" });
  const node = h("div", {}, h("dl", { class: "facts" }, version.nodes, up.nodes, tls.nodes), places);
  const update = keyed(places, ([name]) => {
    const text = h("code", {});
    return { node: h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, text, copyButton(() => text.textContent))), update: ([, at]) => say(text, at) };
  }, ([name]) => name);
  return {
    node,
    update({ health }) {
      version.set(health.version);
      up.set(span(health.uptime_seconds));
      tls.set(health.transport.tls_required ? "required" : health.transport.tls ? "offered" : "none");
      const words = { control: "Clients", public: "Visitors", http: "HTTP", https: "HTTPS" };
      update(Object.entries(words).map(([key, word]) => [word, health.transport.listeners[key]]).filter(([, at]) => at));
    },
  };
}
