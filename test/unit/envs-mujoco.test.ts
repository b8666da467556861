/** One MuJoCo environment: names, options, episodes, errors, saving. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/base/errors.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { Env } from "../../src/envs/contract.ts";
import { jointsByDistance } from "../../src/envs/mujoco/observation.ts";
import { envSpec, listTasks, makeEnv } from "../../src/envs/registry.ts";

const TASK = "mujoco/HalfCheetah-2x3";
const CUSTOM = "bthigh,bshin|bfoot,fthigh,fshin,ffoot";

test("the spec of HalfCheetah-2x3 is that of the LoRASA experiments", () => {
  assert.deepEqual(envSpec(TASK), {
    name: TASK,
    agents: [
      { name: "agent_0", observationSize: 7, actionSize: 3 },
      { name: "agent_1", observationSize: 7, actionSize: 3 },
    ],
    observationSize: 7,
    stateSize: 17,
    actionSpace: { kind: "continuous", size: 3, low: -1, high: 1 },
    episodeLimit: 1000,
    stepSeconds: 0.05,
    statePerAgent: false,
    episodeFigures: [],
  });
});

test("observation sizes follow hops, globals and observe", () => {
  const sizes = (name: string) =>
    envSpec(`mujoco/HalfCheetah-${name}`).agents.map((agent) => agent.observationSize);
  assert.deepEqual(sizes("6x1"), [4, 4, 3, 4, 4, 3]);
  assert.deepEqual(sizes("6x1?hops=0"), [2, 2, 2, 2, 2, 2]);
  assert.deepEqual(sizes("6x1?hops=2"), [6, 5, 4, 6, 5, 4]);
  assert.deepEqual(sizes("6x1?hops=2&globals=root"), [11, 10, 9, 11, 10, 9]);
  assert.deepEqual(sizes("2x3?hops=6"), [9, 9]);
  assert.deepEqual(sizes("2x3?observe=full"), [17, 17]);
});

test("joints are found breadth first over sets of neighbours", () => {
  const sets = [
    ["hip1", "ankle1"],
    ["hip1", "hip2", "hip3"],
    ["hip2", "ankle2"],
  ];
  const levels = jointsByDistance(["ankle1"], sets, 3);
  assert.deepEqual(levels, [["ankle1"], ["hip1"], ["hip2", "hip3"], ["ankle2"]]);
  assert.deepEqual(jointsByDistance(["hip2", "ankle2"], sets, 1), [
    ["ankle2", "hip2"],
    ["hip1", "hip3"],
  ]);
});

test("a written factorisation is one task, given in the name or as an option", () => {
  const byOption = envSpec("mujoco/HalfCheetah", { factorization: CUSTOM });
  assert.deepEqual(
    byOption.agents.map((agent) => [agent.actionSize, agent.observationSize]),
    [
      [2, 6],
      [4, 10],
    ],
  );
  assert.deepEqual(envSpec(byOption.name), byOption);
  const named = envSpec("mujoco/HalfCheetah?factorization=bthigh,bshin,bfoot|fthigh,fshin,ffoot");
  assert.deepEqual(named, envSpec(TASK));
});

test("an unknown task is answered with near names", async () => {
  await assert.rejects(
    makeEnv("mujoco/HalfCheeta-2x3"),
    refusal("LORASA_UNKNOWN_TASK", /did you mean.*HalfCheetah-2x3/),
  );
  for (const name of [
    "chess/3m",
    "mujoco/HalfCheetah-1x6",
    "mujoco/HalfCheetahs",
    "mujoco/HalfCheetah-",
    "constructor/x",
    "",
  ]) {
    assert.throws(
      () => envSpec(name),
      { code: name.endsWith("-") ? "LORASA_CONFIG" : "LORASA_UNKNOWN_TASK" },
      name,
    );
  }
  for (const { name } of listTasks()) assert.equal(envSpec(name).name, name);
});

test("options that are unknown, out of range or contradictory are refused", () => {
  const cases: [string, Record<string, string | number | boolean>, RegExp][] = [
    [TASK, { hop: 1 }, /did you mean hops\?/],
    [TASK, { hops: -1 }, /from 0 to 6, received -1/],
    [TASK, { hops: 1.5 }, /whole number/],
    [TASK, { hops: true }, /whole number/],
    [TASK, { hops: "" }, /whole number/],
    [TASK, { observe: "all" }, /khop or full/],
    [TASK, { categories: "position" }, /new or old/],
    [TASK, { episodeLimit: 0 }, /from 1/],
    [`${TASK}?hops=2`, { hops: 1 }, /give it once/],
    [TASK, { factorization: "6x1" }, /give it once/],
    ["mujoco/HalfCheetah", {}, /a factorization: 2x3, 3x2, 6x1/],
    ["mujoco/HalfCheetah", { factorization: "bthigh,bshin" }, /no bfoot, fthigh, fshin, ffoot/],
    ["mujoco/HalfCheetah", { factorization: `${CUSTOM},bthigh` }, /bthigh twice/],
    ["mujoco/HalfCheetah", { factorization: `${CUSTOM}|` }, /received ""/],
    ["mujoco/HalfCheetah", { factorization: CUSTOM.replace("bfoot", "bfot") }, /did you mean bfoot/],
  ];
  for (const [name, options, message] of cases) {
    assert.throws(
      () => envSpec(name, options),
      refusal("LORASA_CONFIG", message),
      JSON.stringify([name, options]),
    );
  }
  assert.equal(envSpec(TASK, { hops: "2" }).name, `${TASK}?hops=2`);
});

test("an episode starts within the reset noise; the same seed gives the same, the stream then goes on", async () => {
  const env = await makeEnv(TASK);
  const buffers = createBuffers(env.spec);
  const starts = [5, undefined, 5, undefined].map((seed) => {
    env.reset(buffers, seed);
    return Array.from(buffers.state);
  });
  assert.deepEqual(starts[2], starts[0]);
  assert.deepEqual(starts[3], starts[1]);
  assert.notDeepEqual(starts[1], starts[0]);
  const positions: number[] = [];
  const velocities: number[] = [];
  for (let i = 0; i < 300; i++) {
    env.reset(buffers);
    positions.push(...buffers.state.subarray(0, 8));
    velocities.push(...buffers.state.subarray(8));
  }
  assert.ok(Math.max(...positions.map(Math.abs)) <= 0.1 && Math.max(...positions) > 0.098);
  const spread = Math.sqrt(velocities.reduce((sum, v) => sum + v * v, 0) / velocities.length);
  // 2,700 draws: five standard errors of a standard deviation of 0.1.
  assert.ok(Math.abs(spread - 0.1) < (5 * 0.1) / Math.sqrt(2 * velocities.length), `${spread}`);
  assert.ok(Math.max(...velocities) > 0.2);
  env.close();
});

test("an episode is truncated at its limit, with its last observation, and must then be reset", async () => {
  const env = await makeEnv(TASK, { episodeLimit: 3 });
  const buffers = createBuffers(env.spec);
  const actions = new Float32Array(6);
  assert.throws(() => env.step(actions, buffers), { code: "LORASA_SIMULATOR" });
  env.reset(buffers, 1);
  const ends = [1, 2, 3].map(() => {
    const before = Array.from(buffers.state);
    const { terminated, truncated } = env.step(actions, buffers);
    assert.notDeepEqual(Array.from(buffers.state), before);
    return [terminated, truncated];
  });
  assert.deepEqual(ends, [
    [false, false],
    [false, false],
    [false, true],
  ]);
  assert.throws(() => env.step(actions, buffers), /call reset/);
  env.reset(buffers);
  assert.equal(env.step(actions, buffers).truncated, false);
  env.close();
});

test("unequal agents are padded: zeros in observations, anything in actions", async () => {
  const env = await makeEnv("mujoco/HalfCheetah", { factorization: CUSTOM });
  const { observationSize, agents } = env.spec;
  const run = (padding: number): { reward: number; observations: Float32Array } => {
    const buffers = createBuffers(env.spec);
    buffers.observations.fill(9);
    env.reset(buffers, 2);
    // Agent 0 has two joints of at most four.
    const actions = Float32Array.of(0.5, -0.25, padding, padding, 1, -1, 0.125, 0);
    const { reward } = env.step(actions, buffers);
    return { reward, observations: buffers.observations };
  };
  const plain = run(0);
  assert.deepEqual(run(Number.NaN), plain);
  const rest = plain.observations.subarray(agents[0]!.observationSize, observationSize);
  assert.deepEqual(Array.from(rest), [0, 0, 0, 0]);
  env.close();
});

test("actions reach the motors of the named joints", async () => {
  const reversed = await makeEnv("mujoco/HalfCheetah", {
    factorization: "ffoot,fshin,fthigh|bfoot,bshin,bthigh",
  });
  const straight = await makeEnv(TASK);
  const actions = Float32Array.of(0.1, -0.2, 0.3, -0.4, 0.5, -0.6);
  const states = [straight, reversed].map((env, index) => {
    const buffers = createBuffers(env.spec);
    env.reset(buffers, 4);
    env.step(index === 0 ? actions : actions.slice().reverse(), buffers);
    env.close();
    return buffers.state;
  });
  assert.deepEqual(states[1], states[0]);
});

test("an action that is not finite is refused by agent and index, and nothing moves", async () => {
  const env = await makeEnv(TASK);
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 1);
  const before = env.save();
  const actions = Float32Array.of(0, 0, 0, 0, 0, Number.NaN);
  assert.throws(() => env.step(actions, buffers), refusal("LORASA_NOT_FINITE", /action of agent_1, index 2/));
  assert.deepEqual(env.save(), before);
  env.close();
});

test("a simulation that diverges ends the episode as terminated, with the last sound observation", async () => {
  const env = await makeEnv(TASK);
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 1);
  const saved = env.save();
  const rootVelocity = 8 + 1 + 9;
  saved[rootVelocity] = 1e12;
  env.restore(saved, buffers);
  const last = buffers.state.slice();
  const result = env.step(new Float32Array(6), buffers);
  assert.deepEqual(result, { reward: 0, terminated: true, truncated: false, info: { diverged: 1 } });
  assert.deepEqual(buffers.state, last);
  env.reset(buffers);
  assert.equal(env.step(new Float32Array(6), buffers).terminated, false);
  env.close();
});

test("after restore the future is the same bit for bit, through an episode's end", async () => {
  const env = await makeEnv(TASK, { episodeLimit: 40 });
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 3);
  play(env, 15);
  const saved = env.save();
  const future = play(env, 60);
  env.restore(saved, buffers);
  assert.deepEqual(play(env, 60), future);
  const other = await makeEnv(TASK, { episodeLimit: 40 });
  other.restore(saved, buffers);
  assert.deepEqual(play(other, 60), future);
  env.close();
  other.close();
});

test("a saved state of another length, or damaged, is refused", async () => {
  const env = await makeEnv(TASK);
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 3);
  const saved = env.save();
  assert.throws(() => env.restore(saved.subarray(1), buffers), { code: "LORASA_SHAPE" });
  saved[12] = Number.NaN;
  assert.throws(() => env.restore(saved, buffers), { code: "LORASA_NOT_FINITE" });
  env.close();
});

test("closing twice is fine; use after it is refused", async () => {
  const env = await makeEnv(TASK);
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 3);
  const saved = env.save();
  env.close();
  env.close();
  for (const late of [
    () => env.reset(buffers),
    () => env.step(new Float32Array(6), buffers),
    () => env.save(),
    () => env.restore(saved, buffers),
  ]) {
    assert.throws(late, { code: "LORASA_DISPOSED" });
  }
});

test("many environments at once do not disturb one another, though the engine's memory grows and moves", async () => {
  const first = await makeEnv(TASK);
  const buffers = createBuffers(first.spec);
  first.reset(buffers, 6);
  const alone = play(first, 10);
  first.reset(buffers, 6);
  const others = await Promise.all(Array.from({ length: 40 }, () => makeEnv(TASK)));
  for (const other of others) other.reset(createBuffers(other.spec), 1);
  assert.deepEqual(play(first, 10), alone);
  for (const env of [first, ...others]) env.close();
});

/** Rewards and states of steps whose actions depend on what is seen, with resets at ends. */
function play(env: Env, steps: number): number[] {
  const buffers = createBuffers(env.spec);
  const actions = new Float32Array(6);
  const seen: number[] = [];
  for (let t = 0; t < steps; t++) {
    for (let i = 0; i < 6; i++) actions[i] = Math.sin(3 * t + i + (buffers.state[i] ?? 0));
    const { reward, terminated, truncated } = env.step(actions, buffers);
    seen.push(reward, ...buffers.state);
    if (terminated || truncated) env.reset(buffers);
  }
  return seen;
}

function refusal(code: ErrorCode, message: RegExp): { code: ErrorCode; message: RegExp } {
  return { code, message };
}
