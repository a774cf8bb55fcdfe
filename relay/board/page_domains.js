// Whose host names are, and what is still to be proven.

import { readAll } from "./api.js";
import { h } from "./dom.js";
import { clientCommand, copyButton, empty, failure, head, pillOf, skeleton, time } from "./parts.js";
import { noStore } from "./page_users.js";

export function domains() {
  const place = h("div", {}, skeleton(4));
  const node = h("div", { class: "page" }, head("Host names"), h("p", { class: "lead" }, "Whoever puts the code into the DNS of a domain has it. A name without a dot is kept in front of the relay's own."), place);

  async function look() {
    try {
      const found = await readAll("/domains");
      if (found.length) place.replaceChildren(h("div", { class: "card" }, h("ul", { class: "plain-list" }, found.map(row))));
      else place.replaceChildren(empty("No host name is anybody's", "A client asks for one, and is told how to prove it:", clientCommand("http 3000 --host app.example.com")));
    } catch (problem) {
      place.replaceChildren(problem.code === "no_store" ? noStore() : failure(problem, look));
    }
  }

  look();
  return { node };
}

function row({ name, owner, code, created, proven, missing, asked }) {
  const state = missing ? "proof gone" : proven ? "proven" : "not proven";
  const isKept = !name.includes(".");
  return h("li", {},
    h("span", { class: "grow" }, h("b", {}, name), pillOf(isKept ? "kept" : state),
      h("span", { class: "quiet" }, `of ${owner} · since `, time(proven ?? created), asked && [" · asked for ", time(asked)])),
    !isKept && h("span", { class: "address" }, h("code", { class: "clip" }, code), copyButton(() => code, `Copy the code of ${name}`)));
}
