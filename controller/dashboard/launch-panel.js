// The launch form. What the controller refuses is shown at the field it names.

import * as api from "./api.js";
import { h } from "./dom.js";
import { words } from "./format.js";
import { notify } from "./notice.js";
import * as panel from "./panel.js";

const SIZES = [
  ["nano", "nano: ¼ core, 64 MiB"],
  ["micro", "micro: ½ core, 128 MiB"],
  ["small", "small: 1 core, 256 MiB"],
  ["medium", "medium: 2 cores, 512 MiB"],
];
const RESTARTS = [["on_failure", "on failure"], ["always", "always"], ["never", "never"]];

function select(name, options) {
  return h("select", { name, id: `launch-${name}` }, options.map(([value, text]) => h("option", { value }, text)));
}

function input(name, attributes = {}) {
  return h("input", { name, id: `launch-${name}`, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...attributes });
}

function field(label, control, hint) {
  const error = h("p", { class: "field-error", id: `${control.id}-error`, role: "alert" });
  control.setAttribute("aria-describedby", error.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, hint ? h("p", { class: "hint" }, hint) : null, error);
}

/** The body of `POST /v1/instances`; what is left empty is left out. */
function request(form) {
  const value = (name) => form.elements[name].value.trim();
  const body = { image: value("image"), size: value("size"), restart: value("restart") };
  if (value("name") !== "") body.name = value("name");
  if (value("command") !== "") body.command = words(value("command"));
  if (value("publish") !== "") body.publish = value("publish").split(/[\s,]+/);
  return body;
}

async function submit(form, general) {
  for (const error of form.querySelectorAll(".field-error")) error.textContent = "";
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  try {
    await api.launch(request(form));
    panel.close();
    notify("Launch accepted");
  } catch (error) {
    const name = error.code === "name_taken" ? "name" : error.code === "unknown_image" ? "image" : (error.field ?? "").split(/[.[]/)[0];
    const control = form.elements[name];
    const place = control ? form.querySelector(`#launch-${name}-error`) : general;
    place.textContent = error.message;
    control?.focus();
  } finally {
    button.disabled = false;
  }
}

/** Opens the form. */
export async function openLaunch() {
  const key = panel.open("Launch an instance", h("p", {}, "Loading…"));
  let aliases = [];
  try {
    aliases = (await api.images()).items.flatMap((image) => image.aliases);
  } catch (error) {
    panel.refill(key, h("p", { class: "field-error" }, error.message));
    return;
  }
  if (aliases.length === 0) {
    panel.refill(key, h("p", {}, "There is no image yet: build one with ", h("code", {}, "roost image build busybox"), "."));
    return;
  }
  const general = h("p", { class: "field-error", role: "alert" });
  const form = h("form", { class: "launch-form" },
    field("Image", select("image", aliases.map((alias) => [alias, alias]))),
    field("Name", input("name", { placeholder: "made from the image", maxlength: "63" })),
    field("Size", select("size", SIZES)),
    field("Command", input("command", { placeholder: "the image's own" }), "For example: httpd -f -p 80 -h /etc"),
    field("Publish", input("publish", { placeholder: "18080:80" }), "Ports as HOST:CONTAINER, separated by spaces"),
    field("Restart", select("restart", RESTARTS)),
    general,
    h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Launch")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form, general);
  });
  panel.refill(key, form);
  form.elements.name.focus();
}
