// One board as a tile: temperature and its colour, load, instances, and the states that differ from the usual.

import { h, setAttribute, setText } from "./dom.js";
import { celsius } from "./format.js";
import { paint } from "./heat.js";
import { icon } from "./icons.js";

const CHIPS = 3;
const ALARMS = new Set(["warm", "hot", "critical"]);

/** The sentence a screen reader hears. */
function sentence(node, place) {
  const parts = [`Board ${node.name}`, place, node.status];
  if (node.eligibility !== "eligible") parts.push(node.eligibility);
  parts.push(`thermal ${node.thermal}`, celsius(node.temperature));
  if (node.load !== null) parts.push(`load ${Math.round(node.load * 100)} percent`);
  parts.push(node.instances.length === 0 ? "no instances" : `instances ${node.instances.join(", ")}`);
  return parts.filter(Boolean).join(", ");
}

export class Tile {
  #seen = "";

  /** `open(name)` is called when the tile is chosen. */
  constructor(node, place, open) {
    this.place = place;
    this.name = h("span", { class: "tile-name" });
    this.signs = h("span", { class: "tile-signs" });
    this.value = h("span", { class: "tile-value" });
    this.unit = h("span", { class: "tile-unit" }, "°C");
    this.fill = h("span", { class: "load-fill" });
    this.loadText = h("span", { class: "load-text" });
    this.chips = h("span", { class: "chips" });
    this.flag = h("span", { class: "tile-flag" });
    this.element = h("button", { type: "button", class: "tile", "data-node": node.name, onclick: () => open(node.name) },
      h("span", { class: "tile-top" }, this.name, this.signs),
      h("span", { class: "tile-reading" }, this.value, this.unit),
      this.flag,
      h("span", { class: "load" }, h("span", { class: "load-track" }, this.fill), this.loadText),
      this.chips);
  }

  update(node) {
    const seen = JSON.stringify(node);
    if (seen === this.#seen) return;
    this.#seen = seen;
    const silent = node.status === "down" || node.status === "unreachable" || node.status === "joining";
    const trusted = node.thermal === "unknown" || silent ? null : node.temperature;
    paint(this.element, "board", trusted);
    for (const key of ["status", "eligibility", "thermal"]) setAttribute(this.element, `data-${key}`, node[key]);
    setAttribute(this.element, "aria-label", sentence(node, this.place));
    setAttribute(this.element, "title", node.instances.length > CHIPS ? node.instances.join("\n") : null);
    setText(this.name, node.name);
    setText(this.value, trusted === null ? "no data" : trusted.toFixed(1));
    this.unit.hidden = trusted === null;
    this.#drawSigns(node);
    this.#drawLoad(silent ? null : node.load);
    this.#drawChips(node.instances);
  }

  /** A state that calls for attention gets a flag with its word; the usual ones a small sign. */
  #drawSigns(node) {
    const silent = node.status !== "ready";
    const alarm = !silent && ALARMS.has(node.thermal);
    const word = silent ? node.status : node.thermal;
    const flagged = silent || alarm;
    this.flag.hidden = !flagged;
    this.flag.classList.toggle("alarm", alarm);
    this.flag.replaceChildren(...(flagged ? [icon(word), word] : []));
    const signs = silent ? [] : [icon(node.status, `status ${node.status}`)];
    if (node.eligibility !== "eligible") signs.unshift(icon(node.eligibility, node.eligibility));
    this.signs.replaceChildren(...signs);
  }

  #drawLoad(load) {
    const known = load !== null && load !== undefined;
    this.fill.style.width = known ? `${Math.round(Math.min(1, Math.max(0, load)) * 100)}%` : "0";
    setText(this.loadText, known ? `${Math.round(load * 100)} %` : "–");
  }

  #drawChips(names) {
    const shown = names.length > CHIPS ? names.slice(0, CHIPS - 1) : names;
    const chips = shown.map((name) => h("span", { class: "chip" }, name));
    if (names.length > shown.length) chips.push(h("span", { class: "chip more" }, `+${names.length - shown.length}`));
    this.chips.replaceChildren(...chips);
  }
}
