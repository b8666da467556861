/** Games of a few steps that are learnt in seconds or not at all: a wrong sign anywhere in training fails here. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { mean } from "../../src/base/statistics.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { switchStep, type TrainConfig } from "../../src/training/config.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { defaultConfig } from "../../src/training/presets.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { type FakeTask, fakeVectorEnv, type Moment } from "../helpers/fake-vector-env.ts";

const runtime = createRuntime();
const LENGTH = 5;

/** −1 or 1, as if by chance. */
function coin({ env, episode, step, seed }: Moment): number {
  let hash =
    Math.imul(env + 1, 0x9e3779b1) ^
    Math.imul(episode + 1, 0x85ebca6b) ^
    Math.imul(step + seed + 1, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) & 1) === 0 ? -1 : 1;
}

/**
 * All agents see the same coin; even ones are to answer with it and odd ones with its opposite, for at most 1 a step.
 * Two that answer alike get 0.64 a step at best (continuous, 0.6 asked for) or 0.5 (choices).
 */
function opposites(discrete: boolean, agents = 2): FakeTask {
  const wanted = (moment: Moment, agent: number): number => (agent % 2 === 0 ? 1 : -1) * coin(moment);
  return {
    agents,
    types: Array.from({ length: agents }, (_, agent) => (agent % 2 === 0 ? "same" : "opposite")),
    observationSize: 2,
    stateSize: 2,
    actionSpace: discrete
      ? { kind: "discrete", count: 3 }
      : { kind: "continuous", size: 1, low: -1, high: 1 },
    observation: (moment) => [coin(moment), 1],
    state: (moment) => [coin(moment), 1],
    // The middle choice is never right, and sometimes not there.
    ...(discrete && { actionMask: ({ step }) => [1, step % 2, 1] }),
    step: (moment, actions) => {
      const earned = actions.map(([action], agent) =>
        discrete
          ? Number(action! - 1 === wanted(moment, agent))
          : 1 - (action! - 0.6 * wanted(moment, agent)) ** 2,
      );
      return { reward: mean(earned), terminated: moment.step === LENGTH - 1 };
    },
  };
}

/** The coin is shown at the first step alone and asked for at the last. */
const recall: FakeTask = {
  ...opposites(true),
  agents: 1,
  observation: (moment) => (moment.step === 0 ? [coin(moment), 1] : [0, -1]),
  state: (moment) => [moment.step, 1],
  actionMask: () => [1, 0, 1],
  step: (moment, [action]) => {
    const last = moment.step === LENGTH - 1;
    return { reward: last && action![0]! - 1 === coin({ ...moment, step: 0 }) ? 1 : 0, terminated: last };
  },
};

function configOf(change: Partial<TrainConfig>): TrainConfig {
  return {
    ...defaultConfig("test/Fake", 8000),
    sharing: "ps",
    envs: 8,
    rolloutLength: 25,
    chunkLength: LENGTH,
    epochs: 5,
    criticEpochs: 5,
    learningRate: 5e-3,
    criticLearningRate: 5e-3,
    hidden: [16],
    critic: "team",
    distribution: "gaussian",
    standardise: false,
    featureNorm: false,
    recurrent: false,
    rank: 4,
    alpha: 4,
    ...change,
  };
}

interface Learnt {
  /** Mean returns of deterministic episodes: untrained, when phase one ends, and in the end. */
  readonly before: number;
  readonly shared: number;
  readonly after: number;
  /** The largest share of a rollout's returns that the critic explained. */
  readonly explained: number;
}

async function learn(task: FakeTask, change: Partial<TrainConfig>): Promise<Learnt> {
  const config = configOf(change);
  const vectorEnv = fakeVectorEnv(task, { envs: config.envs });
  const clusterOf = Array.from({ length: task.agents }, (_, agent) => agent % 2);
  const trainer = new Trainer({ config, runtime, vectorEnv, clusterOf, criticThread: false });
  const before = play(trainer, task);
  let explained = 0;
  const trainTo = async (step: number): Promise<number> => {
    while (trainer.envSteps < step)
      explained = Math.max(explained, (await trainer.iterate()).figures.explainedVariance);
    return play(trainer, task);
  };
  const shared = await trainTo(switchStep(config));
  const after = await trainTo(config.steps);
  await trainer.close();
  return { before, shared, after, explained };
}

function play(trainer: Trainer, task: FakeTask): number {
  const vectorEnv = fakeVectorEnv(task, { envs: 8, groups: 1 });
  const episodes = evaluate(trainer.team, { runtime, vectorEnv, episodes: 64, seed: 99 });
  return mean(episodes.map((episode) => episode.return));
}

const CONTINUOUS: Readonly<Record<string, Partial<TrainConfig>>> = {
  "diagonal Gaussian": {},
  "squashed Gaussian, ratios a dimension": { distribution: "squashed-gaussian", ratio: "per-dimension" },
  "recurrent, a value an agent": { recurrent: true, critic: "agent", steps: 12_000 },
  "networks apart and no id": { sharing: "nps", agentId: false },
};

for (const [name, change] of Object.entries(CONTINUOUS)) {
  test(`agents that know who they are learn opposite actions: ${name}`, async () => {
    const { before, after } = await learn(opposites(false), change);
    assert.ok(before < 3.5, `starts at ${before}`);
    assert.ok(after > 4.75, `ends at ${after}`);
  });
}

for (const sharing of ["ps", "nps"] as const) {
  test(`agents that know who they are learn opposite choices, ${sharing}`, async () => {
    const { before, after } = await learn(opposites(true), { sharing, agentId: sharing === "ps" });
    assert.ok(before < 4.5, `starts at ${before}`);
    assert.equal(after, 5);
  });
}

for (const discrete of [false, true]) {
  const what = discrete ? "choices" : "continuous actions";
  test(`agents alike cannot answer differently until they have adapters: ${what}`, async () => {
    const lorasa = { agentId: false, sharing: "lorasa", switchAt: 0.4 } as const;
    const { shared, after } = await learn(opposites(discrete), lorasa);
    // The best that answering alike is worth, and no more.
    assert.ok(shared <= (discrete ? 2.5 : 3.2) + 1e-6, `alike, they earn ${shared}`);
    assert.ok(after > 4.75, `with adapters they earn ${after}`);
  });
}

const IN_TURN: Readonly<Record<string, Partial<TrainConfig>>> = {
  "a2po, shared, a value an agent": { algo: "a2po", sharing: "ps", critic: "agent" },
  "a2po, apart, epoch loop": { algo: "a2po", sharing: "nps", agentId: false, updateLoop: "epoch" },
  "a2po, apart, critics apart": { algo: "a2po", sharing: "nps", agentId: false, critic: "agent" },
  "happo, shared": { algo: "happo", sharing: "ps" },
  "happo, apart": { algo: "happo", sharing: "nps", agentId: false },
};

for (const [name, change] of Object.entries(IN_TURN)) {
  test(`agents updated one after another learn opposite choices: ${name}`, async () => {
    const { before, after } = await learn(opposites(true, 3), change);
    assert.ok(before < 4.5, `starts at ${before}`);
    assert.ok(after > 4.9, `ends at ${after}`);
  });
}

/** Sharing in which agents without an id can still differ; the even ones are of one cluster and type. */
const DIFFERENT: Readonly<Record<string, Partial<TrainConfig>>> = {
  "networks of clusters": { sharing: "seps" },
  "networks of clusters, a2po": { sharing: "seps", algo: "a2po" },
  "a head each": { sharing: "mtl" },
  "a head each, a2po": { sharing: "mtl", algo: "a2po" },
  "adapters by type": { sharing: "lorasa", adapterKey: "type", switchAt: 0.3 },
  "adapters by type, a2po": { sharing: "lorasa", adapterKey: "type", switchAt: 0.3, algo: "a2po" },
};

for (const [name, change] of Object.entries(DIFFERENT)) {
  test(`three agents without an id learn two answers: ${name}`, async () => {
    const { before, after } = await learn(opposites(true, 3), { agentId: false, ...change });
    assert.ok(before < 4.5, `starts at ${before}`);
    assert.ok(after > 4.9, `ends at ${after}`);
  });
}

test("a recurrent policy recalls the first observation at the last step, and its critic knows it", async () => {
  const { before, after, explained } = await learn(recall, { recurrent: true, steps: 16_000 });
  assert.ok(before < 0.8, `starts at ${before}`);
  assert.equal(after, 1);
  assert.ok(explained > 0.9, `the critic explains ${explained}`);
});

test("a policy without memory does not", async () => {
  const { after } = await learn(recall, {});
  assert.ok(after < 0.8, `ends at ${after}`);
});
