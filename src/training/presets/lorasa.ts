/**
 * LoRASA's released settings for its eight tasks, for MAPPO and, with `--algo a2po`, for A2PO. The step of the switch is
 * MAPPO's; A2PO's is said to be 3 M for Humanoid, 2 M for 3s5z_vs_3s6z and MMM2, and the same elsewhere. HalfCheetah's is
 * half of the run, since what is said of it (0.1 M, and 3 M for A2PO) does not agree with the released scripts.
 */
import type { TrainConfig } from "../config.ts";
import { COMMON, type Presets } from "./common.ts";

/** @source LoRASA's released code, run_scripts: 12 M steps. */
const ROBOT: Omit<TrainConfig, "env"> = {
  ...COMMON,
  steps: 12_000_000,
  envs: 20,
  rolloutLength: 200,
  epochs: 3,
  criticEpochs: 3,
  trace: "running-product",
};

/** Ten environments of 320 steps; the discrete head has no ratio a dimension. */
const BATTLE: Omit<TrainConfig, "env"> = {
  ...COMMON,
  steps: 12_000_000,
  envs: 10,
  rolloutLength: 320,
  learningRate: 5e-4,
  criticLearningRate: 5e-4,
  entropyCoefficient: 0.01,
  gaeLambda: 0.95,
  envOptions: { state: "agent" },
  standardise: false,
  updateLoop: "epoch",
  twoStage: false,
  evaluationEpisodes: 32,
};

const robot = (env: string, own: Partial<TrainConfig>): Presets[string] => ({
  about: `LoRASA's released settings for ${env.replace("mujoco/", "")}: GRU 64, ratios a dimension, a value an agent`,
  config: { ...ROBOT, env, ...own },
});

const battle = (env: string, own: Partial<TrainConfig>): Presets[string] => ({
  about: `LoRASA's released settings for ${env.replace("smac/", "")}: GRU 64, a state and a value an agent`,
  config: { ...BATTLE, env, ...own },
});

export const RELEASED_PRESETS: Presets = {
  "lorasa-halfcheetah": robot("mujoco/HalfCheetah-2x3", {
    envs: 16,
    rolloutLength: 250,
    epochs: 5,
    criticEpochs: 5,
    trace: "formula",
  }),
  "lorasa-walker2d": robot("mujoco/Walker2d-3x2", { envs: 16, rolloutLength: 250, switchAt: 2_000_000 }),
  "lorasa-ant": robot("mujoco/Ant-4x2", { switchAt: 4_000_000 }),
  "lorasa-humanoid": robot("mujoco/Humanoid-9|8", {
    envOptions: { observe: "full" },
    gaeLambda: 0.9,
    switchAt: 1_000_000,
  }),
  "lorasa-3s5z": battle("smac/3s5z", { switchAt: 200_000 }),
  "lorasa-1c3s5z": battle("smac/1c3s5z", { switchAt: 500_000 }),
  "lorasa-3s5z_vs_3s6z": battle("smac/3s5z_vs_3s6z", { gaeLambda: 0.9, switchAt: 4_000_000 }),
  "lorasa-mmm2": battle("smac/MMM2", { switchAt: 7_000_000 }),
};
