/** The tensors of a policy by name: direction, width and element type. Which of them a graph has, its session says. */
import type { DType } from "../../src/base/tensor.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";

/** Sizes of a row: a team's are padded to the longest agent, an agent's are its own. */
export interface RowSizes {
  readonly observation: number;
  readonly action: number;
  readonly hidden: number;
  readonly discrete: boolean;
}

interface PolicyTensor {
  readonly about: string;
  readonly width: (sizes: RowSizes) => number;
  /** int64 only for a discrete action; everything else is float32. */
  readonly dtype?: (sizes: RowSizes) => DType;
}

/** What a client sends, a row an agent. */
export const POLICY_INPUTS = {
  obs: { about: "observation", width: ({ observation }) => observation },
  hidden_in: { about: "recurrent state, zeros at the start of an episode", width: ({ hidden }) => hidden },
  action_mask: { about: "1 for each available action, else 0", width: ({ action }) => action },
  noise: { about: "standard normal or Gumbel deviates; zeros give the mode", width: ({ action }) => action },
} as const satisfies Record<string, PolicyTensor>;

/** What a policy may answer, a row an agent. */
export const POLICY_OUTPUTS: Readonly<Record<string, PolicyTensor>> = {
  action: {
    about: "the action to apply",
    width: ({ action, discrete }) => (discrete ? 1 : action),
    dtype: ({ discrete }) => (discrete ? "int64" : "float32"),
  },
  hidden_out: { about: "recurrent state for the next request", width: ({ hidden }) => hidden },
  mean: { about: "mean of the Gaussian", width: ({ action }) => action },
  logits: { about: "logits of the categorical", width: ({ action }) => action },
  log_std: { about: "log standard deviation", width: ({ action }) => action },
  log_prob: { about: "log probability of the action", width: () => 1 },
};

export type PolicyInput = keyof typeof POLICY_INPUTS;
export const POLICY_INPUT_NAMES = Object.keys(POLICY_INPUTS) as readonly PolicyInput[];

/** Sizes of the team's padded rows, or of one agent's own. */
export function rowSizes(manifest: ModelManifest, agent?: number): RowSizes {
  const own = agent === undefined ? undefined : manifest.agents[agent];
  return {
    observation: own?.observationSize ?? manifest.observationSize,
    action: own?.actionSize ?? manifest.actionSize,
    hidden: manifest.hiddenSize,
    discrete: manifest.action.kind === "discrete",
  };
}
