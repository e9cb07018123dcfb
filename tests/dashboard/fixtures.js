// A signed-in page that fails its test when anything leaves the origin or goes wrong in the page, and a client of the
// API that cleans up what it launched.

import { test as base, expect } from "@playwright/test";

const TOKEN = process.env.ROOST_TOKEN;

/** A client of the public API with the bearer token. */
class Api {
  #request;
  #launched = [];

  constructor(request) {
    this.#request = request;
  }

  async call(method, path, data) {
    const response = await this.#request.fetch(path, { method, data, headers: { Authorization: `Bearer ${TOKEN}` } });
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

  rack() {
    return this.call("GET", "/v1/rack");
  }

  instance(name) {
    return this.call("GET", `/v1/instances/${name}`);
  }

  /** Deletes what was launched and lets the heat model decide again. */
  async cleanUp() {
    for (const name of this.#launched) {
      await this.#request.fetch(`/v1/instances/${name}`, { method: "DELETE", headers: { Authorization: `Bearer ${TOKEN}` } });
    }
    for (const zone of (await this.rack()).zones) await this.heat(zone.name, null);
  }
}

/** A name no other run uses. */
export function unique(suffix) {
  return `ui-${process.pid}-${suffix}`;
}

/** Opens the dashboard as `roost dev`'s link does, and waits until it is live. */
export async function signIn(page) {
  await page.goto(`/#token=${TOKEN}`);
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
