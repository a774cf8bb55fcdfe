// The certificates that visitors see, those that expire first in front.

import { readAll } from "./api.js";
import { h } from "./dom.js";
import { empty, failure, head, pillOf, skeleton, time } from "./parts.js";

// Whoever has no new one so many seconds before the end should be told.
export const LATE = 14 * 86400;

export function certificates() {
  const place = h("div", {}, skeleton(4));
  const node = h("div", { class: "page" }, head("Certificates"), h("p", { class: "lead" }, "What the relay shows to visitors by HTTPS."), place);

  async function look() {
    try {
      const found = await readAll("/certificates");
      if (found.length === 0) {
        place.replaceChildren(empty("No certificates", ["The relay opens no TLS for visitors. It orders certificates by itself (", h("code", { class: "whole" }, "--acme"), "), or takes them from a folder:"], "relay --https 443 --certs /etc/sallyport/certs"));
        return;
      }
      found.sort((a, b) => a.expires - b.expires);
      place.replaceChildren(h("div", { class: "card" }, h("ul", { class: "plain-list" }, found.map(row))));
    } catch (problem) {
      place.replaceChildren(failure(problem, look));
    }
  }

  look();
  return { node };
}

function row({ name, source, begins, expires, renews }) {
  const left = expires - Date.now() / 1000;
  return h("li", {},
    h("span", { class: "grow" }, h("b", {}, name), pillOf(left < 0 ? "expired" : left < LATE && !renews ? "ends" : "good"),
      h("span", { class: "quiet" }, source === "folder" ? "from the folder" : "ordered", " · good since ", time(begins), renews && [" · renewed ", time(renews)])),
    h("span", { class: "num" }, left < 0 ? "expired " : "expires ", time(expires)));
}
