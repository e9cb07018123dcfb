// What happened, newest first.

import { byId, h } from "./dom.js";
import { clock } from "./format.js";

/** Every kind of event the controller sends; a stream delivers each under its own name. */
export const KINDS = [
  "instance-created", "instance-placed", "instance-unplaced", "instance-started", "instance-stopped", "instance-failed",
  "instance-restarted", "instance-moved", "instance-updated", "instance-deleted", "node-joined", "node-ready",
  "node-unreachable", "node-down", "node-restarted", "node-eligibility-changed", "node-thermal-changed", "node-updated",
  "node-power-changed", "node-removed", "zone-thermal-changed", "brake-engaged", "brake-released", "hub-connected",
  "hub-disconnected", "image-created", "image-deleted", "alert-fired", "alert-changed", "alert-acknowledged",
  "alert-undelivered", "alert-resolved", "operation-finished", "controller-started",
];

const SHOWN = 200;
const TROUBLE = new Set(["instance-unplaced", "instance-failed", "node-unreachable", "node-down", "hub-disconnected", "brake-engaged", "alert-fired", "alert-undelivered"]);

/** How much an event matters to the eye: `trouble`, `heat` or nothing. */
function weight(event) {
  if (TROUBLE.has(event.kind)) return "trouble";
  return event.kind.endsWith("-thermal-changed") ? "heat" : null;
}

export class EventList {
  #list = byId("events");
  #newest = 0;

  /** The number of the newest event shown. */
  get newest() {
    return this.#newest;
  }

  /** Shows the newest of what happened before the page was opened; `events` are oldest first. */
  addPast(events) {
    for (const event of events.slice(-SHOWN)) this.add(event);
  }

  /** Shows an event at the top, unless it is already there. */
  add(event) {
    if (event.id <= this.#newest) return;
    this.#newest = event.id;
    this.#list.prepend(h("li", { "data-event": event.id, "data-kind": event.kind, "data-weight": weight(event) },
      h("time", { datetime: event.at }, clock(event.at)),
      h("span", { class: "event-text" }, h("span", { class: "event-message" }, event.message), h("span", { class: "event-kind" }, event.kind))));
    while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild.remove();
  }
}
