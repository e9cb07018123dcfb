// A board in detail: its four columns of state, heat and its reason, what is given out, and what an operator may do.

import * as api from "./api.js";
import { h } from "./dom.js";
import { bytes, celsius, duration } from "./format.js";
import { notify } from "./notice.js";
import * as panel from "./panel.js";

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
    ["SoC", celsius(heat.soc)],
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
    again();
  } }, label);
  const uses = node.eligibility === "eligible"
    ? [act("Cordon", () => api.setEligibility(name, "cordoned")), act("Drain", () => api.drain(name))]
    : [act("Make eligible", () => api.setEligibility(name, "eligible"))];
  const powers = switchable
    ? [act("Power on", () => api.power(name, "on")), act("Power off", () => api.power(name, "off"), "danger"), act("Power cycle", () => api.power(name, "cycle"), "danger")]
    : [];
  return h("div", { class: "actions" }, uses, powers);
}

/** Opens the panel for a board; `switchable` when the controller can switch its power. */
export async function openNode(name, switchable) {
  const key = panel.open(`Board ${name}`, h("p", {}, "Loading…"));
  const draw = async () => {
    try {
      const node = await api.node(name);
      panel.refill(key,
        actions(name, node, draw, switchable),
        h("dl", { class: "facts" }, facts(node).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))));
    } catch (error) {
      panel.refill(key, h("p", { class: "field-error" }, error.message));
    }
  };
  await draw();
}
