/** Advantages and value normalisation against the same formulas in PyTorch, in double precision. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { generalisedAdvantages, type TimeLimitTreatment } from "../../src/training/gae.ts";
import { createValueNorm, updateValueNorm, valueNormMoments } from "../../src/training/value-norm.ts";
import { assertClose } from "../helpers/close.ts";
import { type FixtureTensor, toFloat, torchFixture } from "../helpers/torch-fixtures.ts";

interface GaeFixture
  extends Record<
    "rewards" | "values" | "bootstrapValues" | "finalValues" | "terminated" | "truncated",
    FixtureTensor
  > {
  readonly gamma: number;
  readonly lambda: number;
  readonly zeroAdvantage: Record<"advantages" | "returns", FixtureTensor>;
  readonly bootstrap: Record<"advantages" | "returns", FixtureTensor>;
}

const TREATMENTS: readonly (readonly [TimeLimitTreatment, "zeroAdvantage" | "bootstrap"])[] = [
  ["zero-advantage", "zeroAdvantage"],
  ["bootstrap", "bootstrap"],
];

for (const [timeLimit, name] of TREATMENTS) {
  test(`advantages with time limits as ${timeLimit} equal PyTorch's`, () => {
    const fixture = torchFixture<GaeFixture>("gae");
    const [steps, envs] = fixture.rewards.dims as [number, number];
    const { advantages, returns } = generalisedAdvantages({
      heads: 1,
      steps,
      envs,
      rowOffset: (t) => t * envs,
      rewards: toFloat(fixture.rewards).data,
      values: toFloat(fixture.values).data,
      bootstrapValues: toFloat(fixture.bootstrapValues).data,
      finalValues: toFloat(fixture.finalValues).data,
      terminated: Uint8Array.from(fixture.terminated.data),
      truncated: Uint8Array.from(fixture.truncated.data),
      timeLimit,
      gamma: fixture.gamma,
      gaeLambda: fixture.lambda,
    });
    assertClose(advantages, fixture[name].advantages.data, {}, "advantages");
    assertClose(returns, fixture[name].returns.data, {}, "returns");
  });
}

interface ValueFixture {
  readonly steps: readonly ({ readonly returns: FixtureTensor } & Record<
    "runningMean" | "runningMeanSquare" | "debias" | "mean" | "std",
    number
  >)[];
}

test("three updates of the value normaliser equal PyTorch's", () => {
  const state = createValueNorm(1);
  const { steps } = torchFixture<ValueFixture>("value-loss");
  assert.equal(steps.length, 3);
  for (const [index, step] of steps.entries()) {
    updateValueNorm(state, toFloat(step.returns).data);
    // Statistics weigh 1e-5 each update, in float32.
    const tight = { atol: 1e-12, rtol: 1e-6 };
    for (const name of ["runningMean", "runningMeanSquare", "debias"] as const) {
      assertClose(state[name], [step[name]], tight, `${name} after ${index + 1}`);
    }
    const { mean, std } = valueNormMoments(state, 0);
    assertClose([mean, std], [step.mean, step.std], { rtol: 1e-5 }, `moments after ${index + 1}`);
  }
});
