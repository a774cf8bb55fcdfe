// Lines of what moves: a small one beside a number, and a large one with a scale.

import { add, h, mark, say, svg } from "./dom.js";
import { tick } from "./format.js";

const SMALL = { width: 100, height: 24 };
// How high a graph is, and what its scale takes of it, in pixels.
const LARGE = { height: 220, top: 12, left: 64, bottom: 24, right: 8 };

/** A small line without a scale, which says nothing that is not beside it as a number. */
export function sparkline(length) {
  const area = svg("path", { class: "spark-area" });
  const line = svg("path", { class: "spark-line" });
  const node = svg("svg", {
    class: "spark",
    viewBox: `0 0 ${SMALL.width} ${SMALL.height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  }, area, line);
  return {
    node,
    update(values) {
      const most = Math.max(...values.map((value) => value ?? 0), 1e-9);
      const step = SMALL.width / Math.max(length - 1, 1);
      const from = SMALL.width - (values.length - 1) * step;
      const points = values.map((value, at) => {
        const y = SMALL.height - 1.5 - ((value ?? 0) / most) * (SMALL.height - 4);
        return `${(from + at * step).toFixed(1)} ${y.toFixed(1)}`;
      });
      const path = points.length > 1 ? `M${points.join("L")}` : "";
      mark(line, "d", path);
      mark(area, "d", path && `${path}V${SMALL.height}H${from.toFixed(1)}Z`);
    },
  };
}

/**
 * A graph over time. `series`: `[{ name, kind }]`, of which `kind` is the class of its line;
 * `format` is how a value is written.
 */
export function graph({ label, series, format }) {
  const plot = svg("svg", { class: "graph-plot", role: "img", height: LARGE.height });
  const readout = h("span", { class: "graph-when" });
  const numbers = series.map(() => h("span", { class: "graph-value num" }));
  const legend = h("div", { class: "graph-legend" },
    series.map(({ name, kind }, at) => h("span", { class: "graph-key" },
      h("span", { class: `swatch ${kind}` }), name, numbers[at])),
    readout);
  const node = h("figure", { class: "graph" }, h("figcaption", {}, label), legend, plot);
  let data = { times: [], values: series.map(() => []), from: 0, to: 1 };
  let pointed = null;

  const size = new ResizeObserver(() => draw());
  size.observe(node);
  plot.addEventListener("pointermove", (event) => point(event.clientX - plot.getBoundingClientRect().left));
  plot.addEventListener("pointerleave", () => point(null));

  function point(x) {
    pointed = x;
    draw();
  }

  function draw() {
    const width = node.clientWidth;
    if (width === 0) return;
    const { times, values, from, to } = data;
    const most = ceiling(Math.max(0, ...values.flat().filter((value) => value !== null)));
    const x = (time) => LARGE.left + ((time - from) / (to - from)) * (width - LARGE.left - LARGE.right);
    const y = (value) => LARGE.top + (1 - value / most) * (LARGE.height - LARGE.top - LARGE.bottom);
    mark(plot, "width", width);
    mark(plot, "viewBox", `0 0 ${width} ${LARGE.height}`);
    const parts = [...scale(most, y, width), ...timescale(from, to, x, width)];
    values.forEach((line, at) => {
      const path = trace(times, line, x, y);
      if (series[at].filled) parts.push(svg("path", { class: `graph-area ${series[at].kind}`, d: path.area }));
      parts.push(svg("path", { class: `graph-line ${series[at].kind}`, d: path.line }));
    });
    const near = pointed === null ? times.length - 1 : nearest(times, pointed, x);
    if (pointed !== null && near >= 0) {
      const at = x(times[near]);
      parts.push(svg("line", { class: "graph-cursor", x1: at, x2: at, y1: LARGE.top, y2: LARGE.height - LARGE.bottom }));
    }
    plot.replaceChildren(...parts);
    numbers.forEach((number, at) => {
      const value = values[at][near];
      say(number, value === undefined || value === null ? "–" : format(value));
    });
    say(readout, pointed !== null && near >= 0 ? tick(times[near], Math.min(to - from, 600)) : "");
    const now = series.map(({ name }, at) => `${name} ${numbers[at].textContent}`).join(", ");
    if (pointed === null) mark(plot, "aria-label", `${label}: ${now}`);
  }

  function scale(most, y, width) {
    return [0, 0.5, 1].flatMap((part) => {
      const at = Math.round(y(most * part)) + 0.5;
      const text = svg("text", { class: "graph-text", x: LARGE.left - 8, y: at + 4, "text-anchor": "end" });
      add(text, [format(most * part)]);
      return [svg("line", { class: "graph-grid", x1: LARGE.left, x2: width - LARGE.right, y1: at, y2: at }), text];
    });
  }

  function timescale(from, to, x, width) {
    const ticks = width < 480 ? 2 : 4;
    return Array.from({ length: ticks + 1 }, (_, at) => {
      const time = from + ((to - from) * at) / ticks;
      const anchor = at === 0 ? "start" : at === ticks ? "end" : "middle";
      const text = svg("text", { class: "graph-text", x: x(time), y: LARGE.height - 6, "text-anchor": anchor });
      add(text, [tick(time, to - from)]);
      return text;
    });
  }

  return {
    node,
    update(next) {
      data = next;
      draw();
    },
    dispose: () => size.disconnect(),
  };
}

/** The line through all values, with a hole where there is none, and what is below it. */
function trace(times, values, x, y) {
  let line = "";
  let area = "";
  let begun = null;
  const end = () => {
    if (begun !== null) area += `V${y(0).toFixed(1)}H${begun}Z`;
    begun = null;
  };
  times.forEach((time, at) => {
    const value = values[at];
    if (value === null || value === undefined) return end();
    const point = `${begun === null ? "M" : "L"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    line += point;
    area += point;
    begun ??= x(time).toFixed(1);
  });
  end();
  return { line, area };
}

function nearest(times, at, x) {
  let best = -1;
  let distance = Infinity;
  times.forEach((time, index) => {
    const away = Math.abs(x(time) - at);
    if (away < distance) [best, distance] = [index, away];
  });
  return best;
}

/** A round number that is not smaller. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const part = [1, 2, 4, 5, 8, 10].find((step) => step * power >= value * 1.02) ?? 10;
  return part * power;
}
