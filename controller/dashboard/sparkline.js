// The last minutes of one value as a line, from what the page itself has seen. A gap in the data is a gap in the line.

import { setAttribute, svg } from "./dom.js";

const SPAN_MS = 10 * 60_000;
const LEAST_SPAN_MS = 30_000;
const GAP_MS = 15_000;
const WIDTH = 240;
const HEIGHT = 44;
const LEAST_RANGE = 4;

export class Sparkline {
  #points = [];

  constructor(label) {
    this.label = label;
    this.warm = svg("line", { class: "spark-limit warm", x1: 0, x2: WIDTH });
    this.hot = svg("line", { class: "spark-limit hot", x1: 0, x2: WIDTH });
    this.line = svg("path", { class: "spark-line" });
    this.dot = svg("circle", { class: "spark-dot", r: 2.5 });
    this.element = svg("svg", { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.warm, this.hot, this.line, this.dot);
  }

  /** Adds a value (null: none is known) seen at `at` milliseconds, and redraws. */
  add(at, value, limits) {
    if (this.#points.at(-1)?.at === at) this.#points.pop();
    this.#points.push({ at, value });
    while (this.#points[0].at < at - SPAN_MS) this.#points.shift();
    this.#draw(at, limits);
  }

  #draw(now, limits) {
    const known = this.#points.filter((point) => point.value !== null);
    if (known.length === 0) {
      setAttribute(this.line, "d", "");
      for (const mark of [this.warm, this.hot, this.dot]) setAttribute(mark, "visibility", "hidden");
      setAttribute(this.element, "aria-label", `${this.label}: no data yet`);
      return;
    }
    const values = known.map((point) => point.value);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const missing = Math.max(0, LEAST_RANGE - (high - low)) / 2 + 0.5;
    [low, high] = [low - missing, high + missing];
    const start = Math.max(this.#points[0].at, now - SPAN_MS);
    const x = (at) => ((at - start) / Math.max(LEAST_SPAN_MS, now - start)) * (WIDTH - 4) + 1;
    const y = (value) => HEIGHT - 2 - ((value - low) / (high - low)) * (HEIGHT - 4);
    setAttribute(this.line, "d", this.#path(x, y));
    for (const [line, limit] of [[this.warm, limits.warm], [this.hot, limits.hot]]) {
      setAttribute(line, "visibility", limit > low && limit < high ? "visible" : "hidden");
      setAttribute(line, "y1", y(limit).toFixed(1));
      setAttribute(line, "y2", y(limit).toFixed(1));
    }
    const last = known.at(-1);
    setAttribute(this.dot, "visibility", "visible");
    setAttribute(this.dot, "cx", x(last.at).toFixed(1));
    setAttribute(this.dot, "cy", y(last.value).toFixed(1));
    setAttribute(this.element, "aria-label",
      `${this.label}, last ${Math.round((now - start) / 60_000) || 1} min: ${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)} °C`);
  }

  #path(x, y) {
    let path = "";
    let before = null;
    for (const point of this.#points) {
      if (point.value === null) {
        before = null;
        continue;
      }
      const joined = before !== null && point.at - before < GAP_MS;
      path += `${joined ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
      before = point.at;
    }
    return path;
  }
}
