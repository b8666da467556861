/** Orders in which agents are updated and their clip ranges, by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { UPDATE_ORDERS } from "../../src/training/config.ts";
import {
  advantageScores,
  blocksOf,
  clipRangeByOrder,
  clipRangesByRatio,
  updateOrder,
} from "../../src/training/sequential-order.ts";
import { assertClose } from "../helpers/close.ts";

/** From the highest: 3, 0, 4, 1, 2. */
const SCORES = [4, 2, 1, 5, 3];
const RANKED = [3, 0, 4, 1, 2];
const DRAWS = 400;

function orders(kind: Parameters<typeof updateOrder>[0], scores: readonly number[] = SCORES): number[][] {
  const random = new Random(8);
  return Array.from({ length: DRAWS }, () => updateOrder(kind, scores, random));
}

test("every order has every agent once", () => {
  for (const kind of UPDATE_ORDERS) {
    for (const order of orders(kind).slice(0, 50)) assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4], kind);
    assert.deepEqual(updateOrder(kind, [7], new Random(1)), [0], `${kind}, alone`);
  }
});

test("greedy goes by the score, reversed from the lowest", () => {
  for (const order of orders("greedy")) assert.deepEqual(order, RANKED);
  for (const order of orders("reverse-greedy")) assert.deepEqual(order, RANKED.toReversed());
});

/** Asserts that places 0, 2, 4 have the first of who is left, and that places 1, 3 have everyone of them in turn. */
function assertAlternates(all: readonly (readonly number[])[], ranked: readonly number[]): void {
  const second = new Map<number, number>();
  for (const order of all) {
    for (const place of [0, 2, 4]) {
      const left = ranked.filter((agent) => !order.slice(0, place).includes(agent));
      assert.equal(order[place], left[0], `place ${place} of ${order}`);
    }
    second.set(order[1]!, (second.get(order[1]!) ?? 0) + 1);
  }
  // Each of the other four about a quarter of the time: 100 of 400, five deviations of 8.7 around it.
  assert.deepEqual([...second.keys()].sort(), ranked.slice(1).sort());
  for (const [agent, count] of second) assert.ok(Math.abs(count - 100) < 44, `${agent} came ${count} times`);
}

test("semi-greedy alternates between the best of the rest and a random one of them", () => {
  assertAlternates(orders("semi-greedy"), RANKED);
});

test("semi-greedy reversed alternates between the lowest of the rest and a random one of them", () => {
  assertAlternates(orders("reverse-semi-greedy"), RANKED.toReversed());
});

test("cyclic goes by number", () => {
  for (const order of orders("cyclic").slice(0, 3)) assert.deepEqual(order, [0, 1, 2, 3, 4]);
});

test("blocks are as many as asked for, as alike in size as can be, the larger first", () => {
  const order = [5, 3, 1, 0, 2, 4];
  const alone = order.map((agent) => [agent]);
  assert.deepEqual(blocksOf(order, 4, false), [[5, 3], [1, 0], [2], [4]]);
  assert.deepEqual(blocksOf(order, 2, false), [
    [5, 3, 1],
    [0, 2, 4],
  ]);
  assert.deepEqual(blocksOf(order, 0, false), alone);
  assert.deepEqual(blocksOf(order, 9, false), alone, "no block is empty");
  assert.deepEqual(blocksOf(order, 3, true), [[5, 3], [5, 3, 1, 0], order]);
});

for (const kind of ["random", "greedy", "semi-greedy", "reverse-greedy"] as const) {
  test(`agents that score alike are in no order of their own: ${kind}`, () => {
    const first = [0, 0, 0, 0, 0];
    for (const order of orders(kind, [1, 1, 1, 1, 1])) first[order[0]!]! += 1;
    // 80 of 400 each, five deviations of 8 around it.
    for (const [agent, count] of first.entries())
      assert.ok(Math.abs(count - 80) < 40, `${agent} was first ${count} times`);
  });
}

test("a score is the mean of |A / V| of an agent's own value, or of the team's for all", () => {
  const advantages = Float32Array.of(1, -2, 3, 0.5, 0, -4);
  const values = Float32Array.of(-2, 2, 1, 1, 5, -0.5);
  // |1/2|, |2/2|, |3/1| and |0.5/1|, 0, |4/0.5|.
  assertClose(advantageScores(advantages, values, 2, 2), [1.5, 17 / 6], { rtol: 1e-4 });
  const team = advantageScores(advantages, values, 3, 1);
  assertClose(team, [13 / 6, 13 / 6, 13 / 6], { rtol: 1e-4 });
});

test("a value of zero gives a finite score", () => {
  const [score] = advantageScores(Float32Array.of(1), Float32Array.of(0), 1, 1);
  assert.ok(Number.isFinite(score) && score! > 1000);
});

test("clip ranges widen by place: ε(0.5 + 0.5/n) for the first, all of ε for the last", () => {
  const ranges = [0, 1, 2, 3].map((place) => clipRangeByOrder(0.2, 0.5, place, 4));
  assertClose(ranges, [0.125, 0.15, 0.175, 0.2]);
  assertClose(
    [0, 1].map((place) => clipRangeByOrder(0.2, 0, place, 2)),
    [0.2, 0.2],
  );
  assertClose(
    [0, 1].map((place) => clipRangeByOrder(0.2, 1, place, 2)),
    [0.1, 0.2],
  );
  assertClose([clipRangeByOrder(0.2, 0.5, 0, 1)], [0.2]);
});

test("clip ranges by ratio: the mean of 1 / Π(1 + |1 − ρ|) from a turn on, the widest all of ε", () => {
  const still = Float32Array.of(1, 1);
  // From the last turn: ½(1 + 1/1.5); times ½ in the first row; times 1/1.25 in the second.
  const weights = [0.5 * (1 / 2 + 1 / 1.5 / 1.25), 0.5 * (1 / 2 + 1 / 1.5), 0.5 * (1 + 1 / 1.5)];
  const moved = [[Float32Array.of(1, 0.75)], [still, Float32Array.of(2, 1)], [Float32Array.of(1, 1.5)]];
  const expected = weights.map((weight) => (0.2 * weight) / weights[2]!);
  assertClose(clipRangesByRatio(0.2, moved), expected);
  assertClose(clipRangesByRatio(0.2, [[], []]), [0.2, 0.2], {}, "nobody has moved");
});
