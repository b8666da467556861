/** Action heads: what the network says about actions, how one is drawn, and how likely a stored one is. */
import { floatTensor } from "../src/base/tensor.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import { fixedSize, type Value } from "../src/graph/value.ts";
import type { WeightBinding } from "./bindings.ts";

/** The head of an actor. */
export type HeadConfig = {
  /** Of the orthogonal weights that it starts with; 0.01 when left out. */
  readonly gain?: number;
} & (
  | {
      /** `gaussian`: HARL's diagonal normal, not squashed. `squashed-gaussian`: tanh of it, as the LoRASA code has it. */
      readonly kind: "gaussian" | "squashed-gaussian";
      /** K. */
      readonly size: number;
      /** Bounds of the action that the simulator takes; policy units are [−1, 1]. */
      readonly low: number;
      readonly high: number;
      /** std = sigmoid(log_std / stdX)·stdY; log_std starts at stdX. */
      readonly stdX: number;
      readonly stdY: number;
    }
  | { readonly kind: "categorical"; readonly size: number }
);

/** What the head computed for each row; every tensor float32 [..., K]. */
export type HeadOutput =
  | { readonly kind: "gaussian" | "squashed-gaussian"; readonly mean: Value; readonly std: Value }
  | { readonly kind: "categorical"; readonly logits: Value };

/** Logits of unavailable choices become this: zero probability, and still finite. */
const UNAVAILABLE_LOGIT = -1e10;
/** Float32's machine epsilon: keeps log(1 − tanh²) finite. */
const SQUASH_EPSILON = 2 ** -23;
const HALF_LOG_2PI = 0.5 * Math.log(2 * Math.PI);
const HEAD_GAIN = 0.01;

/**
 * The head on top of features float32 [..., H].
 * @param mask float32 [..., K], 1 for an available choice; categorical only, all available when left out.
 */
export function head(
  g: GraphBuilder,
  binding: WeightBinding,
  features: Value,
  config: HeadConfig,
  mask?: Value,
): HeadOutput {
  return g.scope("head", () => {
    const inSize = fixedSize(features.shape.at(-1), "head");
    const weight = { kind: "orthogonal", gain: config.gain ?? HEAD_GAIN } as const;
    const output = binding.linear(g, features, { name: "head", inSize, outSize: config.size, weight });
    if (config.kind === "categorical") {
      return {
        kind: config.kind,
        logits: mask ? g.where(g.greater(mask, 0), output, UNAVAILABLE_LOGIT) : output,
      };
    }
    const initializer = { kind: "constant", value: config.stdX } as const;
    const logStd = binding.vector(g, { name: "head.log_std", size: config.size, initializer, adapted: true });
    const std = g.mul(g.sigmoid(g.div(logStd, config.stdX)), config.stdY);
    return { kind: config.kind, mean: output, std };
  });
}

/**
 * The drawn action in policy units before squashing: what is stored and what `logProb` takes.
 * @param noise float32 [..., K]: Gaussian, or Gumbel for a categorical head; none gives the mode.
 * @returns float32 [..., K], or int64 [..., 1] for a categorical head.
 */
export function sample(g: GraphBuilder, output: HeadOutput, noise: Value | undefined): Value {
  if (output.kind === "categorical") return g.argMax(noise ? g.add(output.logits, noise) : output.logits);
  return noise ? g.add(output.mean, g.mul(output.std, noise)) : output.mean;
}

/** What the simulator takes: squashed, then moved from [−1, 1] to the bounds; a choice stays as it is. */
export function toAction(g: GraphBuilder, drawn: Value, config: HeadConfig): Value {
  if (config.kind === "categorical") return drawn;
  // Clipped: ONNX Runtime's tanh leaves [−1, 1] by up to 2.4e-7.
  const bounded = config.kind === "squashed-gaussian" ? g.clip(g.tanh(drawn), -1, 1) : drawn;
  if (config.low === -1 && config.high === 1) return bounded;
  return g.add(g.mul(bounded, (config.high - config.low) / 2), (config.high + config.low) / 2);
}

/**
 * Draws or actions as float32, as rollouts keep them and simulators take them: a choice becomes its number. Looked up
 * rather than cast, since WebGPU casts no int64.
 */
export function asFloat(g: GraphBuilder, drawn: Value, config: HeadConfig): Value {
  return config.kind === "categorical" ? g.gather(choices(g, config.size), drawn) : drawn;
}

/**
 * Log-probability of stored draws.
 *
 * Gaussian: −(u − mean)²/(2 std²) − ln std − ½ ln 2π. Squashed: that less ln(1 − tanh² u + ε), ε = 2⁻²³.
 * @param drawn as {@link sample} gives it; int64 or float32 [..., 1] for a categorical head.
 * @returns float32 [..., K] a dimension each, or [..., 1] for a categorical head.
 * @source HARL distributions.py; the LoRASA code's gaussian_version 3, with u stored instead of recovered by atanh.
 */
export function logProb(g: GraphBuilder, output: HeadOutput, drawn: Value): Value {
  if (output.kind === "categorical") {
    const axis = output.logits.shape.length - 1;
    return g.reduceSum(g.mul(g.logSoftmax(output.logits), oneHot(g, drawn, output.logits)), [axis], true);
  }
  const scaled = g.div(g.sub(drawn, output.mean), output.std);
  const normal = g.sub(g.sub(g.mul(g.square(scaled), -0.5), g.log(output.std)), HALF_LOG_2PI);
  return output.kind === "gaussian" ? normal : g.sub(normal, logJacobian(g, drawn));
}

/**
 * Entropy of each row, summed over dimensions, float32 [..., 1]. A squashed Gaussian has no closed form: this is the
 * base entropy plus the log-Jacobian at the mean, where the reference takes one random draw.
 * @param own float32 [N, 1, K]: 0 for dimensions that an agent does not have; all count when left out.
 */
export function entropy(g: GraphBuilder, output: HeadOutput, own?: Value): Value {
  if (output.kind === "categorical") {
    const axis = output.logits.shape.length - 1;
    return g.neg(g.reduceSum(g.mul(g.softmax(output.logits), g.logSoftmax(output.logits)), [axis], true));
  }
  const sum = (dimensions: Value): Value => {
    const counted = own ? g.mul(dimensions, own) : dimensions;
    return g.reduceSum(counted, [counted.shape.length - 1], true);
  };
  const base = sum(g.add(g.log(output.std), 0.5 + HALF_LOG_2PI));
  return output.kind === "gaussian" ? base : g.add(base, sum(logJacobian(g, output.mean)));
}

/** ln(1 − tanh² u + ε), which is ln |d tanh u / du|. A float32 tanh can exceed 1 by a rounding: not below 0 here. */
function logJacobian(g: GraphBuilder, drawn: Value): Value {
  return g.log(g.add(g.max(g.sub(1, g.square(g.tanh(drawn))), 0), SQUASH_EPSILON));
}

/** @param index int64 from {@link sample}, or float32 as it is stored; [..., 1]. */
function oneHot(g: GraphBuilder, index: Value, like: Value): Value {
  const count = fixedSize(like.shape.at(-1), "one-hot");
  if (index.dtype === "float32") return g.cast(g.equal(index, choices(g, count)), "float32");
  const identity = Float32Array.from({ length: count * count }, (_, k) => (k % (count + 1) === 0 ? 1 : 0));
  const rows = g.gather(g.constant("one_hot", floatTensor([count, count], identity)), index);
  return g.reshape(rows, like.shape);
}

/** float32 [K]: 0 … K−1. */
function choices(g: GraphBuilder, count: number): Value {
  const numbers = Float32Array.from({ length: count }, (_, k) => k);
  return g.constant("choices", floatTensor([count], numbers));
}
