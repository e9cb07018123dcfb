// The hubs: whether good frames arrive, what the firmware says of itself, and the counters of the line.

import * as api from "./api.js";
import { arrange, h, Keyed, setAttribute, setText } from "./dom.js";
import { count } from "./format.js";
import { notify } from "./notice.js";

const COUNTERS = [
  ["frames_ok", "frames"],
  ["bad_crc", "bad CRC"],
  ["malformed", "malformed"],
  ["out_of_range", "out of range"],
  ["dropped", "dropped"],
  ["lost", "lost"],
];

class HubView {
  constructor(hub, options) {
    this.state = h("span", { class: "hub-state" });
    this.firmware = h("span", { class: "hub-firmware" });
    this.values = new Map();
    const counters = COUNTERS.map(([key, label]) => {
      const value = h("dd");
      this.values.set(key, value);
      return h("div", {}, h("dt", {}, label), value);
    });
    this.element = h("section", { class: "hub", "data-hub": hub.name, "aria-label": `Hub ${hub.name}` },
      h("h3", {}, hub.name), this.state, this.firmware, h("dl", { class: "hub-counters" }, counters));
    if (options.dev) {
      this.plug = h("button", { type: "button", class: "quiet", onclick: () => this.#togglePlug() });
      this.element.append(this.plug);
    }
  }

  update(hub) {
    this.hub = hub;
    setAttribute(this.element, "data-connected", hub.connected);
    setText(this.state, hub.connected ? "connected" : "silent");
    setText(this.firmware, hub.firmware ?? "firmware unknown");
    setAttribute(this.firmware, "title", hub.path);
    for (const [key, value] of this.values) {
      setText(value, count(hub.counters[key]));
      value.parentElement.classList.toggle("nonzero", key !== "frames_ok" && hub.counters[key] > 0);
    }
    if (this.plug) setText(this.plug, hub.connected ? "Unplug" : "Plug in");
  }

  async #togglePlug() {
    try {
      const reply = await api.dev({ do: "hub", plugged: !this.hub.connected });
      notify(reply?.message ?? "Done", reply?.ok === false ? "error" : "info");
    } catch (error) {
      notify(`Hub ${this.hub.name}: ${error.message}`, "error");
    }
  }
}

export class HubList {
  #views = new Keyed();

  constructor(parent, options) {
    this.parent = parent;
    this.options = options;
  }

  /** Draws the hubs of a `RackView`. */
  show(hubs) {
    const views = this.#views.sync(hubs, (hub) => hub.name, (hub) => new HubView(hub, this.options));
    arrange(this.parent, views.map((view) => view.element));
    this.parent.hidden = hubs.length === 0;
  }
}
