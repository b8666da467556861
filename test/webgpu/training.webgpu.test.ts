/**
 * Training, acting and evaluation on WebGPU against the CPU: the same numbers to rounding, the same files, and nothing
 * left in the device's memory. How fast it is, a software driver cannot show.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Device } from "../../src/runtime/session.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { Trainer, type TrainerState } from "../../src/training/trainer.ts";
import { chase } from "../helpers/chase-task.ts";
import { assertClose } from "../helpers/close.ts";
import { fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { randomTeam } from "../helpers/team.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

/**
 * Adam turns a gradient's rounding into a share of a step: where a gradient is no larger than its rounding, the whole
 * step may differ. 1e-5 is a fiftieth of one step at the learning rate of these runs; 40 are taken.
 */
const PARAMETERS = { atol: 1e-5, rtol: 0 };
const LEAST_LEARNT = 1e-3;
/** Means over a rollout of numbers of size 1, from parameters that differ by as much. */
const FIGURES = { atol: 1e-4, rtol: 1e-3 };

interface Case {
  readonly change: Partial<TrainConfig>;
  readonly discrete?: boolean;
}

const CASES: Readonly<Record<string, Case>> = {
  "a plain network with Gaussian actions, two minibatches": {
    change: {
      recurrent: false,
      distribution: "gaussian",
      critic: "team",
      minibatches: 2,
      timeLimit: "bootstrap",
    },
  },
  "a recurrent network with squashed actions, one minibatch": { change: { minibatches: 1, epochs: 10 } },
  "a recurrent network with choices, two minibatches": { change: { minibatches: 2 }, discrete: true },
  // Half the steps an agent: the shared network takes those of both.
  "one agent after another, a recurrent network": {
    change: { algo: "a2po", minibatches: 1, updateOrder: "random" },
  },
};

/** Two updates of ten steps in each phase, 40 environment steps an update. */
function configOf({ change }: Case): TrainConfig {
  const small = { envs: 4, rolloutLength: 10, chunkLength: 5, epochs: 5, criticEpochs: 2, steps: 160 };
  return tinyConfig({ ...small, switchAt: 0.5, ...change });
}

function startOn(device: Device, own: Case): Trainer {
  const config = configOf(own);
  const vectorEnv = fakeVectorEnv(chase(own.discrete ?? false), { envs: config.envs });
  // A thread of the critic would keep a failed test's process alive.
  return new Trainer({ config, runtime: createRuntime(device), vectorEnv, criticThread: false });
}

const residentBytes = (): number => createRuntime("webgpu").residentBytes;

/** Everything that is learnt, and what the rollouts were collected with. */
function assertStatesClose(actual: TrainerState, expected: TrainerState, what: string): void {
  assert.equal(actual.envSteps, expected.envSteps);
  assertClose(actual.backbone, expected.backbone, PARAMETERS, `${what}: backbone`);
  for (const side of ["actor", "critic"] as const) {
    const [a, b] = [actual[side], expected[side]];
    assert.deepEqual(a.updates, b.updates);
    assert.deepEqual(a.random, b.random);
    assertClose(a.parameters, b.parameters, PARAMETERS, `${what}: ${side}`);
    assertClose(a.firstMoment, b.firstMoment, { atol: 1e-5, rtol: 1e-3 }, `${what}: first moments, ${side}`);
    assertClose(
      a.secondMoment,
      b.secondMoment,
      { atol: 1e-6, rtol: 1e-3 },
      `${what}: second moments, ${side}`,
    );
    for (const name of Object.keys(b.carried))
      assertClose(a.carried[name]!, b.carried[name]!, { rtol: 1e-4 }, `${what}: ${name}`);
  }
  for (const [index, group] of expected.collector.groups.entries()) {
    for (const [name, values] of Object.entries(group))
      assertClose(actual.collector.groups[index]![name]!, values, { atol: 1e-5 }, `${what}: ${name}`);
  }
}

for (const [name, own] of Object.entries(CASES)) {
  test(`trained on WebGPU, both phases come out as on the CPU: ${name}`, { skip: NO_WEBGPU }, async () => {
    const [device, cpu] = [startOn("webgpu", own), startOn("cpu", own)];
    const first = (await cpu.state()).actor.parameters;
    assert.deepEqual((await device.state()).actor.parameters, first, "the same weights to start with");
    while (!cpu.done) {
      const [a, b] = [await device.iterate(), await cpu.iterate()];
      assert.equal(a.phase, b.phase);
      assert.deepEqual(
        a.episodes.map(({ length }) => length),
        b.episodes.map(({ length }) => length),
      );
      assertClose(Object.values(a.figures), Object.values(b.figures), FIGURES, Object.keys(b.figures).join());
      assertStatesClose(await device.state(), await cpu.state(), `${b.phase}, step ${b.envSteps}`);
      if (b.envSteps === 80) {
        const moved = (await device.state()).actor.parameters.map((value, k) => Math.abs(value - first[k]!));
        assert.ok((await device.state()).actor.updates.every((count) => count === 20));
        assert.ok(Math.max(...moved) > LEAST_LEARNT, "it learns");
      }
    }
    assert.equal(device.phase, "adapters");
    const each = own.change.algo === "a2po" ? 10 : 20;
    assert.deepEqual((await device.state()).actor.updates, [each, each]);
    await device.close();
    await cpu.close();
  });
}

const RECURRENT = CASES["a recurrent network with squashed actions, one minibatch"]!;

test("the frozen backbone on the device is bit for bit the one that was frozen", {
  skip: NO_WEBGPU,
}, async () => {
  const trainer = startOn("webgpu", RECURRENT);
  while (trainer.envSteps < 80) await trainer.iterate();
  assert.equal(trainer.phase, "shared");
  const shared = trainer.team.backbone;
  while (!trainer.done) await trainer.iterate();
  assert.equal(trainer.phase, "adapters");
  assert.deepEqual(trainer.team.backbone, shared);
  const { adapters } = trainer.team;
  assert.ok(adapters?.some((value) => value !== 0));
  await trainer.close();
});

for (const updates of [1, 3]) {
  for (const [from, to] of [
    ["webgpu", "webgpu"],
    ["cpu", "webgpu"],
    ["webgpu", "cpu"],
  ] as const) {
    const phase = updates === 1 ? "shared" : "adapters";
    test(`a run saved on ${from} goes on on ${to}: ${phase}`, { skip: NO_WEBGPU }, async () => {
      const own: Case = { change: { minibatches: 2, epochs: 2 }, discrete: true };
      const whole = startOn(from, own);
      for (let update = 0; update < updates; update++) await whole.iterate();
      // Through structured cloning, as through a file: nothing is shared with the run that saved it.
      const saved = structuredClone(await whole.state());
      assert.equal(whole.phase, phase);
      const resumed = startOn(to, own);
      await resumed.restore(saved, phase);
      assert.deepEqual(await resumed.state(), saved, "all of it, to the bit");
      await whole.iterate();
      await resumed.iterate();
      const [a, b] = [await resumed.state(), await whole.state()];
      if (from === to) assert.deepEqual(a, b, "one device, the same bits");
      else assertStatesClose(a, b, "the update after it");
      await whole.close();
      await resumed.close();
    });
  }
}

test("evaluation on WebGPU plays the CPU's episodes and leaves nothing behind", { skip: NO_WEBGPU }, () => {
  const before = residentBytes();
  const kinds = [
    { sharing: "low-rank", recurrent: true, head: "squashed-gaussian" },
    { sharing: "shared", recurrent: true, head: "categorical" },
    { sharing: "individual", recurrent: false, head: "gaussian" },
    { sharing: "multi-task", recurrent: true, head: "gaussian" },
    { sharing: "low-rank on clusters by type", recurrent: false, head: "categorical" },
  ] as const;
  for (const kind of kinds) {
    const discrete = kind.head === "categorical";
    const size = discrete ? 3 : 2;
    const team = randomTeam({ ...kind, observationSizes: [3, 3], actionSizes: [size, size] });
    for (const sampled of [false, true]) {
      const play = (device: Device) => {
        const vectorEnv = fakeVectorEnv(chase(discrete), { envs: 2, groups: 1 });
        return evaluate(team, { runtime: createRuntime(device), vectorEnv, episodes: 4, seed: 7, sampled });
      };
      const [device, cpu] = [play("webgpu"), play("cpu")];
      assert.deepEqual(
        device.map(({ length }) => length),
        cpu.map(({ length }) => length),
      );
      const returns = (episodes: typeof cpu): number[] => episodes.map((episode) => episode.return);
      // Ten rewards an episode, each of a squared action that the next observation reads again.
      assertClose(returns(device), returns(cpu), { atol: 1e-4 }, `returns, ${kind.head}`);
    }
  }
  assert.equal(residentBytes(), before);
});

test("updates leave the device's memory as it was, a phase frees the one before, closing frees all", {
  skip: NO_WEBGPU,
}, async () => {
  const before = residentBytes();
  const own: Case = {
    change: { recurrent: false, minibatches: 2, epochs: 1, criticEpochs: 1, steps: 480, switchAt: 0.5 },
  };
  const trainer = startOn("webgpu", own);
  const held: Record<string, Set<number>> = { shared: new Set(), adapters: new Set() };
  while (!trainer.done) {
    const { phase } = await trainer.iterate();
    held[phase]!.add(residentBytes() - before);
  }
  assert.deepEqual(
    Object.values(held).map(({ size }) => size),
    [1, 1],
    "one size over the six updates of a phase",
  );
  const [shared, adapters] = Object.values(held).map(([bytes]) => bytes!);
  const { actor, critic } = await trainer.state();
  const team = trainer.team;
  // Two sets of parameters and moments; minibatches, states and merged weights come on top.
  assert.ok(shared! >= 4 * 6 * (team.backbone.length + critic.parameters.length));
  assert.ok(
    adapters! >= 4 * (6 * (actor.parameters.length + critic.parameters.length) + team.backbone.length),
  );
  assert.ok(adapters! < shared! + 4 * 6 * actor.parameters.length + 4 * 3 * team.backbone.length);
  await trainer.close();
  assert.equal(residentBytes(), before);
});
