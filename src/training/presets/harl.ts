/** HARL's tuned MAPPO for robots: full observations, three layers of 128, one value for the team. */
import type { TrainConfig } from "../config.ts";
import { COMMON, type Presets } from "./common.ts";

/** @source HARL, tuned_configs/mamujoco/(task)/mappo: what is the same for all tasks. */
const HARL: Omit<TrainConfig, "env"> = {
  ...COMMON,
  envOptions: { observe: "full" },
  steps: 10_000_000,
  sharing: "ps",
  envs: 20,
  rolloutLength: 200,
  epochs: 5,
  criticEpochs: 5,
  learningRate: 5e-4,
  criticLearningRate: 5e-4,
  clipRange: 0.1,
  entropyCoefficient: 0,
  gaeLambda: 0.95,
  ratio: "product",
  critic: "team",
  distribution: "gaussian",
  hidden: [128, 128, 128],
  recurrent: false,
};

const tuned = (env: string, own: Partial<TrainConfig>): Presets[string] => ({
  about: `HARL's tuned MAPPO for ${env.replace("mujoco/", "")}: full observations, three layers of 128, one value for the team`,
  config: { ...HARL, env, ...own },
});

export const HARL_PRESETS: Presets = {
  "harl-halfcheetah": tuned("mujoco/HalfCheetah-2x3", {
    epochs: 15,
    criticEpochs: 15,
    clipRange: 0.05,
    entropyCoefficient: 0.01,
  }),
  "harl-walker2d-2x3": tuned("mujoco/Walker2d-2x3", {
    learningRate: 1e-3,
    criticLearningRate: 1e-3,
    learningRateDecay: true,
    clipRange: 0.05,
    minibatches: 2,
  }),
  "harl-walker2d-6x1": tuned("mujoco/Walker2d-6x1", { entropyCoefficient: 0.01 }),
  "harl-ant": tuned("mujoco/Ant-4x2", {}),
  "harl-hopper": tuned("mujoco/Hopper-3x1", {
    learningRateDecay: true,
    epochs: 10,
    criticEpochs: 10,
    clipRange: 0.05,
  }),
  "harl-humanoid-17x1": tuned("mujoco/Humanoid-17x1", { learningRateDecay: true, rolloutLength: 100 }),
};
