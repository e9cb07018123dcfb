// The few signs used on tiles and in lists. Each is always accompanied by a text alternative.

import { svg } from "./dom.js";

const PATHS = {
  ready: "M3 8.5l3.2 3.2L13 5",
  joining: "M8 3v5l3 2M8 14a6 6 0 1 1 0-12 6 6 0 0 1 0 12z",
  unreachable: "M2 6a9 9 0 0 1 12 0M4.5 9a5.5 5.5 0 0 1 7 0M8 13v.1M2.5 14.5l11-13",
  down: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  retired: "M3 8h10",
  cordoned: "M8 14A6 6 0 1 1 8 2a6 6 0 0 1 0 12zM4 4l8 8",
  draining: "M8 2v8M4.5 7L8 10.5 11.5 7M3 14h10",
  warm: "M8 3v10M5 6l3-3 3 3",
  hot: "M8 2L1.5 13.5h13zM8 6.5v3.5M8 12v.1",
  critical: "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2zM8 4.5v4.5M8 11.4v.1",
  unknown: "M5.8 6a2.2 2.2 0 1 1 3.4 1.8C8.3 8.4 8 8.8 8 9.6M8 12.4v.1",
};

/** Draws a sign; with a label it is an image of that name, without one it is decoration. */
export function icon(name, label = null) {
  const named = label === null ? { "aria-hidden": "true" } : { role: "img", "aria-label": label };
  const sign = svg("svg", { viewBox: "0 0 16 16", class: `icon icon-${name}`, ...named }, svg("path", { d: PATHS[name] }));
  if (label !== null) sign.prepend(Object.assign(svg("title"), { textContent: label }));
  return sign;
}
