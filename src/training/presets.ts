/** Settings that others published, by name; every field can be overridden. */
import { LorasaError, suggestion } from "../base/errors.ts";
import type { TrainConfig } from "./config.ts";

/** What every preset shares unless it says otherwise. */
const COMMON: Omit<TrainConfig, "env" | "steps"> = {
  envOptions: {},
  algo: "mappo",
  sharing: "lorasa",
  seed: 1,
  switchAt: 0.5,
  rank: 8,
  alpha: 8,
  loraZero: "loraA",
  excludeLayers: [],
  envs: 16,
  rolloutLength: 250,
  epochs: 5,
  criticEpochs: 5,
  minibatches: 1,
  chunkLength: 10,
  learningRate: 3e-4,
  criticLearningRate: 3e-4,
  learningRateDecay: false,
  clipRange: 0.2,
  entropyCoefficient: 0,
  gamma: 0.99,
  gaeLambda: 0.93,
  maxGradientNorm: 10,
  huberDelta: 10,
  timeLimit: "zero-advantage",
  ratio: "per-dimension",
  critic: "agent",
  distribution: "squashed-gaussian",
  agentId: true,
  standardise: true,
  featureNorm: true,
  hidden: [64, 64, 64],
  activation: "relu",
  recurrent: true,
  layersAfter: 1,
  evaluateEvery: 0,
  evaluationEpisodes: 8,
  saveEvery: 0,
};

export const PRESETS: Readonly<Record<string, { about: string; config: TrainConfig }>> = {
  quickstart: {
    about: "a few minutes' LoRASA team on HalfCheetah 2x3 with full observations, far from converged",
    config: {
      ...COMMON,
      env: "mujoco/HalfCheetah-2x3",
      envOptions: { observe: "full" },
      steps: 400_000,
      switchAt: 0.6,
      envs: 16,
      rolloutLength: 200,
      epochs: 8,
      criticEpochs: 8,
      learningRate: 1e-3,
      criticLearningRate: 1e-3,
      clipRange: 0.1,
      entropyCoefficient: 0,
      gaeLambda: 0.95,
      ratio: "product",
      critic: "team",
      distribution: "gaussian",
      hidden: [64, 64],
      recurrent: false,
      evaluateEvery: 100_000,
      evaluationEpisodes: 4,
    },
  },
  "lorasa-halfcheetah": {
    about:
      "LoRASA's released settings for HalfCheetah 2x3 with MAPPO: local observations, GRU 64, ratios a dimension",
    config: { ...COMMON, env: "mujoco/HalfCheetah-2x3", steps: 12_000_000 },
  },
  "harl-halfcheetah": {
    about:
      "HARL's tuned MAPPO for HalfCheetah 2x3: full observations, three layers of 128, one value for the team",
    config: {
      ...COMMON,
      env: "mujoco/HalfCheetah-2x3",
      envOptions: { observe: "full" },
      steps: 10_000_000,
      sharing: "ps",
      envs: 20,
      rolloutLength: 200,
      epochs: 15,
      criticEpochs: 15,
      learningRate: 5e-4,
      criticLearningRate: 5e-4,
      clipRange: 0.05,
      entropyCoefficient: 0.01,
      gaeLambda: 0.95,
      ratio: "product",
      critic: "team",
      distribution: "gaussian",
      hidden: [128, 128, 128],
      recurrent: false,
    },
  },
};

/** Settings for an environment when no preset is named. */
export function defaultConfig(env: string, steps: number): TrainConfig {
  return { ...COMMON, env, steps, ratio: "product" };
}

/** @throws LORASA_CONFIG for a name that is not known. */
export function preset(name: string): TrainConfig {
  const found = PRESETS[name];
  if (found) return found.config;
  throw new LorasaError("LORASA_CONFIG", {
    asked: `preset ${name}`,
    mend: suggestion(name, Object.keys(PRESETS)),
  });
}
