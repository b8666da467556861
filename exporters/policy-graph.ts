/**
 * The tensors of every exported graph: from raw observations to the simulator's actions, under the names of the
 * repository's contract. Not how agents share weights: the caller brings a binding.
 *
 * Letters: N agents, O observation, K actions, H hidden; `…` is [B] rows or [N, E] agents and environments.
 */
import type { WeightBinding } from "../models/bindings.ts";
import { type HeadOutput, logProb, sample, toAction } from "../models/distributions.ts";
import { type ActorConfig, actor, hiddenSize } from "../models/networks.ts";
import { encode } from "../models/observation.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";
import type { Dim } from "../src/onnx/model.ts";

/** Sizes of the rows that a graph takes: an agent's own, or padded to the longest. */
export interface RowSizes {
  readonly leading: readonly Dim[];
  readonly observation: number;
  readonly action: number;
}

/** Inputs of a policy; those that it does not need are absent. */
export interface PolicyInputs {
  readonly sizes: RowSizes;
  readonly observation: Value;
  readonly hidden?: Value;
  readonly actionMask?: Value;
  readonly noise?: Value;
}

/** How rows meet the network. */
export interface PolicyParts {
  readonly binding: WeightBinding;
  /** Row of the agent id, which broadcasts over encoded observations. */
  readonly id: Value | undefined;
  /** float32 that broadcasts over [..., K]: 1 for the actions that a row's agent has; none where all have K. */
  readonly own: Value | undefined;
}

/** `obs` [..., O], `hidden_in` [..., H], `action_mask` [..., K] of categorical heads, `noise` [..., K]; all float32. */
export function policyInputs(
  g: GraphBuilder,
  config: ActorConfig,
  sizes: RowSizes,
  sampled: boolean,
): PolicyInputs {
  const row = (name: string, width: number): Value => g.input(name, "float32", [...sizes.leading, width]);
  const width = hiddenSize(config.body);
  return {
    sizes,
    observation: row("obs", sizes.observation),
    ...(width > 0 && { hidden: row("hidden_in", width) }),
    ...(config.head.kind === "categorical" && { actionMask: row("action_mask", sizes.action) }),
    ...(sampled && { noise: row("noise", sizes.action) }),
  };
}

/**
 * `action` float32 [..., K] or int64 [..., 1], `hidden_out` [..., H], `mean` or `logits` [..., K]; with noise also
 * `log_prob` [..., 1] and, of a Gaussian, `log_std` [..., K].
 */
export function policyOutputs(
  g: GraphBuilder,
  config: ActorConfig,
  inputs: PolicyInputs,
  { binding, id, own }: PolicyParts,
): void {
  const head = { ...config.head, size: inputs.sizes.action };
  const mask = inputs.actionMask && own ? g.mul(inputs.actionMask, own) : inputs.actionMask;
  const recurrent = inputs.hidden && { hidden: inputs.hidden, steps: 1 };
  const { output, hidden } = g.scope("actor", () => {
    const x = encode(g, inputs.observation, config.encoder, id);
    return actor(g, binding, x, { ...config, head }, recurrent, mask);
  });
  const drawn = sample(g, output, inputs.noise);
  g.output("action", toAction(g, drawn, head));
  if (hidden) g.output("hidden_out", hidden);
  if (output.kind === "categorical") g.output("logits", output.logits);
  else g.output("mean", output.mean);
  if (inputs.noise) sampledOutputs(g, output, drawn, own);
}

function sampledOutputs(g: GraphBuilder, output: HeadOutput, drawn: Value, own: Value | undefined): void {
  const each = logProb(g, output, drawn);
  if (output.kind === "categorical") {
    g.output("log_prob", each);
    return;
  }
  const counted = own ? g.mul(each, own) : each;
  g.output("log_prob", g.reduceSum(counted, [counted.shape.length - 1], true));
  // A condition that is false for every number, NaN included, repeats the vector over rows of any count.
  const never = g.less(output.mean, output.mean);
  g.output("log_std", g.where(never, output.mean, g.log(output.std)));
}
