// The one side panel: a modal dialog that shows a board, a placement or the launch form.

import { byId } from "./dom.js";

const panel = byId("panel");
let shown = null;

byId("panel-close").addEventListener("click", () => panel.close());
panel.addEventListener("click", (event) => {
  if (event.target === panel) panel.close();
});
panel.addEventListener("close", () => { shown = null; });

/** Opens the panel with a title and content. Returns a key that tells whether it still shows this. */
export function open(title, ...content) {
  shown = Symbol(title);
  byId("panel-title").textContent = title;
  byId("panel-body").replaceChildren(...content);
  if (!panel.open) panel.showModal();
  return shown;
}

/** Replaces the content, unless the panel shows something else by now. */
export function refill(key, ...content) {
  if (shown === key) byId("panel-body").replaceChildren(...content);
}

/** Whether the panel still shows what this key was given for. */
export function shows(key) {
  return shown === key;
}

/** Closes the panel. */
export function close() {
  panel.close();
}
