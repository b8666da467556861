/** The table of an experiment out of its finished runs: spread over seeds, sizes, times, the baseline beside. No files. */
import {
  bootstrapInterval,
  interquartileMean,
  mean,
  sampleStandardDeviation,
} from "../../base/statistics.ts";
import { bandOverRuns } from "../../report/curves.ts";
import type { LinePoint } from "../../report/plot.ts";
import { baselines } from "./baseline.ts";
import { type CellResult, returnsOf, wonOf } from "./cell-result.ts";
import { type Comparison, comparison } from "./comparison.ts";
import type { Grid, Group } from "./grid.ts";
import type { InferenceTime } from "./inference-times.ts";
import { makingText } from "./machine.ts";

/** A figure over a group's runs. */
export interface Spread {
  /** Of every run, in the order of seeds. */
  readonly values: readonly number[];
  readonly mean: number;
  /** Sample standard deviation; null with one run. */
  readonly std: number | null;
  readonly interquartileMean: number;
  /** Of the interquartile mean: 95 %, bootstrapped over runs; null with one run. */
  readonly interval: readonly [low: number, high: number] | null;
}

export interface GroupReport {
  readonly name: string;
  readonly title: string;
  readonly labels: Group["labels"];
  readonly env: string;
  readonly steps: number;
  readonly seeds: readonly number[];
  readonly return: Spread;
  readonly won: Spread | null;
  readonly sizes: CellResult["sizes"];
  readonly baseline: Comparison | null;
  /** Means over the runs; seconds and speed as they were on the machine that ran them. */
  readonly times: {
    readonly trainingSeconds: number;
    readonly envStepsPerSecond: number;
    readonly peakMemoryBytes: number | null;
    readonly inferenceMicroseconds: number | null;
  };
  /** By figure: mean over runs with the band from lowest to highest. */
  readonly curves: Readonly<Record<string, readonly LinePoint[]>>;
}

export interface ExperimentReport {
  readonly name: string;
  readonly about: string;
  readonly command: string;
  readonly seeds: readonly number[];
  /** Runs that are not finished. */
  readonly missing: readonly string[];
  /** Those with a finished run, in the order of the grid. */
  readonly groups: readonly GroupReport[];
  /** What finished runs were made with, every distinct line with the number of its runs; null for runs that do not tell. */
  readonly madeWith: readonly { readonly what: string | null; readonly runs: number }[];
  /** Machines on which the step of the team was timed, and whether beside other work. */
  readonly timedOn: readonly string[];
}

export interface ReportInput {
  readonly grid: Grid;
  /** Finished runs by name. */
  readonly results: ReadonlyMap<string, CellResult>;
  readonly command: string;
  /** How long one step of the team takes, by group. */
  readonly inference: ReadonlyMap<string, InferenceTime>;
}

/** Points of a curve at most: more are not seen, and make a large file. */
const CURVE_POINTS = 160;

export function experimentReport({ grid, results, command, inference }: ReportInput): ExperimentReport {
  const { file, groups, cells } = grid;
  const byGroup = new Map(
    groups.map(({ name }) => [
      name,
      cells.flatMap((cell) => (cell.group === name ? (results.get(cell.name) ?? []) : [])),
    ]),
  );
  const beside = baselines(grid);
  return {
    name: file.name,
    about: file.about,
    command,
    seeds: file.seeds,
    missing: cells.flatMap(({ name }) => (results.has(name) ? [] : [name])),
    groups: groups.flatMap((group) => {
      const runs = byGroup.get(group.name)!;
      if (runs.length === 0) return [];
      const baseline = beside.get(group.name);
      const theirs = baseline ? byGroup.get(baseline.name)! : [];
      const compared = theirs.length === 0 ? null : comparison(baseline!.name, runs, theirs);
      return [groupReport(group, runs, compared, inference.get(group.name)?.microseconds ?? null)];
    }),
    madeWith: madeWith([...results.values()]),
    timedOn: [...new Set([...inference.values()].map(timedOn))],
  };
}

function madeWith(results: readonly CellResult[]): ExperimentReport["madeWith"] {
  const counts = new Map<string | null, number>();
  for (const { madeWith: made } of results) {
    const what = made ? makingText(made) : null;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return [...counts].map(([what, runs]) => ({ what, runs }));
}

function timedOn({ machine = "a machine that was not noted", busy }: InferenceTime): string {
  return busy ? `${machine}, beside other work` : machine;
}

function groupReport(
  { name, title, labels, config }: Group,
  runs: readonly CellResult[],
  baseline: Comparison | null,
  inferenceMicroseconds: number | null,
): GroupReport {
  const won = wonOf(runs);
  const peaks = runs.flatMap(({ times }) => times.peakMemoryBytes ?? []);
  return {
    name,
    title,
    labels,
    env: config.env,
    steps: config.steps,
    seeds: runs.map((run) => run.config.seed),
    return: spread(returnsOf(runs)),
    won: won && spread(won),
    sizes: runs[0]!.sizes,
    baseline,
    times: {
      trainingSeconds: mean(runs.map(({ times }) => times.seconds)),
      envStepsPerSecond: mean(runs.map(({ times }) => times.envStepsPerSecond)),
      peakMemoryBytes: peaks.length === 0 ? null : mean(peaks),
      inferenceMicroseconds,
    },
    curves: curvesOf(runs),
  };
}

/** Of runs of which one gave no number, every summary is none. */
export function spread(values: readonly number[]): Spread {
  const several = values.length > 1;
  const known = several && values.every(Number.isFinite);
  return {
    values,
    mean: mean(values),
    std: several ? sampleStandardDeviation(values) : null,
    interquartileMean: interquartileMean(values),
    interval: known ? bootstrapInterval([values], ([drawn]) => interquartileMean(drawn!)) : null,
  };
}

function curvesOf(runs: readonly CellResult[]): Record<string, LinePoint[]> {
  const names = Object.keys(runs[0]!.curves).filter((name) => runs.every(({ curves }) => curves[name]));
  return Object.fromEntries(
    names.map((name) => {
      const curves = runs.map((run) => run.curves[name]!.map(([x, y]) => ({ x, y })));
      return [name, thinned(bandOverRuns(curves, "min-max")).map(rounded)];
    }),
  );
}

/** More digits are not seen. */
function rounded({ x, y, low, high }: LinePoint): LinePoint {
  const short = (value: number): number => Number(value.toPrecision(6));
  const band = low === undefined || high === undefined ? {} : { low: short(low), high: short(high) };
  return { x, y: short(y), ...band };
}

/** Evenly chosen points, the first and the last among them. */
function thinned<T>(points: readonly T[]): T[] {
  if (points.length <= CURVE_POINTS) return [...points];
  const last = points.length - 1;
  return Array.from({ length: CURVE_POINTS }, (_, i) => points[Math.round((i * last) / (CURVE_POINTS - 1))]!);
}
