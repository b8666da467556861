/**
 * What graphs that train an actor have in common: the stored rollout of all agents, or of a block of them, through the
 * networks that are trained. Not what is made of the outputs: that is `actor-step.ts` and `ratio-graph.ts`.
 *
 * Letters: N agents, b agents of a block, R = L·C rows, O observation, K action, H hidden.
 */

import type { WeightBinding } from "../../models/bindings.ts";
import { entropy, type HeadOutput, logProb } from "../../models/distributions.ts";
import { type ActorConfig, actor } from "../../models/networks.ts";
import {
  type ActorParameters,
  agentNetworks,
  encodeTeam,
  networkLayout,
  pickedBinding,
  type Sharing,
  trainingBinding,
} from "../../models/policy.ts";
import { floatTensor } from "../base/tensor.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";
import { type BatchShape, recurrentInputs } from "./step-graph.ts";

export interface ActorForwardConfig extends BatchShape {
  readonly actor: ActorConfig;
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  /** Each agent's own number of continuous actions, where some have fewer than K; padding is not learnt from. */
  readonly actionSizes?: readonly number[];
  /** b: the batch holds so many agents, named by the input `pick` [b, N], rows of an identity; all N when left out. */
  readonly block?: number;
}

export interface ActorForward {
  /** N or b. */
  readonly agents: number;
  /** float32 [b, N]: rows of an identity; of a block only. */
  readonly pick: Value | undefined;
  /** Log-probabilities of the stored draws now and when drawn, float32 [agents, R, K]; 0 for padding. */
  readonly logProb: Value;
  readonly oldLogProb: Value;
  /** float32 [agents, R, 1]. */
  readonly entropy: Value;
}

/**
 * Declares the inputs `observations` [agents, R, O], `drawn` and `old_log_prob` [agents, R, K], and where they apply
 * `frozen` (low-rank only), `pick` [b, N], `action_mask` [agents, R, K], `hidden` [agents, C, H] and `mask` [1, R, 1].
 * @param flat what is trained.
 */
export function actorForward(g: GraphBuilder, config: ActorForwardConfig, flat: Value): ActorForward {
  const { actor: network, block } = config;
  const agents = block ?? network.encoder.agents;
  const rows = config.chunks * config.chunkLength;
  const tensor = (name: string, width: number): Value => g.input(name, "float32", [agents, rows, width]);
  const frozen = config.parameters.adapters && g.input("frozen", "float32", config.parameters.backbone.dims);
  const pick = block === undefined ? undefined : g.input("pick", "float32", [block, network.encoder.agents]);
  const observations = tensor("observations", network.encoder.size);
  const categorical = network.head.kind === "categorical";
  const mask = categorical ? tensor("action_mask", network.head.size) : undefined;
  const binding = bindingOf(g, config, flat, frozen, pick);
  const encoded = encodeTeam(g, observations, network, pick);
  const recurrent = recurrentInputs(g, network.body, agents, config);
  const { output } = actor(g, binding, g.stopGradient(encoded), network, recurrent, mask);
  const width = categorical ? 1 : network.head.size;
  return outputs(
    g,
    output,
    tensor("drawn", width),
    tensor("old_log_prob", width),
    ownDimensions(g, config, pick),
    pick,
  );
}

function outputs(
  g: GraphBuilder,
  output: HeadOutput,
  drawn: Value,
  old: Value,
  own: Value | undefined,
  pick: Value | undefined,
): ActorForward {
  const [agents, rows] = drawn.shape as readonly [number, number];
  // A dimension that an agent does not have is 0 in both log-probabilities: a ratio of 1 without a gradient.
  const counted = (x: Value): Value => (own ? g.mul(x, own) : x);
  return {
    agents,
    pick,
    logProb: counted(logProb(g, output, drawn)),
    oldLogProb: counted(old),
    entropy: g.expand(entropy(g, output, own), [agents, rows, 1]),
  };
}

function bindingOf(
  g: GraphBuilder,
  { parameters, sharing, actor: { encoder } }: ActorForwardConfig,
  flat: Value,
  frozen: Value | undefined,
  pick: Value | undefined,
): WeightBinding {
  const { agents } = encoder;
  if (!pick) return trainingBinding(g, parameters, sharing, agents, flat, frozen);
  const networks = agentNetworks(g, parameters, sharing, agents, frozen ?? flat, frozen && flat);
  return pickedBinding(g, networkLayout(parameters, sharing, agents), networks, pick);
}

/** float32 [N or b, 1, K]: 1 for the dimensions that an agent has; nothing when all have all. */
function ownDimensions(
  g: GraphBuilder,
  { actor: { head }, actionSizes }: ActorForwardConfig,
  pick: Value | undefined,
): Value | undefined {
  if (head.kind === "categorical" || !actionSizes || actionSizes.every((size) => size === head.size))
    return undefined;
  const rows = actionSizes.flatMap((size) => Array.from({ length: head.size }, (_, k) => (k < size ? 1 : 0)));
  const table = g.constant("own_dimensions", floatTensor([actionSizes.length, head.size], rows));
  return g.unsqueeze(pick ? g.matMul(pick, table) : table, [1]);
}
