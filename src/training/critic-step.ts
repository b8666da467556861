/**
 * One critic update as one graph: value normaliser, forward, clipped Huber loss, backward, clipping, Adam.
 *
 * Letters: V value heads (1, or one an agent), v heads of a batch (V, or 1 that is picked), R = L·C rows, S state,
 * H hidden, G critics, each with its value normaliser.
 */
import type { WeightBinding } from "../../models/bindings.ts";
import { type CriticConfig, critic } from "../../models/networks.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { criticBinding, encodeTeam, pickedBinding } from "../../models/policy.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import type { Value } from "../graph/value.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { clippedValueLoss } from "./losses.ts";
import { type BatchShape, optimizerInputs, recurrentInputs, trainStep } from "./step-graph.ts";
import { normaliseGraph, updateValueNormGraph, type ValueNormValues } from "./value-norm-graph.ts";

export interface CriticStepConfig extends BatchShape {
  readonly critic: CriticConfig;
  /** G owners. */
  readonly layout: ParameterLayout;
  readonly huberDelta: number;
  readonly maxGradientNorm: number;
  /** Whether a batch is of one value head, named by the input `pick` [1, V], a row of an identity. */
  readonly picked?: boolean;
}

/**
 * Inputs: those of the optimizer, `state` [1 or v, R, S], `old_values` [v, R, 1] (normalised), `returns` [v, R, 1] (in
 * the rewards' units), `clip_range` [], `running_mean`, `running_mean_square`, `debias` [G], `pick` where it applies, and
 * for a recurrent critic `hidden` [v, C, H] and `mask` [1, R, 1]. The normaliser takes the returns in before they are
 * normalised, as the reference does. Further outputs: `running_mean_out`, `running_mean_square_out`, `debias_out`.
 */
export function criticStep(config: CriticStepConfig): OnnxModel {
  const g = new GraphBuilder();
  const { critic: network, layout } = config;
  const values = network.encoder.agents;
  const heads = config.picked ? 1 : values;
  const rows = config.chunks * config.chunkLength;
  const optimizer = optimizerInputs(g, layout);
  const state = g.input("state", "float32", [network.ownStates ? heads : 1, rows, network.encoder.size]);
  const oldValue = g.input("old_values", "float32", [heads, rows, 1]);
  const returns = g.input("returns", "float32", [heads, rows, 1]);
  const clipRange = g.input("clip_range", "float32", []);
  const pick = config.picked ? g.input("pick", "float32", [1, values]) : undefined;
  const norm = valueNorm(g, layout.owners, returns, pick);
  const x = encodeTeam(g, state, network, pick);
  const { value } = critic(
    g,
    bindingOf(g, config, optimizer.parameters, pick),
    g.stopGradient(x),
    network,
    recurrentInputs(g, network.body, heads, config),
  );
  const target = normaliseGraph(g, norm.used, returns);
  const critics = pick ? 1 : layout.owners;
  const loss = clippedValueLoss(g, { value, oldValue, target, clipRange }, config.huberDelta, critics);
  const { maxGradientNorm } = config;
  trainStep(g, optimizer, loss, { maxGradientNorm, partial: pick !== undefined && layout.owners > 1 }, [
    loss,
  ]);
  for (const [name, statistic] of Object.entries(norm.kept)) g.output(`${name}_out`, statistic);
  return finishGraph(g, "critic_step");
}

function bindingOf(
  g: GraphBuilder,
  { critic: network, layout }: CriticStepConfig,
  flat: Value,
  pick: Value | undefined,
): WeightBinding {
  return pick ? pickedBinding(g, layout, flat, pick) : criticBinding(network, layout.source(g, flat));
}

const STATISTICS = {
  running_mean: "runningMean",
  running_mean_square: "runningMeanSquare",
  debias: "debias",
} as const;

/** Statistics with the returns taken in: those that normalise this batch, and all as they are carried on. */
function valueNorm(
  g: GraphBuilder,
  owners: number,
  returns: Value,
  pick: Value | undefined,
): { used: ValueNormValues; kept: Readonly<Record<string, Value>> } {
  const named = Object.keys(STATISTICS).map((name) => [name, g.input(name, "float32", [owners])] as const);
  const all = Object.fromEntries(named) as Record<keyof typeof STATISTICS, Value>;
  // Of separate critics only the picked one's.
  const part = pick && owners > 1 ? pick : undefined;
  const own = (x: Value): Value => (part ? g.reshape(g.matMul(part, g.reshape(x, [owners, 1])), [1]) : x);
  const used = updateValueNormGraph(
    g,
    {
      runningMean: own(all.running_mean),
      runningMeanSquare: own(all.running_mean_square),
      debias: own(all.debias),
    },
    returns,
  );
  const chosen = part && g.greater(g.reshape(part, [owners]), 0);
  const kept = named.map(([name, before]) => {
    const now = used[STATISTICS[name as keyof typeof STATISTICS]];
    return [name, chosen ? g.where(chosen, now, before) : now] as const;
  });
  return { used, kept: Object.fromEntries(kept) };
}
