// What the relay is doing, as it changes: tunnels, sessions, and how much has moved since the look
// before. Every page shows this one state.
//
// The relay says what changes (`/events`), and is asked for the rest now and then; while it does not,
// it is asked every two seconds. Counters become rates here, and a window of them is kept.

import { identity, read, readAll } from "./api.js";
import { can } from "./features.js";

// How often what moves is measured, and the relay asked while it says nothing by itself, in
// milliseconds.
const EVERY = 2000;
// How often it is asked for what it does not say by itself, and soonest when something has come or gone.
const EVERY_TOLD = 10_000;
const SOON = 300;
// With nobody looking, only often enough that graphs have no holes that anybody would notice.
const EVERY_HIDDEN = 15_000;
// After an answer that failed, twice as long each time, up to this.
const LONGEST = 15_000;
// So many looks are kept: ten minutes.
export const WINDOW = 300;
// Those of one tunnel: three minutes, also of ten thousand of them.
const WINDOW_OF_TUNNEL = 90;

/** The latest numbers of something, the newest last. */
class Ring {
  constructor(length) {
    this.length = length;
    this.values = [];
  }

  push(value) {
    this.values.push(value);
    if (this.values.length > this.length) this.values.shift();
  }

  get last() {
    return this.values[this.values.length - 1] ?? 0;
  }
}

/** How much of each kind moves in a second. */
class Rates {
  constructor(length) {
    this.times = new Ring(length);
    this.requests = new Ring(length);
    this.into = new Ring(length);
    this.out = new Ring(length);
    this.errors = new Ring(length);
    this.latency = new Ring(length);
  }

  push(time, { requests, into, out, errors, latency }) {
    this.times.push(time);
    this.requests.push(requests);
    this.into.push(into);
    this.out.push(out);
    this.errors.push(errors);
    this.latency.push(latency);
  }
}

const UNSEEN = new Rates(0);
const NOTHING = { requests: 0, into: 0, out: 0, errors: 0, latency: null };

export const live = {
  /** Whether anything has been read. */
  isKnown: false,
  /** `connecting`, `live` or `lost`. */
  link: "connecting",
  problem: null,
  health: null,
  tunnels: [],
  sessions: [],
  /** Of all tunnels together. */
  rates: new Rates(WINDOW),
  /** What may move, by tunnel. */
  of: new Map(),
};

const watching = new Set();
let running = null;
let askNow = () => {};
// Whether the relay says by itself what changes.
let isTold = false;

/** Calls `then` at each change, and once before if there is something already. Returns how to end that. */
export function watch(then) {
  watching.add(then);
  if (live.isKnown || live.problem) then(live);
  return () => watching.delete(then);
}

/** Asks at once: something has just been changed from here. */
export function refresh() {
  askNow();
}

/** A tunnel as it is now. */
export function tunnelOf(id) {
  return live.tunnels.find((tunnel) => tunnel.id === id);
}

/** What moves at a tunnel: nothing, as long as it has just come. */
export function ratesOf(id) {
  return live.of.get(id)?.rates ?? UNSEEN;
}

/** Begins to look, as whoever is logged in now. */
export function begin() {
  end();
  const abort = new AbortController();
  running = abort;
  look(abort.signal).catch(() => {});
  if (!can("get", "/events")) return;
  listen(abort.signal).catch(() => {});
  const timer = setInterval(() => {
    if (!isTold || !live.isKnown) return;
    measure(live.tunnels, Date.now() / 1000);
    tell();
  }, EVERY);
  abort.signal.addEventListener("abort", () => clearInterval(timer));
}

/** Ends that, and forgets what has been seen. */
export function end() {
  running?.abort();
  running = null;
  isTold = false;
  Object.assign(live, {
    isKnown: false,
    link: "connecting",
    problem: null,
    health: null,
    tunnels: [],
    sessions: [],
    rates: new Rates(WINDOW),
    of: new Map(),
  });
}

async function look(signal) {
  let failed = 0;
  while (!signal.aborted) {
    try {
      await lookOnce(signal);
      failed = 0;
    } catch (problem) {
      if (signal.aborted || problem.status === 401) return;
      failed += 1;
      live.link = "lost";
      live.problem = problem;
      tell();
    }
    const every = document.hidden ? EVERY_HIDDEN : isTold ? EVERY_TOLD : EVERY;
    await asked(failed ? Math.min(EVERY * 2 ** (failed - 1), LONGEST) : every, signal);
  }
}

async function lookOnce(signal) {
  const options = { signal };
  const [health, tunnels, sessions] = await Promise.all([
    read("/health", options),
    readAll("/tunnels", options),
    readAll("/sessions", options),
  ]);
  if (signal.aborted) return;
  if (!isTold || !live.isKnown) measure(tunnels, Date.now() / 1000);
  Object.assign(live, { isKnown: true, link: "live", problem: null, health, tunnels, sessions });
  tell();
}

/** Waits for its time, for somebody who wants to know at once, or for somebody who comes back. */
function asked(time, signal) {
  return new Promise((done) => {
    const go = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      done();
    };
    const seen = () => !document.hidden && go();
    const timer = setTimeout(go, time);
    askNow = go;
    document.addEventListener("visibilitychange", seen);
    signal.addEventListener("abort", go, { once: true });
  });
}

/** What has moved since the look before. */
function measure(tunnels, now) {
  const all = { ...NOTHING };
  let [waited, answered] = [0, 0];
  const before = live.of;
  const next = new Map();
  for (const tunnel of tunnels) {
    const known = before.get(tunnel.id);
    const rates = known?.rates ?? new Rates(WINDOW_OF_TUNNEL);
    const moved = known ? since(known, tunnel, now) : NOTHING;
    rates.push(now, moved);
    next.set(tunnel.id, { rates, then: now, was: tunnel });
    all.requests += moved.requests;
    all.into += moved.into;
    all.out += moved.out;
    all.errors += moved.errors;
    if (moved.latency !== null) {
      waited += moved.latency * moved.requests;
      answered += moved.requests;
    }
  }
  all.latency = answered > 0 ? waited / answered : null;
  live.of = next;
  if (live.isKnown) live.rates.push(now, all);
}

function since({ was, then }, is, now) {
  const time = Math.max(now - then, 0.001);
  // Counters begin anew with a relay that was started again.
  const grown = (name) => Math.max(0, is[name] - was[name]);
  const requests = grown("requests");
  return {
    requests: requests / time,
    into: grown("bytes_in") / time,
    out: grown("bytes_out") / time,
    errors: grown("errors") / time,
    latency: requests > 0 ? is.average_latency_seconds : null,
  };
}

/** Hears from the relay what changes. A stream that ends is asked for again. */
async function listen(signal) {
  for (let failed = 0; !signal.aborted; failed += 1) {
    try {
      const headers = { Accept: "text/event-stream", ...identity() };
      const answer = await fetch("/api/v1/events", { headers, signal, cache: "no-store" });
      if (answer.ok && answer.body) {
        failed = 0;
        await hear(answer.body.pipeThrough(new TextDecoderStream()).getReader());
      }
    } catch {
      // Until it is there again the relay is asked.
    }
    isTold = false;
    askNow();
    await new Promise((done) => setTimeout(done, Math.min(1000 * 2 ** failed, LONGEST)));
  }
}

async function hear(reader) {
  let text = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const events = (text + piece.value).split("\n\n");
    text = events.pop();
    for (const event of events) heard(event);
  }
}

function heard(text) {
  const line = (name) => text.split("\n").find((one) => one.startsWith(`${name}: `))?.slice(name.length + 2);
  const kind = line("event");
  if (kind === "hello" || kind === "missed") {
    isTold = true;
    lookSoon();
  } else if (kind === "tick") {
    const { events, figures } = JSON.parse(line("data"));
    live.tunnels = live.tunnels.map((tunnel) => (tunnel.id in figures ? { ...tunnel, ...figures[tunnel.id] } : tunnel));
    if (events.length > 0) lookSoon();
  }
}

let soon = null;

/** Asks for everything anew, once for all that comes and goes at about the same time. */
function lookSoon() {
  soon ??= setTimeout(() => {
    soon = null;
    askNow();
  }, SOON);
}

function tell() {
  for (const then of watching) then(live);
}
