// What is asked of the relay, and what goes wrong.

const BASE = "/api/v1";
const KEPT = "sallyport.token";
// Answers that are kept to be told only that they are the same.
const MOST_TAGS = 64;
// A read that fails is tried so often, each time after twice the pause.
const TRIES = 3;
const FIRST_PAUSE = 300;
// The most of a list that is read at a time, and in all.
const PAGE = 1000;
const MOST_PAGES = 100;

const tags = new Map();
let token = recall();
let loseCaller = () => {};

/** Why the relay did not do what it was asked for. */
export class Problem extends Error {
  constructor(status, code, detail, wait) {
    super(detail);
    this.status = status;
    this.code = code;
    /** Seconds after which another try is of use. */
    this.wait = wait;
  }

  /** Nobody was reached, or nobody who could answer. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Calls `then` whenever the relay does not know who asks. */
export function onStranger(then) {
  loseCaller = then;
}

/** The token of whoever asks is kept as long as this tab is open, and nowhere else. */
export function useToken(text) {
  token = text;
  tags.clear();
  try {
    if (text) sessionStorage.setItem(KEPT, text);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Then it is gone with the page.
  }
}

export function hasToken() {
  return token !== null;
}

function recall() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** Headers by which the relay knows who asks. A cookie needs none. */
export function identity() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Reads something. What has not changed is the very object of the last time. */
export async function read(path, { signal } = {}) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await readOnce(path, signal);
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.isPassing || tried === TRIES) throw problem;
      await pause(problem.wait ? problem.wait * 1000 : FIRST_PAUSE * 2 ** (tried - 1), signal);
    }
  }
}

async function readOnce(path, signal) {
  const kept = tags.get(path);
  const headers = { Accept: "application/json", ...identity() };
  if (kept) headers["If-None-Match"] = kept.tag;
  const answer = await send(path, { headers, signal, cache: "no-store" });
  if (answer.status === 304 && kept) return kept.body;
  if (!answer.ok) throw await problemOf(answer);
  const body = await answer.json();
  const tag = answer.headers.get("ETag");
  tags.delete(path);
  if (tag) tags.set(path, { tag, body });
  if (tags.size > MOST_TAGS) tags.delete(tags.keys().next().value);
  return body;
}

/** All of a list, page by page. */
export async function readAll(path, options) {
  const items = [];
  const join = path.includes("?") ? "&" : "?";
  let cursor = "";
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const body = await read(`${path}${join}limit=${PAGE}${cursor}`, options);
    items.push(...body.items);
    if (!body.next) break;
    cursor = `&cursor=${encodeURIComponent(body.next)}`;
  }
  return items;
}

/** Changes something. It is sent once, and is done once although it may arrive twice. */
export async function change(method, path, body, { tag } = {}) {
  const headers = { Accept: "application/json", ...identity() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = random();
  if (tag) headers["If-Match"] = tag;
  const text = body === undefined ? undefined : JSON.stringify(body);
  const answer = await send(path, { method, headers, body: text, cache: "no-store" });
  if (!answer.ok) throw await problemOf(answer);
  if (answer.status === 204) return null;
  return answer.json();
}

/** A path of the API with what strangers have named in it. */
export function path(parts, ...names) {
  return parts.reduce((all, part, at) => all + encodeURIComponent(names[at - 1]) + part);
}

async function send(path, options) {
  try {
    return await fetch(BASE + path, { credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The relay does not answer. Is it running, and is the network?");
  }
}

async function problemOf(answer) {
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) loseCaller();
  const wait = Number(answer.headers.get("Retry-After")) || undefined;
  const detail = said.detail ?? `The relay answered ${answer.status} ${answer.statusText}.`;
  return new Problem(answer.status, said.code ?? "unknown", detail, wait);
}

function pause(time, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, time);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    });
  });
}

/** Unlike `crypto.randomUUID` this is there without TLS as well. */
function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
