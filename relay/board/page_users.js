// Who may have tokens.

import { change, path, readAll } from "./api.js";
import { confirm, field, form, notify } from "./dialogs.js";
import { h } from "./dom.js";
import { many } from "./format.js";
import { button, commandLine, empty, failure, head, pillOf, skeleton, time } from "./parts.js";

// As browsers read it, a dash among others is escaped.
export const NAME = "[a-z0-9._\\-]{1,63}";
export const NAME_HINT = "1 to 63 of a–z, 0–9, . _ -";

export function users() {
  const place = h("div", {}, skeleton(4));
  const node = h("div", { class: "page" }, head("Users", button("New user", { kind: "primary", picture: "plus", on: make })), place);

  async function look() {
    try {
      const [found, tokens] = await Promise.all([readAll("/users"), readAll("/tokens")]);
      if (found.length === 0) {
        place.replaceChildren(empty("No users yet", "Each user has tokens for clients. Make one here, or on the relay's machine:", "relay user create ann"));
        return;
      }
      const list = h("ul", { class: "plain-list" }, found.map((user) => row(user, tokens.filter((token) => token.owner === user.name).length)));
      place.replaceChildren(h("div", { class: "card" }, list));
    } catch (problem) {
      place.replaceChildren(problem.code === "no_store" ? noStore() : failure(problem, look));
    }
  }

  function row(user, tokens) {
    const able = user.disabled ? "Enable" : "Disable";
    return h("li", {},
      h("span", { class: "grow" }, h("b", {}, user.name), user.disabled && pillOf("disabled"), h("span", { class: "quiet" }, "made ", time(user.created))),
      h("a", { class: "num", href: `#/tokens?owner=${encodeURIComponent(user.name)}` }, many(tokens, "token")),
      button(able, { small: true, "aria-label": `${able} ${user.name}`, on: () => turn(user) }),
      button("Delete …", { small: true, kind: "danger", "aria-label": `Delete ${user.name}`, on: () => remove(user) }));
  }

  async function turn(user) {
    try {
      await change("PATCH", path`/users/${user.name}`, { disabled: !user.disabled });
      notify(user.disabled ? `${user.name} may come again.` : `None of ${user.name}'s tokens is good any more.`);
    } catch (problem) {
      notify(problem.message, "bad");
    }
    look();
  }

  function remove(user) {
    confirm({
      title: `Delete ${user.name}?`,
      text: "All tokens and host names of the user go, and clients with them. This cannot be undone.",
      yes: "Delete the user",
      act: async () => {
        await change("DELETE", path`/users/${user.name}`);
        notify(`${user.name} is deleted.`);
        look();
      },
    });
  }

  function make() {
    form({
      title: "New user",
      yes: "Make the user",
      fields: [field({ name: "name", label: "Name", hint: NAME_HINT, pattern: NAME, required: true, spellcheck: "false", autocapitalize: "none" })],
      act: async ({ name }) => {
        await change("POST", "/users", { name });
        notify(`${name} is there. Make a token next.`);
        look();
      },
    });
  }

  look();
  return { node };
}

/** For a relay that keeps nothing. */
export function noStore() {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, "This relay keeps no users"),
    h("p", {}, "Everybody with its shared secret is alike, or everybody near it. For users with tokens of their own, start it with a folder for what has to last:"),
    commandLine("relay --data /var/lib/sallyport"));
}
