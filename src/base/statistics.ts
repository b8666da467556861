/** Small statistics over plain arrays. */
import { Random } from "./random.ts";

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return values.length === 0 ? Number.NaN : sum / values.length;
}

/** Population standard deviation (divides by n). */
export function standardDeviation(values: ArrayLike<number>): number {
  const centre = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i]! - centre) ** 2;
  return values.length === 0 ? Number.NaN : Math.sqrt(sum / values.length);
}

/** Quantile by linear interpolation between order statistics, `q` in [0, 1]. */
export function quantile(values: ArrayLike<number>, q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = Float64Array.from(values).sort();
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.ceil(position);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (position - below);
}

export function median(values: ArrayLike<number>): number {
  return quantile(values, 0.5);
}

/** Sample standard deviation (divides by n − 1); NaN for fewer than two values. */
export function sampleStandardDeviation(values: ArrayLike<number>): number {
  if (values.length < 2) return Number.NaN;
  return standardDeviation(values) * Math.sqrt(values.length / (values.length - 1));
}

/**
 * Mean of the middle half: the ⌊n/4⌋ lowest and as many highest values are left out, so that of fewer than four none is.
 * NaN for no values, and where one is NaN: a run without a figure has no place in the order, and must not be cut off as
 * the highest.
 * @source Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", section 4.3.
 */
export function interquartileMean(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  // Sorted to the end.
  if (Number.isNaN(sorted.at(-1))) return Number.NaN;
  const cut = Math.floor(sorted.length / 4);
  return mean(sorted.subarray(cut, sorted.length - cut));
}

export interface BootstrapOptions {
  /** Part of the resamples inside the interval, in (0, 1): 0.95. */
  readonly level?: number;
  /** 2,000 unless given: enough for two digits of a 95 % interval. */
  readonly resamples?: number;
  /** The same seed gives the same interval. */
  readonly seed?: number;
}

/**
 * Percentile interval of a statistic under the stratified bootstrap: every resample draws each stratum's values with
 * replacement from that stratum alone, as many as it has. Both ends are NaN when a stratum is empty.
 */
export function bootstrapInterval(
  strata: readonly (readonly number[])[],
  statistic: (resampled: readonly (readonly number[])[]) => number,
  { level = 0.95, resamples = 2000, seed = 0 }: BootstrapOptions = {},
): readonly [low: number, high: number] {
  if (strata.length === 0 || strata.some((stratum) => stratum.length === 0)) return [Number.NaN, Number.NaN];
  const random = new Random(seed);
  const drawn = Float64Array.from({ length: resamples }, () =>
    statistic(strata.map((stratum) => stratum.map(() => stratum[random.integer(stratum.length)]!))),
  );
  return [quantile(drawn, (1 - level) / 2), quantile(drawn, (1 + level) / 2)];
}
