// What a person relies on when they look at the dashboard.

import { expect, signIn, test, unique } from "./fixtures.js";

const THERMAL_MS = 100_000;
const LONGEST_NAME = 63;

/** Every node of a rack, wherever it stands. */
function nodesOf(rack) {
  return [...rack.zones.flatMap((zone) => zone.slots.map((slot) => slot.node)), ...rack.elsewhere].filter((node) => node !== null);
}

test("a token in the address signs in, leaves the address, and every board is drawn", async ({ page, api }) => {
  await signIn(page);
  expect(page.url(), "the token is gone from the address").not.toContain("token");

  const rack = await api.rack();
  const nodes = nodesOf(rack);
  expect(nodes.length).toBeGreaterThan(0);
  await expect(page.locator("[data-node]")).toHaveCount(nodes.length);
  for (const node of nodes) {
    const tile = page.locator(`[data-node="${node.name}"]`);
    await expect(tile).toBeVisible();
    await expect(tile).toHaveAttribute("data-status", "ready");
    await expect(tile.locator(".tile-value")).toHaveText(/^\d+\.\d$/);
  }
  for (const zone of rack.zones) {
    const panel = page.getByRole("region", { name: `Zone ${zone.name}`, exact: true });
    await expect(panel.locator(".zone-value")).toHaveText(/^\d+\.\d °C$/);
    await expect(panel.getByRole("definition").nth(0)).toHaveText(/^\d+ %$/);
    await expect(panel.getByRole("definition").nth(1)).toHaveText(/^-?\d+\.\d °C$/);
  }
  for (const hub of rack.hubs) await expect(page.locator(`[data-hub="${hub.name}"]`)).toHaveAttribute("data-connected", "true");
});

test("without a token the page asks for one and says when it is wrong", async ({ page }) => {
  await page.goto("/");
  await page.getByLabel("Token").fill("not-a-token");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.locator("#login-error")).not.toBeEmpty();
  await expect(page.locator("#app")).toBeHidden();

  await page.getByLabel("Token").fill(process.env.ROOST_TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.locator("#connection")).toHaveText("live");
  await expect(page.locator("[data-node]").first()).toBeVisible();
});

test("an instance launched through the API appears, runs and goes without a reload", async ({ page, api }) => {
  await signIn(page);
  await page.evaluate(() => { window.loadedOnce = true; });
  const name = unique("live");
  await api.launch(name);
  const row = page.locator(`[data-instance="${name}"]`);
  await expect(row.locator(".instance-state")).toHaveText("running");
  const { node, address } = await api.instance(name);
  await expect(row).toContainText(node);
  await expect(row).toContainText(address);
  await expect(page.locator(`[data-node="${node}"]`)).toHaveAttribute("aria-label", new RegExp(`\\b${name}\\b`));
  await expect(page.locator("#events li[data-kind=instance-started]").filter({ hasText: name }).first()).toBeVisible();

  await api.call("DELETE", `/v1/instances/${name}`);
  await expect(row).toHaveCount(0);
  expect(await page.evaluate(() => window.loadedOnce), "the page was not reloaded").toBe(true);
});

test("an instance is launched, explained, stopped, started and deleted from the page", async ({ page, api }) => {
  await signIn(page);
  const name = unique("form");
  api.forget(name);
  await page.getByRole("button", { name: "Launch" }).click();
  const panel = page.getByRole("dialog");
  await panel.getByLabel("Image").selectOption("busybox");
  await panel.getByLabel("Name").fill("Not A Name");
  await panel.getByLabel("Command").fill("sleep 3600");
  await panel.getByRole("button", { name: "Launch" }).click();
  await expect(panel.locator("#launch-name-error")).not.toBeEmpty();
  await panel.getByLabel("Name").fill(name);
  await panel.getByRole("button", { name: "Launch" }).click();
  await expect(panel).toBeHidden();

  const row = page.locator(`[data-instance="${name}"]`);
  await expect(row.locator(".instance-state")).toHaveText("running");
  const { node, command } = await api.instance(name);
  expect(command).toEqual(["sleep", "3600"]);

  await row.getByRole("button", { name: `Why is this the node of ${name}` }).click();
  await expect(panel.locator(".chosen")).toContainText(node);
  await expect(panel.locator(".placement-message")).not.toBeEmpty();
  await page.keyboard.press("Escape");
  await expect(panel).toBeHidden();

  await row.getByRole("button", { name: `Stop ${name}` }).click();
  await expect(row.locator(".instance-state")).toHaveText("stopped");
  await row.getByRole("button", { name: `Start ${name}` }).click();
  await expect(row.locator(".instance-state")).toHaveText("running");
  await row.getByRole("button", { name: `Delete ${name}` }).click();
  await row.getByRole("button", { name: `Really delete ${name}` }).click();
  await expect(row).toHaveCount(0);
});

test("heating a zone with its slider makes its boards hot and an event appear", async ({ page, api }) => {
  await signIn(page);
  const zone = (await api.rack()).zones.find((candidate) => candidate.slots.some((slot) => slot.node !== null));
  const names = zone.slots.flatMap((slot) => (slot.node === null ? [] : [slot.node.name]));
  const panel = page.getByRole("region", { name: `Zone ${zone.name}`, exact: true });
  await expect(panel).toHaveAttribute("data-thermal", /^(nominal|warm)$/, { timeout: THERMAL_MS });
  const newest = Number(await page.locator("#events li").first().getAttribute("data-event"));

  await panel.getByLabel("Hold inlet").fill("41");
  await expect(panel).toHaveAttribute("data-thermal", "hot", { timeout: THERMAL_MS });
  await expect(panel.locator(".zone-value")).toHaveText(/^4[01]\.\d °C$/, { timeout: THERMAL_MS });
  for (const name of names) {
    const tile = page.locator(`[data-node="${name}"]`);
    await expect(tile).toHaveAttribute("data-thermal", "hot", { timeout: THERMAL_MS });
    await expect(tile.locator(".tile-flag")).toHaveText("hot");
  }
  const event = page.locator("#events li[data-kind=zone-thermal-changed]").filter({ hasText: `zone ${zone.name} is hot` }).first();
  await expect(event).toBeVisible();
  expect(Number(await event.getAttribute("data-event")), "it happened just now").toBeGreaterThan(newest);

  await panel.getByRole("button", { name: "Release" }).click();
  await expect(panel).toHaveAttribute("data-thermal", /^(nominal|warm)$/, { timeout: THERMAL_MS });
});

test("an unplugged hub shows as no data, never as a cool colour", async ({ page, api }) => {
  await signIn(page);
  const zone = (await api.rack()).zones.find((candidate) => candidate.probes.length > 0);
  const panel = page.getByRole("region", { name: `Zone ${zone.name}`, exact: true });
  await api.call("POST", "/v1/dev/commands", { do: "hub", plugged: false });
  await expect(panel).toHaveAttribute("data-thermal", "unknown", { timeout: THERMAL_MS });
  await expect(panel.locator(".zone-value")).toHaveText("no data");
  await expect(panel.locator(".zone-swatch")).toHaveClass(/\bno-data\b/);
  await expect(panel.locator(".zone-swatch")).not.toHaveClass(/\bheat\b/);
  await api.call("POST", "/v1/dev/commands", { do: "hub", plugged: true });
  await expect(panel).toHaveAttribute("data-thermal", /^(nominal|warm)$/, { timeout: THERMAL_MS });
});

test("a board without power shows as down, and its alert can be acknowledged", async ({ page, api }) => {
  await signIn(page);
  const { name } = nodesOf(await api.rack()).at(-1);
  const tile = page.locator(`[data-node="${name}"]`);
  await expect(tile).toHaveAttribute("data-status", "ready");

  await tile.click();
  const panel = page.getByRole("dialog");
  await expect(panel.getByRole("button", { name: "Power on" }), "a board that runs is not switched on").toHaveCount(0);
  await api.power(name, "off");
  await expect(panel.getByRole("button", { name: "Power on" }), "the panel follows the board").toBeVisible();
  await page.keyboard.press("Escape");
  await expect(tile).toHaveAttribute("data-status", "down");
  await expect(tile.locator(".tile-flag")).toHaveText("down");
  await expect(tile).toHaveClass(/\bno-data\b/);

  const key = `node/${name}`;
  const row = page.locator(`[data-alert="${key}"]`);
  await expect(row).toContainText(`node ${name} is down`);
  await row.getByRole("button", { name: "Acknowledge" }).click();
  const state = async () => (await api.call("GET", "/v1/alerts?limit=1000")).items.findLast((alert) => alert.key === key).state;
  await expect.poll(state).toBe("acknowledged");
  const more = page.locator("#alert-more");
  const seen = (await api.call("GET", `/v1/alerts?filter=${encodeURIComponent(`kind=node,object=${name}`)}`)).items.at(-1);
  expect(seen.acknowledged.at, "when it was seen is known").toBeTruthy();
  await expect(row, "what has been seen is folded away").toHaveCount(0);
  await more.click();
  await expect(row).toHaveAttribute("data-state", "acknowledged");

  await tile.click();
  await panel.getByRole("button", { name: "Power on" }).click();
  await page.keyboard.press("Escape");
  await expect(tile).toHaveAttribute("data-status", "ready");
  await expect(row, "what is over is no alert").toHaveCount(0);
  await expect.poll(state).toBe("resolved");
});

// This rack acts by itself: the proposal, and what becomes of it, are put in the API's mouth.
test("an action that waits for a person is approved from its alert", async ({ page }) => {
  const id = "01a20db3-184d-73d8-8759-444305f7a706";
  const proposal = {
    id: "01a20db3-3807-72bc-9a66-e3faf68a6e8e", key: `action/${id}`, severity: "warning", state: "firing",
    subject: "/v1/instances/web", message: "proposed: move web away from n01: n01 is hot", fired_at: new Date().toISOString(),
    resolved_at: null,
  };
  const approved = [];
  await page.route(/\/v1\/alerts\?/, (route) =>
    route.fulfill({ json: { items: approved.length === 0 ? [proposal] : [], next_cursor: null } }));
  await page.route(/\/v1\/actions\//, (route) => {
    approved.push(`${route.request().method()} ${new URL(route.request().url()).pathname}`);
    return route.fulfill({ status: 204 });
  });
  await signIn(page);
  const row = page.locator(`[data-alert="action/${id}"]`);
  await expect(row).toContainText("move web away from n01");
  await row.getByRole("button", { name: "Approve" }).click();
  await expect(row, "what is approved waits no more").toHaveCount(0);
  expect(approved).toEqual([`POST /v1/actions/${id}/approve`]);
});

// This rack tells nobody: what came of the messages is put in the API's mouth.
test("an alert says who could not be told of it, and how often it has come back", async ({ page }) => {
  const at = new Date().toISOString();
  const delivery = (receiver, state, error) => ({
    notice: "01a20db3-184d-73d8-8759-444305f7a706", receiver, reason: "fired", state, attempts: 3, created_at: at, ended_at: null,
    next_attempt_at: null, error,
  });
  const alert = {
    id: "01a20db3-3807-72bc-9a66-e3faf68a6e8e", key: "hub/hub0", kind: "hub", object: "hub0", severity: "warning", state: "firing",
    subject: "/v1/hubs/hub0", message: "hub hub0 is lost: unplugged", fired_at: at, resolved_at: null, fires: 4, first_fired_at: at,
    acknowledged: null,
    deliveries: [
      delivery("ops", "waiting", "ops.example answered with status 503"), delivery("chat", "sent", null),
      delivery("mail", "failed", "permanent error (550)"), delivery("chat", "failed", "an older one"),
    ],
  };
  await page.route(/\/v1\/alerts\?/, (route) => route.fulfill({ json: { items: [alert], next_cursor: null } }));
  await signIn(page);
  const row = page.locator('[data-alert="hub/hub0"]');
  await expect(row).toContainText("hub hub0 is lost: unplugged (4 times since");
  await expect(row.locator(".alert-untold"))
    .toHaveText("ops is not told yet: ops.example answered with status 503; mail was not told: permanent error (550)");
});

for (const colorScheme of ["dark", "light"]) {
  test.describe(`on a phone, ${colorScheme}`, () => {
    test.use({ viewport: { width: 390, height: 844 }, colorScheme });

    test("nothing is wider than the screen", async ({ page, api }) => {
      const name = unique(`a-name-as-long-as-names-may-be-${colorScheme}-`).padEnd(LONGEST_NAME, "x");
      await api.launch(name);
      await signIn(page);
      await expect(page.locator(`[data-instance="${name}"]`)).toBeVisible();
      const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      expect(content, "width of the content").toBeLessThanOrEqual(screen);
    });
  });
}

const picture = process.env.ROOST_SCREENSHOT ? test : test.skip;
picture("the picture for the README", async ({ page, api }) => {
  const rack = await api.rack();
  const warm = rack.zones.at(-1);
  const boards = nodesOf(rack).filter((node) => !warm.slots.some((slot) => slot.node?.name === node.name));
  const names = ["web", "api", "queue", "worker-1", "worker-2"];
  await signIn(page);
  for (const zone of rack.zones) {
    await expect(page.locator(`[data-zone="${zone.name}"]`)).toHaveAttribute("data-thermal", "nominal", { timeout: THERMAL_MS });
  }
  await api.heat(warm.name, 30);
  for (const [index, name] of names.entries()) {
    const node = boards[(3 * index) % boards.length]?.name;
    await api.launch(name, { constraints: { node }, ...(name === "web" ? { publish: ["18080:80"] } : {}) });
  }
  for (const name of names) await expect(page.locator(`[data-instance="${name}"] .instance-state`)).toHaveText("running");
  await expect(page.locator(`[data-zone="${warm.name}"]`)).toHaveAttribute("data-thermal", "warm", { timeout: THERMAL_MS });
  const line = page.locator(`[data-zone="${warm.name}"] .spark-line`);
  await expect.poll(async () => (await line.getAttribute("d")).split("L").length, { timeout: THERMAL_MS }).toBeGreaterThan(12);
  await page.screenshot({ path: process.env.ROOST_SCREENSHOT, animations: "disabled" });
});
