/** Tiny experiments run for real: what a stopped and resumed one, a shared start and a failing run leave. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readExperiment } from "../../src/cli/experiment/experiment-file.ts";
import { resolveGrid } from "../../src/cli/experiment/grid.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { readMetrics } from "../../src/training/log/metrics-file.ts";
import { train } from "../../src/training/run.ts";
import { runCommand } from "../helpers/command-line.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Episodes that end before the switch. */
const SHORT = { envOptions: { episodeLimit: 100 } };

function unseeded(change: Partial<TrainConfig>): Omit<TrainConfig, "seed"> {
  const { seed: _, ...fields } = tinyConfig(change);
  return fields;
}

function experiment(name: string, more: object, steps = 3200): string {
  const path = join(folder, `${name}.json`);
  const base = unseeded({ ...SHORT, steps, rolloutLength: 40, saveEvery: 320, evaluateEvery: 800 });
  writeFileSync(path, JSON.stringify({ name, about: "Tiny.", base, seeds: [1], ...more }));
  return path;
}

const GRID = experiment("grid", {
  axes: { sharing: ["ps", "lorasa"] },
  include: [{ name: "rank 4", set: { sharing: "lorasa", rank: 4, alpha: 4 } }],
  baseline: { sharing: "ps" },
});
const whole = join(folder, "whole");
/** Runs that are long enough to be stopped in their middle. */
const LONG = experiment("long", { axes: { sharing: ["ps", "lorasa"] }, baseline: { sharing: "ps" } }, 16_000);

/** A report's JSON without how long things took, and how many ran at once. */
function timeless(directory: string): object {
  const report = JSON.parse(readFileSync(join(directory, "report.json"), "utf8")) as { groups: object[] };
  const groups = report.groups.map((group) => ({ ...group, times: null }));
  return { ...report, groups, madeWith: null, timedOn: null };
}

/** Every file of a checkpoint by its path; of the manifest not how long the run took, nor ends of phases of another. */
function contents(directory: string): Record<string, unknown> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return Object.fromEntries(
    files.map((file) => [
      file.slice(directory.length + 1),
      file.endsWith("lorasa.json") ? timelessManifest(file) : readFileSync(file, "base64"),
    ]),
  );
}

function timelessManifest(file: string): object {
  const manifest = JSON.parse(readFileSync(file, "utf8")) as { counters: object };
  return { ...manifest, phases: null, counters: { ...manifest.counters, seconds: null } };
}

test("a grid leaves its report, and the same command runs nothing again", () => {
  const first = runCommand(["experiment", GRID, "--out", whole, "--jobs", "2"]);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stderr, /rank-4_seed1: starts from the switch of lorasa_seed1/);
  assert.match(first.stderr, /ps_seed1: starts from the switch of lorasa_seed1/);
  for (const name of ["report.json", "report.md", "report.html", "curve-return.svg", "final-return.svg"])
    assert.ok(existsSync(join(whole, name)), name);
  const markdown = readFileSync(join(whole, "report.md"), "utf8").split("\n");
  assert.deepEqual(markdown.slice(0, 5), ["# grid", "", "```", `lorasa experiment ${GRID}`, "```"]);
  const before = timeless(whole);
  assert.match(markdown.join("\n"), /Made with lorasa .*, Node v.*, 2 runs at once \(3 runs\)\./);

  const again = runCommand(["experiment", GRID, "--out", whole, "--quiet", "--json"]);
  assert.equal(again.status, 0, again.stderr);
  assert.equal(again.stderr, "");
  const answer = JSON.parse(again.stdout) as { finished: number; missing: []; groups: { sizes: object }[] };
  assert.equal(answer.finished, 3);
  assert.deepEqual(answer.missing, []);
  assert.deepEqual(timeless(whole), before);
});

test("a run that started from another's switch is bit for bit the whole run", async () => {
  const { cells } = resolveGrid(readExperiment(GRID));
  const shared = ["ps_seed1", "rank-4_seed1"];
  for (const name of shared) {
    const { config } = cells.find((cell) => cell.name === name)!;
    const alone = join(folder, `alone-${name}`);
    const { return: reached, phases } = await train({ config, directory: alone, runtime: createRuntime() });
    const result = JSON.parse(readFileSync(join(whole, name, "result.json"), "utf8")) as {
      startedFrom: string;
      return: object;
      phases: { envSteps: number }[];
      curves: { return: [number, number][] };
    };
    assert.match(result.startedFrom, /^lorasa_seed/);
    assert.equal(readMetrics(join(whole, name, "metrics.jsonl"))[0]!.envSteps, 1760, "its own part alone");
    assert.deepEqual(result.return, reached);
    assert.deepEqual(contents(join(whole, name, "checkpoint")), contents(join(alone, "checkpoint")), name);
    assert.deepEqual(
      result.phases.map(({ envSteps }) => envSteps),
      phases.map(({ envSteps }) => envSteps),
    );
    const rows = readMetrics(join(alone, "metrics.jsonl")).map(({ envSteps, metrics }) => [
      envSteps,
      metrics["return"],
    ]);
    assert.deepEqual(
      result.curves.return,
      rows.filter(([, value]) => Number.isFinite(value)),
      `${name}: the curve goes back before the switch`,
    );
  }
});

test("what another experiment has finished is copied, and others go on from its switch", () => {
  const [here, name] = [join(folder, "beside"), "ranks"];
  cpSync(whole, join(here, "runs", "experiments", "grid"), { recursive: true });
  const path = experiment(name, {
    base: unseeded({ ...SHORT, steps: 3200, rolloutLength: 40, saveEvery: 640, evaluateEvery: 800 }),
    axes: { size: { small: { rank: 3, alpha: 3 }, usual: {} } },
    include: [{ name: "shared", set: { sharing: "ps" } }],
  });
  const plan = runCommand(["experiment", path, "--dry-run", "--json", "--quiet"], {}, here);
  assert.equal(plan.status, 0, plan.stderr);
  const { cells } = JSON.parse(plan.stdout) as { cells: Record<string, unknown>[] };
  assert.deepEqual(
    cells.map(({ cell, state, takenFrom, from, steps }) => [cell, state, takenFrom, from, steps]),
    [
      ["small_seed1", "new", null, "usual_seed1", 1600],
      ["usual_seed1", "finished", "grid/lorasa_seed1", null, 0],
      ["shared_seed1", "finished", "grid/ps_seed1", null, 0],
    ],
  );

  const run = runCommand(["experiment", path], {}, here);
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stderr, /usual_seed1: copied from grid\/lorasa_seed1/);
  assert.match(run.stderr, /shared_seed1: copied from grid\/ps_seed1/);
  assert.match(run.stderr, /small_seed1: starts from the switch of usual_seed1/);
  const experiments = join(here, "runs", "experiments");
  const result = (experimentName: string, cell: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(experiments, experimentName, cell, "result.json"), "utf8"));
  const [kept, copied] = [result("grid", "lorasa_seed1"), result(name, "usual_seed1")];
  const own = { cell: "usual_seed1", group: "usual", takenFrom: "grid/lorasa_seed1" };
  assert.deepEqual({ ...copied, config: null }, { ...kept, ...own, config: null });
  assert.deepEqual(
    contents(join(experiments, name, "usual_seed1", "checkpoint")),
    contents(join(experiments, "grid", "lorasa_seed1", "checkpoint")),
  );
  const { curves } = result(name, "small_seed1") as { curves: { return: [number, number][] } };
  assert.ok(curves.return[0]![0] < 1600, "the curve goes back before the switch");
});

/** A grid stopped as soon as a run has updated once; undefined when no run was in its middle. */
async function stopGrid(out: string): Promise<string[] | undefined> {
  const args = [
    "--import",
    "tsx",
    join("src", "cli", "main.ts"),
    "experiment",
    LONG,
    "--out",
    out,
    "--jobs",
    "2",
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    said += part;
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const updated = (cell: string): boolean => {
    const metrics = join(out, cell, "metrics.jsonl");
    return existsSync(metrics) && readFileSync(metrics, "utf8") !== "";
  };
  const started = (): boolean => existsSync(out) && readdirSync(out).some(updated);
  for (let looks = 0; looks < 1200 && !started() && child.exitCode === null; looks++)
    await new Promise((resolve) => setTimeout(resolve, 25));
  child.kill("SIGINT");
  const code = await exited;
  const cells = readdirSync(out);
  const has = (cell: string, what: string): boolean => existsSync(join(out, cell, what));
  if (!cells.some((cell) => has(cell, "checkpoint") && !has(cell, "result.json"))) return undefined;
  assert.equal(code, 130, said);
  assert.match(said, /stopping every run after a checkpoint/);
  assert.ok(!cells.includes("running.pid"), "the folder is let go");
  return cells;
}

test("a grid that was stopped and resumed gives the table of one that was not", async () => {
  // On a busy machine tiny runs may be through before the signal is heard: then another one is stopped.
  let stopped = "";
  let cells: string[] | undefined;
  for (let attempt = 0; attempt < 5 && cells === undefined; attempt++) {
    stopped = join(folder, `stopped-${attempt}`);
    cells = await stopGrid(stopped);
  }
  assert.ok(cells, "none of five grids could be stopped in its middle");
  const uninterrupted = join(folder, "uninterrupted");
  assert.equal(runCommand(["experiment", LONG, "--out", uninterrupted, "--jobs", "2"]).status, 0);
  const resumed = runCommand(["experiment", LONG, "--out", stopped, "--jobs", "3"]);
  assert.equal(resumed.status, 0, resumed.stderr);
  assert.match(resumed.stderr, /_seed1: goes on/);
  const logs = cells.filter((cell) => existsSync(join(stopped, cell, "train.log")));
  assert.ok(
    logs.some((cell) =>
      /going on from step \d+ of \S*checkpoint/.test(readFileSync(join(stopped, cell, "train.log"), "utf8")),
    ),
    "from its checkpoint and not anew",
  );
  assert.deepEqual(timeless(stopped), timeless(uninterrupted));
  for (const chart of ["curve-return.svg", "final-return.svg"])
    assert.equal(
      readFileSync(join(stopped, chart), "utf8"),
      readFileSync(join(uninterrupted, chart), "utf8"),
      chart,
    );
});

test("a failing run is told and the others go on; a changed one is refused before anything runs", () => {
  const out = join(folder, "failing");
  const axes = { layers: { all: { excludeLayers: [] }, wrong: { excludeLayers: ["nose"] } } };
  const base = unseeded(SHORT);
  const path = experiment("failing", { base, axes });
  const failing = runCommand(["experiment", path, "--out", out, "--json"]);
  assert.equal(failing.status, 1, failing.stderr);
  const answer = JSON.parse(failing.stdout) as { failed: { cell: string; why: string }[]; finished: number };
  assert.equal(answer.finished, 1);
  assert.deepEqual(
    answer.failed.map(({ cell }) => cell),
    ["wrong_seed1"],
  );
  assert.match(answer.failed[0]!.why, /nose/);

  const changed = experiment("failing", { base: { ...base, rank: 3 }, axes });
  const refused = runCommand(["experiment", changed, "--out", out]);
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /cell all_seed1: expected rank 2 as the finished run .*, received rank 3/);

  // A new run beside a changed one: the report would need both.
  const axesMore = { layers: { ...axes.layers, more: { epochs: 1 } } };
  const more = experiment("failing", { base: { ...base, rank: 3 }, axes: axesMore });
  const alone = runCommand(["experiment", more, "--out", out, "--only", "more"]);
  assert.equal(alone.status, 2);
  assert.match(alone.stderr, /cell all_seed1: expected rank 2/);
  assert.ok(!existsSync(join(out, "more_seed1")), "nothing was run");

  for (const none of ["nothing*,", ","]) {
    const some = runCommand(["experiment", path, "--out", out, "--only", none]);
    assert.equal(some.status, 2, `--only ${none}`);
    assert.match(some.stderr, /^lorasa: --only .*: expected text of a run's name/, `--only ${none}`);
  }
  const some = runCommand(["experiment", path, "--out", out, "--only", "nothing*"]);
  assert.match(some.stderr, /--only nothing\*: .*runs: all_seed1, wrong_seed1/);
});

test("a dry run tells runs, parameters and time, and leaves no folder", () => {
  const out = join(folder, "dry");
  const { status, stdout, stderr } = runCommand([
    "experiment",
    GRID,
    "--out",
    out,
    "--dry-run",
    "--json",
    "--jobs",
    "2",
    "--only",
    "rank*,ps_seed1",
  ]);
  assert.equal(status, 0, stderr);
  const plan = JSON.parse(stdout) as {
    estimatedSeconds: number;
    groups: { name: string; parameters: Record<string, number>; cores: number }[];
    cells: { cell: string; from: string | null; steps: number; config: { rank: number } }[];
  };
  assert.deepEqual(
    plan.cells.map(({ cell, from, steps, config }) => [cell, from, steps, config.rank]),
    [
      ["ps_seed1", "lorasa_seed1", 1600, 2],
      ["rank-4_seed1", "lorasa_seed1", 1600, 4],
    ],
  );
  assert.ok(plan.estimatedSeconds > 0);
  const share = Math.max(1, Math.floor(availableParallelism() / 2));
  assert.deepEqual(
    plan.groups.map(({ cores }) => cores),
    [share, share],
    "measured with what a run gets",
  );
  const [ps, rank] = plan.groups.map(({ parameters }) => parameters) as [
    Record<string, number>,
    Record<string, number>,
  ];
  assert.equal(ps["ownParameters"], 0);
  assert.equal(rank["trainableParameters"], 2 * rank["ownParameters"]!);
  assert.equal(rank["actorParameters"], ps["actorParameters"]! + rank["trainableParameters"]!);
  assert.ok(!existsSync(out));
});
