/** The six MuJoCo robots: sizes, names, starts, ends, saving. Their numbers against Gymnasium's are in test/oracle. */
import assert from "node:assert/strict";
import { test } from "node:test";
import loadMujoco from "@mujoco/mujoco";
import { Random } from "../../src/base/random.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { Env } from "../../src/envs/contract.ts";
import { toMjcf } from "../../src/envs/mujoco/mjcf.ts";
import { mujocoTeam } from "../../src/envs/mujoco/tasks.ts";
import { envSpec, listTasks, makeEnv } from "../../src/envs/registry.ts";

/** One task a robot: the state's length, motors, bound of actions, seconds in a step. */
const ROBOTS = [
  { name: "HalfCheetah-2x3", state: 17, motors: 6, bound: 1, seconds: 0.05 },
  { name: "Walker2d-2x3", state: 17, motors: 6, bound: 1, seconds: 0.008 },
  { name: "Ant-4x2", state: 105, motors: 8, bound: 1, seconds: 0.05 },
  { name: "Hopper-3x1", state: 11, motors: 3, bound: 1, seconds: 0.008 },
  { name: "Swimmer-2x1", state: 8, motors: 2, bound: 1, seconds: 0.04 },
  { name: "Humanoid-9|8", state: 348, motors: 17, bound: 0.4, seconds: 0.015 },
];

/** Lengths of the agents' observations by lineage and hops: the table of MaMuJoCo and of the library before it. */
const SIZES: readonly (readonly [string, "new" | "old", number, readonly number[]])[] = [
  ["HalfCheetah-2x3", "new", 0, [11, 11]],
  ["HalfCheetah-2x3", "new", 1, [12, 12]],
  ["HalfCheetah-2x3", "new", 2, [13, 13]],
  ["HalfCheetah-2x3", "old", 0, [6, 6]],
  ["HalfCheetah-2x3", "old", 1, [7, 7]],
  ["HalfCheetah-2x3", "old", 2, [8, 8]],
  ["HalfCheetah-6x1", "new", 0, [7, 7, 7, 7, 7, 7]],
  ["HalfCheetah-6x1", "new", 1, [9, 9, 8, 9, 9, 8]],
  ["HalfCheetah-6x1", "new", 2, [11, 10, 9, 11, 10, 9]],
  ["HalfCheetah-6x1", "old", 1, [4, 4, 3, 4, 4, 3]],
  ["HalfCheetah-6x1", "old", 2, [6, 5, 4, 6, 5, 4]],
  ["Ant-4x2", "new", 0, [39, 39, 39, 39]],
  ["Ant-4x2", "new", 1, [42, 42, 42, 42]],
  ["Ant-4x2", "new", 2, [45, 45, 45, 45]],
  ["Ant-4x2", "old", 0, [28, 28, 28, 28]],
  ["Ant-4x2", "old", 1, [31, 31, 31, 31]],
  ["Ant-4x2", "old", 2, [34, 34, 34, 34]],
  ["Hopper-3x1", "new", 0, [7, 7, 7]],
  ["Hopper-3x1", "new", 1, [8, 9, 8]],
  ["Hopper-3x1", "new", 2, [9, 9, 9]],
  ["Hopper-3x1", "old", 0, [2, 2, 2]],
  ["Hopper-3x1", "old", 1, [3, 4, 3]],
  ["Hopper-3x1", "old", 2, [4, 4, 4]],
  ["Walker2d-2x3", "new", 0, [11, 11]],
  ["Walker2d-2x3", "new", 1, [12, 12]],
  ["Walker2d-2x3", "new", 2, [13, 13]],
  ["Walker2d-2x3", "old", 2, [8, 8]],
  ["Walker2d-3x2", "old", 0, [4, 4, 4]],
  ["Walker2d-3x2", "old", 1, [5, 7, 6]],
  ["Walker2d-3x2", "old", 2, [6, 8, 7]],
  ["Humanoid-9|8", "new", 0, [236, 167]],
  ["Humanoid-9|8", "new", 1, [242, 170]],
  ["Humanoid-9|8", "new", 2, [244, 174]],
  ["Humanoid-9|8", "old", 0, [27, 24]],
  ["Humanoid-9|8", "old", 1, [33, 27]],
  ["Humanoid-9|8", "old", 2, [35, 31]],
  ["Humanoid-17x1", "old", 0, new Array<number>(17).fill(3)],
  ["Swimmer-2x1", "new", 0, [5, 5]],
  ["Swimmer-2x1", "new", 1, [6, 6]],
  ["Swimmer-2x1", "new", 2, [6, 6]],
  ["Swimmer-2x1", "old", 0, [2, 2]],
  ["Swimmer-2x1", "old", 1, [3, 3]],
  ["Swimmer-2x1", "old", 2, [3, 3]],
];

test("observation sizes are those of the published table, for both lineages", () => {
  for (const [name, categories, hops, expected] of SIZES) {
    const globals = categories === "new" ? "root" : "none";
    const { agents } = envSpec(`mujoco/${name}`, { categories, hops, globals });
    const what = `${name} ${categories} ${hops}`;
    assert.deepEqual(
      agents.map((agent) => agent.observationSize),
      expected,
      what,
    );
  }
  const spread = (hops: number): number[] => {
    const { agents } = envSpec("mujoco/Humanoid-17x1", { categories: "old", hops });
    const sizes = agents.map((agent) => agent.observationSize);
    return [Math.min(...sizes), Math.max(...sizes)];
  };
  assert.deepEqual(
    [spread(1), spread(2)],
    [
      [5, 15],
      [8, 19],
    ],
  );
});

test("every robot has Gymnasium's state, motors, bounds and time", () => {
  for (const { name, state, motors, bound, seconds } of ROBOTS) {
    const spec = envSpec(`mujoco/${name}`, { observe: "full" });
    assert.equal(spec.stateSize, state, name);
    assert.deepEqual(
      spec.agents.map((agent) => agent.observationSize),
      spec.agents.map(() => state),
    );
    assert.equal(
      spec.agents.reduce((sum, agent) => sum + agent.actionSize, 0),
      motors,
    );
    assert.ok(spec.actionSpace.kind === "continuous" && spec.actionSpace.high === bound);
    assert.equal(spec.actionSpace.low, -bound);
    assert.equal(spec.stepSeconds, seconds);
    assert.equal(spec.episodeLimit, 1000);
  }
});

test("every factorisation of both lineages has a name, and each motor has one agent", () => {
  const named = listTasks().flatMap(({ name }) => (name.startsWith("mujoco/") ? [name.slice(7)] : []));
  assert.deepEqual(named, [
    ...["HalfCheetah-2x3", "HalfCheetah-3x2", "HalfCheetah-6x1"],
    ...["Walker2d-2x3", "Walker2d-3x2", "Walker2d-6x1"],
    ...["Ant-4x2", "Ant-2x4", "Ant-2x4d", "Ant-8x1"],
    ...["Hopper-3x1", "Swimmer-2x1", "Humanoid-9|8", "Humanoid-17x1"],
  ]);
  for (const name of named) {
    const { factorization, task } = mujocoTeam(`mujoco/${name}`, {});
    const motors = task.robot.motors.map(({ joint }) => joint);
    assert.deepEqual(factorization.flat().sort(), [...motors].sort(), name);
  }
});

test("categories come back from a task's full name, and mean nothing where all is seen", () => {
  const old = envSpec("mujoco/Humanoid-9|8?categories=old&hops=2");
  assert.equal(old.name, "mujoco/Humanoid-9|8?hops=2&categories=old");
  assert.deepEqual(envSpec(old.name), old);
  const full = envSpec("mujoco/Ant-8x1", { observe: "full", categories: "old" });
  assert.equal(full.name, "mujoco/Ant-8x1?observe=full");
});

test("starts lie within each robot's noise, of its kind", async () => {
  const noise = {
    HalfCheetah: { positions: 0.1, velocities: 0.1, uniform: false },
    Walker2d: { positions: 0.005, velocities: 0.005, uniform: true },
    Ant: { positions: 0.1, velocities: 0.1, uniform: false },
    Hopper: { positions: 0.005, velocities: 0.005, uniform: true },
    Swimmer: { positions: 0.1, velocities: 0.1, uniform: true },
    Humanoid: { positions: 0.01, velocities: 0.01, uniform: true },
  };
  for (const { name } of ROBOTS) {
    const env = await makeEnv(`mujoco/${name}`);
    const buffers = createBuffers(env.spec);
    const { task } = mujocoTeam(`mujoco/${name}`, {});
    // A free joint has one position more than velocities.
    const free = task.rootJoints.includes("root") ? 1 : 0;
    const velocityCount = task.robot.motors.length + (free === 1 ? 6 : 3);
    const positionCount = velocityCount + free - task.hiddenPositions;
    const starts = Array.from({ length: 60 }, () => {
      env.reset(buffers);
      return Array.from(buffers.state.subarray(0, positionCount + velocityCount));
    });
    const expected = noise[task.name as keyof typeof noise];
    for (let i = 0; i < positionCount; i++) {
      const values = starts.map((start) => start[i]!);
      const width = Math.max(...values) - Math.min(...values);
      // 60 draws span 97 % of the range on average; under 80 % once in 10,000.
      assert.ok(width <= 2 * expected.positions + 1e-6, `${name} position ${i}: ${width}`);
      assert.ok(width > 1.5 * expected.positions, `${name} position ${i}: ${width}`);
    }
    const velocities = starts.flatMap((start) => start.slice(positionCount));
    const beyond = velocities.filter((velocity) => Math.abs(velocity) > expected.velocities * 1.000001);
    // A normal deviate lies beyond one deviation 32 % of the time.
    assert.ok(expected.uniform ? beyond.length === 0 : beyond.length > velocities.length / 5, name);
    assert.ok(Math.max(...velocities) > 0.9 * expected.velocities, name);
    env.close();
  }
});

test("a robot that falls ends its episode, without the reward for being alive; it then must be reset", async () => {
  for (const name of ["Walker2d-6x1", "Ant-2x4d", "Hopper-3x1", "Humanoid-17x1"]) {
    const env = await makeEnv(`mujoco/${name}`);
    const buffers = createBuffers(env.spec);
    const actions = new Float32Array(actionCount(env));
    const { task } = mujocoTeam(`mujoco/${name}`, {});
    env.reset(buffers, 1);
    // The torso's height, where the robot cannot be.
    const saved = env.save();
    saved[8 + 1 + (task.hiddenPositions === 2 ? 2 : 1)] = 5;
    if (name.startsWith("Hopper")) saved[8 + 1 + 2] = 0.5;
    env.restore(saved, buffers);
    const fallen = env.step(actions, buffers);
    assert.ok(fallen.terminated && !fallen.truncated && fallen.info === undefined, name);
    // It hangs in the air: nothing but its own noise moves it forward.
    assert.ok(Math.abs(fallen.reward) < 0.9, `${name}: ${fallen.reward}`);
    assert.throws(() => env.step(actions, buffers), { code: "LORASA_SIMULATOR" });
    env.reset(buffers);
    const standing = env.step(actions, buffers);
    assert.ok(!standing.terminated && standing.reward > task.reward.alive - 0.9, name);
    env.close();
  }
});

test("a fall on the last step is an end inside the task, not the time limit", async () => {
  const env = await makeEnv("mujoco/Walker2d-2x3", { episodeLimit: 1 });
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 1);
  const saved = env.save();
  saved[8 + 1 + 1] = 5;
  env.restore(saved, buffers);
  const { terminated, truncated } = env.step(new Float32Array(6), buffers);
  assert.deepEqual([terminated, truncated], [true, false]);
  env.close();
});

test("after restore the future is the same bit for bit, forces and reward of the next step included", async () => {
  for (const { name } of ROBOTS) {
    const [env, other] = [await makeEnv(`mujoco/${name}`), await makeEnv(`mujoco/${name}`)];
    const buffers = createBuffers(env.spec);
    env.reset(buffers, 3);
    play(env, 14);
    const [saved, seen] = [env.save(), play(env, 0)];
    const future = play(env, 40);
    for (const again of [env, other]) {
      again.restore(saved, buffers);
      assert.deepEqual(play(again, 0), seen, name);
      assert.deepEqual(again.save(), saved, name);
      assert.deepEqual(play(again, 40), future, name);
      again.close();
    }
  }
});

test("damaged forces in a saved state are refused", async () => {
  const env = await makeEnv("mujoco/Ant-4x2");
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 3);
  const saved = env.save();
  saved[saved.length - 1] = Number.NaN;
  assert.throws(() => env.restore(saved, buffers), { code: "LORASA_NOT_FINITE" });
  env.close();
});

test("an agent's padding does nothing: Humanoid's shorter agent", async () => {
  const env = await makeEnv("mujoco/Humanoid-9|8");
  const { agents, observationSize } = env.spec;
  assert.deepEqual(
    agents.map((agent) => agent.actionSize),
    [9, 8],
  );
  const buffers = createBuffers(env.spec);
  const states = [0, Number.NaN].map((padding) => {
    env.reset(buffers, 2);
    const actions = new Float32Array(18).fill(0.3);
    actions[17] = padding;
    const { reward } = env.step(actions, buffers);
    return [reward, ...buffers.state];
  });
  assert.deepEqual(states[1], states[0]);
  const rest = buffers.observations.subarray(observationSize + agents[1]!.observationSize);
  assert.ok(rest.length > 0 && rest.every((number) => number === 0));
  env.close();
});

test("a crushed robot uses less than a quarter of its scratch memory", async () => {
  const mujoco = await loadMujoco();
  const random = new Random(1);
  for (const { name } of ROBOTS) {
    const { robot } = mujocoTeam(`mujoco/${name}`, {}).task;
    const model = mujoco.MjModel.from_xml_string(toMjcf(robot));
    const data = new mujoco.MjData(model);
    let most = 0;
    for (let episode = 0; episode < 10; episode++) {
      mujoco.mj_resetData(model, data);
      const positions = data.qpos as Float64Array;
      for (let i = 0; i < positions.length; i++) positions[i] = positions[i]! + random.uniformIn(-1.5, 1.5);
      for (let t = 0; t < 20; t++) mujoco.mj_step(model, data);
      most = Math.max(most, data.maxuse_arena);
    }
    assert.ok(most > 0 && most < (robot.scratchMebibytes * 2 ** 20) / 4, `${name}: ${most} bytes`);
    data.delete();
    model.delete();
  }
});

function actionCount({ spec }: Env): number {
  return spec.agents.length * (spec.actionSpace.kind === "continuous" ? spec.actionSpace.size : 1);
}

/** Rewards, ends, states and observations of steps whose actions depend on what is seen, with resets at ends. */
function play(env: Env, steps: number): number[] {
  const buffers = createBuffers(env.spec);
  const actions = new Float32Array(actionCount(env));
  env.restore(env.save(), buffers);
  const seen: number[] = [...buffers.state, ...buffers.observations];
  for (let t = 0; t < steps; t++) {
    for (let i = 0; i < actions.length; i++) actions[i] = Math.sin(3 * t + i + buffers.state[0]!);
    const { reward, terminated, truncated } = env.step(actions, buffers);
    seen.push(reward, Number(terminated), ...buffers.state, ...buffers.observations);
    if (terminated || truncated) env.reset(buffers);
  }
  return seen;
}
