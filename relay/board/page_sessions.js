// Who is connected: the clients, over each of their connections.

import { change, path } from "./api.js";
import { confirm, notify } from "./dialogs.js";
import { h, mark, say } from "./dom.js";
import { can } from "./features.js";
import { count, many, span, wait } from "./format.js";
import { live, refresh, watch } from "./live.js";
import { button, clientCommand, empty, failure, head, skeleton } from "./parts.js";
import { virtualRows } from "./virtual.js";

const NARROW = matchMedia("(max-width: 820px)");
const ROW = 60;
const CARD = 150;
const COLUMNS = ["Client", "Address", "Here for", "Round trip", "Tunnels", ""];
// So many tunnels of a session are named.
const NAMED = 3;

export function sessions() {
  const canKick = can("delete", "/sessions/{}");
  let text = "";
  const search = h("input", {
    type: "search", class: "search", placeholder: "Filter by owner, program, address or tunnel", "aria-label": "Filter clients",
    autocomplete: "off", spellcheck: "false", on: { input: () => ((text = search.value.toLowerCase()), put()) },
  });
  const told = h("p", { class: "quiet found num", role: "status" });
  const headings = h("div", { role: "rowgroup", class: "row-head" }, h("div", { role: "row", class: "row session-row", "aria-rowindex": "1" },
    COLUMNS.map((name) => h("span", { role: "columnheader" }, name || h("span", { class: "unseen" }, "What can be done")))));
  const list = virtualRows({ make: makeRow, key: (session) => session.id, height: () => (NARROW.matches ? CARD : ROW), label: "Clients", columns: COLUMNS.length, before: headings });
  const place = h("div", {}, skeleton(5));
  const node = h("div", { class: "page" }, head("Clients", told), h("div", { class: "filters" }, search), place);

  function put() {
    if (!live.isKnown) {
      if (live.problem) place.replaceChildren(failure(live.problem));
      return;
    }
    const fits = (session) => [session.owner, session.agent, session.address, ...session.tunnel_ids].some((one) => one.toLowerCase().includes(text));
    const wanted = live.sessions.filter(fits);
    say(told, wanted.length === live.sessions.length ? many(wanted.length, "connection") : `${count(wanted.length)} of ${many(live.sessions.length, "connection")}`);
    if (live.sessions.length === 0) place.replaceChildren(empty("Nobody is connected", "A client comes from the machine with your service:", clientCommand()));
    else if (wanted.length === 0) place.replaceChildren(empty("Nobody of that kind", "No client fits the filter. Take something of it away."));
    else if (place.firstChild !== list.node) place.replaceChildren(list.node);
    list.set(wanted);
  }

  function kick(session) {
    confirm({
      title: `End the connection of ${session.owner}?`,
      text: `${session.agent} at ${session.address} loses its visits at once. A client that reconnects comes back; to keep it out, revoke its token.`,
      yes: "End it",
      act: async () => {
        await change("DELETE", path`/sessions/${session.id}`);
        notify("The connection is ended.");
        refresh();
      },
    });
  }

  function makeRow(first) {
    const [agent, owner, at, since, trip, tunnels] = Array.from({ length: 6 }, () => h("span", { class: "num clip" }));
    const streams = h("span", { class: "quiet num" });
    const cell = (id, ...content) => h("div", { role: "cell", class: `cell session-${id}` }, content);
    mark(owner, "class", "quiet clip");
    mark(at, "class", "mono clip");
    const row = h("div", { role: "row", class: "row session-row" },
      cell("client", agent, owner), cell("address", at), cell("since", since), cell("trip", trip, streams), cell("tunnels", tunnels),
      cell("acts", canKick && button("End …", { small: true, kind: "danger", on: () => kick(first), "aria-label": `End the connection of ${first.owner} from ${first.address}` })));
    return {
      node: row,
      update(session) {
        say(agent, session.agent);
        say(owner, `${session.owner} · number ${session.id}`);
        say(at, session.address);
        say(since, span(session.age_seconds));
        say(trip, wait(session.round_trip_seconds));
        if (session.streams !== undefined) say(streams, many(session.streams, "stream"));
        const more = session.tunnel_ids.length - NAMED;
        say(tunnels, session.tunnel_ids.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${count(more)} more` : ""));
        mark(tunnels, "title", session.tunnel_ids.join(", ") || null);
      },
    };
  }

  const unwatch = watch(put);
  return { node, dispose: () => (unwatch(), list.dispose()) };
}
