// The table of instances and what can be done to them. Rows are kept between refreshes, so a pressed button and the
// focus stay where they are.

import * as api from "./api.js";
import { arrange, byId, h, Keyed, setAttribute, setText } from "./dom.js";
import { ageOf, bytes, clock } from "./format.js";
import { notify } from "./notice.js";

const SHOWN = 500;
const CONFIRM_MS = 4_000;

/** The host's port of `[HOST_IP:]HOST:CONTAINER[/udp]`, when a browser can open it. */
function openablePort(publish) {
  return publish.endsWith("/udp") ? null : publish.split("/")[0].split(":").at(-2);
}

class Row {
  #ports = "";

  constructor(instance, options) {
    this.options = options;
    this.name = h("span", { class: "instance-name" });
    this.image = h("span", { class: "second" });
    this.state = h("span", { class: "instance-state" });
    this.reason = h("span", { class: "second" });
    this.node = h("button", { type: "button", class: "link", onclick: () => options.openNode(this.instance.node) });
    this.address = h("span", { class: "second mono" });
    this.ports = h("td", { class: "mono", "data-label": "Ports" });
    this.size = h("span");
    this.memory = h("span", { class: "second" });
    this.age = h("td", { class: "number", "data-label": "Age" });
    this.run = h("button", { type: "button", class: "quiet", onclick: () => this.#toggle() });
    this.why = h("button", { type: "button", class: "quiet", onclick: () => options.openWhy(this.instance.name) }, "Why here?");
    this.remove = h("button", { type: "button", class: "quiet danger", onclick: () => this.#delete() }, "Delete");
    this.element = h("tr", { "data-instance": instance.name },
      h("th", { scope: "row" }, this.name, this.image),
      h("td", { "data-label": "State" }, this.state, this.reason),
      h("td", { "data-label": "Node" }, this.node, this.address),
      this.ports,
      h("td", { "data-label": "Size" }, this.size, this.memory),
      this.age,
      h("td", { class: "row-actions" }, this.why, this.run, this.remove));
  }

  update(instance) {
    this.instance = instance;
    setText(this.name, instance.name);
    setAttribute(this.name, "title", instance.name);
    setText(this.image, instance.image);
    setAttribute(this.state, "data-state", instance.state);
    setText(this.state, instance.state);
    setText(this.reason, instance.state_reason);
    setText(this.node, instance.node ?? "");
    this.node.hidden = instance.node === null;
    setText(this.address, instance.address ?? (instance.node === null ? "no node" : ""));
    this.#drawPorts(instance.publish);
    setText(this.size, instance.size ?? `${instance.cpu_millis / 1000} cores`);
    setText(this.memory, bytes(instance.memory_bytes));
    setAttribute(this.age, "title", `asked for at ${clock(instance.created_at)}`);
    setText(this.run, instance.desired === "running" ? "Stop" : "Start");
    this.run.disabled = instance.desired === "deleted";
    for (const [button, verb] of [[this.run, this.run.textContent], [this.why, "Why is this the node of"], [this.remove, "Delete"]]) {
      setAttribute(button, "aria-label", `${verb} ${instance.name}`);
    }
    this.tick();
  }

  tick() {
    setText(this.age, ageOf(this.instance.created_at));
  }

  #drawPorts(publish) {
    const seen = publish.join(" ");
    if (seen === this.#ports && this.ports.hasChildNodes()) return;
    this.#ports = seen;
    const ports = publish.map((entry) => {
      const port = this.options.dev ? openablePort(entry) : null;
      return port === null ? h("span", { class: "port" }, entry)
        : h("a", { class: "port", href: `http://${location.hostname}:${port}/`, target: "_blank", rel: "noreferrer" }, entry);
    });
    this.ports.replaceChildren(...(ports.length > 0 ? ports : ["–"]));
  }

  async #act(verb, run) {
    try {
      await run(this.instance.name);
      notify(`${verb} ${this.instance.name}: accepted`);
    } catch (error) {
      notify(`${verb} ${this.instance.name}: ${error.message}`, "error");
    }
    this.options.refresh();
  }

  #toggle() {
    if (this.instance.desired === "running") this.#act("Stop", api.stop);
    else this.#act("Start", api.start);
  }

  #delete() {
    if (this.confirming) {
      clearTimeout(this.confirming);
      this.#calm();
      this.#act("Delete", api.remove);
      return;
    }
    setText(this.remove, "Really?");
    setAttribute(this.remove, "aria-label", `Really delete ${this.instance.name}? Press again to delete`);
    this.remove.classList.add("armed");
    this.confirming = setTimeout(() => this.#calm(), CONFIRM_MS);
  }

  #calm() {
    this.confirming = undefined;
    setText(this.remove, "Delete");
    setAttribute(this.remove, "aria-label", `Delete ${this.instance.name}`);
    this.remove.classList.remove("armed");
  }
}

export class InstanceTable {
  #rows = new Keyed();
  #page = { items: [], next_cursor: null };
  #loaded = false;

  /** `options`: `dev`, `openNode(name)`, `openWhy(name)`, `refresh()`, `counted(page)`. */
  constructor(options) {
    this.options = options;
    this.body = byId("instance-table").tBodies[0];
    byId("instance-filter").addEventListener("input", () => this.#draw());
  }

  /** Reads the instances again and draws them. */
  async load() {
    this.#page = await api.instances(SHOWN);
    this.#loaded = true;
    this.options.counted(this.#page);
    this.#draw();
  }

  /** Lets the shown ages grow. */
  tick() {
    for (const row of this.#rows.values()) row.tick();
  }

  #draw() {
    const { items, next_cursor: more } = this.#page;
    const wanted = byId("instance-filter").value.trim().toLowerCase();
    const fits = (instance) => [instance.name, instance.state, instance.node ?? "", instance.image].some((text) => text.includes(wanted));
    const shown = wanted === "" ? items : items.filter(fits);
    const rows = this.#rows.sync(shown, (instance) => instance.id, (instance) => new Row(instance, this.options));
    arrange(this.body, rows.map((row) => row.element));
    setText(byId("instance-count"), more === null ? String(items.length) : `first ${items.length}`);
    const empty = byId("instance-empty");
    byId("instance-table").hidden = shown.length === 0;
    empty.hidden = shown.length > 0 || !this.#loaded;
    setText(empty, items.length === 0 ? "Nothing runs yet. Launch one here, or with `roost launch busybox web`." : "No instance fits the filter.");
  }
}
