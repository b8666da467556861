/** Settings that others published, by name; every field can be overridden. */
import { LorasaError, suggestion } from "../base/errors.ts";
import type { TrainConfig } from "./config.ts";
import { A2PO_PRESETS } from "./presets/a2po.ts";
import { COMMON, type Presets } from "./presets/common.ts";
import { HARL_PRESETS } from "./presets/harl.ts";
import { RELEASED_PRESETS } from "./presets/lorasa.ts";
import { SMAC_PRESETS } from "./presets/smac.ts";

export const PRESETS: Presets = {
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
  ...RELEASED_PRESETS,
  ...HARL_PRESETS,
  ...A2PO_PRESETS,
  ...SMAC_PRESETS,
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
