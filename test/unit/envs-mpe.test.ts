/** The particle tasks: names, options, sizes, actions, the scripted prey. What every environment must do is in test/conformance. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { EnvOptions } from "../../src/envs/contract.ts";
import { envSpec, makeEnv } from "../../src/envs/registry.ts";

test("the specs are MPE2's spaces", () => {
  assert.deepEqual(envSpec("mpe/simple_tag"), {
    name: "mpe/simple_tag",
    agents: [0, 1, 2].map((i) => ({ name: `adversary_${i}`, observationSize: 16, actionSize: 5 })),
    observationSize: 16,
    stateSize: 48,
    statePerAgent: false,
    actionSpace: { kind: "discrete", count: 5 },
    episodeLimit: 25,
    stepSeconds: 0.1,
    episodeFigures: ["catches"],
  });
  const sizes = (name: string) => {
    const { agents, observationSize, stateSize, actionSpace } = envSpec(name);
    return [agents.length, observationSize, stateSize, Object.values(actionSpace)];
  };
  assert.deepEqual(sizes("mpe/simple_spread"), [3, 18, 54, ["discrete", 5]]);
  assert.deepEqual(sizes("mpe/simple_spread?agents=1"), [1, 6, 6, ["discrete", 5]]);
  assert.deepEqual(sizes("mpe/simple_spread?agents=10"), [10, 60, 600, ["discrete", 5]]);
  assert.deepEqual(sizes("mpe/simple_spread?actions=continuous"), [3, 18, 54, ["continuous", 5, 0, 1]]);
  assert.deepEqual(sizes("mpe/simple_reference"), [2, 21, 42, ["discrete", 50]]);
  assert.deepEqual(sizes("mpe/simple_reference?actions=continuous"), [2, 21, 42, ["continuous", 15, 0, 1]]);
  assert.deepEqual(sizes("mpe/simple_tag?agents=6"), [6, 22, 132, ["discrete", 5]]);
});

test("options that differ from the initial ones are in the name, in one order", () => {
  const given = { prey: "random", reward: "mean", actions: "discrete", agents: "4", episodeLimit: 50 };
  const { name, episodeLimit } = envSpec("mpe/simple_tag", given);
  assert.equal(name, "mpe/simple_tag?reward=mean&episodeLimit=50&agents=4&prey=random");
  assert.equal(episodeLimit, 50);
  assert.equal(envSpec(name).name, name);
});

test("options of another task, or out of range, are refused; an unknown task is answered with near names", () => {
  const cases: [string, EnvOptions, string, RegExp][] = [
    ["mpe/simple_spread", { prey: "flee" }, "LORASA_CONFIG", /option prey of mpe\/simple_spread/],
    ["mpe/simple_reference", { agents: 2 }, "LORASA_CONFIG", /option agents/],
    ["mpe/simple_spread", { agents: 0 }, "LORASA_CONFIG", /from 1 to 64, received 0/],
    ["mpe/simple_spread", { actions: "both" }, "LORASA_CONFIG", /discrete or continuous/],
    ["mpe/simple_tag", { prey: "hide" }, "LORASA_CONFIG", /flee or random/],
    ["mpe/simple_tags", {}, "LORASA_UNKNOWN_TASK", /did you mean mpe\/simple_tag\?/],
    ["mpe/constructor", {}, "LORASA_UNKNOWN_TASK", /mpe\/simple_spread/],
  ];
  for (const [name, options, code, message] of cases) {
    assert.throws(() => envSpec(name, options), { code, message }, JSON.stringify([name, options]));
  }
});

test("reward=mean is the sum over the number of agents", async () => {
  const rewards = await Promise.all(
    ["sum", "mean"].map(async (reward) => {
      const env = await makeEnv("mpe/simple_spread", { agents: 4, reward });
      const buffers = createBuffers(env.spec);
      env.reset(buffers, 3);
      return env.step(new Float32Array(4), buffers).reward;
    }),
  );
  assert.ok(rewards[0]! < 0);
  assert.equal(rewards[1], rewards[0]! / 4);
});

test("an episode starts at rest, agents within ±1 and obstacles within ±0.9", async () => {
  const env = await makeEnv("mpe/simple_tag");
  const buffers = createBuffers(env.spec);
  const farthest = { agent: 0, obstacle: 0 };
  for (let seed = 0; seed < 500; seed++) {
    env.reset(buffers, seed);
    const [vx, vy, x = 0, y = 0, dx = 0, dy = 0] = buffers.observations;
    assert.deepEqual([vx, vy], [0, 0]);
    farthest.agent = Math.max(farthest.agent, Math.abs(x), Math.abs(y));
    farthest.obstacle = Math.max(farthest.obstacle, Math.abs(x + dx), Math.abs(y + dy));
  }
  assert.ok(farthest.agent <= 1 && farthest.agent > 0.99, `${farthest.agent}`);
  assert.ok(farthest.obstacle <= 0.9 + 1e-6 && farthest.obstacle > 0.89, `${farthest.obstacle}`);
});

test("a choice of simple_reference is symbol · 5 + move: the other hears the symbol", async () => {
  const env = await makeEnv("mpe/simple_reference");
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 1);
  env.step(Float32Array.of(7 * 5 + 2, 3 * 5 + 4), buffers);
  const [first, second] = [buffers.observations.subarray(0, 21), buffers.observations.subarray(21)];
  assert.deepEqual([first[0], first[1], second[0], second[1]], [0.5, 0, 0, 0.5]);
  assert.deepEqual([first.subarray(11).indexOf(1), second.subarray(11).indexOf(1)], [3, 7]);
});

test("every landmark is someone's goal, and the two agents' goals are drawn apart", async () => {
  const env = await makeEnv("mpe/simple_reference");
  const buffers = createBuffers(env.spec);
  const pairs = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    env.reset(buffers, seed);
    const goals = [8, 29].map((at) => buffers.observations.subarray(at, at + 3).indexOf(0.75));
    pairs.add(goals.join());
  }
  assert.equal(pairs.size, 9);
});

test("a prey that flees is caught less than one that moves at random, and stays near the plane's middle", async () => {
  const flee = await hunt("flee");
  const random = await hunt("random");
  assert.ok(flee.catches < 0.6 * random.catches, `${flee.catches} and ${random.catches}`);
  assert.ok(flee.catches > 0, "hunters that run straight at it catch it sometimes");
  assert.ok(flee.farthest < 1.2, `${flee.farthest}`);
});

test("catches are the steps and hunters that touched the prey: a tenth of each hunter's reward", async () => {
  const { catches, reward } = await hunt("random");
  assert.ok(catches > 0);
  assert.equal(reward, 3 * 10 * catches);
});

test("catches so far go with a saved moment to another environment", async () => {
  assert.deepEqual(await hunt("random", { movesAt: 12 }), await hunt("random"));
});

/**
 * 100 episodes of hunters that run at the prey along the longer axis: sums, and how far out the prey came. At a step
 * of each, if asked, another environment takes over.
 */
async function hunt(prey: "flee" | "random", { movesAt = -1 } = {}) {
  let env = await makeEnv("mpe/simple_tag", { prey });
  const buffers = createBuffers(env.spec);
  const actions = new Float32Array(3);
  const sum = { catches: 0, reward: 0, farthest: 0 };
  for (let episode = 0; episode < 100; episode++) {
    env.reset(buffers, episode);
    for (let t = 0; t < env.spec.episodeLimit; t++) {
      if (t === movesAt) {
        const saved = env.save();
        env = await makeEnv("mpe/simple_tag", { prey });
        env.restore(saved, buffers);
      }
      for (let agent = 0; agent < 3; agent++) {
        const [, , x = 0, y = 0, , , , , , , , , dx = 0, dy = 0] = buffers.observations.subarray(agent * 16);
        actions[agent] = Math.abs(dx) > Math.abs(dy) ? (dx < 0 ? 1 : 2) : dy < 0 ? 3 : 4;
        sum.farthest = Math.max(sum.farthest, Math.abs(x + dx), Math.abs(y + dy));
      }
      const { reward, info } = env.step(actions, buffers);
      sum.reward += reward;
      sum.catches += info?.["catches"] ?? 0;
    }
  }
  return sum;
}
