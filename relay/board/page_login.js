// Who somebody is: a name and a password where the relay knows any, a link that is good once, or a
// token.

import { change, hasToken, useToken, read } from "./api.js";
import { h } from "./dom.js";
import { field } from "./dialogs.js";
import { can } from "./features.js";
import { choice } from "./parts.js";

export function login({ then }) {
  const link = location.hash.startsWith("#link=") ? decodeURIComponent(location.hash.slice(6)) : null;
  const ways = [];
  if (link && can("post", "/login/link")) ways.push(["link", "Link"]);
  else if (can("post", "/login")) ways.push(["password", "Password"]);
  if (!link) ways.push(["token", "Token"]);
  const complaint = h("p", { class: "complaint", role: "alert" });
  const place = h("div", {});
  const pick = ways.length > 1 && choice("How", ways, ways[0][0], (way) => put(way));
  const node = h("div", { class: "login" },
    h("div", { class: "card login-card" }, h("h1", { tabindex: "-1" }, link ? "Choose a password" : "Log in"), pick, place, complaint));

  function put(way) {
    complaint.textContent = "";
    place.replaceChildren({ link: byLink, password: byPassword, token: byToken }[way]());
    place.querySelector("input").focus();
  }

  function ask(fields, act, note) {
    const go = h("button", { type: "submit", class: "button primary" }, link ? "Set it and log in" : "Log in");
    return h("form", {
      class: "form",
      on: {
        submit: async (event) => {
          event.preventDefault();
          complaint.textContent = "";
          go.disabled = true;
          try {
            await act();
            if (link) history.replaceState(null, "", "/#/");
            await then();
          } catch (problem) {
            complaint.textContent = problem.message;
          }
          go.disabled = false;
        },
      },
    }, fields.map((one) => one.node), go, note);
  }

  function byPassword() {
    const user = field({ name: "user", label: "Name", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
    const password = field({ name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true });
    return ask([user, password], () => change("POST", "/login", { user: user.read(), password: password.input.value }));
  }

  function byLink() {
    const password = field({ name: "password", label: "New password", type: "password", autocomplete: "new-password", minlength: "10", required: true, hint: "At least ten characters. The link is good once." });
    return ask([password], () => change("POST", "/login/link", { link, password: password.input.value }));
  }

  function byToken() {
    const token = field({ name: "token", label: "Token", type: "password", required: true, spellcheck: "false", hint: "It stays in this tab and is forgotten with it." });
    const note = h("p", { class: "hint" }, "A token with a scope is made on the relay's machine: ", h("code", {}, "relay token create --user NAME --name board --scope own"));
    return ask([token], async () => {
      useToken(token.read());
      try {
        await read("/me");
      } catch (problem) {
        useToken(null);
        throw problem;
      }
    }, note);
  }

  put(ways[0][0]);
  return { node, title: "Log in" };
}

/** Ends it, here and at the relay. */
login.leave = async () => {
  if (hasToken()) useToken(null);
  else if (can("delete", "/login")) await change("DELETE", "/login").catch(() => {});
};
