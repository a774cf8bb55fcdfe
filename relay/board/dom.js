// Elements made of text and properties. Nothing here, and nothing else on the board, reads HTML: what
// strangers can write is text wherever it is shown.

const SVG = "http://www.w3.org/2000/svg";

// Where a link may lead. An address that a client has made up can be of no other kind.
const SCHEMES = new Set(["http:", "https:", "blob:"]);

/** An element. `props` are attributes; functions in `on` are listeners. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same of SVG. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** Whether a browser may be sent there. */
export function isSafe(address) {
  if (address.startsWith("#")) return true;
  try {
    return SCHEMES.has(new URL(address, location.href).protocol);
  } catch {
    return false;
  }
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "href" && !isSafe(String(value))) {
      continue;
    } else if (name.startsWith("on") || name === "style" || name === "srcdoc") {
      throw new Error(`no attribute of the board: ${name}`);
    } else if (name === "value") {
      node.value = value;
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  add(node, children);
  return node;
}

/** Puts children behind those that are there. Whatever is no node becomes text. */
export function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Sets a text, unless it is that already: what does not change is not laid out again. */
export function say(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
  return node;
}

/** Sets an attribute, or takes it away (`null`), if that changes anything. */
export function mark(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else {
    const wanted = value === true ? "" : String(value);
    if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
  }
  return node;
}

/**
 * Keeps the children of `parent` the same as `items`: those that stay keep their element, and so the
 * focus and whatever is selected. `make(item)` gives `{ node, update(item) }`.
 */
export function keyed(parent, make, key) {
  let rows = new Map();
  return (items) => {
    const next = new Map();
    let before = null;
    for (const item of items) {
      const id = key(item);
      const row = rows.get(id) ?? make(item);
      rows.delete(id);
      next.set(id, row);
      row.update?.(item);
      const place = before ? before.nextSibling : parent.firstChild;
      if (place !== row.node) parent.insertBefore(row.node, place);
      before = row.node;
    }
    for (const gone of rows.values()) gone.node.remove();
    rows = next;
  };
}
