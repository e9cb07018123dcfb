// The rack as it stands: shelves stacked with shelf 1 at the bottom, positions from left to right, and each zone's
// instrument beside the highest shelf it cools. Views are kept between messages, so focus and a held slider stay.

import { h, setText, arrange, Keyed } from "./dom.js";
import { Tile } from "./tile.js";
import { ZonePanel } from "./zone.js";

function place(slot) {
  const [rack, shelf, position] = slot.split("/");
  return { rack, shelf: Number(shelf), position: Number(position) };
}

/** Orders the slots of all zones into racks, shelves (highest first) and positions, and gives each zone its shelf. */
export function layout(view) {
  const racks = new Map();
  const shelfOf = (slot) => {
    const { rack, shelf } = place(slot);
    if (!racks.has(rack)) racks.set(rack, new Map());
    const shelves = racks.get(rack);
    if (!shelves.has(shelf)) shelves.set(shelf, { key: `${rack}/${shelf}`, number: shelf, slots: [], zones: [] });
    return shelves.get(shelf);
  };
  const homeless = [];
  for (const zone of view.zones) {
    for (const slot of zone.slots) shelfOf(slot.slot).slots.push({ ...slot, position: place(slot.slot).position });
    const highest = zone.slots.toSorted((a, b) => place(b.slot).shelf - place(a.slot).shelf)[0];
    if (highest) shelfOf(highest.slot).zones.push(zone);
    else homeless.push(zone);
  }
  const ordered = [...racks].toSorted(([a], [b]) => a.localeCompare(b)).map(([name, shelves]) => ({
    name,
    shelves: [...shelves.values()].toSorted((a, b) => b.number - a.number),
    width: Math.max(...[...shelves.values()].flatMap((shelf) => shelf.slots.map((slot) => slot.position))),
  }));
  return { racks: ordered, homeless };
}

export class RackDrawing {
  #racks = new Keyed();
  #shelves = new Keyed();
  #tiles = new Keyed();
  #zones = new Keyed();

  constructor(parent, options) {
    this.parent = parent;
    this.options = options;
    this.receivedAt = performance.now();
  }

  /** Draws a `RackView`. */
  show(view) {
    this.receivedAt = performance.now();
    const { racks, homeless } = layout(view);
    const standing = view.zones.flatMap((zone) => zone.slots)
      .map((slot) => ({ key: slot.slot, slot: slot.slot, node: slot.node }));
    const loose = view.elsewhere.map((node) => ({ key: `elsewhere/${node.name}`, slot: null, node }));
    const cells = [...standing, ...loose];
    const tiles = this.#tiles.sync(cells, (cell) => `${cell.key} ${cell.node?.name ?? ""}`, (cell) => this.#cell(cell));
    const tileOf = new Map(cells.map((cell, index) => [cell.key, tiles[index].element]));
    const zoneViews = this.#zones.sync(view.zones, (zone) => zone.name, (zone) => new ZonePanel(zone, this.options));
    const zoneOf = new Map(view.zones.map((zone, index) => [zone.name, zoneViews[index].element]));
    const at = Date.parse(view.at);
    for (const zone of zoneViews) zone.record(at);

    const groups = [...racks];
    if (homeless.length > 0 || loose.length > 0) groups.push({ name: null, width: 6, shelves: [
      { key: "elsewhere", number: null, zones: homeless, slots: loose.map((cell, index) => ({ slot: cell.key, position: index + 1 })) },
    ] });
    const rackViews = this.#racks.sync(groups, (rack) => rack.name ?? "", (rack) => this.#rack(rack, racks.length > 1));
    const shelves = groups.flatMap((rack) => rack.shelves.map((shelf) => ({ ...shelf, width: rack.width })));
    const shelfViews = this.#shelves.sync(shelves, (shelf) => shelf.key, (shelf) => this.#shelf(shelf));
    shelves.forEach((shelf, index) => {
      arrange(shelfViews[index].tiles, shelf.slots.toSorted((a, b) => a.position - b.position).map((slot) => tileOf.get(slot.slot)));
      arrange(shelfViews[index].zones, shelf.zones.map((zone) => zoneOf.get(zone.name)));
    });
    let next = 0;
    groups.forEach((rack, index) => {
      arrange(rackViews[index].body, shelfViews.slice(next, next + rack.shelves.length).map((shelf) => shelf.element));
      next += rack.shelves.length;
    });
    arrange(this.parent, rackViews.map((rack) => rack.element));
    this.tick();
  }

  /** Lets the shown ages grow; called about every second. */
  tick() {
    const since = performance.now() - this.receivedAt;
    for (const zone of this.#zones.values()) zone.tick(since);
  }

  #cell(cell) {
    const position = cell.slot === null ? null : place(cell.slot).position;
    const where = cell.slot === null ? "in no slot" : `slot ${cell.slot}`;
    const view = cell.node === null ? this.#empty(cell.slot) : new Tile(cell.node, where, this.options.openNode);
    view.element.dataset.slot = cell.slot ?? "";
    if (position !== null) view.element.style.setProperty("--position", position);
    return { element: view.element, update: (now) => view.update(now.node) };
  }

  #empty(slot) {
    const element = h("div", { class: "tile empty-slot" }, h("span", { class: "tile-name" }, `slot ${place(slot).position}`), "empty");
    return { element, update: () => {} };
  }

  #rack(rack, named) {
    const body = h("div", { class: "rack-body" });
    const title = rack.name === null ? "In no slot" : `Rack ${rack.name}`;
    const element = h("section", { class: "rack", "aria-label": title }, named || rack.name === null ? h("h3", { class: "rack-name" }, title) : null, body);
    return { element, body, update: () => {} };
  }

  #shelf(shelf) {
    const label = h("span", { class: "shelf-label" });
    const tiles = h("div", { class: "shelf-tiles" });
    const zones = h("div", { class: "shelf-zones" });
    const element = h("div", { class: "shelf", role: "group" }, label, tiles, zones);
    const update = (now) => {
      setText(label, now.number === null ? "" : String(now.number));
      element.setAttribute("aria-label", now.number === null ? "Boards in no slot" : `Shelf ${now.number}`);
      element.style.setProperty("--width", now.width);
      element.classList.toggle("wide", now.width > 8);
      element.classList.toggle("four", now.width === 4);
    };
    return { element, tiles, zones, update };
  }
}
