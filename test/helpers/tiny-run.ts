/** The smallest runs of the real training loop, on a simulator and on a fake one. */
import type { TrainConfig } from "../../src/training/config.ts";
import { defaultConfig } from "../../src/training/presets.ts";

/** 80 steps a rollout of HalfCheetah, a recurrent network of a few units. */
export function tinyConfig(change: Partial<TrainConfig> = {}): TrainConfig {
  return {
    ...defaultConfig("mujoco/HalfCheetah-2x3", 480),
    envs: 4,
    rolloutLength: 20,
    chunkLength: 5,
    epochs: 2,
    criticEpochs: 2,
    hidden: [8],
    rank: 2,
    alpha: 3,
    evaluationEpisodes: 2,
    ...change,
  };
}
