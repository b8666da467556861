/**
 * What a finished run of an experiment is remembered by: one file that needs nothing else, so that tables can be made
 * where checkpoints are no more. Not what is made of many.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { LorasaError } from "../../base/errors.ts";
import { switchStep } from "../../training/config.ts";
import { type MetricsRow, readMetrics } from "../../training/log/metrics-file.ts";
import { loadRun } from "../../training/saved-run.ts";
import type { Cell } from "./grid.ts";
import { type Making, making } from "./machine.ts";
import { teamSizes } from "./team-sizes.ts";

const figure = z.number().nullable();

/** A figure over environment steps. */
const curve = z.array(z.tuple([z.int().nonnegative(), z.number()]));

const cellResult = z.object({
  cell: z.string(),
  group: z.string(),
  config: z.looseObject({ env: z.string(), steps: z.int(), seed: z.int() }),
  /** The run whose switch this one went on from. */
  startedFrom: z.string().nullable(),
  /** The run of another experiment that this is a copy of, `<experiment>/<run>`. */
  takenFrom: z.string().optional(),
  envSteps: z.int(),
  /** Of the deterministic evaluation at the end: mean and population deviation over its episodes. */
  return: z.object({ mean: figure, std: figure }),
  /** Part of the last evaluation's episodes that were won, 0 to 1; null where nothing can be won. */
  won: figure,
  phases: z.array(z.looseObject({ phase: z.string(), envSteps: z.int(), return: figure })),
  sizes: z.object({
    agents: z.int(),
    actorParameters: z.int(),
    /** In the last phase. */
    trainableParameters: z.int(),
    /** Of an agent's network, those that no other agent uses: the mean over agents. */
    ownParameters: z.int(),
    criticParameters: z.int(),
    actorBytes: z.int(),
    criticBytes: z.int(),
  }),
  times: z.object({
    /** Of training in all, the part before a shared start included. */
    seconds: z.number(),
    envStepsPerSecond: z.number(),
    /** Most memory that the training process took; null where it was not told. */
    peakMemoryBytes: figure,
  }),
  /** Left out by runs that did not note it yet. */
  madeWith: making.optional(),
  curves: z.record(z.string(), curve),
});

export type CellResult = z.infer<typeof cellResult>;

/** Figures of `metrics.jsonl` that are kept as curves. */
const CURVES = ["return", "evaluationReturn", "evaluationWon"] as const;

/** @throws LORASA_FILE when it is not one. */
export function parseCellResult(json: unknown, what: string): CellResult {
  const parsed = cellResult.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues as [z.core.$ZodIssue];
  throw new LorasaError("LORASA_FILE", {
    asked: `${what}, ${issue.path.join(".")}`,
    received: issue.message,
    mend: "remove the file, and the run is finished again from its checkpoint",
  });
}

/** What `train --json` prints, as far as it is kept. */
const trainAnswer = z.looseObject({
  envSteps: z.int(),
  return: z.looseObject({ mean: figure, std: figure }),
  phases: z.array(z.looseObject({ phase: z.string(), envSteps: z.int(), return: figure })),
  figures: z.record(z.string(), figure).optional(),
  peakMemoryBytes: z.number().optional(),
});

/**
 * Gathers a finished run.
 * @param answer what its `train --json` printed.
 * @param story its folders: before its own those whose switches it went on from, the first one first; the run that it
 *   started from; what it was made with.
 */
export function gatherResult(
  cell: Cell,
  answer: unknown,
  story: {
    readonly folders: readonly string[];
    readonly from: string | null;
    readonly madeWith: Making;
  },
): CellResult {
  const { folders, from, madeWith } = story;
  const { envSteps, return: reached, phases, figures, peakMemoryBytes } = trainAnswer.parse(answer);
  const { saved, team } = loadRun(join(folders.at(-1)!, "checkpoint"));
  const { seconds } = saved.counters;
  const curves = curvesOf(folders);
  const { config } = cell;
  return {
    cell: cell.name,
    group: cell.group,
    config,
    startedFrom: from,
    envSteps,
    return: { mean: reached.mean, std: reached.std },
    won: figures?.["won"] ?? lastAt(curves["evaluationWon"], envSteps),
    // A shared start adds the ends of phases of other runs.
    phases: phases.filter((phase) => [0, switchStep(config), envSteps].includes(phase.envSteps)),
    sizes: teamSizes(team, saved, join(folders.at(-1)!, "checkpoint")),
    times: { seconds, envStepsPerSecond: envSteps / seconds, peakMemoryBytes: peakMemoryBytes ?? null },
    madeWith,
    curves,
  };
}

/** Final returns. A run whose evaluation gave no number is one that diverged; it counts as what it is, not a number. */
export function returnsOf(runs: readonly CellResult[]): number[] {
  return runs.map((run) => run.return.mean ?? Number.NaN);
}

/** Shares of episodes won; null unless every run tells it. */
export function wonOf(runs: readonly CellResult[]): number[] | null {
  const won = runs.flatMap((run) => run.won ?? []);
  return won.length === runs.length ? won : null;
}

/** Each folder's rows up to where the next one's begin. */
function curvesOf(folders: readonly string[]): Record<string, [number, number][]> {
  let rows: MetricsRow[] = [];
  for (const folder of folders) {
    const path = join(folder, "metrics.jsonl");
    const own = existsSync(path) ? readMetrics(path) : [];
    const first = own[0]?.envSteps ?? Number.POSITIVE_INFINITY;
    rows = [...rows.filter(({ envSteps }) => envSteps < first), ...own];
  }
  const pairs = CURVES.map((name) => {
    const points = rows.map(
      ({ envSteps, metrics }) => [envSteps, metrics[name] ?? Number.NaN] as [number, number],
    );
    return [name, points.filter(([, value]) => Number.isFinite(value))] as const;
  });
  return Object.fromEntries(pairs.filter(([, points]) => points.length > 0));
}

function lastAt(points: readonly (readonly [number, number])[] | undefined, envSteps: number): number | null {
  const last = points?.at(-1);
  return last && last[0] === envSteps ? last[1] : null;
}
