import assert from "node:assert/strict";
import { test } from "node:test";
import { normaliseAdvantages } from "../../src/training/advantages.ts";
import { explainedVariance } from "../../src/training/explained-variance.ts";
import {
  createValueNorm,
  denormaliseValues,
  normaliseValues,
  updateValueNorm,
  valueNormMoments,
} from "../../src/training/value-norm.ts";
import { assertClose } from "../helpers/close.ts";

test("advantages of all agents jointly, by the population standard deviation", () => {
  const advantages = Float32Array.of(1, 3, 5, 7);
  normaliseAdvantages(advantages, 1);
  const std = Math.sqrt(5) + 1e-5;
  assertClose(advantages, [-3 / std, -1 / std, 1 / std, 3 / std]);
});

test("advantages of each agent by itself", () => {
  const advantages = Float32Array.of(1, 3, 50, 70);
  normaliseAdvantages(advantages, 2);
  assertClose(advantages, [-1 / (1 + 1e-5), 1 / (1 + 1e-5), -10 / (10 + 1e-5), 10 / (10 + 1e-5)]);
});

test("inactive entries do not count, yet are scaled alike; a group of none is left alone", () => {
  const advantages = Float32Array.of(1, 3, 100, 4, 5, 6);
  normaliseAdvantages(advantages, 2, Float32Array.of(1, 1, 0, 0, 0, 0));
  assertClose(advantages, [-1, 1, 98, 4, 5, 6], { rtol: 2e-5 });
});

test("advantages that do not vary become 0, even far from it", () => {
  const advantages = new Float32Array(5).fill(16_777_216);
  normaliseAdvantages(advantages, 1);
  assertClose(advantages, [0, 0, 0, 0, 0]);
});

test("ValueNorm starts at mean 0 and its smallest spread", () => {
  assert.deepEqual(valueNormMoments(createValueNorm(1), 0), { mean: 0, std: 0.1 });
});

test("after one update, ValueNorm has the batch's own mean and spread", () => {
  const state = createValueNorm(2);
  updateValueNorm(state, Float32Array.of(1, 3, 10, 30));
  // (1 − β) cancels against the debias, but for float32 rounding.
  const [one, two] = [valueNormMoments(state, 0), valueNormMoments(state, 1)];
  assertClose([one.mean, one.std, two.mean, two.std], [2, 1, 20, 10], { rtol: 1e-4 });
  assertClose(state.debias, [1e-5, 1e-5]);
});

test("two updates weigh the older batch by β", () => {
  const state = createValueNorm(1);
  updateValueNorm(state, Float32Array.of(0, 2));
  updateValueNorm(state, Float32Array.of(2, 4));
  const beta = 0.99999;
  assertClose(state.runningMean, [(1 - beta) * (beta * 1 + 3)], { atol: 0 });
  assertClose(state.runningMeanSquare, [(1 - beta) * (beta * 2 + 10)], { atol: 0 });
  assertClose(state.debias, [(1 - beta) * (beta + 1)], { atol: 0 });
});

test("normalising and back is the identity, group by group and in place", () => {
  const state = createValueNorm(2);
  updateValueNorm(state, Float32Array.of(1, 3, 10, 30));
  const values = Float32Array.of(2, 4, 20, 5);
  const normal = normaliseValues(state, values);
  assertClose(normal, [0, 2, 0, -1.5], { atol: 1e-3, rtol: 1e-4 });
  assert.equal(denormaliseValues(state, normal, normal), normal);
  assertClose(normal, values);
});

test("explained variance of a perfect, a constant and an opposite critic", () => {
  const returns = Float32Array.of(1, 2, 3);
  assert.equal(explainedVariance(returns, returns), 1);
  assert.equal(explainedVariance(Float32Array.of(9, 9, 9), returns), 0);
  assert.equal(explainedVariance(Float32Array.of(3, 2, 1), returns), -3);
  assert.ok(Number.isNaN(explainedVariance(returns, Float32Array.of(1, 1, 1))));
});
