// The dashboard: signs in, draws what the controller says, and keeps it live. It owns no state of the cluster: every
// figure comes from the public API, the rack through the event stream.

import { AlertStrip } from "./alerts.js";
import * as api from "./api.js";
import { byId, setText } from "./dom.js";
import { duration } from "./format.js";
import { EventList } from "./events.js";
import { drawLegend } from "./heat.js";
import { HubList } from "./hubs.js";
import { InstanceTable } from "./instances.js";
import { openLaunch } from "./launch-panel.js";
import { openNode } from "./node-panel.js";
import { notify } from "./notice.js";
import { RackDrawing } from "./rack.js";
import { Stream } from "./stream.js";
import { summarise } from "./summary.js";
import { openWhy } from "./why-panel.js";

const REFRESH_AFTER_MS = 120;
const STALE_AFTER_MS = 5_000;
/** The stream says nothing of a rack in which only the ages change: after this long the page asks, so that they stay true. */
const ASK_AFTER_MS = 5_000;

/** The token of `#token=…`; it leaves the address at once, so that it is in no history or bookmark. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

function askForToken(problem = "") {
  byId("app").hidden = true;
  byId("login").hidden = false;
  byId("sign-out").hidden = true;
  byId("connection").hidden = true;
  setText(byId("login-error"), problem);
  byId("token").focus();
}

/** An alert begins, changes, is seen or ends, or somebody could not be told of it. */
function tellsOfAlert(event) {
  return event.kind.startsWith("alert-");
}

class Dashboard {
  #page = { items: [], next_cursor: null };
  #view = null;
  #refresh;
  #alertsToo = false;
  #lostAt = null;
  #shownAt = 0;

  constructor(features) {
    this.dev = features.includes("dev");
    const openBoard = (name) => openNode(name, this.dev || features.includes("power"));
    this.drawing = new RackDrawing(byId("rack"), { dev: this.dev, openNode: openBoard });
    this.hubs = new HubList(byId("hubs"), { dev: this.dev });
    this.events = new EventList();
    this.alerts = new AlertStrip();
    this.table = new InstanceTable({ dev: this.dev, openNode: openBoard, openWhy, refresh: () => this.refreshSoon(),
      counted: (page) => { this.#page = page; this.#summarise(); } });
    this.stream = new Stream({
      rack: (view) => this.show(view),
      event: (event) => { this.events.add(event); this.refreshSoon(tellsOfAlert(event)); },
      state: (state) => this.#connection(state),
      after: () => this.events.newest,
      refused: () => this.#mayRetry(),
    });
  }

  async begin() {
    byId("dev-tag").hidden = !this.dev;
    byId("login").hidden = true;
    byId("app").hidden = false;
    byId("sign-out").hidden = false;
    byId("connection").hidden = false;
    drawLegend(byId("legend"));
    byId("launch").addEventListener("click", openLaunch);
    this.show(await api.rack());
    await Promise.all([this.table.load(), this.alerts.load(), this.#pastEvents()]);
    this.stream.open();
    setInterval(() => this.#tick(), 1_000);
  }

  show(view) {
    this.#view = view;
    this.#shownAt = performance.now();
    this.drawing.show(view);
    this.hubs.show(view.hubs);
    this.#summarise();
  }

  /** Reads the instances, and when asked the alerts, again, once for many events that come together. */
  refreshSoon(alerts = false) {
    this.#alertsToo ||= alerts;
    this.#refresh ??= setTimeout(async () => {
      const alertsToo = this.#alertsToo;
      this.#refresh = undefined;
      this.#alertsToo = false;
      try {
        await Promise.all([this.table.load(), alertsToo ? this.alerts.load() : null]);
      } catch (error) {
        notify(`Reading again: ${error.message}`, "error");
      }
    }, REFRESH_AFTER_MS);
  }

  #summarise() {
    if (this.#view) summarise(byId("summary"), this.#view, this.#page);
  }

  async #pastEvents() {
    this.events.addPast(await api.events());
  }

  #connection(state) {
    const indicator = byId("connection");
    if (indicator.dataset.state === state) return;
    indicator.dataset.state = state;
    setText(indicator, state);
    if (state === "live") {
      this.#lostAt = null;
      this.refreshSoon(true);
    } else {
      this.#lostAt ??= performance.now();
    }
    this.#tick();
  }

  #tick() {
    this.drawing.tick();
    this.table.tick();
    this.alerts.tick();
    const lost = this.#lostAt === null ? 0 : performance.now() - this.#lostAt;
    const stale = lost > STALE_AFTER_MS;
    byId("app").classList.toggle("stale", stale);
    byId("banner").hidden = !stale;
    if (stale) setText(byId("banner"), `The controller does not answer. What you see is ${duration(Math.round(lost / 1000) * 1000)} old.`);
    if (this.#lostAt === null && performance.now() - this.#shownAt > ASK_AFTER_MS) this.#ask();
  }

  async #ask() {
    this.#shownAt = performance.now();
    try {
      this.show(await api.rack());
    } catch (error) {
      if (error.status === 401) location.reload();
    }
  }

  async #mayRetry() {
    try {
      await api.rack();
    } catch (error) {
      if (error.status === 401) {
        location.reload();
        return false;
      }
    }
    return true;
  }
}

async function begin() {
  const { features } = await api.about();
  await api.rack();
  await new Dashboard(features).begin();
}

async function beginOrAsk(problem) {
  try {
    await begin();
  } catch (error) {
    askForToken(error.status === 401 ? problem : error.message);
  }
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  try {
    await api.signIn(token);
    byId("token").value = "";
  } catch (error) {
    askForToken(error.message);
    return;
  }
  await beginOrAsk("The session was not kept: does the browser refuse cookies?");
});

byId("sign-out").addEventListener("click", async () => {
  await api.signOut().catch(() => {});
  location.reload();
});

const token = takeToken();
if (token === null) {
  await beginOrAsk("");
} else {
  const problem = await api.signIn(token).then(() => "", (error) => error.message);
  await beginOrAsk(problem);
}
