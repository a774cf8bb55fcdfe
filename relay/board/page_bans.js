// Sources that are kept out for a while.

import { change, path, readAll } from "./api.js";
import { notify } from "./dialogs.js";
import { h, keyed, say } from "./dom.js";
import { span } from "./format.js";
import { button, empty, failure, head, skeleton } from "./parts.js";

// How often they are read, in milliseconds.
const EVERY = 5000;

export function bans() {
  const place = h("div", {}, skeleton(3));
  const node = h("div", { class: "page" }, head("Bans"),
    h("p", { class: "lead" }, "Whoever shows wrong tokens or passwords too often, or breaks the protocol, is kept out for a while, with all of its network."), place);
  const list = h("ul", { class: "plain-list" });
  const card = h("div", { class: "card" }, list);
  const update = keyed(list, makeBan, (ban) => ban.source);
  const timer = setInterval(look, EVERY);

  async function look() {
    try {
      const found = await readAll("/bans");
      if (found.length) update(found);
      const wanted = found.length ? card : empty("Nobody is banned", "When somebody is, it ends by itself; here it can end before.");
      if (place.firstChild !== wanted) place.replaceChildren(wanted);
    } catch (problem) {
      place.replaceChildren(failure(problem, look));
    }
  }

  function makeBan(ban) {
    const left = h("span", { class: "quiet num" });
    const lift = button("Lift", {
      small: true,
      "aria-label": `Lift the ban of ${ban.source}`,
      on: async () => {
        try {
          await change("DELETE", path`/bans/${ban.source}`);
          notify(`${ban.source} may come again.`);
        } catch (problem) {
          notify(problem.message, "bad");
        }
        look();
      },
    });
    return {
      node: h("li", {}, h("span", { class: "mono grow" }, ban.source), left, lift),
      update: (now) => say(left, `${span(now.seconds_left)} left`),
    };
  }

  look();
  return { node, dispose: () => clearInterval(timer) };
}
