import assert from "node:assert/strict";
import { test } from "node:test";
import { LorasaError } from "../../src/base/errors.ts";
import { type GaeInput, generalisedAdvantages } from "../../src/training/gae.ts";
import { assertClose } from "../helpers/close.ts";

/** One head, one environment, three steps: rewards 1, 2, 3; values 4, 5, 6, then 7; γ ½, λ ½. */
function threeSteps(change: Partial<GaeInput> = {}): GaeInput {
  return {
    heads: 1,
    steps: 3,
    envs: 1,
    rowOffset: (t) => t,
    rewards: Float32Array.of(1, 2, 3),
    values: Float32Array.of(4, 5, 6),
    bootstrapValues: Float32Array.of(7),
    finalValues: Float32Array.of(100, 20, 300),
    terminated: new Uint8Array(3),
    truncated: new Uint8Array(3),
    timeLimit: "bootstrap",
    gamma: 0.5,
    gaeLambda: 0.5,
    ...change,
  };
}

test("an episode that goes on: δ = −0.5, 0, 0.5, summed with weight ¼", () => {
  const { advantages, returns } = generalisedAdvantages(threeSteps());
  assertClose(advantages, [-0.5 + 0.25 * 0.125, 0.125, 0.5]);
  assertClose(returns, [3.53125, 5.125, 6.5]);
});

test("after a terminated step nothing follows", () => {
  const { advantages } = generalisedAdvantages(threeSteps({ terminated: Uint8Array.of(0, 1, 0) }));
  // δ_1 = 2 − 5.
  assertClose(advantages, [-0.5 + 0.25 * -3, -3, 0.5]);
});

test("a truncated step bootstraps from its final observation and cuts the trace", () => {
  const { advantages, returns } = generalisedAdvantages(threeSteps({ truncated: Uint8Array.of(0, 1, 0) }));
  // δ_1 = 2 + ½·20 − 5.
  assertClose(advantages, [-0.5 + 0.25 * 7, 7, 0.5]);
  assertClose(returns, [5.25, 12, 6.5]);
});

test("under zero-advantage a truncated step returns its own value", () => {
  const { advantages, returns } = generalisedAdvantages(
    threeSteps({ truncated: Uint8Array.of(0, 1, 0), timeLimit: "zero-advantage" }),
  );
  assertClose(advantages, [-0.5, 0, 0.5]);
  assertClose(returns, [3.5, 5, 6.5]);
});

test("a step both terminated and truncated follows the treatment", () => {
  const both = { terminated: Uint8Array.of(0, 1, 0), truncated: Uint8Array.of(0, 1, 0) };
  assertClose(generalisedAdvantages(threeSteps(both)).advantages, [-1.25, -3, 0.5]);
  const zero = generalisedAdvantages(threeSteps({ ...both, timeLimit: "zero-advantage" }));
  assertClose(zero.advantages, [-0.5, 0, 0.5]);
});

test("trace weights scale what arrives from a step, not the step itself", () => {
  const { advantages } = generalisedAdvantages(threeSteps({ traceWeights: Float32Array.of(9, 0.5, 0) }));
  // A_1 = 0 + ¼·0·A_2, A_0 = −0.5 + ¼·½·A_1.
  assertClose(advantages, [-0.5, 0, 0.5]);
  const half = generalisedAdvantages(threeSteps({ traceWeights: Float32Array.of(9, 0.5, 1) }));
  assertClose(half.advantages, [-0.5 + 0.25 * 0.5 * 0.125, 0.125, 0.5]);
});

test("given arrays are overwritten and handed back", () => {
  const into = { advantages: new Float32Array(3).fill(9), returns: new Float32Array(3).fill(9) };
  const input = threeSteps({ truncated: Uint8Array.of(0, 1, 0), timeLimit: "zero-advantage" });
  assert.equal(generalisedAdvantages(input, into), into);
  assertClose(into.advantages, [-0.5, 0, 0.5]);
});

test("an array of the wrong length is named", () => {
  const shape = (name: string) => (error: unknown) =>
    error instanceof LorasaError && error.code === "LORASA_SHAPE" && error.message.startsWith(name);
  const { finalValues: _, ...without } = threeSteps();
  assert.throws(() => generalisedAdvantages(without), shape("finalValues"));
  assert.throws(() => generalisedAdvantages(threeSteps({ rewards: new Float32Array(2) })), shape("rewards"));
});
