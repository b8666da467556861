/** Statistics of runs: spread, interquartile mean and bootstrap intervals. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bootstrapInterval,
  interquartileMean,
  mean,
  sampleStandardDeviation,
} from "../../src/base/statistics.ts";

test("a sample's standard deviation divides by n − 1, and one value has none", () => {
  // Distances from 4 are −3, −1, 1, 3: their squares sum to 20.
  assert.equal(sampleStandardDeviation([1, 3, 5, 7]), Math.sqrt(20 / 3));
  assert.ok(Number.isNaN(sampleStandardDeviation([4])));
});

test("the interquartile mean leaves out a whole number of values at each end", () => {
  assert.equal(interquartileMean([900, 4, 2, -900]), 3);
  assert.equal(interquartileMean([1, 2, 6]), 3, "of three values none is left out");
  assert.equal(interquartileMean([0, 1, 2, 3, 4, 5, 6, 100]), 3.5, "of eight, two at each end");
  assert.equal(interquartileMean([9, 1, 2, 3, 100]), 14 / 3, "of five, one at each end");
  assert.ok(Number.isNaN(interquartileMean([])));
  assert.ok(Number.isNaN(interquartileMean([1, 2, Number.NaN, 3, 4])), "no number is not the highest one");
});

test("a bootstrap interval is that of the resamples' known distribution", () => {
  // The mean of two draws from {0, 1} is 0, ½ or 1 with odds 1 : 2 : 1, so that the middle half is ½.
  const average = ([values]: readonly (readonly number[])[]): number => mean(values!);
  assert.deepEqual(bootstrapInterval([[0, 1]], average, { level: 0.95 }), [0, 1]);
  assert.deepEqual(bootstrapInterval([[0, 1]], average, { level: 0.4 }), [0.5, 0.5]);
  // Thirty-two draws of 0 or 1: a mean of ½ ± 1.96 · ½ / √32.
  const coin = Array.from({ length: 32 }, (_, k) => k % 2);
  const [low, high] = bootstrapInterval([coin], average, { resamples: 4000, seed: 3 });
  assert.ok(Math.abs(low - 0.327) < 0.03 && Math.abs(high - 0.673) < 0.03, `${low} to ${high}`);
});

test("strata are resampled each from itself, so that their difference keeps its sign", () => {
  const difference = ([a, b]: readonly (readonly number[])[]): number => mean(a!) - mean(b!);
  assert.deepEqual(
    bootstrapInterval(
      [
        [10, 10, 10],
        [3, 3],
      ],
      difference,
    ),
    [7, 7],
  );
});

test("the same seed gives the same interval, and an empty stratum none", () => {
  const values = [[1, 5, 2, 9, 4]];
  const statistic = ([drawn]: readonly (readonly number[])[]): number => interquartileMean(drawn!);
  const interval = bootstrapInterval(values, statistic, { seed: 1 });
  assert.deepEqual(bootstrapInterval(values, statistic, { seed: 1 }), interval);
  assert.notDeepEqual(bootstrapInterval(values, statistic, { seed: 1, resamples: 20 }), interval);
  assert.deepEqual(bootstrapInterval([[1], []], statistic), [Number.NaN, Number.NaN]);
});
