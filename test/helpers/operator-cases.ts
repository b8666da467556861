/** Graphs of one operator each, with the types that they give or the refusal that they meet: a table for several tests. */
import { Random } from "../../src/base/random.ts";
import { DTYPES, type DType, elementCount, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import type { OpName } from "../../src/graph/ops.ts";
import type { Value } from "../../src/graph/value.ts";
import type { OnnxModel, Shape } from "../../src/onnx/model.ts";

export type Type = readonly [DType, Shape];
export type Build = (g: GraphBuilder, ...x: Value[]) => Value | readonly Value[];

export interface OperatorCases {
  /** Inputs, graph, and the types of its results. */
  readonly good: readonly (readonly [readonly Type[], Build, ...string[]])[];
  /** Inputs, graph, and the message after the node's name. */
  readonly bad: readonly (readonly [readonly Type[], Build, string])[];
}

const f = (...shape: Shape): Type => ["float32", shape];
const b = (...shape: Shape): Type => ["bool", shape];
const i = (...shape: Shape): Type => ["int64", shape];

const unary = (op: OpName): OperatorCases => ({
  good: [
    [[f("rows", 3)], (g, x) => g.apply(op, [x]), "float32 [rows, 3]"],
    [[f()], (g, x) => g.apply(op, [x]), "float32 []"],
  ],
  bad: [[[f(2), f(2)], (g, x, y) => g.apply(op, [x, y]), "expected 1 to 1 inputs, received 2"]],
});

const binary = (op: OpName, result: DType = "float32"): OperatorCases => ({
  good: [
    [[f("rows", 3), f(3)], (g, x, y) => g.apply(op, [x, y]), `${result} [rows, 3]`],
    [[f("agents", 1, 2), f("rows", 1)], (g, x, y) => g.apply(op, [x, y]), `${result} [agents, rows, 2]`],
    [[f(), f(1, "rows")], (g, x, y) => g.apply(op, [x, y]), `${result} [1, rows]`],
    [[f("rows"), f("rows")], (g, x, y) => g.apply(op, [x, y]), `${result} [rows]`],
  ],
  bad: [
    [
      [f(2, 3), f(2)],
      (g, x, y) => g.apply(op, [x, y]),
      "expected shapes that broadcast, received [2, 3] and [2]",
    ],
    [
      [f("rows"), f("agents")],
      (g, x, y) => g.apply(op, [x, y]),
      "expected shapes that broadcast, received [rows] and [agents]",
    ],
    [
      [f("rows"), f(4)],
      (g, x, y) => g.apply(op, [x, y]),
      "expected shapes that broadcast, received [rows] and [4]",
    ],
    [
      [f(2), i(2)],
      (g, x, y) => g.apply(op, [x, y]),
      "expected inputs of one type, float32, received int64 x1",
    ],
    [[f(2)], (g, x) => g.apply(op, [x]), "expected 2 to 2 inputs, received 1"],
  ],
});

const softmax = (op: OpName): OperatorCases => ({
  good: [[[f("rows", 3)], (g, x) => g.apply(op, [x], { axis: -1 }), "float32 [rows, 3]"]],
  bad: [
    [[f(2, 3)], (g, x) => g.apply(op, [x], { axis: 2 }), "expected an axis in [-2, 1], received 2"],
    [[f(2, 3)], (g, x) => g.apply(op, [x], { axes: 1 }), "expected axis, received attribute axes"],
  ],
});

const reduction = (reduce: "reduceMean" | "reduceMax" | "reduceSum"): OperatorCases => ({
  good: [
    [[f("rows", 3, 2)], (g, x) => g[reduce](x, [-1]), "float32 [rows, 3]"],
    [[f("rows", 3, 2)], (g, x) => g[reduce](x, [0, 1], true), "float32 [1, 1, 2]"],
    [[f("rows", 3)], (g, x) => g[reduce](x, [0, 1]), "float32 []"],
  ],
  bad: [[[f(2, 3)], (g, x) => g[reduce](x, [2]), "expected an axis in [-2, 1], received 2"]],
});

export const OPERATOR_CASES = {
  Abs: unary("Abs"),
  Add: binary("Add"),
  And: {
    good: [[[b("rows", 1), b(3)], (g, x, y) => g.and(x, y), "bool [rows, 3]"]],
    bad: [[[f(2), f(2)], (g, x, y) => g.and(x, y), "expected bool inputs, received float32"]],
  },
  ArgMax: {
    good: [
      [[f("rows", 3)], (g, x) => g.argMax(x), "int64 [rows, 1]"],
      [[f("rows", 3)], (g, x) => g.apply("ArgMax", [x], { axis: 1, keepdims: 0 }), "int64 [rows]"],
    ],
    bad: [[[f(2, 3)], (g, x) => g.argMax(x, 2), "expected an axis in [-2, 1], received 2"]],
  },
  Cast: {
    good: [
      [[b("rows")], (g, x) => g.cast(x, "float32"), "float32 [rows]"],
      [[f("rows")], (g, x) => g.cast(x, "int64"), "int64 [rows]"],
      [[f(2)], (g, x) => g.cast(x, "float16"), "float16 [2]"],
    ],
    bad: [[[f(2)], (g, x) => g.apply("Cast", [x], { to: 99 }), "expected a known element type, received 99"]],
  },
  Clip: {
    good: [
      [[f("rows", 3)], (g, x) => g.clip(x, -1, 1), "float32 [rows, 3]"],
      [[f("rows", 3), f()], (g, x, y) => g.clip(x, 0, y), "float32 [rows, 3]"],
    ],
    bad: [
      [[f(2), f(1)], (g, x, y) => g.clip(x, 0, y), "expected scalar bounds, received [1] of x1"],
      [[f(2), i()], (g, x, y) => g.clip(x, 0, y), "expected inputs of one type, float32, received int64 x1"],
    ],
  },
  Concat: {
    good: [
      [[f("rows", 2), f("rows", 3)], (g, x, y) => g.concat([x, y], -1), "float32 [rows, 5]"],
      [[i(2), i(1)], (g, x, y) => g.concat([x, y], 0), "int64 [3]"],
    ],
    bad: [
      [
        [f(2, 2), f(3, 2)],
        (g, x, y) => g.concat([x, y], 1),
        "expected [2, 2] but for axis 1, received [3, 2] of x1",
      ],
      [
        [f("rows", 2), f("rows", 2)],
        (g, x, y) => g.concat([x, y], 0),
        "expected a size known in numbers, received rows",
      ],
      [
        [f(2), i(2)],
        (g, x, y) => g.concat([x, y], 0),
        "expected inputs of one type, float32, received int64 x1",
      ],
    ],
  },
  Div: binary("Div"),
  Equal: binary("Equal", "bool"),
  Exp: unary("Exp"),
  Expand: {
    good: [
      [[f(3)], (g, x) => g.expand(x, [2, 3]), "float32 [2, 3]"],
      [[f(2, 1)], (g, x) => g.expand(x, [4, 2, 3]), "float32 [4, 2, 3]"],
    ],
    bad: [
      [[f(2)], (g, x) => g.expand(x, [3]), "expected shapes that broadcast, received [2] and [3]"],
      [[f(2)], (g, x) => g.expand(x, [1]), "expected x0 to broadcast to [1], received [2]"],
    ],
  },
  Gather: {
    good: [
      [[f(5, 2), ["int64", ["rows"]]], (g, x, y) => g.gather(x, g.mul(y, 0)), "float32 [rows, 2]"],
      [[f("rows", 4, 2)], (g, x) => g.gather(x, g.ints("rows", [0, 3]), 1), "float32 [rows, 2, 2]"],
      [[f(5, 2)], (g, x) => g.gather(x, g.scalar(1, "int64")), "float32 [2]"],
    ],
    bad: [
      [[f(5, 2), f(1)], (g, x, y) => g.gather(x, y), "expected int64 or int32 indices, received float32 x1"],
      [[f(5), i(1)], (g, x, y) => g.gather(x, y, 1), "expected an axis in [-1, 0], received 1"],
    ],
  },
  Greater: binary("Greater", "bool"),
  Identity: unary("Identity"),
  LayerNormalization: {
    good: [
      [
        [f("agents", "rows", 4), f(4), f(4)],
        (g, ...x) => g.applyAll("LayerNormalization", x, { axis: -1, epsilon: 1e-5 }),
        "float32 [agents, rows, 4]",
        "float32 [agents, rows, 1]",
        "float32 [agents, rows, 1]",
      ],
      [
        [f(3, "rows", 4), f(3, 1, 4)],
        (g, ...x) => g.apply("LayerNormalization", x, { axis: 2, epsilon: 1e-5 }),
        "float32 [3, rows, 4]",
      ],
    ],
    bad: [
      [
        [f(2, 4), f(3)],
        (g, ...x) => g.apply("LayerNormalization", x, { axis: -1, epsilon: 1e-5 }),
        "expected shapes that broadcast, received [3] and [2, 4]",
      ],
      [
        [f(2, 4), f(4), f(3, 1, 4)],
        (g, ...x) => g.apply("LayerNormalization", x, { axis: -1, epsilon: 1e-5 }),
        "expected x2 to broadcast to [2, 4], received [3, 1, 4]",
      ],
      [
        [f(2, 4), f(4)],
        (g, ...x) => g.apply("LayerNormalization", x, { axis: 0, epsilon: 1e-5 }),
        "expected the last axis, received axis 0",
      ],
    ],
  },
  Less: binary("Less", "bool"),
  Log: unary("Log"),
  LogSoftmax: softmax("LogSoftmax"),
  MatMul: {
    good: [
      [[f("rows", 3), f(3, 4)], (g, x, y) => g.matMul(x, y), "float32 [rows, 4]"],
      [[f("agents", "rows", 3), f(3, 4)], (g, x, y) => g.matMul(x, y), "float32 [agents, rows, 4]"],
      [[f(2, "rows", 3), f(2, 3, 4)], (g, x, y) => g.matMul(x, y), "float32 [2, rows, 4]"],
      [[f("rows", 3), f(2, 3, 4)], (g, x, y) => g.matMul(x, y), "float32 [2, rows, 4]"],
    ],
    bad: [
      [
        [f(2, 3), f(4, 5)],
        (g, x, y) => g.matMul(x, y),
        "expected x0 and x1 to share the inner size, received [2, 3] and [4, 5]",
      ],
      [[f(3), f(3, 4)], (g, x, y) => g.matMul(x, y), "expected two or more axes, received [3] and [3, 4]"],
      [
        [f(2, 5, 3), f(4, 3, 5)],
        (g, x, y) => g.matMul(x, y),
        "expected shapes that broadcast, received [2] and [4]",
      ],
    ],
  },
  Max: binary("Max"),
  Min: binary("Min"),
  Mul: binary("Mul"),
  Neg: unary("Neg"),
  Not: {
    good: [[[b("rows")], (g, x) => g.not(x), "bool [rows]"]],
    bad: [[[f(2)], (g, x) => g.not(x), "expected bool inputs, received float32"]],
  },
  Pad: {
    good: [[[f("rows", 3)], (g, x) => g.padTo(x, 1, 5), "float32 [rows, 5]"]],
    bad: [
      [[f(2, 3)], (g, x) => g.apply("Pad", [x, g.ints("pads", [0, 1])]), "expected 4 pads, received 2"],
      [
        [f("rows")],
        (g, x) => g.apply("Pad", [x, g.ints("pads", [0, 1])]),
        "expected a size known in numbers, received rows",
      ],
      [[f(2), i(2)], (g, x, y) => g.apply("Pad", [x, y]), "expected constant int64 input 1, received x1"],
    ],
  },
  Reciprocal: unary("Reciprocal"),
  ReduceMax: reduction("reduceMax"),
  ReduceMean: reduction("reduceMean"),
  ReduceSum: reduction("reduceSum"),
  Relu: unary("Relu"),
  Reshape: {
    good: [
      [[f(2, 6)], (g, x) => g.reshape(x, [3, 2, 2]), "float32 [3, 2, 2]"],
      [[f("rows", 6)], (g, x) => g.reshape(x, ["rows", 2, 3]), "float32 [rows, 2, 3]"],
      [[f(2, "rows", 3)], (g, x) => g.reshape(x, ["rows", 6]), "float32 [rows, 6]"],
      [[f("agents", "rows", 4)], (g, x) => g.reshape(x, ["agents", 4, "rows"]), "float32 [agents, 4, rows]"],
      [[f()], (g, x) => g.reshape(x, [1, 1]), "float32 [1, 1]"],
    ],
    bad: [
      [[f(2, 3)], (g, x) => g.reshape(x, [4]), "expected as many elements as [2, 3] of x0, received [4]"],
      [
        [f("rows", 3)],
        (g, x) => g.reshape(x, ["steps", 3]),
        "expected as many elements as [rows, 3] of x0, received [steps, 3]",
      ],
      [
        [f("agents", "rows")],
        (g, x) => g.reshape(x, ["rows", "agents"]),
        "expected at most one named size that moves, received [rows, agents]",
      ],
    ],
  },
  Sigmoid: unary("Sigmoid"),
  Sign: unary("Sign"),
  Slice: {
    good: [
      [[f("rows", 5)], (g, x) => g.slice(x, -1, 1, 3), "float32 [rows, 2]"],
      [[f(5)], (g, x) => g.slice(x, 0, 2, 2), "float32 [0]"],
    ],
    bad: [
      [[f(2, 5)], (g, x) => g.slice(x, 1, 3, 6), "expected a range inside [0, 5], received [3, 6]"],
      [[f(2, 5)], (g, x) => g.slice(x, 1, -1, 2), "expected a range inside [0, 5], received [-1, 2]"],
      [[f(2, 5)], (g, x) => g.slice(x, 1, 3, 2), "expected a range inside [0, 5], received [3, 2]"],
      [[f("rows")], (g, x) => g.slice(x, 0, 0, 1), "expected a size known in numbers, received rows"],
      [
        [f(2, 2)],
        (g, x) => {
          const both = (name: string, number: number) => g.ints(name, [number, number]);
          return g.apply("Slice", [x, both("starts", 0), both("ends", 1), g.ints("axes", [0, 1])]);
        },
        "expected one axis a node, received 2",
      ],
    ],
  },
  Softmax: softmax("Softmax"),
  Softplus: unary("Softplus"),
  Split: {
    good: [
      [[f("rows", 5)], (g, x) => g.split(x, [1, 4], 1), "float32 [rows, 1]", "float32 [rows, 4]"],
      [[f(3, 2)], (g, x) => g.split(x, [1, 1, 1], 0), "float32 [1, 2]", "float32 [1, 2]", "float32 [1, 2]"],
    ],
    bad: [
      [[f(2, 5)], (g, x) => g.split(x, [1, 3], 1), "expected sizes that add up to 5, received 4"],
      [[f("rows", 2)], (g, x) => g.split(x, [1, 1], 0), "expected sizes that add up to rows, received 2"],
    ],
  },
  Sqrt: unary("Sqrt"),
  Squeeze: {
    good: [[[f(1, "rows", 1)], (g, x) => g.squeeze(x, [0, -1]), "float32 [rows]"]],
    bad: [[[f(1, 2)], (g, x) => g.squeeze(x, [1]), "expected size 1 on axis 1, received [1, 2]"]],
  },
  Sub: binary("Sub"),
  Tanh: unary("Tanh"),
  Transpose: {
    good: [
      [[f("agents", "rows", 3)], (g, x) => g.transpose(x, [1, 2, 0]), "float32 [rows, 3, agents]"],
      [[f(2, "rows", 3)], (g, x) => g.transposeLast(x), "float32 [2, 3, rows]"],
    ],
    bad: [
      [[f(2, 3)], (g, x) => g.transpose(x, [1, 1]), "expected an order of 2 axes, received [1, 1]"],
      [[f(2, 3)], (g, x) => g.transpose(x, [1]), "expected an order of 2 axes, received [1]"],
    ],
  },
  Unsqueeze: {
    good: [[[f("rows", 3)], (g, x) => g.unsqueeze(x, [0, -1]), "float32 [1, rows, 3, 1]"]],
    bad: [
      [[f(2)], (g, x) => g.unsqueeze(x, [0, -3]), "expected different axes, received [0, -3]"],
      [[f(2)], (g, x) => g.unsqueeze(x, [2]), "expected an axis in [-2, 1], received 2"],
    ],
  },
  Where: {
    good: [
      [[b("rows", 1), f(3), f()], (g, c, x, y) => g.where(c, x, y), "float32 [rows, 3]"],
      [[b("rows"), i("rows")], (g, c, x) => g.where(c, x, 0), "int64 [rows]"],
    ],
    bad: [
      [[f(2), f(2), f(2)], (g, c, x, y) => g.where(c, x, y), "expected a bool condition, received float32"],
      [
        [b(2), f(2), i(2)],
        (g, c, x, y) => g.where(c, x, y),
        "expected inputs of one type, float32, received int64 x2",
      ],
      [
        [b(2), f(3), f(3)],
        (g, c, x, y) => g.where(c, x, y),
        "expected shapes that broadcast, received [2] and [3]",
      ],
    ],
  },
} as const satisfies Record<OpName, OperatorCases>;

/** Sizes that the names stand for when the graph is run: all different. */
const SIZES: Readonly<Record<string, number>> = { rows: 7, agents: 4, steps: 5 };

export function sized(shape: Shape): number[] {
  return shape.map((size) => (typeof size === "number" ? size : SIZES[size]!));
}

/** The case's graph: inputs `x0`, `x1`, … */
export function startCase(
  types: readonly Type[],
  build: Build,
): { g: GraphBuilder; results: readonly Value[] } {
  const g = new GraphBuilder();
  const x = types.map(([dtype, shape], index) => g.input(`x${index}`, dtype, shape));
  const results = g.scope("layer", () => build(g, ...x));
  return { g, results: Array.isArray(results) ? results : [results as Value] };
}

/** The case's model, outputs `y0`, `y1`, …, and feeds of positive random numbers (bools and integers are 0 or 1). */
export function runnableCase(
  types: readonly Type[],
  build: Build,
): { model: OnnxModel; feeds: Record<string, HostTensor>; results: readonly Value[]; g: GraphBuilder } {
  const { g, results } = startCase(types, build);
  for (const [index, value] of results.entries()) g.output(`y${index}`, value);
  const random = new Random(3);
  const feeds = types.map(
    ([dtype, shape], index) => [`x${index}`, draw(random, dtype, sized(shape))] as const,
  );
  return { model: finishGraph(g, "case"), feeds: Object.fromEntries(feeds), results, g };
}

function draw(random: Random, dtype: DType, dims: readonly number[]): HostTensor {
  const whole = Array.from({ length: elementCount(dims) }, () => random.integer(2));
  if (dtype === "int64") return { dtype, dims, data: BigInt64Array.from(whole, BigInt) };
  const values = dtype === "float32" ? whole.map(() => random.uniformIn(0.1, 2)) : whole;
  return { dtype, dims, data: new DTYPES[dtype].array(values) };
}
