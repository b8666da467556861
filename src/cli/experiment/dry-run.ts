/** What an experiment would run: every run, its parameters and how long it takes, by a few rollouts of each group. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { formatDuration, formatFixed } from "../../base/format.ts";
import { type Table, terminalTable } from "../../report/table.ts";
import { createRuntime } from "../../runtime/onnxruntime.ts";
import { switchStep } from "../../training/config.ts";
import type { CommandAnswer } from "../command.ts";
import { type CellState, cellProgress, cellState } from "./cell-folder.ts";
import type { Cell, Grid, Group } from "./grid.ts";
import { coresEach } from "./machine.ts";
import { sharedStarts } from "./shared-start.ts";
import { secondsBetween, type Trial, trial } from "./trial.ts";
import type { Twin } from "./twins.ts";

interface DryRunOptions {
  readonly twins: ReadonlyMap<string, Twin>;
  readonly folderOf: (cell: string) => string;
  readonly jobs: number;
  readonly quiet: boolean;
}

interface PlannedCell {
  readonly cell: string;
  readonly state: CellState["kind"];
  /** The finished run of another experiment that it would be a copy of. */
  readonly takenFrom: string | null;
  /** The run whose switch it would go on from. */
  readonly from: string | null;
  /** Environment steps that are left to it. */
  readonly steps: number;
  /** Of training that is left, with its share of the cores, without its evaluations. */
  readonly seconds: number;
}

export async function dryRun(
  grid: Grid,
  cells: readonly Cell[],
  options: DryRunOptions,
): Promise<CommandAnswer> {
  const trials = await groupTrials(grid, cells, options);
  const { twins, folderOf } = options;
  const starts = sharedStarts(grid.cells, ({ name }) =>
    existsSync(join(twins.get(name)?.folder ?? folderOf(name), "switch")),
  );
  const planned = cells.map((cell) =>
    planCell(cell, trials.get(cell.group)!, {
      start: starts.get(cell.name),
      twin: twins.get(cell.name),
      folder: folderOf(cell.name),
    }),
  );
  const times = planned.map((cell) => cell.seconds);
  // However many run at once, the longest one takes what it takes.
  const seconds = Math.max(times.reduce((sum, each) => sum + each, 0) / options.jobs, ...times);
  const groups = grid.groups.filter(({ name }) => trials.has(name));
  return {
    json: {
      experiment: grid.file.name,
      jobs: options.jobs,
      estimatedSeconds: seconds,
      groups: groups.map(({ name, labels }) => ({ name, labels, ...trials.get(name) })),
      cells: planned.map((plan, i) => ({ ...plan, config: cells[i]!.config })),
    },
    text: [
      terminalTable(groupTable(groups, trials)),
      terminalTable(cellTable(planned)),
      `${planned.length} runs, about ${formatDuration(seconds)} in all with ${options.jobs} at once`,
    ].join("\n"),
  };
}

/** By group, one after another: they would slow one another down. Each with the cores that a run would get. */
async function groupTrials(
  grid: Grid,
  cells: readonly Cell[],
  { jobs, quiet }: DryRunOptions,
): Promise<Map<string, Trial>> {
  // As it is told to runs; nothing else reads it in this process, which ends after the dry run.
  process.env["LORASA_CORES"] = String(coresEach(jobs));
  const runtime = createRuntime();
  const trials = new Map<string, Trial>();
  for (const { name, config } of grid.groups) {
    if (!cells.some(({ group }) => group === name)) continue;
    if (!quiet) process.stderr.write(`measuring ${name}\n`);
    trials.set(name, await trial(runtime, config));
  }
  return trials;
}

function planCell(
  cell: Cell,
  measured: Trial,
  {
    start,
    twin,
    folder,
  }: { readonly start: Cell | undefined; readonly twin: Twin | undefined; readonly folder: string },
): PlannedCell {
  const state = twin ? "finished" : cellState(folder, cell).kind;
  const { steps } = cell.config;
  const from = state === "new" && start ? start : null;
  const done = state === "finished" ? steps : state === "stopped" ? (cellProgress(folder)?.envSteps ?? 0) : 0;
  const begun = from ? switchStep(from.config) : done;
  return {
    cell: cell.name,
    state,
    takenFrom: twin?.name ?? null,
    from: from?.name ?? null,
    steps: steps - begun,
    seconds: state === "finished" ? 0 : secondsBetween(measured, cell.config, begun),
  };
}

function groupTable(groups: readonly Group[], trials: ReadonlyMap<string, Trial>): Table {
  return {
    columns: ["runs", "actor", "trained last", "own per agent", "steps/s"].map((title) => ({ title })),
    rows: groups.map(({ name, title, config }) => {
      const measured = trials.get(name)!;
      const { parameters } = measured;
      const speed = config.steps / secondsBetween(measured, config, 0);
      return [
        title,
        formatFixed(parameters.actorParameters, 0),
        formatFixed(parameters.trainableParameters, 0),
        formatFixed(parameters.ownParameters, 0),
        formatFixed(speed, 0),
      ];
    }),
  };
}

function cellTable(planned: readonly PlannedCell[]): Table {
  return {
    columns: ["run", "state", "from the switch of", "steps left", "time"].map((title) => ({ title })),
    rows: planned.map(({ cell, state, takenFrom, from, steps, seconds }) => [
      cell,
      takenFrom ? `copy of ${takenFrom}` : state,
      from,
      formatFixed(steps, 0),
      formatDuration(seconds),
    ]),
  };
}
