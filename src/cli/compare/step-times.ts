/** Times one repeated step. */
import { quantile } from "../../base/statistics.ts";
import type { StepTimes } from "./contract.ts";

/** Room for the samples of one measurement; more are not taken. */
const MOST_SAMPLES = 50_000;
const LEAST_WARM_UP = 2;
const LEAST_SAMPLES = 7;

/** Runs a step for `warmUpMs`, then times each of its runs for `measureMs`, or a few if one takes longer. */
export function timeSteps(step: () => void, warmUpMs: number, measureMs: number): StepTimes {
  repeat(step, warmUpMs, LEAST_WARM_UP, new Float64Array(MOST_SAMPLES));
  const samples = new Float64Array(MOST_SAMPLES);
  const { count, elapsedMs } = repeat(step, measureMs, LEAST_SAMPLES, samples);
  const taken = samples.subarray(0, count);
  return {
    p50Us: quantile(taken, 0.5) * 1e3,
    p99Us: quantile(taken, 0.99) * 1e3,
    stepsPerSecond: (count / elapsedMs) * 1e3,
  };
}

/** Fills `samples` with milliseconds of each run. */
function repeat(
  step: () => void,
  budgetMs: number,
  least: number,
  samples: Float64Array,
): { count: number; elapsedMs: number } {
  const began = performance.now();
  let count = 0;
  let before = began;
  while (count < samples.length && (count < least || before - began < budgetMs)) {
    step();
    const after = performance.now();
    samples[count++] = after - before;
    before = after;
  }
  return { count, elapsedMs: before - began };
}
