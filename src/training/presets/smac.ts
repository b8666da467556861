/** On-policy's MAPPO for battles: a shared recurrent policy of 64, as its training scripts have it. */
import type { TrainConfig } from "../config.ts";
import { COMMON, type Presets } from "./common.ts";

/** @source on-policy, scripts/train_smac_scripts: what is the same for all maps. */
const BATTLE: Omit<TrainConfig, "env"> = {
  ...COMMON,
  envOptions: { state: "agent" },
  sharing: "ps",
  steps: 10_000_000,
  envs: 8,
  rolloutLength: 400,
  epochs: 5,
  criticEpochs: 5,
  learningRate: 5e-4,
  criticLearningRate: 5e-4,
  entropyCoefficient: 0.01,
  gaeLambda: 0.95,
  ratio: "product",
  standardise: false,
  hidden: [64, 64],
  layersAfter: 0,
  evaluationEpisodes: 32,
};

const FIFTEEN = { epochs: 15, criticEpochs: 15 };
const FEED_FORWARD = { recurrent: false };

/** What each map has of its own. */
const MAPS: Readonly<Record<string, Partial<TrainConfig>>> = {
  "3m": FIFTEEN,
  "8m": FIFTEEN,
  "2s3z": FIFTEEN,
  "1c3s5z": FIFTEEN,
  "3s5z": {},
  "3s5z_vs_3s6z": {},
  MMM2: { minibatches: 2, headGain: 1 },
  "5m_vs_6m": { epochs: 10, criticEpochs: 10, clipRange: 0.05 },
  "27m_vs_30m": {},
  corridor: FEED_FORWARD,
  "6h_vs_8z": FEED_FORWARD,
  "3s_vs_5z": {
    ...FIFTEEN,
    ...FEED_FORWARD,
    clipRange: 0.05,
    envOptions: { state: "agent", stackedFrames: 4 },
  },
};

export const SMAC_PRESETS: Presets = Object.fromEntries(
  Object.entries(MAPS).map(([map, own]) => [
    `on-policy-${map}`,
    {
      about: `on-policy's MAPPO for ${map}: one shared policy, a state and a value an agent`,
      config: { ...BATTLE, env: `smac/${map}`, ...own },
    },
  ]),
);
