// A signed-in page that fails its test when anything leaves the origin or goes wrong in the page, and a client of the
// API that cleans up what it launched.

import { test as base, expect } from "@playwright/test";

const TOKEN = process.env.ROOST_TOKEN;

/** A client of the public API with the bearer token. */
class Api {
  #request;
  #launched = [];
  #unpowered = [];

  constructor(request) {
    this.#request = request;
  }

  #raw(method, path, data) {
    return this.#request.fetch(path, { method, data, headers: { Authorization: `Bearer ${TOKEN}` } });
  }

  async call(method, path, data) {
    const response = await this.#raw(method, path, data);
    const text = await response.text();
    expect(response.ok(), `${method} ${path}: ${response.status()} ${text}`).toBe(true);
    return text === "" ? null : JSON.parse(text);
  }

  /** Launches a busybox that sleeps. */
  async launch(name, more = {}) {
    this.forget(name);
    await this.call("POST", "/v1/instances", { name, image: "busybox", size: "nano", command: ["sleep", "3600"], ...more });
  }

  /** Has the instance deleted when the test is over. */
  forget(name) {
    this.#launched.push(name);
  }

  heat(zone, celsius) {
    return this.call("POST", "/v1/dev/commands", { do: "heat", zone, celsius });
  }

  /** Switches a board's power; one that is off is switched on again when the test is over. */
  power(node, action) {
    if (action === "off") this.#unpowered.push(node);
    return this.call("POST", `/v1/nodes/${node}/power`, { action });
  }

  node(name) {
    return this.call("GET", `/v1/nodes/${name}`);
  }

  rack() {
    return this.call("GET", "/v1/rack");
  }

  instance(name) {
    return this.call("GET", `/v1/instances/${name}`);
  }

  /** Leaves the rack as a next test or run needs it: nothing launched, air not held, hub plugged in, power on. */
  async cleanUp() {
    for (const name of this.#launched) await this.#raw("DELETE", `/v1/instances/${name}`);
    const rack = await this.rack();
    for (const zone of rack.zones) await this.heat(zone.name, null);
    await this.call("POST", "/v1/dev/commands", { do: "hub", plugged: true });
    for (const node of this.#unpowered) await this.power(node, "on");
    for (const node of this.#unpowered) {
      await expect.poll(async () => (await this.node(node)).status, { message: `${node} is back` }).toBe("ready");
    }
    for (const name of this.#launched) {
      const gone = async () => (await this.#raw("GET", `/v1/instances/${name}`)).status();
      await expect.poll(gone, { message: `${name} is deleted` }).toBe(404);
    }
  }
}

/** A name no other run uses. */
export function unique(suffix) {
  return `ui-${process.pid}-${suffix}`;
}

/**
 * Opens the dashboard as `roost dev`'s link does, and waits until it is live. Chromium breaks off what it loads whenever
 * the machine gets or loses a network interface, and a board that is switched on brings one: then it is opened anew.
 */
export async function signIn(page) {
  let brokenOff;
  const note = (request) => { brokenOff ||= request.failure()?.errorText === "net::ERR_NETWORK_CHANGED"; };
  page.on("requestfailed", note);
  do {
    brokenOff = false;
    await page.goto("about:blank");
    await page.goto(`/#token=${TOKEN}`, { waitUntil: "load" });
  } while (brokenOff);
  page.off("requestfailed", note);
  await expect(page.locator("#connection")).toHaveText("live");
}

export const test = base.extend({
  api: async ({ request }, use) => {
    const api = new Api(request);
    await use(api);
    await api.cleanUp();
  },

  page: async ({ page, baseURL }, use) => {
    const origin = new URL(baseURL).origin;
    const strays = [];
    const errors = [];
    const requests = [];
    await page.context().route("**/*", (route) => {
      const url = new URL(route.request().url());
      requests.push(url.href);
      if (url.origin === origin) return route.continue();
      strays.push(url.href);
      return route.abort();
    });
    page.on("websocket", (socket) => {
      if (new URL(socket.url()).host !== new URL(origin).host) strays.push(socket.url());
    });
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" && /Content Security Policy/.test(message.text())) errors.push(message.text());
    });
    await use(page);
    expect(requests.length, "the listener saw the page's own requests").toBeGreaterThan(5);
    expect(strays, "requests that left the origin").toEqual([]);
    expect(errors, "errors in the page").toEqual([]);
  },
});

export { expect };
