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
import type { CellResult } from "./cell-result.ts";
import type { Grid, Group } from "./grid.ts";

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

/** A group beside its baseline. */
export interface Comparison {
  readonly group: string;
  /** Of interquartile means of returns, this group's less the baseline's, with its interval where both have two runs. */
  readonly difference: number;
  readonly interval: readonly [low: number, high: number] | null;
  readonly won: number | null;
  /** This group's as a part of the baseline's. */
  readonly parameters: number;
  readonly bytes: number;
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
}

export interface ReportInput {
  readonly grid: Grid;
  /** Finished runs by name. */
  readonly results: ReadonlyMap<string, CellResult>;
  readonly command: string;
  /** Microseconds of one step of the team, by group. */
  readonly inference: ReadonlyMap<string, number>;
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
      return [groupReport(group, runs, compared, inference.get(group.name) ?? null)];
    }),
  };
}

function groupReport(
  { name, title, labels, config }: Group,
  runs: readonly CellResult[],
  baseline: Comparison | null,
  inferenceMicroseconds: number | null,
): GroupReport {
  const won = runs.flatMap((run) => run.won ?? []);
  const peaks = runs.flatMap(({ times }) => times.peakMemoryBytes ?? []);
  return {
    name,
    title,
    labels,
    env: config.env,
    steps: config.steps,
    seeds: runs.map((run) => run.config.seed),
    return: spread(returnsOf(runs)),
    won: won.length === runs.length ? spread(won) : null,
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

export function spread(values: readonly number[]): Spread {
  const several = values.length > 1;
  return {
    values,
    mean: mean(values),
    std: several ? sampleStandardDeviation(values) : null,
    interquartileMean: interquartileMean(values),
    interval: several ? bootstrapInterval([values], ([drawn]) => interquartileMean(drawn!)) : null,
  };
}

/** Each side's runs are a stratum of their own: a resample has as many of both as there are. */
function comparison(group: string, ours: readonly CellResult[], theirs: readonly CellResult[]): Comparison {
  const strata = [returnsOf(ours), returnsOf(theirs)];
  const difference = ([a, b]: readonly (readonly number[])[]): number =>
    interquartileMean(a!) - interquartileMean(b!);
  const [own, other] = [ours[0]!.sizes, theirs[0]!.sizes];
  const won = (runs: readonly CellResult[]): number =>
    interquartileMean(runs.map((run) => run.won ?? Number.NaN));
  const wonBy = won(ours) - won(theirs);
  return {
    group,
    difference: difference(strata),
    interval: strata.every(({ length }) => length > 1) ? bootstrapInterval(strata, difference) : null,
    won: Number.isFinite(wonBy) ? wonBy : null,
    parameters: own.actorParameters / other.actorParameters,
    bytes: own.actorBytes / other.actorBytes,
  };
}

/** A run whose evaluation gave no number is one that diverged; it counts as what it is, not a number. */
function returnsOf(runs: readonly CellResult[]): number[] {
  return runs.map((run) => run.return.mean ?? Number.NaN);
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
