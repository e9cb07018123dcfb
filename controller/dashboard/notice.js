// A line at the foot of the page that says how the last action went, and goes by itself.

import { byId } from "./dom.js";

const SHOWN_MS = { info: 5_000, error: 12_000 };
let timer;

/** Shows a sentence; `kind` is `info` or `error`. */
export function notify(text, kind = "info") {
  const notice = byId("notice");
  notice.textContent = text;
  notice.dataset.kind = kind;
  notice.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { notice.hidden = true; }, SHOWN_MS[kind]);
}
