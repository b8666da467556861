/** Training configurations: presets are whole, and whatever is wrong is one line that names its field. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialise } from "../../models/initialise.ts";
import { actorParameters } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { actorConfig, parseTrainConfig, type TrainConfig, trainConfig } from "../../src/training/config.ts";
import { defaultConfig, PRESETS, preset } from "../../src/training/presets.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { assertClose } from "../helpers/close.ts";
import { assertFails } from "../helpers/fails.ts";
import { fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { threesome } from "../helpers/rollout-setup.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

test("presets and defaults are configurations as they are", () => {
  for (const name of Object.keys(PRESETS))
    assert.deepEqual(parseTrainConfig(preset(name)), preset(name), name);
  const config = defaultConfig("mujoco/Ant-4x2", 123_456);
  assert.deepEqual(parseTrainConfig(config), config);
  assert.equal(config.env, "mujoco/Ant-4x2");
  assertFails(() => preset("harl-halfcheeta"), "LORASA_CONFIG", /did you mean harl-halfcheetah\?/);
});

test("HARL's settings are those of its tuned MAPPO for HalfCheetah 2x3", () => {
  const { env, envOptions, ...config } = preset("harl-halfcheetah");
  assert.equal(env, "mujoco/HalfCheetah-2x3");
  assert.equal(envOptions["observe"], "full");
  const published: Partial<TrainConfig> = {
    sharing: "ps",
    steps: 10_000_000,
    envs: 20,
    rolloutLength: 200,
    epochs: 15,
    criticEpochs: 15,
    minibatches: 1,
    learningRate: 5e-4,
    criticLearningRate: 5e-4,
    learningRateDecay: false,
    clipRange: 0.05,
    entropyCoefficient: 0.01,
    gamma: 0.99,
    gaeLambda: 0.95,
    maxGradientNorm: 10,
    huberDelta: 10,
    ratio: "product",
    critic: "team",
    distribution: "gaussian",
    hidden: [128, 128, 128],
    activation: "relu",
    recurrent: false,
    featureNorm: true,
    standardise: true,
    agentId: true,
    timeLimit: "zero-advantage",
  };
  for (const [field, value] of Object.entries(published))
    assert.deepEqual(config[field as keyof typeof config], value, field);
});

/** For each field, values that it refuses. */
const REFUSED: Readonly<Record<keyof TrainConfig, readonly unknown[]>> = {
  env: ["", 1],
  envOptions: [[], { observe: ["full"] }],
  algo: ["ppo"],
  sharing: ["lora"],
  seed: [-1, 0.5],
  steps: [0, 79, 1e20],
  switchAt: [0, -1, "half"],
  rank: [0, 1.5],
  alpha: [0, "8"],
  loraZero: ["both"],
  excludeLayers: ["head", [1]],
  layerRanks: [{ head: 0 }, { head: 1.5 }, [["head", 4]], 8],
  adapterKey: ["cluster", 1],
  clusters: [-1, 1.5, "two"],
  updateOrder: ["descending", 0],
  updateLoop: ["ppo"],
  updateBlocks: [-1, 0.5],
  cumulativeBlocks: ["yes"],
  trace: ["on", true],
  othersClipRange: [-0.1, "0.1"],
  adaptiveClip: [true, "rp"],
  adaptiveClipWeight: [-0.1, 1.1],
  twoStage: [1],
  envs: [0, 3, "4"],
  rolloutLength: [0, 21],
  epochs: [0],
  criticEpochs: [0],
  minibatches: [0, 7],
  chunkLength: [0, 7],
  learningRate: [0, Number.NaN, Number.POSITIVE_INFINITY],
  adapterLearningRate: [-1e-4, Number.NaN],
  criticLearningRate: [-1e-3],
  learningRateDecay: ["yes"],
  clipRange: [0],
  entropyCoefficient: [-0.01],
  gamma: [1.01, -0.1],
  gaeLambda: [2],
  maxGradientNorm: [0],
  huberDelta: [0],
  timeLimit: ["ignore"],
  ratio: ["sum"],
  critic: ["shared"],
  criticSharing: ["both", 0],
  distribution: ["beta"],
  headGain: [0, -1, "0.01"],
  agentId: [1],
  standardise: [null],
  featureNorm: ["no"],
  hidden: [[], [0], [8.5], 64],
  activation: ["gelu"],
  recurrent: [{}],
  layersAfter: [-1],
  evaluateEvery: [-1],
  evaluationEpisodes: [0],
  saveEvery: [0.5],
};

test("clip ranges by ratio need rounds in which agents have moved", () => {
  const ratio = { algo: "a2po", adaptiveClip: "ratio" } as const;
  assertFails(
    () => parseTrainConfig(tinyConfig(ratio), "run.json"),
    "LORASA_CONFIG",
    /^run\.json, adaptiveClip.*updateLoop epoch/,
  );
  assert.equal(parseTrainConfig(tinyConfig({ ...ratio, updateLoop: "epoch" })).adaptiveClip, "ratio");
  assert.equal(parseTrainConfig(tinyConfig({ ...ratio, algo: "happo" })).algo, "happo");
});

test("the head starts with the gain that was asked for", () => {
  const spec = fakeVectorEnv(threesome(true), { envs: 2 }).spec;
  const headOf = (config: TrainConfig): number => {
    const { backbone } = actorParameters(actorConfig(config, spec), { kind: "shared" });
    const weight = backbone.view(initialise(backbone, new Random(1)), "head.weight").data;
    // Columns of an orthogonal matrix are as long as its gain.
    return Math.hypot(...weight) / Math.sqrt(3);
  };
  assertClose([headOf(tinyConfig()), headOf(tinyConfig({ headGain: 1 }))], [0.01, 1], { rtol: 1e-5 });
  assert.equal(preset("on-policy-MMM2").headGain, 1);
  assert.equal(preset("on-policy-3s5z").headGain, 0.01);
});

/** Fields that came later: configurations without them mean what they meant before. */
const DEFAULTS: Readonly<Partial<TrainConfig>> = {
  layerRanks: {},
  adapterKey: "agent",
  adapterLearningRate: 0,
  clusters: 0,
  updateOrder: "semi-greedy",
  updateLoop: "agent",
  updateBlocks: 0,
  cumulativeBlocks: false,
  trace: "formula",
  othersClipRange: 0.1,
  adaptiveClip: "order",
  adaptiveClipWeight: 0.5,
  twoStage: true,
  criticSharing: "as-actor",
  headGain: 0.01,
};

test("every field refuses what it does not take, in one line that names it", () => {
  assert.deepEqual(Object.keys(REFUSED).sort(), Object.keys(trainConfig.shape).sort());
  for (const [field, values] of Object.entries(REFUSED)) {
    for (const value of values) {
      const config = { ...tinyConfig(), [field]: value };
      // A chunk length that does not divide the rollout is the rollout's fault as much as its own.
      const named = field === "chunkLength" ? /chunkLength/ : new RegExp(`^run\\.json, ${field}`);
      assertFails(() => parseTrainConfig(config, "run.json"), "LORASA_CONFIG", named, `${field} ${value}`);
    }
    const { [field as keyof TrainConfig]: _, ...without } = tinyConfig();
    if (field in DEFAULTS) {
      const parsed = parseTrainConfig(without, "run.json");
      assert.deepEqual(parsed[field as keyof TrainConfig], DEFAULTS[field as keyof TrainConfig], field);
      continue;
    }
    assertFails(
      () => parseTrainConfig(without, "run.json"),
      "LORASA_CONFIG",
      new RegExp(field),
      `no ${field}`,
    );
  }
});

test("a field that does not exist is named as it was written, with the one that was meant", () => {
  const config = { ...tinyConfig(), rolloutLenght: 20 };
  assertFails(() => parseTrainConfig(config), "LORASA_CONFIG", /rolloutLenght.*did you mean rolloutLength\?/);
  for (const value of [null, 3, [], "x"])
    assertFails(() => parseTrainConfig(value), "LORASA_CONFIG", /^configuration/);
});

test("layers without an adapter must be layers of the network, before anything is trained", () => {
  const start = (excludeLayers: string[]): Trainer => {
    const config = tinyConfig({ excludeLayers });
    const vectorEnv = fakeVectorEnv(
      {
        agents: 2,
        observationSize: 2,
        stateSize: 2,
        actionSpace: { kind: "continuous", size: 1, low: -1, high: 1 },
        observation: () => [0, 1],
        state: () => [0, 1],
        step: () => ({ reward: 0 }),
      },
      { envs: config.envs },
    );
    return new Trainer({ config, runtime: createRuntime(), vectorEnv, criticThread: false });
  };
  assertFails(() => start(["haed"]), "LORASA_CONFIG", /haed.*did you mean head\?/);
  const all = ["mlp.0", "gru.input", "gru.hidden", "post.0", "head", "head.log_std"];
  assertFails(() => start(all), "LORASA_CONFIG", /every layer/);
  assert.ok(start(all.slice(1)));
});
