// The line of figures at the head of the page.

import { arrange, h, Keyed, setAttribute, setText } from "./dom.js";
import { celsius } from "./format.js";

const views = new Keyed();

function figures(view, page) {
  const nodes = [...view.zones.flatMap((zone) => zone.slots.map((slot) => slot.node)), ...view.elsewhere].filter((node) => node !== null);
  const ready = nodes.filter((node) => node.status === "ready").length;
  const hot = nodes.filter((node) => node.thermal === "hot" || node.thermal === "critical").length;
  const running = page.items.filter((instance) => instance.state === "running").length;
  const more = page.next_cursor === null ? "" : "+";
  const known = view.zones.filter((zone) => zone.thermal !== "unknown" && zone.temperature !== null);
  const hottest = known.reduce((top, zone) => (top === null || zone.temperature > top.temperature ? zone : top), null);
  return [
    { term: "boards ready", value: `${ready}/${nodes.length}`, alarm: ready < nodes.length },
    { term: "hot", value: String(hot), alarm: hot > 0 },
    { term: "running", value: `${running}${more}`, alarm: false },
    { term: "pending", value: String(view.pending), alarm: view.pending > 0 },
    { term: "hottest inlet", value: hottest === null ? "no data" : celsius(hottest.temperature), alarm: hottest === null },
  ];
}

class Figure {
  constructor(figure) {
    this.value = h("dd");
    this.element = h("div", {}, h("dt", {}, figure.term), this.value);
  }

  update(figure) {
    setText(this.value, figure.value);
    setAttribute(this.element, "data-alarm", figure.alarm ? "yes" : null);
  }
}

/** Draws the figures of a rack and its instances. */
export function summarise(parent, view, page) {
  const shown = views.sync(figures(view, page), (figure) => figure.term, (figure) => new Figure(figure));
  arrange(parent, shown.map((figure) => figure.element));
}
