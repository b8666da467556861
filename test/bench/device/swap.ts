/** Time to replace one adapter of a bank, until the device is done with it. */
import { quantile } from "../../../src/base/statistics.ts";
import { LoadedMode } from "../../../src/cli/compare/loaded-mode.ts";
import { timeSteps } from "../../../src/cli/compare/step-times.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import type { Case, Sizes } from "./plan.ts";
import { policyBytes, policySize } from "./policy.ts";

export interface SwapFigures {
  /** Until the slot was read from again. */
  readonly p50Us: number;
  readonly p99Us: number;
  /** A step of one row of each agent, and the same with a swap before it. */
  readonly stepUs: number;
  readonly swapAndStepUs: number;
  readonly adapterBytes: number;
  readonly slots: number;
}

const SLOTS = 64;
const PAIRS = 60;
const SEED = 5;

export function measureSwap(
  { runner, hidden }: Extract<Case, { part: "swap" }>,
  { warmUpMs, measureMs }: Sizes,
): SwapFigures {
  const loaded = new LoadedMode(createRuntime(runner.device), policyBytes("factored", hidden, SLOTS));
  const buffers = loaded.buffers(1, SEED);
  const step = loaded.bind(buffers);
  const swap = loaded.swapper(buffers);
  const { p50Us, p99Us } = timeSteps(swap, warmUpMs, 3 * measureMs);
  const both = () => {
    swap();
    step();
  };
  const { plain, swapped } = alternate(step, both);
  loaded.dispose();
  return {
    p50Us,
    p99Us,
    stepUs: plain,
    swapAndStepUs: swapped,
    adapterBytes: 4 * policySize(hidden).adapter,
    slots: SLOTS,
  };
}

/** Medians of both in turn, so that what else the machine does falls on both. */
function alternate(step: () => void, both: () => void): { plain: number; swapped: number } {
  const times = { plain: [] as number[], swapped: [] as number[] };
  for (let pair = 0; pair < PAIRS; pair++) {
    times.plain.push(timed(step));
    times.swapped.push(timed(both));
  }
  return { plain: quantile(times.plain, 0.5), swapped: quantile(times.swapped, 0.5) };
}

/** Microseconds. */
function timed(work: () => void): number {
  const began = performance.now();
  work();
  return 1e3 * (performance.now() - began);
}
