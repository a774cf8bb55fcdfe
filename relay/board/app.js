// The board: which page is shown, to whom, and what is around it.

import { onStranger, read, useToken } from "./api.js";
import { add, h, mark, say } from "./dom.js";
import { can, learn } from "./features.js";
import { icon } from "./icons.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import { failure, iconButton } from "./parts.js";
import { bans } from "./page_bans.js";
import { certificates } from "./page_certificates.js";
import { domains } from "./page_domains.js";
import { login } from "./page_login.js";
import { overview } from "./page_overview.js";
import { sessions } from "./page_sessions.js";
import { tokens } from "./page_tokens.js";
import { tunnel } from "./page_tunnel.js";
import { tunnels } from "./page_tunnels.js";
import { users } from "./page_users.js";

// In the order of the navigation. What the relay has no call for, or whoever is logged in no right
// to, is not there.
const PAGES = [
  { at: "#/", key: "o", title: "Overview", picture: "overview", view: overview },
  { at: "#/tunnels", key: "t", title: "Tunnels", picture: "tunnels", view: tunnels, needs: ["get", "/tunnels"] },
  { at: "#/clients", key: "c", title: "Clients", picture: "sessions", view: sessions, needs: ["get", "/sessions"] },
  { at: "#/tokens", key: "k", title: "Tokens", picture: "tokens", view: tokens, needs: ["get", "/tokens"] },
  { at: "#/users", key: "u", title: "Users", picture: "users", view: users, needs: ["get", "/users"], isForAdmins: true },
  { at: "#/names", key: "n", title: "Names", picture: "domains", view: domains, needs: ["get", "/domains"] },
  { at: "#/certificates", key: "s", title: "Certificates", picture: "certificates", view: certificates, needs: ["get", "/certificates"], isForAdmins: true },
  { at: "#/bans", key: "b", title: "Bans", picture: "bans", view: bans, needs: ["get", "/bans"], isForAdmins: true },
];
const THEMES = ["system", "light", "dark"];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const aside = document.getElementById("aside");
let me = null;
let shown = null;

function isThere(page) {
  return (!page.needs || can(...page.needs)) && (!page.isForAdmins || me?.scopes.includes("admin"));
}

function pages() {
  return me ? PAGES.filter(isThere) : [];
}

/** The page of an address, with what the address names. */
function find(hash) {
  const [path, query] = (hash || "#/").split("?");
  const one = path.match(/^#\/tunnels\/(.+)$/);
  const params = new URLSearchParams(query);
  if (one) return { page: PAGES[1], view: (context) => tunnel(decoded(one[1]), context), params };
  const page = pages().find(({ at }) => at === path);
  return page && { page, view: page.view, params };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function go({ isFirst = false } = {}) {
  const found = find(location.hash);
  if (!found) {
    location.replace("#/");
    return;
  }
  shown?.dispose?.();
  shown = found.view({ me, params: found.params });
  main.replaceChildren(shown.node);
  document.title = `${shown.title ?? found.page.title} · Sallyport`;
  for (const link of nav.querySelectorAll("a")) {
    mark(link, "aria-current", link.hash === found.page.at ? "page" : null);
  }
  if (isFirst) return;
  scrollTo(0, 0);
  // Whoever cannot see it hears which page it is.
  main.querySelector("h1")?.focus({ preventScroll: true });
}

function frame() {
  nav.replaceChildren(...pages().map(({ at, title, picture }) => h("a", { href: at, class: "nav-link" }, icon(picture), h("span", {}, title))));
  const link = h("span", { class: "link-state" });
  const who = h("div", { class: "who" }, h("span", { class: "clip", title: me.name }, me.name), h("span", { class: "quiet" }, me.scopes.includes("admin") ? "admin" : "own things"));
  const leave = me.name !== "(operator)" && iconButton("leave", "Log out", logOut);
  const tools = h("div", { class: "tools" }, themeButton(), iconButton("keys", "Keys (?)", () => keys.help(places())), leave);
  aside.replaceChildren(link, who, tools);
  live.watch((state) => {
    const words = { connecting: "connecting", live: "live", lost: "no answer" };
    say(link, words[state.link]);
    mark(link, "class", `link-state ${state.link}`);
    mark(link, "title", state.problem?.message);
  });
}

function places() {
  return pages().map(({ key, title, at }) => [key, title, at]);
}

function themeButton() {
  const node = iconButton("system", "Colours", () => {
    const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("sallyport.theme", next);
    } catch {
      // Then it is for this page only.
    }
    name();
  });
  function theme() {
    return document.documentElement.dataset.theme ?? "system";
  }
  function name() {
    const words = { system: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };
    mark(node, "aria-label", words[theme()]);
    mark(node, "title", words[theme()]);
    node.replaceChildren(icon(theme()));
  }
  name();
  return node;
}

async function logOut() {
  await login.leave();
  stranger();
}

/** Asks who somebody is. */
function stranger() {
  if (shown?.isLogin) return;
  live.end();
  me = null;
  nav.replaceChildren();
  aside.replaceChildren(h("div", { class: "tools" }, themeButton()));
  shown?.dispose?.();
  shown = { isLogin: true, ...login({ then: start }) };
  main.replaceChildren(shown.node);
  document.title = "Log in · Sallyport";
  main.querySelector("input")?.focus();
}

async function start() {
  try {
    await learn();
    // A link to log in with has come with the address.
    if (location.hash.startsWith("#link=") && can("post", "/login/link")) {
      stranger();
      return;
    }
    me = await read("/me");
  } catch (problem) {
    if (problem.status === 401 || problem.status === 403) {
      useToken(null);
      stranger();
    } else {
      main.replaceChildren(failure(problem, start));
    }
    return;
  }
  if (shown?.isLogin) shown = null;
  frame();
  live.begin();
  go({ isFirst: true });
}

onStranger(() => stranger());
addEventListener("hashchange", () => me && go());
keys.listen(places);
add(main, [h("div", { class: "skeleton", "aria-hidden": "true" }, h("div", { class: "skeleton-row" }), h("div", { class: "skeleton-block" }))]);
start();
