// A board in detail: its four columns of state, heat and its reason, what is given out, and what an operator may do.

import * as api from "./api.js";
import { h } from "./dom.js";
import { bytes, celsius, duration } from "./format.js";
import { notify } from "./notice.js";
import * as panel from "./panel.js";

const REFRESH_MS = 2_000;

function facts(node) {
  const heat = node.thermal;
  const of = (used, all) => `${used} of ${all}`;
  return [
    ["Status", node.status],
    ["Eligibility", node.eligibility],
    ["Use", node.use],
    ["Thermal", heat.unmonitored ? `${heat.state} (never had a sensor)` : heat.state],
    ["Why", heat.reason],
    ["Estimate", celsius(heat.estimate)],
    ["Predicted", celsius(heat.predicted)],
    [node.status === "ready" ? "SoC" : "SoC, last heard", celsius(heat.soc)],
    ["Inlet", heat.zone === null ? "in no zone" : `${celsius(heat.inlet)} in ${heat.zone}`],
    ["Age of data", heat.age_ms === null ? "never" : duration(heat.age_ms)],
    ["Slot", node.slot ?? "none"],
    ["Address", node.address ?? "–"],
    ["Instances", `${node.instances}, network ${node.prefix}`],
    ["CPU", `${of(node.allocated.cpu_millis / 1000, node.capacity.cpu_millis / 1000)} cores given out`],
    ["Memory", `${of(bytes(node.allocated.memory_bytes), bytes(node.capacity.memory_bytes))} given out`],
    ["Kernel", node.facts === null ? "–" : `${node.facts.kernel}, ${node.facts.arch}, cgroup ${node.facts.cgroup}`],
    ["Agent", node.facts?.agent_version ?? "–"],
  ].filter(([, value]) => value !== "");
}

function actions(name, node, again, switchable) {
  const act = (label, run, kind = "") => h("button", { type: "button", class: kind, onclick: async (event) => {
    event.target.disabled = true;
    try {
      await run();
      notify(`${label}: ${name}`);
    } catch (error) {
      notify(`${label} ${name}: ${error.message}`, "error");
    }
    event.target.disabled = false;
    again();
  } }, label);
  const uses = node.eligibility === "eligible"
    ? [act("Cordon", () => api.setEligibility(name, "cordoned")), act("Drain", () => api.drain(name))]
    : [act("Make eligible", () => api.setEligibility(name, "eligible"))];
  const on = () => act("Power on", () => api.power(name, "on"));
  const off = () => [act("Power off", () => api.power(name, "off"), "danger"), act("Power cycle", () => api.power(name, "cycle"), "danger")];
  const powers = [node.status === "ready" ? null : on(), node.status === "down" ? null : off()].flat();
  return h("div", { class: "actions" }, uses, switchable ? powers : []);
}

/** Opens the panel for a board and keeps it true while it is open; `switchable` when the controller can switch its power. */
export async function openNode(name, switchable) {
  const key = panel.open(`Board ${name}`, h("p", {}, "Loading…"));
  const buttons = h("div");
  const list = h("dl", { class: "facts" });
  let shown = "";
  const draw = async () => {
    const node = await api.node(name);
    // A button is replaced only when there is another choice: a press or the focus must not be lost to a refresh.
    const choice = `${node.status} ${node.eligibility}`;
    if (choice !== shown) buttons.replaceChildren(actions(name, node, drawOrSay, switchable));
    shown = choice;
    list.replaceChildren(...facts(node).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
    if (!list.isConnected) panel.refill(key, buttons, list);
  };
  const drawOrSay = async () => {
    try {
      await draw();
    } catch (error) {
      panel.refill(key, h("p", { class: "field-error" }, error.message));
    }
  };
  while (panel.shows(key)) {
    await drawOrSay();
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
  }
}
