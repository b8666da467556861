/** The training loop on a task without a simulator: phases, seeds, threads, saved states. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { phaseAt, sharingIn, switchStep, type TrainConfig } from "../../src/training/config.ts";
import { actingWeights } from "../../src/training/evaluation.ts";
import { Trainer, type TrainerState } from "../../src/training/trainer.ts";
import { chase } from "../helpers/chase-task.ts";
import { assertClose } from "../helpers/close.ts";
import { fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

interface Run {
  readonly trainer: Trainer;
  readonly weights: Float32Array[];
}

async function start(config: TrainConfig, options: { discrete?: boolean; criticThread?: boolean } = {}) {
  const vectorEnv = fakeVectorEnv(chase(options.discrete ?? false), { envs: config.envs });
  const { criticThread = false } = options;
  return new Trainer({ config, runtime: createRuntime(), vectorEnv, criticThread });
}

function actingNow(trainer: Trainer): Float32Array {
  // Weights are float32.
  return actingWeights(createRuntime(), trainer.team).download().data as Float32Array;
}

/** Trains to the end; what acts after each iteration. */
async function finish(trainer: Trainer): Promise<Run> {
  const weights: Float32Array[] = [];
  while (!trainer.done) {
    const report = await trainer.iterate();
    for (const [name, value] of Object.entries(report.figures))
      assert.ok(Number.isFinite(value), `${name} is ${value} at step ${report.envSteps}`);
    weights.push(actingNow(trainer));
  }
  return { trainer, weights };
}

const CONFIGS: Readonly<Record<string, Partial<TrainConfig>>> = {
  "recurrent, a value an agent": {},
  "feed-forward, one value, bootstrapped time limits, two minibatches": {
    recurrent: false,
    critic: "team",
    timeLimit: "bootstrap",
    minibatches: 2,
    learningRateDecay: true,
    ratio: "per-dimension",
  },
  "networks apart": { sharing: "nps", entropyCoefficient: 0.01, distribution: "gaussian" },
};

for (const [name, change] of Object.entries(CONFIGS)) {
  for (const discrete of [false, true]) {
    test(`the same seed trains the same bits, another seed others: ${name}, ${discrete ? "choices" : "continuous"}`, async () => {
      const config = tinyConfig({ ...change, steps: 240 });
      const runs = [config, config, { ...config, seed: 2 }].map(async (own) => {
        const { trainer, weights } = await finish(await start(own, { discrete }));
        await trainer.close();
        return weights;
      });
      const [first, again, other] = await Promise.all(runs);
      assert.deepEqual(again, first);
      assert.notDeepEqual(other!.at(-1), first!.at(-1));
      assert.notDeepEqual(first!.at(-1), first![0], "it learns");
    });
  }
}

test("the critic's own thread changes no number", async () => {
  const config = tinyConfig({ steps: 240 });
  const trained = [];
  for (const criticThread of [false, true]) {
    const { trainer } = await finish(await start(config, { criticThread }));
    trained.push(await trainer.state());
    await trainer.close();
  }
  assert.deepEqual(trained[1], trained[0]);
});

test("adapters start at the switch as the shared policy, and the backbone stays bit for bit", async () => {
  const trainer = await start(tinyConfig({ switchAt: 0.5 }));
  while (trainer.phase === "shared" && trainer.envSteps < switchStep(trainer.config)) await trainer.iterate();
  const shared = trainer.team.backbone;
  const critic = (await trainer.state()).critic.parameters;
  await trainer.iterate();
  assert.equal(trainer.phase, "adapters");
  assert.deepEqual(trainer.team.backbone, shared);
  assert.notDeepEqual((await trainer.state()).critic.parameters, critic, "the critic goes on");
  const adapters = trainer.team.adapters;
  await finish(trainer);
  assert.deepEqual(trainer.team.backbone, shared);
  assert.notDeepEqual(trainer.team.adapters, adapters, "the adapters learn");
  const acting = actingNow(trainer);
  const [own, other] = [acting.subarray(0, shared.length), acting.subarray(shared.length)];
  assert.notDeepEqual(own, other, "the agents come to differ");
  const layout = trainer.team.parameters.backbone;
  for (const { name } of layout.specs.filter((spec) => /bias|norm/.test(spec.name))) {
    for (const agent of [0, 1])
      assert.deepEqual(layout.view(acting, name, agent).data, layout.view(shared, name).data, name);
  }
  await trainer.close();
});

test("the first rollout of adapters is drawn from the shared policy", async () => {
  const config = tinyConfig({ switchAt: 160, learningRate: 1e-9, criticLearningRate: 1e-9 });
  const adapters = await start(config);
  const shared = await start({ ...config, sharing: "ps" });
  for (let iteration = 0; iteration < 3; iteration++) {
    const [a, b] = [await adapters.iterate(), await shared.iterate()];
    assert.equal(a.phase, iteration < 2 ? "shared" : "adapters");
    assert.deepEqual(
      a.episodes.map(({ length }) => length),
      b.episodes.map(({ length }) => length),
    );
    for (const [index, episode] of a.episodes.entries())
      assert.ok(Math.abs(episode.return - b.episodes[index]!.return) < 1e-4);
  }
  await adapters.close();
  await shared.close();
});

test("adapters train with a learning rate of their own where they have one", async () => {
  const run = async (adapterLearningRate: number) => {
    const common = { steps: 240, switchAt: 160, learningRate: 1e-3, learningRateDecay: true };
    const trainer = await start(tinyConfig({ ...common, adapterLearningRate }));
    const rates: number[] = [];
    let shared = actingNow(trainer);
    while (!trainer.done) {
      const report = await trainer.iterate();
      rates.push(report.figures.learningRate);
      if (report.phase === "shared") shared = actingNow(trainer);
    }
    const acting = actingNow(trainer);
    await trainer.close();
    const moved = acting.map((value, index) => value - shared[index % shared.length]!);
    return { rates, moved: Math.hypot(...moved) };
  };
  const [usual, own] = [await run(0), await run(0.01)];
  assertClose(usual.rates, [1e-3, 2e-3 / 3, 1e-3 / 3], { rtol: 1e-12 });
  assertClose(own.rates, [1e-3, 2e-3 / 3, 1e-2 / 3], { rtol: 1e-12 });
  // While one factor is near zero, weights move as far as Adam's steps are long.
  assertClose([own.moved / usual.moved], [10], { rtol: 0.2 });
});

for (const iterations of [1, 3, 4]) {
  test(`a run saved after ${iterations} of 6 iterations goes on as if it had not stopped`, async () => {
    const config = tinyConfig({ switchAt: 0.5, minibatches: 2 });
    const whole = await start(config);
    const parts = await start(config);
    for (let iteration = 0; iteration < iterations; iteration++) {
      await whole.iterate();
      await parts.iterate();
    }
    // Through structured cloning, as through a file: nothing is shared with the run that saved it.
    const saved = structuredClone(await parts.state()) as TrainerState;
    const { phase } = parts;
    await parts.close();
    const resumed = await start(config);
    await resumed.restore(saved, phase);
    assert.deepEqual(await resumed.state(), saved);
    await finish(whole);
    await finish(resumed);
    assert.equal(resumed.phase, "adapters");
    assert.deepEqual(await resumed.state(), await whole.state());
    await whole.close();
    await resumed.close();
  });
}

test("the switch is a whole number of rollouts, within the run", () => {
  const at = (switchAt: number, steps = 480): number => switchStep(tinyConfig({ steps, switchAt }));
  assert.equal(at(0.5), 240);
  assert.equal(at(0.4), 160, "192 steps are nearer to two rollouts than to three");
  assert.equal(at(0.45), 240, "216 steps are nearer to three");
  assert.equal(at(1), 480);
  assert.equal(at(100), 80);
  assert.equal(at(1e9), 480);
  assert.equal(at(1e-9), 0);
  assert.equal(switchStep(tinyConfig({ sharing: "ps" })), 480);
  const config = tinyConfig();
  const sharingAt = (of: TrainConfig, envSteps: number) =>
    sharingIn(of, phaseAt(of, envSteps), { agents: [] });
  assert.equal(sharingAt(config, 239).kind, "shared");
  assert.equal(sharingAt(config, 240).kind, "low-rank");
  assert.equal(sharingAt({ ...config, sharing: "nps" }, 0).kind, "individual");
});
