/** `lorasa experiment`: runs a grid of trainings and makes one table of them. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { LorasaError } from "../base/errors.ts";
import { createRuntime } from "../runtime/onnxruntime.ts";
import { answer, type CommandAnswer, wholeNumber, withJson } from "./command.ts";
import { baselines } from "./experiment/baseline.ts";
import { cellState } from "./experiment/cell-folder.ts";
import type { CellResult } from "./experiment/cell-result.ts";
import { dryRun } from "./experiment/dry-run.ts";
import { readExperiment } from "./experiment/experiment-file.ts";
import { type Cell, type Grid, resolveGrid } from "./experiment/grid.ts";
import { GridProgress } from "./experiment/grid-progress.ts";
import { inferenceTimes } from "./experiment/inference-times.ts";
import { lockFolder } from "./experiment/lock.ts";
import { experimentPath } from "./experiment/ready-experiments.ts";
import { experimentReport } from "./experiment/report-data.ts";
import { reportText, writeReport } from "./experiment/report-files.ts";
import { type GridOutcome, runGrid } from "./experiment/run-grid.ts";
import { sharedStarts } from "./experiment/shared-start.ts";
import { findTwins, type Twin, takeOver } from "./experiment/twins.ts";

interface ExperimentFlags {
  readonly out?: string;
  readonly jobs: number;
  readonly only?: string;
  readonly dryRun?: boolean;
  readonly reportOnly?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function experimentCommand(): Command {
  return withJson(new Command("experiment"))
    .description(
      "Run a grid of trainings, several at once, and make one table of what they reached and cost.",
    )
    .argument("<file>", "JSON file of the experiment, or the name of a ready one such as main-halfcheetah")
    .option("--out <dir>", "folder of the runs and the report (default: runs/experiments/<name>)")
    .option(
      "--jobs <n>",
      "runs at once, each with its share of the cores",
      wholeNumber(1),
      availableParallelism(),
    )
    .option("--only <pattern>", "runs whose name holds this text; * stands for anything, commas for or")
    .option(
      "--dry-run",
      "check everything, print the runs with their parameters and how long they would take",
    )
    .option("--report-only", "make the report of what is finished")
    .option("--quiet", "no progress")
    .addHelpText(
      "after",
      `
The file:
  name, about   of the experiment; the runs lie in runs/experiments/<name>/<run>/
  base          fields of the training configuration (lorasa train --help lists them), over a "preset" if named
  axes          by field, the values that are tried; or by any name, variants as { label: fields }
  seeds         every combination is run with each of them
  include       further runs: [{ "name", "set": fields }]
  exclude       combinations that are left out: [{ axis or field: value, or list of values }]
  overrides     [{ "when": { axis or field: value }, "set": fields }], the later one wins
  baseline      what the others stand beside: { axis: label }, or the name of a run of include

A run that was finished is not run again, and one that was stopped goes on, so the same command continues. A run that
another experiment in runs/experiments has finished with the same configuration is copied. Runs that differ only in
their adapters share the part before adapters start: the first of them trains it, the others go on from its switch, with
the numbers that each would have had alone.

Examples:
  lorasa experiment main-halfcheetah --dry-run
  lorasa experiment main-halfcheetah --jobs 2
  lorasa experiment main-halfcheetah --only "mappo_*_seed1,a2po_lorasa"
  lorasa experiment my-grid.json --report-only --json
Ctrl-C ends every run after a checkpoint; a second one ends at once.`,
    )
    .action((file: string, flags: ExperimentFlags) => answer(flags, () => runExperiment(file, flags)));
}

async function runExperiment(path: string, flags: ExperimentFlags): Promise<CommandAnswer> {
  const grid = resolveGrid(readExperiment(experimentPath(path)));
  // A baseline that no run is would only be seen at the end.
  baselines(grid);
  const folder = flags.out ?? join("runs", "experiments", grid.file.name);
  const chosen = chosenCells(grid, flags.only);
  const folderOf = (cell: string): string => join(folder, cell);
  // Somebody's own --out stands alone: what lies beside it is not known to be experiments.
  const twins = flags.out === undefined ? findTwins(chosen, folder, folderOf) : new Map<string, Twin>();
  if (flags.dryRun)
    return dryRun(grid, chosen, { twins, folderOf, jobs: flags.jobs, quiet: flags.quiet ?? false });
  const outcome = flags.reportOnly
    ? undefined
    : await runCells(grid, chosen, { folder, folderOf, twins, flags });
  const results = finishedResults(grid, folderOf);
  if (outcome && outcome.left.length > 0) return stoppedAnswer(path, folder, results.size, grid, outcome);
  const report = experimentReport({
    grid,
    results,
    command: `lorasa experiment ${path}`,
    inference: inferenceTimes(measuredGroups(grid, results, folderOf), folder, createRuntime()),
  });
  const files = await writeReport(report, grid, folder);
  const failed = outcome?.failed ?? [];
  if (failed.length > 0) process.exitCode = 1;
  const { groups, missing } = report;
  return {
    json: {
      experiment: grid.file.name,
      folder,
      finished: results.size,
      failed,
      missing,
      groups: groups.map(({ curves: _, ...group }) => group),
      files,
    },
    text: [
      reportText(report),
      ...failedLines(failed),
      ...(missing.length > 0 ? [`not finished  ${missing.join(", ")}`] : []),
      `report  ${files.page}`,
      `table   ${files.markdown}`,
      `numbers ${files.json}`,
    ].join("\n"),
  };
}

async function runCells(
  grid: Grid,
  cells: readonly Cell[],
  asked: {
    readonly folder: string;
    readonly folderOf: (cell: string) => string;
    readonly twins: ReadonlyMap<string, Twin>;
    readonly flags: ExperimentFlags;
  },
): Promise<GridOutcome> {
  const { folder, folderOf, twins, flags } = asked;
  // A changed run is found before the first one is started, be it one that only the report reads.
  for (const cell of grid.cells) cellState(folderOf(cell.name), cell);
  const progress = new GridProgress({ quiet: flags.quiet ?? false });
  const [stop, atOnce] = [new AbortController(), new AbortController()];
  let unlock = (): void => {};
  const onSignal = (): void => {
    const again = stop.signal.aborted;
    if (!again) progress.note("stopping every run after a checkpoint; press Ctrl-C again to end at once");
    (again ? atOnce : stop).abort();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.on(name, onSignal);
  try {
    unlock = lockFolder(folder);
    for (const cell of cells) {
      const twin = twins.get(cell.name);
      if (!twin) continue;
      takeOver(cell, twin, folderOf(cell.name));
      progress.note(`${cell.name}: copied from ${twin.name}`);
    }
    return await runGrid({
      cells,
      starts: sharedStarts(grid.cells, ({ name }) => existsSync(join(folderOf(name), "switch"))),
      folderOf,
      jobs: flags.jobs,
      signal: stop.signal,
      atOnce: atOnce.signal,
      onProgress: (state) => progress.update(state),
      onNote: (line) => progress.note(line),
    });
  } finally {
    progress.close();
    unlock();
    for (const name of signals) process.off(name, onSignal);
  }
}

/** @throws LORASA_FLAG for a pattern that no run has. */
function chosenCells({ cells }: Grid, only: string | undefined): readonly Cell[] {
  if (only === undefined) return cells;
  const parts = only.split(",").map((part) => part.trim());
  // Of `a,` the empty part would mean every run.
  const patterns = parts
    .filter((part) => part !== "")
    .map((part) => new RegExp(part.split("*").map(escaped).join(".*")));
  const chosen = cells.filter(({ name }) => patterns.some((pattern) => pattern.test(name)));
  if (chosen.length > 0) return chosen;
  throw new LorasaError("LORASA_FLAG", {
    asked: `--only ${only}`,
    expected: "text of a run's name",
    received: "none that has it",
    mend: `runs: ${cells
      .slice(0, 12)
      .map(({ name }) => name)
      .join(", ")}${cells.length > 12 ? ", …" : ""}`,
  });
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function finishedResults({ cells }: Grid, folderOf: (cell: string) => string): Map<string, CellResult> {
  const results = new Map<string, CellResult>();
  for (const cell of cells) {
    const folder = folderOf(cell.name);
    const state = existsSync(folder) ? cellState(folder, cell) : null;
    if (state?.kind === "finished") results.set(cell.name, state.result);
  }
  return results;
}

/** The first finished run of a group stands for it: networks of a group are alike. */
function measuredGroups(
  { groups, cells }: Grid,
  results: ReadonlyMap<string, CellResult>,
  folderOf: (cell: string) => string,
): { name: string; checkpoint: string }[] {
  return groups.flatMap(({ name }) => {
    const first = cells.find((cell) => cell.group === name && results.has(cell.name));
    return first ? [{ name, checkpoint: join(folderOf(first.name), "checkpoint") }] : [];
  });
}

function stoppedAnswer(
  path: string,
  folder: string,
  finished: number,
  { file, cells }: Grid,
  { left, failed }: GridOutcome,
): CommandAnswer {
  process.exitCode = 130;
  return {
    json: { experiment: file.name, folder, interrupted: true, finished, failed, left },
    text: [
      `stopped; ${finished} of ${cells.length} runs are finished, checkpoints of the others were written`,
      ...failedLines(failed),
      `go on   lorasa experiment ${path}`,
    ].join("\n"),
  };
}

function failedLines(failed: GridOutcome["failed"]): string[] {
  return failed.map(({ cell, why }) => `failed  ${cell}: ${why}`);
}
