// "Why here?": the decision that put an instance on its node, or keeps it waiting, with every number it was made from.

import * as api from "./api.js";
import { h } from "./dom.js";
import { ageOf } from "./format.js";
import * as panel from "./panel.js";

function bar(value) {
  const fill = h("span", { class: "score-fill" });
  fill.style.width = `${Math.round(Math.min(1, Math.max(0, value)) * 100)}%`;
  return h("span", { class: "score-track", "aria-hidden": "true" }, fill);
}

function candidates(placement) {
  if (placement.candidates.length === 0) return h("p", {}, "No node could take it.");
  const weights = placement.candidates[0].scores;
  const weight = (name) => weights[name]?.weight ?? 0;
  const names = [...new Set(placement.candidates.flatMap((candidate) => Object.keys(candidate.scores)))].sort((a, b) => weight(b) - weight(a));
  const head = h("tr", {}, h("th", { scope: "col" }, "Node"), h("th", { scope: "col", class: "number" }, "Total"),
    names.map((name) => h("th", { scope: "col", class: "number" }, name, h("span", { class: "weight" }, ` ×${weights[name]?.weight ?? "–"}`))));
  const rows = placement.candidates.map((candidate) => h("tr", { class: candidate.node === placement.node ? "chosen" : null },
    h("th", { scope: "row" }, candidate.node, candidate.node === placement.node ? h("span", { class: "hidden-label" }, " (chosen)") : null),
    h("td", { class: "number" }, candidate.total.toFixed(3)),
    names.map((name) => {
      const score = candidate.scores[name];
      return h("td", { class: "number" }, score ? [score.value.toFixed(2), bar(score.value)] : "–");
    })));
  return h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Scores" }, h("table", { class: "scores" }, h("thead", {}, head), h("tbody", {}, rows)));
}

function filtered(placement) {
  if (placement.filtered.length === 0) return h("p", {}, "No node was ruled out.");
  const counts = Object.entries(placement.filtered_by).map(([filter, number]) => h("li", {}, h("b", {}, String(number)), ` ${filter.replace("_", " ")}`));
  const rows = placement.filtered.map((node) => h("li", {},
    h("b", {}, node.node), " ", h("span", { class: "filter-name", "data-filter": node.filter }, node.filter.replace("_", " ")), " ", h("span", { class: "filter-detail" }, node.detail)));
  return [h("ul", { class: "filter-counts" }, counts), h("ul", { class: "filtered" }, rows)];
}

/** Opens the panel for an instance. */
export async function openWhy(name) {
  const key = panel.open(`Why here? ${name}`, h("p", {}, "Loading…"));
  try {
    const placement = await api.placement(name);
    panel.refill(key,
      h("p", { class: "placement-message" }, placement.message),
      h("p", { class: "muted" }, `Decided ${ageOf(placement.decided_at)} ago over ${placement.evaluated} nodes`),
      h("h3", {}, "Could take it"), candidates(placement),
      h("h3", {}, "Ruled out"), ...[filtered(placement)].flat());
  } catch (error) {
    panel.refill(key, h("p", { class: "field-error" }, error.message));
  }
}
