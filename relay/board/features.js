// What this relay can do: read from the document of its API, so that there is no button without
// anything behind it.

import { read } from "./api.js";

let calls = new Set();

/** Learns what there is. */
export async function learn() {
  const document = await read("/openapi.json");
  const found = new Set();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of Object.keys(methods)) found.add(call(method, path));
  }
  calls = found;
}

/** Whether there is such a call: `can("delete", "/sessions/{}")`. */
export function can(method, path) {
  return calls.has(call(method, path));
}

/** What parameters are called makes no difference. */
function call(method, path) {
  return `${method.toUpperCase()} ${path.replace(/\{[^}]*\}/g, "{}")}`;
}
