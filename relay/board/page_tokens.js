// What lets clients in, and callers of the API.

import { change, path, readAll } from "./api.js";
import { boxes, confirm, field, form, notify, show } from "./dialogs.js";
import { h } from "./dom.js";
import { count, relative } from "./format.js";
import { button, clientCommand, commandLine, copyButton, empty, failure, head, pillOf, skeleton, time } from "./parts.js";
import { NAME, NAME_HINT, noStore } from "./page_users.js";

const DAY = 86400;
const ENDS = [["", "Never"], [String(DAY), "In a day"], [String(7 * DAY), "In a week"], [String(30 * DAY), "In 30 days"], [String(365 * DAY), "In a year"]];
const OVERLAPS = [["0", "At once"], ["300", "In 5 minutes"], ["3600", "In an hour"], ["86400", "In a day"]];

export function tokens({ me, params }) {
  const isAdmin = me.scopes.includes("admin");
  let owner = params.get("owner");
  const place = h("div", {}, skeleton(4));
  const only = h("div", { class: "filters" });
  const node = h("div", { class: "page" }, head("Tokens", button("New token", { kind: "primary", picture: "plus", on: make })), only, place);

  async function look() {
    only.replaceChildren(...(owner ? [h("span", { class: "tag" }, `of ${owner}`), button("Show all", { small: true, on: () => ((owner = null), look()) })] : []));
    try {
      const found = await readAll(owner ? `/tokens?owner=${encodeURIComponent(owner)}` : "/tokens");
      if (found.length === 0) {
        place.replaceChildren(empty("No tokens yet", "A client shows a token to be let in. Make one here, or on the relay's machine:", "relay token create --user ann --name laptop"));
        return;
      }
      found.sort((a, b) => (a.owner + a.name < b.owner + b.name ? -1 : 1));
      place.replaceChildren(h("div", { class: "card" }, h("ul", { class: "plain-list" }, found.map(row))));
    } catch (problem) {
      place.replaceChildren(problem.code === "no_store" ? noStore() : failure(problem, look));
    }
  }

  function row(token) {
    const called = `${token.owner}/${token.name}`;
    return h("li", {},
      h("span", { class: "grow" }, h("b", {}, called), stateOf(token),
        h("span", { class: "quiet" }, "used ", time(token.last_used), " · made ", time(token.created)),
        h("span", { class: "tags" }, limits(token.grant).map((text) => h("span", { class: "tag" }, text)))),
      button("Replace …", { small: true, "aria-label": `Replace ${called}`, on: () => rotate(token) }),
      button("Revoke …", { small: true, kind: "danger", "aria-label": `Revoke ${called}`, on: () => revoke(token) }));
  }

  function revoke(token) {
    confirm({
      title: `Revoke ${token.owner}/${token.name}?`,
      text: "Whoever has it is no longer let in, and clients that came with it are ended. So is whatever was narrowed from it. This cannot be undone.",
      yes: "Revoke it",
      act: async () => {
        await change("DELETE", path`/tokens/${token.id}`);
        notify("The token is revoked.");
        look();
      },
    });
  }

  function rotate(token) {
    form({
      title: `Replace ${token.owner}/${token.name}`,
      text: "A new token with the same name and rights takes its place.",
      yes: "Make the new one",
      fields: [field({ name: "overlap", label: "The old one ends", kind: "select", options: OVERLAPS })],
      act: async ({ overlap }) => made(await change("POST", path`/tokens/${token.id}/rotate`, { overlap_seconds: Number(overlap) })),
    });
  }

  function make() {
    const scopes = [["own", "own", "sees and steers what is its owner's"], ["metrics", "metrics", "reads the metrics"]];
    if (isAdmin) scopes.splice(1, 0, ["admin", "admin", "sees and steers everything"]);
    const fields = [
      ...(isAdmin ? [field({ name: "owner", label: "User", required: true, pattern: NAME, value: owner ?? (me.name === "(operator)" ? "" : me.name), spellcheck: "false", autocapitalize: "none" })] : []),
      field({ name: "name", label: "Name", hint: NAME_HINT, required: true, pattern: NAME, placeholder: "laptop", spellcheck: "false", autocapitalize: "none" }),
      boxes({ name: "scopes", label: "For the API and this board (clients need none)", options: scopes }),
      field({ name: "ends", label: "Ends", kind: "select", options: ENDS }),
    ];
    const narrowing = [
      field({ name: "tunnels", label: "Names of tunnels", hint: "Several with spaces; * stands for anything. Empty: any.", placeholder: "web-* api" }),
      field({ name: "hosts", label: "Host names", hint: "Several with spaces. Empty: any.", placeholder: "*.example.com" }),
      field({ name: "max_tunnels", label: "Most tunnels at a time", type: "number", min: "1", inputmode: "numeric" }),
      field({ name: "max_visitors", label: "Most visitors at a time", type: "number", min: "1", inputmode: "numeric" }),
      field({ name: "rate", label: "Rate each way", placeholder: "5mbit" }),
      field({ name: "quota", label: "Quota", placeholder: "100GB/month" }),
    ];
    const more = h("details", { class: "more" }, h("summary", {}, "Limits"), h("div", { class: "more-fields" }, narrowing.map((one) => one.node)));
    fields.push(...narrowing.map((one, at) => ({ ...one, node: at === 0 && more })));
    form({ title: "New token", yes: "Make it", fields, act: async (values) => made(await change("POST", "/tokens", wanted(values))) });
  }

  /** What a token is, is shown this once. */
  function made({ token, owner: whose, name }) {
    look();
    const secret = h("code", { class: "secret break", tabindex: "0" }, token);
    // The window that asked closes first.
    setTimeout(() => show(`The token ${whose}/${name}`,
      h("p", {}, "Copy it now: it is not kept, and not shown again."),
      h("div", { class: "command" }, secret, copyButton(() => token, "Copy the token")),
      h("p", { class: "hint" }, "A client reads it from a file, or from CLIENT_TOKEN:"),
      commandLine(`${clientCommand()} --token-file FILE`)));
  }

  look();
  return { node };
}

function wanted({ owner, name, scopes, ends, tunnels, hosts, max_tunnels, max_visitors, rate, quota }) {
  const list = (text) => text.split(/[\s,]+/).filter(Boolean);
  const grant = {
    tunnels: list(tunnels),
    hosts: list(hosts),
    "max-tunnels": Number(max_tunnels) || undefined,
    "max-visitors": Number(max_visitors) || undefined,
    rate: rate || undefined,
    quota: quota || undefined,
    expires: ends ? Math.floor(Date.now() / 1000) + Number(ends) : undefined,
    scopes,
  };
  // An empty list would mean that nothing is allowed, and is refused.
  for (const [key, value] of Object.entries(grant)) if (Array.isArray(value) && value.length === 0) delete grant[key];
  return { owner: owner || undefined, name, grant };
}

function stateOf({ revoked, replaced, owner_disabled: isDisabled, grant }) {
  const now = Date.now() / 1000;
  if (revoked) return pillOf("revoked");
  if ((grant.expires ?? Infinity) < now || (replaced ?? Infinity) < now) return pillOf("expired");
  return isDisabled ? pillOf("disabled") : null;
}

/** What a grant allows, in a few words each. */
function limits(grant) {
  const words = {
    scopes: (list) => `scopes: ${list.join(", ")}`,
    tunnels: (list) => `tunnels: ${list.join(" ")}`,
    hosts: (list) => `hosts: ${list.join(" ")}`,
    ports: (ports) => `ports ${ports}`,
    "max-tunnels": (most) => `${count(most)} tunnels`,
    "max-visitors": (most) => `${count(most)} visitors`,
    rate: (rate) => `${rate} each way`,
    quota: (quota) => String(quota),
    expires: (at) => `${at * 1000 < Date.now() ? "ended" : "ends"} ${relative(at)}`,
    allow: (networks) => `from ${networks.join(" ")}`,
  };
  return Object.entries(grant).map(([key, value]) => (words[key] ? words[key](value) : `${key}: ${JSON.stringify(value)}`));
}
