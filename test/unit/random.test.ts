import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { mean, standardDeviation } from "../../src/base/statistics.ts";
import { assertClose } from "../helpers/close.ts";

test("a restored generator goes on where the saved one stood", () => {
  const random = new Random(7);
  random.normal();
  const state = random.state();
  const expected = [random.normal(), random.uniform(), random.integer(10)];
  const restored = Random.restore(JSON.parse(JSON.stringify(state)));
  assert.deepEqual([restored.normal(), restored.uniform(), restored.integer(10)], expected);
});

test("normal, uniform and Gumbel deviates have their mean and spread", () => {
  const random = new Random(1);
  const draw = (sample: () => number): number[] => Array.from({ length: 40_000 }, sample);
  const normal = draw(() => random.normal());
  const uniform = draw(() => random.uniform());
  const gumbel = draw(() => random.gumbel());
  // Five standard errors at this count.
  assertClose([mean(normal), standardDeviation(normal)], [0, 1], { atol: 0.025 });
  assertClose([mean(uniform), standardDeviation(uniform)], [0.5, Math.sqrt(1 / 12)], { atol: 0.0075 });
  assertClose([mean(gumbel), standardDeviation(gumbel)], [0.57722, Math.PI / Math.sqrt(6)], { atol: 0.04 });
});

test("a permutation holds every index once", () => {
  const order = new Random(3).permutation(100);
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    [...Array(100).keys()],
  );
  assert.notDeepEqual([...order], [...Array(100).keys()]);
});
