/**
 * One actor update as one graph: forward, clipped surrogate, entropy, backward, clipping, Adam.
 *
 * Letters: N agents, b agents of a block, R rows, K action.
 */
import type { ActorConfig } from "../../models/networks.ts";
import { type ActorParameters, lossGroups, type Sharing } from "../../models/policy.ts";
import { elementCount, floatTensor } from "../base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import type { Value } from "../graph/value.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { type ActorForwardConfig, actorForward } from "./actor-forward.ts";
import {
  activeMean,
  clippedSurrogate,
  groupMembers,
  type LossGroups,
  type OthersPlace,
  type RatioKind,
} from "./losses.ts";
import { optimizerInputs, trainStep } from "./step-graph.ts";

/** Scalars of the `metrics` output, in order. */
export const ACTOR_METRICS = ["policyLoss", "entropy", "ratio", "approxKl", "clipFraction"] as const;

export interface ActorStepConfig extends ActorForwardConfig {
  readonly actor: ActorConfig;
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  /** Whether every agent has an advantage of its own: input `advantage` is [N or b, R, 1] instead of [1, R, 1]. */
  readonly advantagePerAgent: boolean;
  readonly ratio: RatioKind;
  readonly entropyCoefficient: number;
  readonly maxGradientNorm: number;
  /** Where the ratio of other agents that have moved stands: input `others` [N or b, R, 1]; none when left out. */
  readonly others?: OthersPlace;
  /** Whether parts whose `step_size` is 0 have no part in a step. */
  readonly partial?: boolean;
}

/**
 * Inputs: those of the optimizer and of `actor-forward.ts`, `advantage` [1, N or b, R, 1], `active` [N or b, R, 1],
 * `clip_range` [], and `others` [N or b, R, 1] where it applies. All float32.
 */
export function actorStep(config: ActorStepConfig): OnnxModel {
  const g = new GraphBuilder();
  const rows = config.chunks * config.chunkLength;
  const trained = config.parameters.adapters ?? config.parameters.backbone;
  const optimizer = optimizerInputs(g, trained);
  const { agents, pick, logProb, oldLogProb, entropy } = actorForward(g, config, optimizer.parameters);
  const active = g.input("active", "float32", [agents, rows, 1]);
  const groups = groupsOf(g, config, pick);
  const surrogate = clippedSurrogate(
    g,
    {
      logProb,
      oldLogProb,
      advantage: g.input("advantage", "float32", [config.advantagePerAgent ? agents : 1, rows, 1]),
      active,
      clipRange: g.input("clip_range", "float32", []),
      ...(config.others && { others: g.input("others", "float32", [agents, rows, 1]), place: config.others }),
    },
    config.ratio,
    groups,
  );
  const bonus = g.mul(activeMean(g, entropy, active, groups), config.entropyCoefficient);
  const options = { ...config, gradientScale: headScale(g, config) };
  trainStep(g, optimizer, g.sub(surrogate.loss, bonus), options, [
    surrogate.loss,
    activeMean(g, entropy, active),
    surrogate.ratio,
    surrogate.approxKl,
    surrogate.clipFraction,
  ]);
  return finishGraph(g, "actor_step");
}

/** Agents that share what is trained are averaged together, within a block those that it holds. */
function groupsOf(
  g: GraphBuilder,
  { sharing, actor, block }: ActorStepConfig,
  pick: Value | undefined,
): LossGroups | undefined {
  const groups = lossGroups(sharing, actor.encoder.agents);
  if (!pick) return groups;
  if (block === 1 || Math.max(...groups) === 0) return undefined;
  return g.matMul(groupMembers(g, groups), g.transpose(pick, [1, 0]));
}

/**
 * A head learns from one agent's rows among N and its trunk from all: its gradient counts N times, as in the released
 * LoRASA code. float32 [1, P], for shared trunks only.
 */
function headScale(g: GraphBuilder, { parameters, actor }: ActorStepConfig): Value | undefined {
  const { specs, size } = parameters.backbone;
  if (specs.every(({ copies }) => copies === undefined)) return undefined;
  const scale = specs.flatMap(({ shape, copies = 1 }) =>
    Array.from({ length: copies * elementCount(shape) }, () => (copies > 1 ? actor.encoder.agents : 1)),
  );
  return g.constant("head_scale", floatTensor([1, size], scale));
}
