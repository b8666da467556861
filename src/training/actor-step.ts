/**
 * One actor update as one graph: forward, clipped surrogate, entropy, backward, clipping, Adam.
 *
 * Letters: N agents, R = L·C rows (L steps of a chunk, C chunks; L is 1 without recurrence), O observation,
 * K action, H hidden.
 */
import { entropy, logProb } from "../../models/distributions.ts";
import { type ActorConfig, actor } from "../../models/networks.ts";
import { type ActorParameters, encodeTeam, type Sharing, trainingBinding } from "../../models/policy.ts";
import { floatTensor } from "../base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import type { Value } from "../graph/value.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { activeMean, clippedSurrogate, type LossMean, type RatioKind } from "./losses.ts";
import { type BatchShape, optimizerInputs, recurrentInputs, trainStep } from "./step-graph.ts";

/** Scalars of the `metrics` output, in order. */
export const ACTOR_METRICS = ["policyLoss", "entropy", "ratio", "approxKl", "clipFraction"] as const;

export interface ActorStepConfig extends BatchShape {
  readonly actor: ActorConfig;
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  /** Each agent's own number of continuous actions, where some have fewer than K; padding is not learnt from. */
  readonly actionSizes?: readonly number[];
  /** Whether every agent has an advantage of its own: input `advantage` is [N, R, 1] instead of [1, R, 1]. */
  readonly advantagePerAgent: boolean;
  readonly ratio: RatioKind;
  readonly entropyCoefficient: number;
  readonly maxGradientNorm: number;
}

/**
 * Inputs: those of the optimizer, `frozen` [1, P] (low-rank only), `observations` [N, R, O], `drawn` [N, R, K],
 * `old_log_prob` [N, R, K], `advantage` [1 or N, R, 1], `active` [N, R, 1], `clip_range` [], and where they apply
 * `action_mask` [N, R, K], `hidden` [N, C, H] and `mask` [1, R, 1]. All float32.
 */
export function actorStep(config: ActorStepConfig): OnnxModel {
  const g = new GraphBuilder();
  const { agents } = config.actor.encoder;
  const rows = config.chunks * config.chunkLength;
  const owners = config.sharing.kind === "shared" ? 1 : agents;
  const trained = config.parameters.adapters ?? config.parameters.backbone;
  const optimizer = optimizerInputs(g, [owners, trained.size]);
  const frozen = config.parameters.adapters && g.input("frozen", "float32", config.parameters.backbone.dims);
  const tensor = (name: string, width: number, owned = true): Value =>
    g.input(name, "float32", [owned ? agents : 1, rows, width]);

  const observations = tensor("observations", config.actor.encoder.size);
  const categorical = config.actor.head.kind === "categorical";
  const actionMask = categorical ? tensor("action_mask", config.actor.head.size) : undefined;
  const binding = trainingBinding(g, config.parameters, config.sharing, optimizer.parameters, frozen);
  const x = g.stopGradient(encodeTeam(g, observations, config.actor));
  const { output } = actor(
    g,
    binding,
    x,
    config.actor,
    recurrentInputs(g, config.actor.body, agents, config),
    actionMask,
  );

  // A dimension that an agent does not have is 0 in both log-probabilities: a ratio of 1 without a gradient.
  const own = ownDimensions(g, config);
  const counted = (x: Value): Value => (own ? g.mul(x, own) : x);
  const drawn = tensor("drawn", categorical ? 1 : config.actor.head.size);
  const active = tensor("active", 1);
  const mean: LossMean = owners === 1 ? "team" : "agents";
  const surrogate = clippedSurrogate(
    g,
    {
      logProb: counted(logProb(g, output, drawn)),
      oldLogProb: counted(tensor("old_log_prob", categorical ? 1 : config.actor.head.size)),
      advantage: tensor("advantage", 1, config.advantagePerAgent),
      active,
      clipRange: g.input("clip_range", "float32", []),
    },
    config.ratio,
    mean,
  );
  const rowEntropy = g.expand(entropy(g, output, own), [agents, rows, 1]);
  const bonus = g.mul(activeMean(g, rowEntropy, active, mean), config.entropyCoefficient);
  trainStep(g, optimizer, g.sub(surrogate.loss, bonus), config.maxGradientNorm, [
    surrogate.loss,
    activeMean(g, rowEntropy, active, "team"),
    surrogate.ratio,
    surrogate.approxKl,
    surrogate.clipFraction,
  ]);
  return finishGraph(g, "actor_step");
}

/** float32 [N, 1, K]: 1 for the dimensions that an agent has; nothing when all have all. */
function ownDimensions(
  g: GraphBuilder,
  { actor: { head }, actionSizes }: ActorStepConfig,
): Value | undefined {
  if (head.kind === "categorical" || !actionSizes || actionSizes.every((size) => size === head.size))
    return undefined;
  const rows = actionSizes.map((size) => Array.from({ length: head.size }, (_, k) => (k < size ? 1 : 0)));
  return g.constant("own_dimensions", floatTensor([actionSizes.length, 1, head.size], rows.flat()));
}
