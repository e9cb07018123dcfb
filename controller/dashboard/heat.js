// The colour scale: a temperature becomes a share from 0 to 1, and the style sheet turns the share into a colour of
// even steps in lightness (oklch), so that order can be read without telling hues apart. No data has no share: hatching.

import { h } from "./dom.js";

/** The span of the scale for a board's temperature and for the air at an inlet, in °C. */
export const SPANS = { board: [20, 100], inlet: [10, 50] };

const LEGEND_STEPS = 40;

/** Share of the scale, 0 to 1. */
export function share(scale, value) {
  const [low, high] = SPANS[scale];
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

/** Colours an element, or hatches it when there is no value that can be trusted. */
export function paint(element, scale, value) {
  const known = value !== null && value !== undefined;
  element.classList.toggle("no-data", !known);
  element.classList.toggle("heat", known);
  if (!known) {
    element.style.removeProperty("--t");
    element.classList.remove("over-half", "over-two-thirds");
    return;
  }
  const t = share(scale, value);
  element.style.setProperty("--t", t.toFixed(3));
  element.classList.toggle("over-half", t > 0.54);
  element.classList.toggle("over-two-thirds", t > 0.66);
}

function ticks(scale) {
  const [low, high] = SPANS[scale];
  const marks = [0, 0.25, 0.5, 0.75, 1].map((at) => h("span", {}, String(low + at * (high - low))));
  return h("div", { class: "legend-ticks" }, h("span", { class: "legend-name" }, `${scale} °C`), h("div", {}, marks));
}

/** Draws the legend. */
export function drawLegend(parent) {
  const steps = Array.from({ length: LEGEND_STEPS }, (_, index) => {
    const step = h("span", { class: "heat" });
    step.style.setProperty("--t", (index / (LEGEND_STEPS - 1)).toFixed(3));
    return step;
  });
  parent.replaceChildren(
    h("div", { class: "legend-scale" },
      ticks("board"),
      h("div", { class: "legend-steps", "aria-hidden": "true" }, steps),
      ticks("inlet")),
    h("div", { class: "legend-none" }, h("span", { class: "no-data swatch", "aria-hidden": "true" }), "no data"),
  );
}
