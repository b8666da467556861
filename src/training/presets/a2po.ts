/** A2PO's own settings for robots: separate policies with a GRU of 64, full observations. */
import type { TrainConfig } from "../config.ts";
import { COMMON, type Presets } from "./common.ts";

/**
 * What is the same for all robots. Means are not squashed and the standard deviation is bounded as HARL's, where the
 * released code has tanh of the mean and a free logarithm that starts at −0.5.
 * @source A2PO's released code, run_scripts.
 */
const A2PO: Omit<TrainConfig, "env"> = {
  ...COMMON,
  algo: "a2po",
  sharing: "nps",
  envOptions: { observe: "full" },
  steps: 10_000_000,
  epochs: 5,
  criticEpochs: 5,
  trace: "running-product",
  ratio: "product",
  distribution: "gaussian",
};

const EIGHT = { epochs: 8, criticEpochs: 8 };

const robot = (env: string, own: Partial<TrainConfig>): Presets[string] => ({
  about: `A2PO's own settings for ${env.replace("mujoco/", "")}: separate policies, full observations`,
  config: { ...A2PO, env, ...own },
});

export const A2PO_PRESETS: Presets = {
  "a2po-ant": robot("mujoco/Ant-4x2", { ...EIGHT, envs: 20, rolloutLength: 200 }),
  "a2po-halfcheetah": robot("mujoco/HalfCheetah-2x3", {
    updateOrder: "random",
    trace: "off",
    othersClipRange: 0,
    adaptiveClip: "off",
    twoStage: false,
    gaeLambda: 0.95,
  }),
  "a2po-hopper": robot("mujoco/Hopper-3x1", {
    ...EIGHT,
    updateOrder: "random",
    trace: "formula",
    gaeLambda: 0.95,
    learningRate: 1e-4,
    criticLearningRate: 1e-4,
    clipRange: 0.1,
    othersClipRange: 0.05,
  }),
  "a2po-humanoid": robot("mujoco/Humanoid-9|8", { envs: 20, rolloutLength: 200, gaeLambda: 0.9 }),
  "a2po-walker2d": robot("mujoco/Walker2d-6x1", {}),
};
