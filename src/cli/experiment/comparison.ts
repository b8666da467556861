/** A group of runs beside its baseline: differences with their intervals, sizes as parts. Not which group the baseline is. */
import { bootstrapInterval, interquartileMean } from "../../base/statistics.ts";
import { type CellResult, returnsOf, wonOf } from "./cell-result.ts";

export interface Comparison {
  /** The baseline's name. */
  readonly group: string;
  readonly return: Difference;
  /** Of the share of episodes won, in [-1, 1]; null unless every run of both tells it. */
  readonly won: Difference | null;
  /** This group's as a part of the baseline's. */
  readonly parameters: number;
  readonly bytes: number;
}

/** A group's figure less its baseline's. */
export interface Difference {
  /** Of interquartile means. */
  readonly value: number;
  /** Of runs of one seed, in the order of seeds; null unless both sides have the same seeds. */
  readonly pairs: readonly number[] | null;
  /** Of the value: 95 %, bootstrapped over pairs, or over the runs of each side where there are none; null with one run. */
  readonly interval: readonly [low: number, high: number] | null;
}

/** @param ours, theirs finished runs in the order of the grid, at least one of each; theirs are the baseline's. */
export function comparison(
  group: string,
  ours: readonly CellResult[],
  theirs: readonly CellResult[],
): Comparison {
  const [own, other] = [ours[0]!.sizes, theirs[0]!.sizes];
  const paired = sameSeeds(ours, theirs);
  const [wonByUs, wonByThem] = [wonOf(ours), wonOf(theirs)];
  return {
    group,
    return: differenceOf(returnsOf(ours), returnsOf(theirs), paired),
    won: wonByUs && wonByThem && differenceOf(wonByUs, wonByThem, paired),
    parameters: own.actorParameters / other.actorParameters,
    bytes: own.actorBytes / other.actorBytes,
  };
}

/** Of runs in the order of the grid, in which a group's seeds have one order. */
function sameSeeds(ours: readonly CellResult[], theirs: readonly CellResult[]): boolean {
  return (
    ours.length === theirs.length && ours.every(({ config }, i) => config.seed === theirs[i]!.config.seed)
  );
}

function differenceOf(ours: readonly number[], theirs: readonly number[], paired: boolean): Difference {
  const known = [ours, theirs].every((values) => values.length > 1 && values.every(Number.isFinite));
  return {
    value: interquartileMean(ours) - interquartileMean(theirs),
    pairs: paired ? ours.map((own, i) => own - theirs[i]!) : null,
    interval: known ? intervalOf(ours, theirs, paired) : null,
  };
}

/**
 * Runs of one seed have the same first weights and environments: with the same seeds on both sides a resample draws
 * pairs, so that what seeds differ by drops out. Else each side's runs are a stratum of their own.
 */
function intervalOf(
  ours: readonly number[],
  theirs: readonly number[],
  paired: boolean,
): readonly [low: number, high: number] {
  if (!paired)
    return bootstrapInterval([ours, theirs], ([a, b]) => interquartileMean(a!) - interquartileMean(b!));
  const seeds = [...ours.keys()];
  return bootstrapInterval([seeds], ([drawn]) => {
    const of = (values: readonly number[]): number => interquartileMean(drawn!.map((i) => values[i]!));
    return of(ours) - of(theirs);
  });
}
