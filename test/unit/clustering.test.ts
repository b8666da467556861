/** Which agents are alike: k-means and silhouettes by hand, codes of agents whose dynamics are of two kinds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { learnCodes } from "../../src/training/agent-codes.ts";
import { clusterAgents } from "../../src/training/clustering.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { kMeans, silhouette } from "../../src/training/k-means.ts";
import { randomTransitions, type Transitions } from "../../src/training/transitions.ts";
import { assertClose } from "../helpers/close.ts";
import { type FakeTask, fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const runtime = createRuntime();

/** Groups numbered in the order in which they are met. */
function renumbered(groups: readonly number[]): number[] {
  const met = [...new Set(groups)];
  return groups.map((group) => met.indexOf(group));
}

test("k-means finds groups that are far apart, from any seed, and each point alone at the most", () => {
  const points = [
    [0, 0],
    [10, 10],
    [0, 1],
    [10, 11],
    [-20, 3],
    [1, 0],
  ];
  for (let seed = 0; seed < 20; seed++) {
    const random = new Random(seed);
    assert.deepEqual(renumbered(kMeans(points, 3, random)), [0, 1, 0, 1, 2, 0], `seed ${seed}`);
    assert.deepEqual(renumbered(kMeans(points, 6, random)), [0, 1, 2, 3, 4, 5], `seed ${seed}`);
    assert.deepEqual(kMeans(points, 1, random), [0, 0, 0, 0, 0, 0], `seed ${seed}`);
  }
});

test("k-means takes the grouping with the least squares, not the first that stands still", () => {
  // Four corners of a flat rectangle: pairs side by side also stand still, and cost 16 times as much.
  const points = [
    [0, 0],
    [4, 0],
    [0, 1],
    [4, 1],
  ];
  for (let seed = 0; seed < 20; seed++)
    assert.deepEqual(renumbered(kMeans(points, 2, new Random(seed))), [0, 1, 0, 1], `seed ${seed}`);
});

test("points that are all the same are grouped without an error", () => {
  const points = [[1], [1], [1]];
  assert.ok(kMeans(points, 2, new Random(1)).every((group) => group === 0 || group === 1));
});

test("a silhouette is the mean of (b − a) / max(a, b), 0 for a point alone", () => {
  const points = [[0], [1], [4], [10]];
  // Groups {0, 1}, {4}, {10}: for 0, a = 1 and b = 4; for 1, a = 1 and b = 3.
  assertClose([silhouette(points, [0, 0, 1, 2])], [(3 / 4 + 2 / 3) / 4]);
  // Groups {0, 4}, {1, 10}: 0 has a = 4, b = 5.5; 4 has a = 4, b = 4.5; 1 has a = 9, b = 2; 10 has a = 9, b = 8.
  assertClose([silhouette(points, [0, 1, 0, 1])], [(1.5 / 5.5 + 0.5 / 4.5 - 7 / 9 - 1 / 9) / 4]);
  assert.equal(silhouette(points, [0, 0, 0, 0]), 0, "one group has no other");
  assert.equal(silhouette([[2], [2], [2]], [0, 1, 0]), 0, "points in one place");
});

/** Random steps; agents of kind 0 move along their actions, those of kind 1 against them. */
function movements(kinds: readonly number[], rows: number, seed: number): Transitions {
  const random = new Random(seed);
  const [O, K] = [3, 2];
  const agent = Int32Array.from({ length: rows }, () => random.integer(kinds.length));
  const before = Float32Array.from({ length: rows * O }, () => random.normal());
  const action = Float32Array.from({ length: rows * K }, () => random.uniformIn(-1, 1));
  const after = before.map((value, at) => {
    const [row, k] = [Math.floor(at / O), at % O];
    const sign = kinds[agent[row]!] === 0 ? 1 : -1;
    return value + (k < K ? sign * action[row * K + k]! : 0.1);
  });
  return { agents: kinds.length, rows, agent, before, after, action, observationSize: O, actionSize: K };
}

for (const rows of [500, 4000]) {
  test(`codes tell agents apart by what their actions do, and by nothing else: ${rows} rows`, () => {
    const kinds = [0, 1, 1, 0, 1];
    for (const seed of [1, 2]) {
      const { means, deviations } = learnCodes(runtime, movements(kinds, rows, seed), new Random(seed));
      assert.deepEqual(renumbered(kMeans(means, 2, new Random(1))), kinds, `seed ${seed}`);
      assert.ok(silhouette(means, kinds) > 0.7, `seed ${seed}: ${silhouette(means, kinds)}`);
      assert.ok(deviations.every((one) => one > 0 && one < 1));
    }
  });
}

/** Each agent sees its own last choice, those of kind 1 the other way round; the memory holds all choices in base 2. */
function echoes(kinds: readonly number[]): FakeTask {
  return {
    agents: kinds.length,
    observationSize: 2,
    stateSize: 1,
    actionSpace: { kind: "discrete", count: 2 },
    observation: ({ memory }, agent) => {
      const choice = Math.floor(memory / 2 ** agent) % 2;
      return choice === kinds[agent] ? [1, -1] : [-1, 1];
    },
    state: () => [0],
    step: ({ step }, actions) => ({
      reward: 0,
      memory: actions.reduce((sum, [choice], agent) => sum + choice! * 2 ** agent, 0),
      terminated: step === 24,
    }),
  };
}

function clustersOf(kinds: readonly number[], change: Partial<TrainConfig> = {}): number[] {
  const config = tinyConfig({ sharing: "seps", envs: 4, rolloutLength: 200, ...change });
  const vectorEnv = fakeVectorEnv(echoes(kinds), { envs: config.envs });
  return clusterAgents({ config, runtime, vectorEnv });
}

test("agents are grouped by their dynamics, the number of groups found, numbered as they are met", () => {
  assert.deepEqual(clustersOf([1, 1, 0, 1, 0]), [0, 0, 1, 0, 1]);
  assert.deepEqual(clustersOf([0, 1, 1, 1], { seed: 5 }), [0, 1, 1, 1]);
});

test("two agents are apart where their dynamics differ, and together where they do not", () => {
  for (const seed of [1, 2, 3]) {
    assert.deepEqual(clustersOf([0, 1], { seed }), [0, 1], `seed ${seed}`);
    assert.deepEqual(clustersOf([1, 1], { seed }), [0, 0], `seed ${seed}`);
  }
  assert.deepEqual(clustersOf([0]), [0]);
});

test("so many clusters are made as were asked for, never more than there are agents", () => {
  const count = (clusters: number): number => new Set(clustersOf([0, 1, 1, 0], { clusters })).size;
  assert.deepEqual([1, 2, 3, 4, 9].map(count), [1, 2, 3, 4, 4]);
});

test("the same seed groups the same agents", () => {
  const codes = (seed: number) => learnCodes(runtime, movements([0, 1, 0], 600, 1), new Random(seed));
  assert.deepEqual(codes(3), codes(3));
  assert.notDeepEqual(codes(4), codes(3));
});

test("transitions are of active agents alone, with actions that were available, over an episode's end", () => {
  const task: FakeTask = {
    ...echoes([0, 0, 0]),
    actionSpace: { kind: "discrete", count: 3 },
    // What is seen counts the steps of an episode, and of the team.
    observation: ({ step, episode }) => [step, episode],
    actionMask: ({ step }, agent) => [1, 0, (step + agent) % 2],
    active: ({ step }, agent) => agent !== 1 || step < 10,
  };
  const vectorEnv = fakeVectorEnv(task, { envs: 2 });
  const rows = randomTransitions(vectorEnv, 100, new Random(2));
  const of = (data: Float32Array, row: number, width: number) => [
    ...data.subarray(row * width, (row + 1) * width),
  ];
  const seen = [0, 0, 0];
  for (let row = 0; row < rows.rows; row++) {
    const agent = rows.agent[row]!;
    seen[agent]! += 1;
    const [step, episode] = of(rows.before, row, 2) as [number, number];
    assert.deepEqual(of(rows.after, row, 2), [step + 1, episode], "also where an episode ended");
    const action = of(rows.action, row, 3);
    assert.deepEqual([...action].sort(), [0, 0, 1]);
    assert.equal(action[1], 0, "never available");
    if ((step + agent) % 2 === 0) assert.equal(action[2], 0);
    assert.ok(agent !== 1 || step < 10);
  }
  // 100 steps of 2 environments; of 25 steps of an episode the agent in the middle is active in 10.
  assert.deepEqual(seen, [200, 80, 200]);
});

test("continuous actions are given within ±1, whatever the simulator's bounds", () => {
  const task: FakeTask = {
    ...echoes([0]),
    agents: 1,
    actionSpace: { kind: "continuous", size: 2, low: 2, high: 6 },
    observation: ({ memory }) => [memory, 0],
    step: (_, actions) => ({ reward: 0, memory: actions[0]![0]! }),
  };
  const { action, after, rows } = randomTransitions(fakeVectorEnv(task, { envs: 2 }), 50, new Random(1));
  assert.equal(rows, 100);
  // What was sent is seen: 2 is −1, 6 is 1.
  for (let row = 0; row < rows; row++)
    assertClose([action[2 * row]!], [(after[2 * row]! - 4) / 2], { atol: 1e-6 });
  assert.ok(
    Math.max(...action) > 0.9 && Math.min(...action) < -0.9 && action.every((one) => Math.abs(one) <= 1),
  );
});
