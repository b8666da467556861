/** The graphs on which gradients are compared with two oracles: at least one for every operator that has a rule. */

import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { OpName } from "../../src/graph/ops.ts";
import type { Value } from "../../src/graph/value.ts";

export interface GradientCase {
  readonly name: string;
  /** Shapes of the inputs x0, x1, …, every one of them a target. */
  readonly shapes: readonly (readonly number[])[];
  /** Where the values lie: around zero, or in [0.5, 2] for domains that need it. */
  readonly values?: "normal" | "positive";
  readonly build: (g: GraphBuilder, x: readonly Value[]) => Value;
  /** float32 where ONNX Runtime has no double kernel: differences are coarser then. */
  readonly forward?: "float32";
  /** float32 where only the gradient graph has no double kernel. */
  readonly backward?: "float32";
}

/** Pairs of shapes that broadcast on the left, on the right, on both sides and not at all. */
const PAIRS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [[3], [2, 3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[], [2, 3]],
  [[2, 3], []],
  [
    [4, 2, 1],
    [2, 1, 1, 3],
  ],
];

const binary = (name: string, build: GradientCase["build"], values?: "positive"): GradientCase[] =>
  PAIRS.map(([a, b]) => ({
    name: `${name} [${a}] with [${b}]`,
    shapes: [a, b],
    build,
    ...(values && { values }),
  }));

const unary = (name: string, build: (g: GraphBuilder, x: Value) => Value): GradientCase[] => [
  { name, shapes: [[2, 3]], build: (g, [x]) => build(g, x!) },
];

const one = (
  name: string,
  shape: readonly number[],
  build: (g: GraphBuilder, x: Value) => Value,
): GradientCase => ({ name, shapes: [shape], build: (g, [x]) => build(g, x!) });

const product = (a: readonly number[], b: readonly number[]): GradientCase => ({
  name: `MatMul [${a}] by [${b}]`,
  shapes: [a, b],
  build: (g, [left, right]) => g.matMul(left!, right!),
});

/** A bool constant that alternates. */
function alternating(g: GraphBuilder, dims: readonly number[]): Value {
  const count = dims.reduce((total, size) => total * size, 1);
  return g.constant("mask", {
    dtype: "bool",
    dims,
    data: Uint8Array.from({ length: count }, (_, k) => k % 2),
  });
}

const layerNorm = (shape: readonly number[], affine: readonly (readonly number[])[]): GradientCase => ({
  name: `LayerNormalization [${shape}] with ${affine.length === 2 ? "gain and bias" : "gain"} [${affine[0]}]`,
  shapes: [shape, ...affine],
  build: (g, x) => g.apply("LayerNormalization", x, { axis: -1, epsilon: 1e-5 }),
  backward: "float32",
});

export const GRADIENT_CASES: Partial<Record<OpName, readonly GradientCase[]>> = {
  Abs: unary("Abs", (g, x) => g.abs(x)),
  Add: binary("Add", (g, [a, b]) => g.add(a!, b!)),
  Clip: [
    one("Clip", [4, 5], (g, x) => g.clip(x, -0.5, 0.7)),
    one("Clip by bounds that are values", [4, 5], (g, x) =>
      g.clip(x, g.neg(g.scalar(0.5, x.dtype)), g.exp(g.scalar(0, x.dtype))),
    ),
  ],
  Concat: [
    {
      name: "Concat first axis",
      shapes: [
        [1, 3],
        [2, 3],
      ],
      build: (g, x) => g.concat(x, 0),
    },
    {
      name: "Concat last axis",
      shapes: [
        [2, 2, 1],
        [2, 2, 3],
        [2, 2, 2],
      ],
      build: (g, x) => g.concat(x, -1),
    },
    one("Concat of a value with itself", [2, 2], (g, x) => g.concat([x, g.exp(x), x], 1)),
  ],
  Div: binary("Div", (g, [a, b]) => g.div(a!, b!), "positive"),
  Exp: unary("Exp", (g, x) => g.exp(x)),
  Expand: [
    one("Expand adds an axis", [3], (g, x) => g.expand(x, [2, 3])),
    one("Expand repeats inner and outer axes", [1, 2, 1], (g, x) => g.expand(x, [2, 3, 2, 4])),
    one("Expand a scalar", [], (g, x) => g.expand(x, [2, 2])),
  ],
  Identity: unary("Identity", (g, x) => g.apply("Identity", [x])),
  LayerNormalization: [
    layerNorm([4, 5], [[5], [5]]),
    layerNorm([2, 3, 4], [[4], [4]]),
    layerNorm([3, 4], [[4]]),
    layerNorm(
      [3, 2, 4],
      [
        [3, 1, 4],
        [3, 1, 4],
      ],
    ),
  ],
  Log: [{ name: "Log", shapes: [[2, 3]], values: "positive", build: (g, [x]) => g.log(x!) }],
  LogSoftmax: [
    one("LogSoftmax", [3, 4], (g, x) => g.logSoftmax(x)),
    one("LogSoftmax inner axis", [2, 3, 2], (g, x) => g.logSoftmax(x, 1)),
    one("LogSoftmax with masked logits", [2, 4], (g, x) =>
      g.logSoftmax(g.where(alternating(g, [2, 4]), x, -30)),
    ),
  ],
  MatMul: [
    product([2, 3], [3, 4]),
    product([2, 3, 4], [4, 5]),
    product([2, 2, 3, 4], [4, 2]),
    product([3, 2, 4], [3, 4, 5]),
    product([1, 2, 4], [3, 4, 5]),
    product([2, 4], [3, 4, 5]),
    product([3, 2, 4], [1, 4, 5]),
    product([2, 1, 3, 4], [3, 4, 2]),
  ],
  Max: binary("Max", (g, [a, b]) => g.max(a!, b!)),
  Min: binary("Min", (g, [a, b]) => g.min(a!, b!)),
  Mul: binary("Mul", (g, [a, b]) => g.mul(a!, b!)),
  Neg: unary("Neg", (g, x) => g.neg(x)),
  Reciprocal: [
    { name: "Reciprocal", shapes: [[2, 3]], values: "positive", build: (g, [x]) => g.reciprocal(x!) },
  ],
  ReduceMean: [
    one("ReduceMean of everything", [2, 3], (g, x) => g.reduceMean(x)),
    one("ReduceMean middle axis", [2, 3, 2], (g, x) => g.reduceMean(x, [1])),
    one("ReduceMean two axes kept", [2, 3, 2], (g, x) => g.reduceMean(x, [0, -1], true)),
  ],
  ReduceSum: [
    one("ReduceSum of everything", [2, 3], (g, x) => g.reduceSum(x)),
    one("ReduceSum last axis", [2, 3, 2], (g, x) => g.reduceSum(x, [-1])),
    one("ReduceSum two axes kept", [2, 3, 2], (g, x) => g.reduceSum(x, [0, 1], true)),
  ],
  Relu: unary("Relu", (g, x) => g.relu(x)),
  Reshape: [one("Reshape", [2, 6], (g, x) => g.reshape(x, [3, 2, 2]))],
  Sigmoid: unary("Sigmoid", (g, x) => g.sigmoid(x)),
  Slice: [
    one("Slice at the start", [5, 2], (g, x) => g.slice(x, 0, 0, 2)),
    one("Slice in the middle", [2, 5], (g, x) => g.slice(x, 1, 1, 3)),
    one("Slice at the end", [2, 5, 2], (g, x) => g.slice(x, -2, 3, 5)),
    one("two Slices that overlap", [2, 5], (g, x) => g.mul(g.slice(x, 1, 0, 3), g.slice(x, 1, 2, 5))),
  ],
  Softmax: [
    one("Softmax", [3, 4], (g, x) => g.softmax(x)),
    one("Softmax first axis", [3, 4], (g, x) => g.softmax(x, 0)),
  ],
  Softplus: [{ ...unary("Softplus", (g, x) => g.softplus(x))[0]!, forward: "float32" }],
  Split: [
    one("Split", [2, 6], (g, x) => {
      const [a, b, c] = g.split(x, [1, 3, 2], 1);
      return g.concat([g.exp(c!), g.square(b!), a!], 1);
    }),
    one("Split with its first part unused", [6, 2], (g, x) => g.square(g.split(x, [1, 3, 2], 0)[1]!)),
    one("Split with its last part unused", [2, 3], (g, x) => g.exp(g.split(x, [2, 1], -1)[0]!)),
  ],
  Sqrt: [{ name: "Sqrt", shapes: [[2, 3]], values: "positive", build: (g, [x]) => g.sqrt(x!) }],
  Squeeze: [one("Squeeze", [2, 1, 3, 1], (g, x) => g.squeeze(x, [1, -1]))],
  Sub: binary("Sub", (g, [a, b]) => g.sub(a!, b!)),
  Tanh: unary("Tanh", (g, x) => g.tanh(x)),
  Transpose: [
    one("Transpose", [2, 3, 4], (g, x) => g.transpose(x, [1, 2, 0])),
    one("Transpose of the last two axes", [2, 3, 4], (g, x) => g.transposeLast(x)),
  ],
  Unsqueeze: [one("Unsqueeze", [2, 3], (g, x) => g.unsqueeze(x, [0, 2, -1]))],
  Where: [
    ...binary("Where", (g, [a, b]) => g.where(alternating(g, [2, 3]), a!, b!)),
    ...binary("Where by the values themselves", (g, [a, b]) => g.where(g.less(a!, b!), a!, g.exp(b!))),
  ],
};

/** Graphs in which rules meet: sharing, chains, and frozen parts. */
export const COMPOSITE_CASES: readonly GradientCase[] = [
  one("a value used twice by one node and thrice in all", [2, 3], (g, x) =>
    g.add(g.mul(x, x), g.mul(g.exp(x), x)),
  ),
  one("a matrix by its own transpose", [3, 4], (g, x) => g.matMul(x, g.transposeLast(x))),
  one("a value minus itself", [2, 2], (g, x) => g.sub(x, x)),
  {
    name: "two layers with a low-rank part, one group of rows an agent",
    shapes: [[3, 4, 5], [5, 6], [3, 5, 2], [3, 2, 6], [6]],
    build: (g, [x, weight, loraA, loraB, bias]) => {
      const adapted = g.matMul(g.matMul(x!, loraA!), loraB!);
      return g.tanh(g.add(g.add(g.matMul(x!, weight!), adapted), bias!));
    },
  },
  {
    name: "a clipped ratio",
    shapes: [
      [4, 3],
      [4, 3],
    ],
    build: (g, [logits, advantage]) => {
      const ratio = g.exp(g.sub(g.logSoftmax(logits!), Math.log(1 / 3)));
      return g.min(g.mul(ratio, advantage!), g.mul(g.clip(ratio, 0.8, 1.2), advantage!));
    },
  },
];
