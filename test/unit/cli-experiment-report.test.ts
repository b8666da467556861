/** An experiment's report from results that are made up: figures, tables, and which groups share a chart. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CellResult } from "../../src/cli/experiment/cell-result.ts";
import { parseExperiment } from "../../src/cli/experiment/experiment-file.ts";
import { resolveGrid } from "../../src/cli/experiment/grid.ts";
import { facetsOf, reportCharts } from "../../src/cli/experiment/report-charts.ts";
import { experimentReport } from "../../src/cli/experiment/report-data.ts";
import { reportMarkdown } from "../../src/cli/experiment/report-files.ts";
import { intervalChart } from "../../src/report/intervals.ts";
import { resultOf } from "../helpers/cell-result.ts";

const BASE = { env: "mujoco/HalfCheetah-2x3", steps: 8000, envs: 4, rolloutLength: 100 };

function gridOf(more: object) {
  return resolveGrid(parseExperiment({ name: "test", about: "A test.", base: BASE, seeds: [1, 2], ...more }));
}

/** A run that reached `mean`, straight from 0. */
function reportOf(grid: ReturnType<typeof gridOf>, results: readonly CellResult[]) {
  return experimentReport({
    grid,
    results: new Map(results.map((result) => [result.cell, result])),
    command: "lorasa experiment test.json",
    inference: new Map([["ps", { checkpoint: "", microseconds: 12 }]]),
  });
}

const GRID = gridOf({ axes: { sharing: ["ps", "nps", "lorasa"] }, baseline: { sharing: "ps" } });
/** Of seeds 1 and 2. */
const MEANS: Readonly<Record<string, readonly [number, number]>> = {
  ps: [10, 14],
  nps: [20, 20],
  lorasa: [30, 50],
};
const RESULTS = GRID.cells.map((cell) => resultOf(cell, MEANS[cell.group]![cell.config.seed - 1]!));

test("a group is summed up over its seeds and set beside its baseline", () => {
  const { groups, missing } = reportOf(GRID, RESULTS);
  const [ps, nps, lorasa] = groups as [(typeof groups)[0], (typeof groups)[0], (typeof groups)[0]];
  assert.deepEqual(missing, []);
  assert.deepEqual(ps.return, {
    values: [10, 14],
    mean: 12,
    std: Math.sqrt(8),
    interquartileMean: 12,
    interval: [10, 14],
  });
  assert.equal(ps.baseline, null);
  assert.deepEqual(ps.times, {
    trainingSeconds: 150,
    envStepsPerSecond: 80,
    peakMemoryBytes: null,
    inferenceMicroseconds: 12,
  });
  // Pairs of one seed: 20 less 10, and 20 less 14.
  assert.deepEqual(nps.baseline, {
    group: "ps",
    return: { value: 8, pairs: [10, 6], interval: [6, 10] },
    won: null,
    parameters: 2,
    bytes: 2.25,
  });
  // 30 less 10, and 50 less 14.
  assert.deepEqual(lorasa.baseline!.return, { value: 28, pairs: [20, 36], interval: [20, 36] });
  assert.deepEqual(lorasa.curves["return"], [
    { x: 400, y: 0, low: 0, high: 0 },
    { x: 8000, y: 40, low: 30, high: 50 },
  ]);
});

test("with other seeds than the baseline's, each side's runs are drawn by themselves", () => {
  const grid = gridOf({ axes: { sharing: ["ps", "lorasa"] }, baseline: { sharing: "ps" }, seeds: [1, 2, 3] });
  const reached: Readonly<Record<string, number>> = {
    ps_seed1: 10,
    ps_seed2: 14,
    lorasa_seed2: 30,
    lorasa_seed3: 50,
  };
  const finished = grid.cells.filter(({ name }) => name in reached);
  const [, lorasa] = reportOf(
    grid,
    finished.map((cell) => resultOf(cell, reached[cell.name]!)),
  ).groups;
  assert.deepEqual(lorasa!.seeds, [2, 3]);
  // 30 less 14 to 50 less 10.
  assert.deepEqual(lorasa!.baseline!.return, { value: 28, pairs: null, interval: [16, 40] });
});

test("runs that are not finished are named, and one run alone has no spread", () => {
  const { groups, missing } = reportOf(GRID, RESULTS.slice(1, 4));
  assert.deepEqual(missing, ["ps_seed1", "nps_seed2", "lorasa_seed2"]);
  const ps = groups.find(({ name }) => name === "ps")!;
  assert.deepEqual(ps.return, { values: [14], mean: 14, std: null, interquartileMean: 14, interval: null });
  assert.equal(groups.find(({ name }) => name === "nps")!.baseline!.return.interval, null);
});

test("episodes won are told where every run tells them", () => {
  const won = RESULTS.map((result, k) => ({ ...result, won: k / 10 }));
  const [ps, nps] = reportOf(GRID, won).groups;
  assert.deepEqual(ps!.won!.values, [0, 0.3]);
  assert.ok(Math.abs(nps!.baseline!.won!.value - 0.1) < 1e-12);
  assert.equal(reportOf(GRID, [...won.slice(0, 5), RESULTS[5]!]).groups[2]!.won, null);
});

test("the Markdown starts with the command, and its rows are the groups, the best one bold", async () => {
  const report = reportOf(GRID, RESULTS);
  const lines = reportMarkdown(report, await reportCharts(report, () => [])).split("\n");
  assert.deepEqual(lines.slice(0, 7), [
    "# test",
    "",
    "```",
    "lorasa experiment test.json",
    "```",
    "",
    "A test. Seeds 1, 2, 8k environment steps each.",
  ]);
  const at = lines.indexOf("## Final results");
  assert.deepEqual(lines.slice(at + 2, at + 7), [
    "| runs | seeds | return ± std | IQM [95 %] | baseline | against baseline [95 %] |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    "| ps | 2 | 12.0 ± 2.83 | 12.0 [10.0, 14.0] | – | – |",
    "| nps | 2 | 20.0 ± 0.00 | 20.0 [20.0, 20.0] | ps | +8.00 [+6.00, +10.0] |",
    "| **lorasa** | **2** | **40.0 ± 14.1** | **40.0 [30.0, 50.0]** | **ps** | **+28.0 [+20.0, +36.0]** |",
  ]);
  assert.ok(lines.includes("![Final return](final-return.svg)"));
});

test("a chart sets every group less its baseline beside zero, of shares won where all tell them", async () => {
  const textsOf = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
  const charts = await reportCharts(reportOf(GRID, RESULTS), () => []);
  const files = ["final-return", "difference-return", "curve-return"];
  assert.deepEqual(
    charts.map(({ file }) => file),
    files,
  );
  const texts = textsOf(charts[1]!.svg);
  // The baseline has no row; 0 is on the axis though no difference is near it.
  assert.ok(!texts.includes("ps"));
  for (const text of ["nps", "lorasa", "8", "28", "0"]) assert.ok(texts.includes(text), text);

  const shares: Readonly<Record<string, number>> = { ps: 0.5, nps: 1, lorasa: 0.25 };
  const won = RESULTS.map((result) => ({ ...result, won: shares[result.group]! }));
  const ofWon = (await reportCharts(reportOf(GRID, won), () => [])).find(
    ({ file }) => file === "difference-won",
  );
  for (const text of ["50%", "−25%"]) assert.ok(textsOf(ofWon!.svg).includes(text), text);
});

test("where episodes are won, the share won says who is best and stands against the baseline", async () => {
  const shares: Readonly<Record<string, number>> = { ps: 0.5, nps: 1, lorasa: 0.25 };
  const won = RESULTS.map((result) => ({ ...result, won: shares[result.group]! }));
  const report = reportOf(GRID, won);
  const rows = reportMarkdown(report, [])
    .split("\n")
    .filter((line) => line.includes(" pp"));
  assert.equal(rows.length, 2);
  assert.match(rows[0]!, /^\| \*\*nps\*\* .* \*\*\+50\.0 pp \[\+50\.0 pp, \+50\.0 pp\]\*\* \|$/);
  assert.match(rows[1]!, /^\| lorasa .* −25\.0 pp \[−25\.0 pp, −25\.0 pp\] \|$/);
});

test("a run that gave no number leaves its group without a mean, and the others with their best", () => {
  const lost = RESULTS.map((result) =>
    result.cell === "ps_seed2" ? { ...result, return: { mean: null, std: null } } : result,
  );
  const report = reportOf(GRID, lost);
  const [ps, , lorasa] = report.groups;
  assert.ok(Number.isNaN(ps!.return.interquartileMean));
  assert.equal(ps!.return.interval, null);
  assert.equal(lorasa!.baseline!.return.interval, null);
  assert.match(reportMarkdown(report, []), /^\| \*\*lorasa\*\* /m);
});

test("the report tells what its runs were made with, not who makes the report", () => {
  const made = { lorasa: "9.8.7", node: "v1.2.3", processor: "Abacus", cores: 3, jobs: 2 };
  const results = RESULTS.map((result, k) =>
    k < 4 ? { ...result, madeWith: { ...made, commit: "abc" } } : result,
  );
  const report = experimentReport({
    grid: GRID,
    results: new Map(results.map((result) => [result.cell, result])),
    command: "",
    inference: new Map([["ps", { checkpoint: "", microseconds: 12, machine: "Slide rule", busy: true }]]),
  });
  const line =
    "Made with lorasa 9.8.7 (abc), Node v1.2.3, Abacus, 3 cores, 2 runs at once (4 runs); what was not noted (2 runs).";
  const text = reportMarkdown(report, []);
  assert.ok(text.includes(line), text);
  assert.ok(text.includes("was timed on Slide rule, beside other work."), text);
  assert.ok(!text.includes(process.version));
});

test("groups of one task share a chart until their lines cannot be told apart", () => {
  const grid = gridOf({
    axes: { algo: ["mappo"], rank: [1, 2, 3, 4], size: { small: { hidden: [8] }, large: { hidden: [16] } } },
    include: [{ name: "alone", set: { sharing: "ps" } }],
  });
  const results = grid.cells.map((cell) => resultOf(cell, 1));
  const facets = facetsOf(reportOf(grid, results).groups);
  assert.deepEqual(
    facets.map(({ title, groups }) => [title, groups.map(({ name }) => name)]),
    ["1", "2", "3", "4"].map((rank) => [
      rank,
      [`mappo_rank${rank}_small`, `mappo_rank${rank}_large`, "alone"],
    ]),
  );
  const tasks = gridOf({
    axes: { env: ["mujoco/HalfCheetah-2x3", "mujoco/HalfCheetah-6x1"], sharing: ["ps", "nps"] },
  });
  const split = facetsOf(
    reportOf(
      tasks,
      tasks.cells.map((cell) => resultOf(cell, 1)),
    ).groups,
  );
  assert.deepEqual(
    split.map(({ title }) => title),
    ["mujoco/HalfCheetah-2x3", "mujoco/HalfCheetah-6x1"],
  );
});

test("an interval chart writes every row's value and leaves out what is not a number", async () => {
  const svg = await intervalChart({
    title: "Final return",
    rows: [
      { label: "ps", value: 120, values: [100, 140], low: 100, high: 140 },
      { label: "diverged", value: Number.NaN, values: [Number.NaN] },
      { label: "one run", value: 90, values: [90] },
    ],
  });
  const texts = [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((found) => found[1]);
  for (const text of ["ps", "one run", "120", "90"]) assert.ok(texts.includes(text), text);
  assert.ok(!texts.includes("diverged"));
});
