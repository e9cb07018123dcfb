// The dashboard in Debian's Chromium, against a running `roost dev`: ROOST_URL and ROOST_TOKEN say which.

import { defineConfig } from "@playwright/test";

for (const name of ["ROOST_URL", "ROOST_TOKEN"]) {
  if (!process.env[name]) throw new Error(`${name} is not set: start \`roost dev\` and take both from its context.yaml`);
}

export default defineConfig({
  testDir: ".",
  outputDir: "test-results",
  // The tests share one rack and heat it: one after the other.
  workers: 1,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  timeout: 300_000,
  expect: { timeout: 30_000 },
  reporter: process.stdout.isTTY ? "list" : "line",
  use: {
    baseURL: process.env.ROOST_URL,
    viewport: { width: 1280, height: 900 },
    colorScheme: "dark",
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-first-run",
      ],
    },
  },
});
