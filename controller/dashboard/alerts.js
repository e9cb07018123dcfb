// What a person should know of now: alerts that fire, the worst first, each to be acknowledged. What is over is found
// among the events. One that proposes an action against heat can be approved here.

import * as api from "./api.js";
import { arrange, byId, h, Keyed, setAttribute, setText } from "./dom.js";
import { ageOf, clock } from "./format.js";
import { icon } from "./icons.js";
import { notify } from "./notice.js";

/** Alerts shown before someone asks for the rest. */
const SHOWN = 3;
const SIGNS = { warning: "hot", critical: "critical" };

/** Unseen before seen, critical before warning, a cause (hub, zone, lost board) before each board it heats, newest first. */
function byUrgency(a, b) {
  const rank = (alert) => [alert.state !== "firing", alert.severity !== "critical", alert.key.startsWith("heat/")]
    .reduce((sum, later) => 2 * sum + later, 0);
  return rank(a) - rank(b) || Date.parse(b.fired_at) - Date.parse(a.fired_at);
}

async function acknowledge(alerts) {
  for (const alert of alerts) {
    try {
      await api.acknowledge(alert.id);
    } catch (error) {
      notify(`Acknowledge "${alert.message}": ${error.message}`, "error");
      return;
    }
  }
}

/** The id of the action that an alert proposes; null for every other alert. */
function actionOf(alert) {
  return alert.key.startsWith("action/") ? alert.key.slice("action/".length) : null;
}

async function approve(alert) {
  try {
    await api.approve(actionOf(alert));
  } catch (error) {
    notify(`Approve "${alert.message}": ${error.message}`, "error");
  }
}

/** Which receivers were not told of the newest turn of an alert, or not yet, and why. Empty when all is well. */
function untold(alert) {
  const newest = new Map();
  for (const delivery of alert.deliveries ?? []) {
    if (!newest.has(delivery.receiver)) newest.set(delivery.receiver, delivery);
  }
  const troubled = [...newest.values()].filter((delivery) => delivery.error !== null);
  return troubled.map(({ receiver, state, error }) => `${receiver} ${state === "failed" ? "was not told" : "is not told yet"}: ${error}`);
}

/** Who has seen it, and what they say. */
function seenBy(alert) {
  const { by, comment } = alert.acknowledged ?? {};
  return ["acknowledged", by ? ` by ${by}` : "", comment ? `: ${comment}` : ""].join("");
}

class Row {
  #severity = "";

  constructor(alert, changed) {
    this.sign = h("span", { class: "alert-sign" });
    this.words = h("span", {});
    this.untold = h("span", { class: "alert-untold" });
    this.message = h("span", { class: "alert-message" }, this.words, this.untold);
    this.age = h("time", { class: "alert-age" });
    this.button = h("button", { type: "button", class: "quiet", onclick: async () => {
      this.button.disabled = true;
      await acknowledge([this.alert]);
      await changed();
      this.button.disabled = false;
    } }, "Acknowledge");
    this.approval = h("button", { type: "button", onclick: async () => {
      this.approval.disabled = true;
      await approve(this.alert);
      await changed();
      this.approval.disabled = false;
    } }, "Approve");
    this.approval.hidden = actionOf(alert) === null;
    this.seen = h("span", { class: "muted" }, "acknowledged");
    this.element = h("li", { "data-alert": alert.key },
      this.sign, this.message, this.age, this.approval, this.button, this.seen);
  }

  update(alert) {
    this.alert = alert;
    setAttribute(this.element, "data-state", alert.state);
    setAttribute(this.element, "data-severity", alert.severity);
    if (this.#severity !== alert.severity) {
      this.#severity = alert.severity;
      this.sign.replaceChildren(icon(SIGNS[alert.severity], alert.severity));
    }
    const often = alert.fires > 1 ? ` (${alert.fires} times since ${clock(alert.first_fired_at)})` : "";
    setText(this.words, alert.message + often);
    const untoldOf = untold(alert);
    setText(this.untold, untoldOf.join("; "));
    this.untold.hidden = untoldOf.length === 0;
    setAttribute(this.seen, "title", seenBy(alert));
    setAttribute(this.button, "aria-label", `Acknowledge: ${alert.message}`);
    setAttribute(this.approval, "aria-label", `Approve: ${alert.message}`);
    setAttribute(this.age, "datetime", alert.fired_at);
    setAttribute(this.age, "title", `since ${clock(alert.fired_at)}`);
    this.button.hidden = alert.state !== "firing";
    this.seen.hidden = alert.state === "firing";
    this.tick();
  }

  tick() {
    setText(this.age, ageOf(this.alert.fired_at));
  }
}

export class AlertStrip {
  #rows = new Keyed();
  #alerts = [];
  #all = false;

  constructor() {
    this.section = byId("alerts");
    this.list = byId("alert-list");
    this.more = byId("alert-more");
    this.everything = byId("alert-acknowledge-all");
    this.more.addEventListener("click", () => { this.#all = !this.#all; this.#draw(); });
    this.everything.addEventListener("click", async () => {
      this.everything.disabled = true;
      await acknowledge(this.#unseen());
      await this.#reload();
      this.everything.disabled = false;
    });
  }

  /** Reads the alerts again and draws those that are not over. */
  async load() {
    this.#alerts = (await api.alerts()).filter((alert) => alert.state !== "resolved").sort(byUrgency);
    this.#draw();
  }

  /** Lets the shown ages grow. */
  tick() {
    for (const row of this.#rows.values()) row.tick();
  }

  #unseen() {
    return this.#alerts.filter((alert) => alert.state === "firing");
  }

  async #reload() {
    try {
      await this.load();
    } catch (error) {
      notify(`Alerts: ${error.message}`, "error");
    }
  }

  #draw() {
    const unseen = this.#unseen().length;
    const seen = this.#alerts.length - unseen;
    const shown = this.#all ? this.#alerts : this.#alerts.slice(0, Math.min(SHOWN, unseen));
    this.section.hidden = this.#alerts.length === 0;
    setText(byId("alert-count"), [unseen > 0 ? String(unseen) : "", seen > 0 ? `${seen} acknowledged` : ""].filter(Boolean).join(", "));
    const rows = this.#rows.sync(shown, (alert) => alert.id, (alert) => new Row(alert, () => this.#reload()));
    arrange(this.list, rows.map((row) => row.element));
    this.everything.hidden = unseen < 2;
    this.more.hidden = !this.#all && shown.length === this.#alerts.length;
    setAttribute(this.more, "aria-expanded", String(this.#all));
    setText(this.more, this.#all ? "Show fewer" : `Show ${this.#alerts.length - shown.length} more`);
  }
}
