// One zone as an instrument: inlet temperature, humidity, dew point, state and its reason, age of the data, the last
// minutes, and, where the rack is simulated, a control that holds the air at a temperature.

import * as api from "./api.js";
import { h, setAttribute, setText } from "./dom.js";
import { celsius, duration, percent } from "./format.js";
import { paint } from "./heat.js";
import { icon } from "./icons.js";
import { notify } from "./notice.js";
import { Sparkline } from "./sparkline.js";

const SEND_AFTER_MS = 200;

/** Drive and turns of a fan; a hub that is lost tells neither. */
function fanText(fan) {
  if (fan.stalled) return `stalled at ${percent(fan.duty ?? fan.wanted)}`;
  return fan.duty === null ? "unknown" : `${percent(fan.duty)} ${fan.rpm ?? "–"} rpm`;
}

export class ZonePanel {
  constructor(zone, options) {
    this.zoneName = zone.name;
    this.name = h("h3", {}, zone.name);
    this.state = h("span", { class: "state" });
    this.swatch = h("span", { class: "zone-swatch", "aria-hidden": "true" });
    this.temperature = h("span", { class: "zone-value" });
    this.humidity = h("dd");
    this.dew = h("dd");
    this.age = h("dd");
    this.fans = h("dd");
    this.fansRow = h("div", {}, h("dt", {}, "Fans"), this.fans);
    this.reason = h("p", { class: "zone-reason" });
    this.spark = new Sparkline(`Inlet of ${zone.name}`);
    this.element = h("section", { class: "zone", "data-zone": zone.name, "aria-label": `Zone ${zone.name}` },
      this.swatch,
      h("div", { class: "zone-head" }, this.name, this.state),
      h("div", { class: "zone-main" },
        h("div", { class: "zone-inlet" }, this.temperature),
        this.spark.element),
      h("dl", { class: "zone-facts" },
        h("div", {}, h("dt", {}, "Humidity"), this.humidity),
        h("div", {}, h("dt", {}, "Dew point"), this.dew),
        h("div", {}, h("dt", {}, "Age"), this.age),
        this.fansRow),
      this.reason);
    if (options.dev) this.element.append(this.#control(zone));
  }

  update(zone) {
    this.zone = zone;
    const known = zone.thermal === "unknown" ? null : zone.temperature;
    setAttribute(this.element, "data-thermal", zone.thermal);
    paint(this.swatch, "inlet", known);
    setText(this.temperature, celsius(known));
    setText(this.humidity, known === null ? "–" : percent(zone.humidity));
    setText(this.dew, known === null || zone.dew_point === null ? "–" : celsius(zone.dew_point));
    this.fansRow.hidden = zone.fans.length === 0;
    setText(this.fans, zone.fans.map(fanText).join(", "));
    setAttribute(this.fans, "title", zone.fans_reason);
    setText(this.reason, zone.reason);
    if (this.shownState !== zone.thermal) {
      this.shownState = zone.thermal;
      this.state.replaceChildren(...(zone.thermal === "nominal" ? [] : [icon(zone.thermal)]), zone.thermal);
    }
    if (this.slider && !this.held && known !== null && document.activeElement !== this.slider) this.slider.value = String(known);
  }

  /** Adds the zone's value to its line; `at` is the time of the view in milliseconds. */
  record(at) {
    this.spark.add(at, this.zone.thermal === "unknown" ? null : this.zone.temperature, this.zone.limits);
  }

  /** Lets the age grow between two messages. */
  tick(sinceMessage) {
    setText(this.age, this.zone.age_ms === null ? "never" : duration(this.zone.age_ms + sinceMessage));
  }

  /** Nothing is said of a hold until this page has changed it: another page or the command line may hold the air. */
  #control(zone) {
    const id = `heat-${zone.name}`;
    this.held = false;
    this.slider = h("input", { id, type: "range", min: "15", max: "60", step: "0.5", value: "22",
      oninput: () => this.#hold(SEND_AFTER_MS), onchange: () => this.#hold(0) });
    this.output = h("output", { for: id });
    this.release = h("button", { type: "button", class: "quiet", onclick: () => this.#letGo() }, "Release");
    return h("div", { class: "zone-control" },
      h("label", { for: id }, "Hold inlet"), this.slider, this.output, this.release);
  }

  #hold(after) {
    this.held = true;
    const wanted = Number(this.slider.value);
    setText(this.output, `${wanted.toFixed(1)} °C`);
    setAttribute(this.slider, "aria-valuetext", `${wanted.toFixed(1)} degrees Celsius`);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#send(wanted), after);
  }

  #letGo() {
    clearTimeout(this.timer);
    this.held = false;
    setText(this.output, "free");
    this.slider.removeAttribute("aria-valuetext");
    this.#send(null);
  }

  async #send(wanted) {
    if (wanted !== null && wanted === this.sent) return;
    this.sent = wanted;
    try {
      const reply = await api.dev({ do: "heat", zone: this.zoneName, celsius: wanted });
      if (reply && !reply.ok) notify(`Zone ${this.zoneName}: ${reply.message}`, "error");
    } catch (error) {
      this.sent = undefined;
      notify(`Zone ${this.zoneName}: ${error.message}`, "error");
    }
  }
}
