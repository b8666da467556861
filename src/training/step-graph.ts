/** What the graphs of an actor step and a critic step have in common: flat parameters in, flat parameters out. */
import type { RecurrentInputs } from "../../models/layers.ts";
import { type BodyConfig, hiddenSize } from "../../models/networks.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { gradients } from "../autodiff/gradients.ts";
import { elementCount } from "../base/tensor.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";
import { adam } from "../optim/adam.ts";
import { clipByGlobalNorm } from "../optim/clip.ts";

/** Flat parameters and moments float32 [G, P], and the step's numbers float32 [G, 1] or [1, P]. */
export interface OptimizerInputs {
  readonly parameters: Value;
  readonly firstMoment: Value;
  readonly secondMoment: Value;
  readonly stepSize: Value;
  readonly secondCorrection: Value;
}

/**
 * Declares the inputs `parameters`, `first_moment`, `second_moment` float32 [G, P] and, for each part of a layout,
 * `step_size`, `second_correction` float32 [parts, 1].
 */
export function optimizerInputs(g: GraphBuilder, layout: ParameterLayout): OptimizerInputs {
  const flat = (name: string): Value => g.input(name, "float32", layout.dims);
  const ofParts = (name: string): Value => byColumn(g, layout, g.input(name, "float32", [layout.parts, 1]));
  return {
    parameters: flat("parameters"),
    firstMoment: flat("first_moment"),
    secondMoment: flat("second_moment"),
    stepSize: ofParts("step_size"),
    secondCorrection: ofParts("second_correction"),
  };
}

/** A number a part, float32 [parts, 1], as it stands beside parameters: [G, 1], or [1, P] where parts share a row. */
function byColumn(g: GraphBuilder, { parts, owners, specs }: ParameterLayout, numbers: Value): Value {
  if (parts === owners) return numbers;
  const [common, own] = g.split(numbers, [1, parts - 1], 0) as [Value, Value];
  const columns = specs.map(({ shape, copies }) => {
    const size = elementCount(shape);
    if (copies === undefined) return g.expand(common, [1, size]);
    return g.reshape(g.expand(own, [copies, size]), [1, copies * size]);
  });
  return g.concat(columns, 1);
}

export interface TrainStepOptions {
  readonly maxGradientNorm: number;
  /** Whether parts whose step size is 0 keep their moments too, as if they had no part in the step. */
  readonly partial?: boolean;
  /** float32 [1, P]: multiplies the gradient before it is clipped. */
  readonly gradientScale?: Value | undefined;
}

/**
 * Appends gradient, clipping and Adam, and the outputs `parameters_out`, `first_moment_out`, `second_moment_out`,
 * `gradient_norm` [G, 1] and `metrics` [M], the scalars in the order given.
 */
export function trainStep(
  g: GraphBuilder,
  inputs: OptimizerInputs,
  loss: Value,
  { maxGradientNorm, partial, gradientScale }: TrainStepOptions,
  metrics: readonly Value[],
): void {
  const [gradient] = gradients(g, loss, [inputs.parameters]) as [Value];
  const scaled = gradientScale ? g.mul(gradient, gradientScale) : gradient;
  const { clipped, norm } = clipByGlobalNorm(g, scaled, maxGradientNorm);
  const after = adam(g, inputs, clipped, inputs.stepSize, inputs.secondCorrection);
  const moment = (now: Value, before: Value): Value =>
    partial ? g.where(g.greater(inputs.stepSize, 0), now, before) : now;
  g.output("parameters_out", after.parameters);
  g.output("first_moment_out", moment(after.firstMoment, inputs.firstMoment));
  g.output("second_moment_out", moment(after.secondMoment, inputs.secondMoment));
  g.output("gradient_norm", norm);
  g.output(
    "metrics",
    g.concat(
      metrics.map((metric) => g.reshape(metric, [1])),
      0,
    ),
  );
}

/** Rows of a batch: C sequences of L steps; L is 1 without recurrence. */
export interface BatchShape {
  readonly chunks: number;
  readonly chunkLength: number;
}

/** Inputs `hidden` [heads, C, H] and `mask` [1, L·C, 1] of a recurrent network; none of another. */
export function recurrentInputs(
  g: GraphBuilder,
  body: BodyConfig,
  heads: number,
  { chunks, chunkLength }: BatchShape,
): RecurrentInputs | undefined {
  if (!body.recurrent) return undefined;
  return {
    hidden: g.input("hidden", "float32", [heads, chunks, hiddenSize(body)]),
    mask: g.input("mask", "float32", [1, chunks * chunkLength, 1]),
    steps: chunkLength,
  };
}
