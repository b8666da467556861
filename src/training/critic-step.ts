/**
 * One critic update as one graph: value normaliser, forward, clipped Huber loss, backward, clipping, Adam.
 *
 * Letters: V value heads (1, or one an agent), R = L·C rows, S state, H hidden, G value normalisers.
 */

import { sharedBinding } from "../../models/bindings.ts";
import { type CriticConfig, critic } from "../../models/networks.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { encodeTeam } from "../../models/policy.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import type { Value } from "../graph/value.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { clippedValueLoss } from "./losses.ts";
import { type BatchShape, optimizerInputs, recurrentInputs, trainStep } from "./step-graph.ts";
import { normaliseGraph, updateValueNormGraph } from "./value-norm-graph.ts";

export interface CriticStepConfig extends BatchShape {
  readonly critic: CriticConfig;
  readonly layout: ParameterLayout;
  /** G. */
  readonly valueNorms: number;
  readonly huberDelta: number;
  readonly maxGradientNorm: number;
}

/**
 * Inputs: those of the optimizer, `state` [1, R, S], `old_values` [V, R, 1] (normalised), `returns` [V, R, 1] (in the
 * rewards' units), `clip_range` [], `running_mean`, `running_mean_square`, `debias` [G], and for a recurrent critic
 * `hidden` [V, C, H] and `mask` [1, R, 1]. The normaliser takes the returns in before they are normalised, as the
 * reference does. Further outputs: `running_mean_out`, `running_mean_square_out`, `debias_out`.
 */
export function criticStep(config: CriticStepConfig): OnnxModel {
  const g = new GraphBuilder();
  const { agents: values, size } = config.critic.encoder;
  const rows = config.chunks * config.chunkLength;
  const optimizer = optimizerInputs(g, [1, config.layout.size]);
  const state = g.input("state", "float32", [1, rows, size]);
  const oldValue = g.input("old_values", "float32", [values, rows, 1]);
  const returns = g.input("returns", "float32", [values, rows, 1]);
  const clipRange = g.input("clip_range", "float32", []);
  const statistic = (name: string): Value => g.input(name, "float32", [config.valueNorms]);

  const norm = updateValueNormGraph(
    g,
    {
      runningMean: statistic("running_mean"),
      runningMeanSquare: statistic("running_mean_square"),
      debias: statistic("debias"),
    },
    returns,
  );
  const x = g.stopGradient(encodeTeam(g, state, config.critic));
  const binding = sharedBinding(config.layout.source(g, optimizer.parameters));
  const { value } = critic(
    g,
    binding,
    x,
    config.critic,
    recurrentInputs(g, config.critic.body, values, config),
  );
  const target = normaliseGraph(g, norm, returns);
  const loss = clippedValueLoss(g, { value, oldValue, target, clipRange }, config.huberDelta);
  trainStep(g, optimizer, loss, config.maxGradientNorm, [loss]);
  g.output("running_mean_out", norm.runningMean);
  g.output("running_mean_square_out", norm.runningMeanSquare);
  g.output("debias_out", norm.debias);
  return finishGraph(g, "critic_step");
}
