/** Several environments at once: the same trajectories however they are hosted, ends, saving, failures, closing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Worker } from "node:worker_threads";
import { createBuffers } from "../../src/envs/buffers.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { createVectorEnv } from "../../src/envs/vector.ts";
import type { VectorEnv } from "../../src/envs/vector-contract.ts";

const name = "mujoco/HalfCheetah-2x3";

test("the same seed gives the same trajectories whatever the number of threads and groups", async () => {
  const options = { episodeLimit: 7 };
  const hosts = [
    { groups: 1, threads: 0 },
    { groups: 2, threads: 2 },
    { groups: 3, threads: 1 },
  ];
  const runs = await Promise.all(
    hosts.map(async (host) => {
      const vector = await createVectorEnv({ name, options, envs: 6, ...host });
      vector.reset(11);
      const seen = play(vector, 20);
      await vector.close();
      return seen;
    }),
  );
  assert.equal(runs[0]!.length, 20 * 6);
  assert.deepEqual(runs[1], runs[0]);
  assert.deepEqual(runs[2], runs[0]);
});

test("environments of one seed differ, and another seed gives others", async () => {
  const vector = await createVectorEnv({ name, envs: 4, groups: 1, threads: 0 });
  const starts: string[] = [];
  for (const seed of [1, 2]) {
    vector.reset(seed);
    const { state } = vector.groups[0]!;
    for (let e = 0; e < 4; e++) starts.push(state.subarray(e * 17, (e + 1) * 17).join());
  }
  assert.equal(new Set(starts).size, 8);
  await vector.close();
});

test("an environment steps as it does alone, rows laid out agent by agent", async () => {
  const vector = await createVectorEnv({ name, envs: 2, groups: 1, threads: 0 });
  vector.reset(3);
  const group = vector.groups[0]!;
  const alone = await makeEnv(name);
  const buffers = createBuffers(alone.spec);
  // Environment 1 of the two, taken over at its start: the group's own three numbers come first.
  alone.restore(vector.save()[1]!.subarray(3), buffers);
  const actions = Float32Array.of(0.1, 0.2, 0.3, -0.4, -0.5, -0.6);
  for (let agent = 0; agent < 2; agent++)
    group.actions.set(actions.subarray(agent * 3, agent * 3 + 3), (agent * 2 + 1) * 3);
  vector.startStep(0);
  vector.finishStep(0);
  const { reward } = alone.step(actions, buffers);
  assert.equal(group.rewards[1], Math.fround(reward));
  for (let agent = 0; agent < 2; agent++) {
    const row = group.observations.subarray((agent * 2 + 1) * 7, (agent * 2 + 2) * 7);
    assert.deepEqual(row, buffers.observations.subarray(agent * 7, agent * 7 + 7));
  }
  assert.deepEqual(group.state.subarray(17, 34), buffers.state);
  assert.deepEqual(Array.from(group.active), [1, 1, 1, 1]);
  alone.close();
  await vector.close();
});

test("at an end the final observation is kept, the next episode is under way, figures stand for one step", async () => {
  const vector = await createVectorEnv({
    name,
    options: { episodeLimit: 3 },
    envs: 1,
    groups: 1,
    threads: 0,
  });
  vector.reset(5);
  const group = vector.groups[0]!;
  let total = 0;
  for (let t = 1; t <= 3; t++) {
    step(vector, t);
    total += group.rewards[0]!;
    assert.deepEqual(
      [group.terminated[0], group.truncated[0], group.episodeLength[0]],
      [0, t === 3 ? 1 : 0, t],
    );
  }
  assert.ok(Math.abs(group.episodeReturn[0]! - total) < 1e-5);
  const alone = await makeEnv(name, { episodeLimit: 3 });
  const buffers = createBuffers(alone.spec);
  const again = await createVectorEnv({ name, options: { episodeLimit: 3 }, envs: 1, groups: 1, threads: 0 });
  again.reset(5);
  alone.restore(again.save()[0]!.subarray(3), buffers);
  for (let t = 1; t <= 3; t++) alone.step(actionsAt(t, 0), buffers);
  assert.deepEqual(group.finalObservations, buffers.observations);
  assert.deepEqual(group.finalState, buffers.state);
  alone.reset(buffers);
  assert.deepEqual(group.observations, buffers.observations);
  assert.deepEqual(group.state, buffers.state);
  step(vector, 4);
  assert.deepEqual(
    [group.truncated[0], group.episodeLength[0], group.episodeReturn[0]],
    [0, 1, group.rewards[0]],
  );
  alone.close();
  await Promise.all([vector.close(), again.close()]);
});

test("after restore the future is the same, in a vector environment hosted otherwise too", async () => {
  const options = { episodeLimit: 9 };
  const threaded = await createVectorEnv({ name, options, envs: 4, threads: 2 });
  const local = await createVectorEnv({ name, options, envs: 4, groups: 1, threads: 0 });
  threaded.reset(2);
  play(threaded, 9);
  const saved = threaded.save();
  const future = play(threaded, 12);
  threaded.restore(saved);
  assert.deepEqual(Array.from(threaded.groups[0]!.truncated), [0, 0]);
  assert.deepEqual(play(threaded, 12), future);
  local.restore(saved);
  assert.deepEqual(play(local, 12), future);
  assert.throws(() => local.restore(saved.slice(1)), { code: "LORASA_SHAPE" });
  await Promise.all([threaded.close(), local.close()]);
});

test("a failure in a thread names the environment; reset goes on", async () => {
  const vector = await createVectorEnv({ name, envs: 4, threads: 2 });
  vector.reset(1);
  const group = vector.groups[1]!;
  group.actions.fill(0);
  group.actions[(1 * 2 + 1) * 3 + 2] = Number.NaN;
  vector.startStep(0);
  vector.startStep(1);
  const told = { code: "LORASA_NOT_FINITE", message: /environment 3: action of agent_1, index 2/ };
  assert.throws(() => vector.finishStep(1), told);
  assert.throws(() => vector.startStep(1), /reset or restore after a failure/);
  vector.reset(1);
  assert.equal(play(vector, 2).length, 8);
  await vector.close();
});

test("failures in several threads at once are told once, and nothing of them is left after a reset", async () => {
  const vector = await createVectorEnv({ name, envs: 2, groups: 1, threads: 2 });
  vector.reset(1);
  vector.groups[0]!.actions.fill(Number.NaN);
  vector.startStep(0);
  assert.throws(() => vector.finishStep(0), { code: "LORASA_NOT_FINITE" });
  vector.reset(1);
  assert.equal(play(vector, 2).length, 4);
  await vector.close();
});

test("steps begin and finish in turn", async () => {
  const vector = await createVectorEnv({ name, envs: 2, threads: 1 });
  vector.reset(1);
  assert.throws(() => vector.finishStep(0), /startStep before/);
  vector.startStep(0);
  assert.throws(() => vector.startStep(0), /finishStep before/);
  assert.throws(() => vector.save(), /finishStep before/);
  vector.finishStep(0);
  assert.equal(vector.save().length, 2);
  assert.ok(vector.takeSimulationNanoseconds() > 0);
  assert.equal(vector.takeSimulationNanoseconds(), 0);
  await vector.close();
});

test("sizes that do not fit and unknown tasks are refused before a thread starts", async () => {
  await assert.rejects(createVectorEnv({ name, envs: 3 }), {
    code: "LORASA_CONFIG",
    message: /multiple of 2/,
  });
  await assert.rejects(createVectorEnv({ name, envs: 0 }), { code: "LORASA_CONFIG" });
  await assert.rejects(createVectorEnv({ name, envs: 2, threads: -1 }), { code: "LORASA_CONFIG" });
  await assert.rejects(createVectorEnv({ name: "mujoco/Halfcheetah-2x3", envs: 2 }), {
    code: "LORASA_UNKNOWN_TASK",
  });
});

test("closing twice is fine, with a step under way too; use after it is refused", async () => {
  for (const threads of [0, 1]) {
    const vector = await createVectorEnv({ name, envs: 2, threads });
    vector.reset(1);
    vector.startStep(0);
    await Promise.all([vector.close(), vector.close()]);
    await vector.close();
    for (const late of [
      () => vector.reset(1),
      () => vector.startStep(1),
      () => vector.finishStep(0),
      () => vector.save(),
      () => vector.restore([]),
      () => vector.takeSimulationNanoseconds(),
    ]) {
      assert.throws(late, { code: "LORASA_DISPOSED" });
    }
  }
});

test("a thread that dies does not hang the caller", async () => {
  for (const noticed of [true, false]) {
    const workers: Worker[] = [];
    const collect = (worker: Worker): void => void workers.push(worker);
    process.on("worker", collect);
    const vector = await createVectorEnv({ name, envs: 4, threads: 2, stallMs: 300 });
    process.off("worker", collect);
    vector.reset(1);
    const death = workers[1]!.terminate();
    // With its event loop the caller hears of the death at once; blocked, it sees that nothing moves.
    if (noticed) await death;
    const told = {
      code: "LORASA_SIMULATOR",
      message: noticed ? /thread 1 ended/ : /no step was made in 0.3 s/,
    };
    assert.throws(() => {
      for (;;) step(vector, 0);
    }, told);
    await vector.close();
  }
});

/** What a run gives for every step and environment, in one order for all hosts. */
function play(vector: VectorEnv, steps: number): unknown[] {
  const seen: unknown[] = [];
  for (let t = 0; t < steps; t++) {
    step(vector, t);
    for (const group of vector.groups) {
      for (let e = 0; e < group.envs; e++) {
        const ended = group.terminated[e] === 1 || group.truncated[e] === 1;
        seen.push({
          reward: group.rewards[e],
          state: group.state.slice(e * 17, (e + 1) * 17),
          observations: [0, 1].map((agent) => {
            const row = agent * group.envs + e;
            return group.observations.slice(row * 7, (row + 1) * 7);
          }),
          figures: [group.terminated[e], group.truncated[e], group.episodeReturn[e], group.episodeLength[e]],
          final: ended ? group.finalState.slice(e * 17, (e + 1) * 17) : null,
        });
      }
    }
  }
  return seen;
}

/** One step of every group, with actions that depend on time and environment alone. */
function step(vector: VectorEnv, t: number): void {
  for (const [index, group] of vector.groups.entries()) {
    for (let e = 0; e < group.envs; e++) {
      const actions = actionsAt(t, group.firstEnv + e);
      for (let agent = 0; agent < 2; agent++) {
        group.actions.set(actions.subarray(agent * 3, agent * 3 + 3), (agent * group.envs + e) * 3);
      }
    }
    vector.startStep(index);
  }
  for (const index of vector.groups.keys()) vector.finishStep(index);
}

function actionsAt(t: number, env: number): Float32Array {
  return Float32Array.from({ length: 6 }, (_, i) => Math.sin(2 * t + 5 * env + i));
}
