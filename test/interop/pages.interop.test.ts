/** The pages that a person sees, in a real browser: the compare report and the server's status page. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium, type Page } from "playwright-core";
import { exportTeam } from "../../exporters/export-team.ts";
import { startServer } from "../../server/app.ts";
import { compareTeam } from "../../src/cli/compare/compare-team.ts";
import { writeComparison } from "../../src/cli/compare/report.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const BROWSER = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);
const skip = BROWSER === undefined && "no Chromium is installed";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

test("the compare report shows its figures and asks nobody for anything", { skip }, async (context) => {
  const folder = temporaryFolder(context);
  const result = await compareTeam(randomTeam({ sharing: "low-rank" }), {
    agents: [3],
    rows: [1],
    rounds: 1,
    quick: true,
  });
  const { report } = await writeComparison(result, folder);
  const { page, problems } = await open(context, pathToFileURL(report).href);
  assert.match(await page.title(), /Ways to run test.Random/);
  assert.ok((await page.locator("svg").count()) >= 3);
  assert.ok((await page.locator("table tr").count()) >= 4);
  for (const figure of await page.locator("svg").all()) {
    const box = await figure.boundingBox();
    assert.ok(box && box.width > 200 && box.height > 100, "a figure is not drawn");
  }
  await noSidewaysScrolling(page);
  assert.deepEqual(problems, []);
});

test("the status page shows models and adapters of a running server", { skip }, async (context) => {
  const repository = join(temporaryFolder(context), "repository");
  exportTeam(randomTeam({ sharing: "low-rank" }), { mode: "factored", repository, name: "team" });
  const server = await startServer({ repository, port: 0 });
  context.after(() => server.close());
  const { page, problems } = await open(context, server.url);
  const text = await page.locator("body").innerText();
  for (const word of ["team", "agent_0", "agent_2", "factored"])
    assert.ok(text.includes(word), `${word} is missing`);
  await noSidewaysScrolling(page);
  assert.deepEqual(problems, []);
});

/** A page, and what went wrong on it: errors, and requests to anything but itself. */
async function open(context: TestContext, url: string): Promise<{ page: Page; problems: string[] }> {
  const browser = await chromium.launch({ executablePath: BROWSER!, args: FLAGS });
  context.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 900, height: 800 } });
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on(
    "request",
    (request) => !request.url().startsWith(url) && problems.push(`asked for ${request.url()}`),
  );
  await page.goto(url);
  return { page, problems };
}

async function noSidewaysScrolling(page: Page): Promise<void> {
  const [content, window] = (await page.evaluate(
    "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
  )) as [number, number];
  assert.ok(content <= window, `the page is ${content} wide in a window of ${window}`);
}
