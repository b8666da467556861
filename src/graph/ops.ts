/** The table of operators: attributes, number of inputs and outputs, and shape inference. Gradients have their own. */
import { dtypeOfOnnx } from "../base/tensor.ts";
import type { Shape } from "../onnx/model.ts";
import {
  broadcastShapes,
  fixedSize,
  graphError,
  normaliseAxis,
  sameShape,
  type Value,
  type ValueType,
} from "./value.ts";

type AttributeKind = "int" | "ints" | "float" | "string";

/** What inference sees of a node under construction. */
export interface InferContext {
  readonly op: string;
  readonly inputs: readonly Value[];
  /** Attribute values without their kind. */
  readonly attributes: Readonly<Record<string, number | string | readonly number[]>>;
  /** The shape that the caller asks for, where inputs alone cannot tell a named size (Reshape, Expand). */
  readonly wantedShape?: Shape;
}

export interface OpSpec {
  /** Least and most inputs. */
  readonly inputs: readonly [number, number];
  readonly attributes: Readonly<Record<string, AttributeKind>>;
  readonly infer: (context: InferContext) => readonly ValueType[];
}

/** One entry an operator of `ai.onnx`, as opset 15 has it; LayerNormalization needs 17. */
export const OPS = {
  Abs: unary(),
  Add: binary(),
  And: { inputs: [2, 2], attributes: {}, infer: inferLogical },
  ArgMax: { inputs: [1, 1], attributes: { axis: "int", keepdims: "int" }, infer: inferArgMax },
  Cast: { inputs: [1, 1], attributes: { to: "int" }, infer: inferCast },
  Clip: { inputs: [1, 3], attributes: {}, infer: inferClip },
  Concat: { inputs: [1, Number.MAX_SAFE_INTEGER], attributes: { axis: "int" }, infer: inferConcat },
  Div: binary(),
  Equal: comparison(),
  Exp: unary(),
  Expand: { inputs: [2, 2], attributes: {}, infer: inferExpand },
  Gather: { inputs: [2, 2], attributes: { axis: "int" }, infer: inferGather },
  Greater: comparison(),
  Identity: unary(),
  LayerNormalization: {
    inputs: [2, 3],
    attributes: { axis: "int", epsilon: "float" },
    infer: inferLayerNorm,
  },
  Less: comparison(),
  Log: unary(),
  LogSoftmax: { inputs: [1, 1], attributes: { axis: "int" }, infer: inferSoftmax },
  MatMul: { inputs: [2, 2], attributes: {}, infer: inferMatMul },
  Max: binary(),
  Min: binary(),
  Mul: binary(),
  Neg: unary(),
  Not: { inputs: [1, 1], attributes: {}, infer: inferLogical },
  Pad: { inputs: [2, 3], attributes: { mode: "string" }, infer: inferPad },
  Reciprocal: unary(),
  ReduceMax: { inputs: [1, 1], attributes: { axes: "ints", keepdims: "int" }, infer: inferReduce },
  ReduceMean: { inputs: [1, 1], attributes: { axes: "ints", keepdims: "int" }, infer: inferReduce },
  /** Its axes are an input since opset 13. */
  ReduceSum: { inputs: [2, 2], attributes: { keepdims: "int" }, infer: inferReduceSum },
  Relu: unary(),
  Reshape: { inputs: [2, 2], attributes: {}, infer: inferReshape },
  Sigmoid: unary(),
  Sign: unary(),
  Slice: { inputs: [4, 4], attributes: {}, infer: inferSlice },
  Softmax: { inputs: [1, 1], attributes: { axis: "int" }, infer: inferSoftmax },
  Softplus: unary(),
  Split: { inputs: [2, 2], attributes: { axis: "int" }, infer: inferSplit },
  Sqrt: unary(),
  Squeeze: { inputs: [2, 2], attributes: {}, infer: inferSqueeze },
  Sub: binary(),
  Tanh: unary(),
  Transpose: { inputs: [1, 1], attributes: { perm: "ints" }, infer: inferTranspose },
  Unsqueeze: { inputs: [2, 2], attributes: {}, infer: inferUnsqueeze },
  Where: { inputs: [3, 3], attributes: {}, infer: inferWhere },
} as const satisfies Record<string, OpSpec>;

export type OpName = keyof typeof OPS;

function unary(): OpSpec {
  return { inputs: [1, 1], attributes: {}, infer: sameAsFirst };
}

function binary(): OpSpec {
  return {
    inputs: [2, 2],
    attributes: {},
    infer: (context) => [{ dtype: oneType(context), shape: bothShapes(context) }],
  };
}

function comparison(): OpSpec {
  return {
    inputs: [2, 2],
    attributes: {},
    infer: (context) => {
      oneType(context);
      return [{ dtype: "bool", shape: bothShapes(context) }];
    },
  };
}

function sameAsFirst({ inputs }: InferContext): readonly ValueType[] {
  return [{ dtype: inputs[0]!.dtype, shape: inputs[0]!.shape }];
}

function bothShapes({ op, inputs }: InferContext): Shape {
  return broadcastShapes(inputs[0]!.shape, inputs[1]!.shape, op);
}

/** The element type of inputs that must share one. */
function oneType({ op, inputs }: InferContext, from = 0): Value["dtype"] {
  const { dtype } = inputs[from]!;
  const other = inputs.slice(from).find((input) => input.dtype !== dtype);
  if (other) throw graphError(op, `inputs of one type, ${dtype}`, `${other.dtype} ${other.name}`);
  return dtype;
}

/** Whole numbers of a constant input. */
function constantInts({ op, inputs }: InferContext, index: number): number[] {
  const { constant } = inputs[index]!;
  if (constant?.dtype !== "int64") throw graphError(op, `constant int64 input ${index}`, inputs[index]!.name);
  return Array.from(constant.data as BigInt64Array, Number);
}

function inferLogical(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  if (oneType(context) !== "bool") throw graphError(op, "bool inputs", inputs[0]!.dtype);
  return [
    { dtype: "bool", shape: inputs.reduce<Shape>((all, { shape }) => broadcastShapes(all, shape, op), []) },
  ];
}

function inferClip(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const bound = inputs.slice(1).find(({ shape }) => shape.length > 0);
  if (bound) throw graphError(op, "scalar bounds", `[${bound.shape.join(", ")}] of ${bound.name}`);
  return [{ dtype: oneType(context), shape: inputs[0]!.shape }];
}

function inferSoftmax({ op, inputs, attributes }: InferContext): readonly ValueType[] {
  const { dtype, shape } = inputs[0]!;
  normaliseAxis(attributes["axis"] as number, shape.length, op);
  return [{ dtype, shape }];
}

function inferArgMax({ op, inputs, attributes }: InferContext): readonly ValueType[] {
  const { shape } = inputs[0]!;
  const axis = normaliseAxis(attributes["axis"] as number, shape.length, op);
  const keep = attributes["keepdims"] !== 0;
  return [{ dtype: "int64", shape: keep ? shape.with(axis, 1) : shape.toSpliced(axis, 1) }];
}

function inferCast({ op, inputs, attributes }: InferContext): readonly ValueType[] {
  const dtype = dtypeOfOnnx(attributes["to"] as number);
  if (!dtype) throw graphError(op, "a known element type", `${attributes["to"]}`);
  return [{ dtype, shape: inputs[0]!.shape }];
}

function inferConcat(context: InferContext): readonly ValueType[] {
  const { op, inputs, attributes } = context;
  const first = inputs[0]!.shape;
  const axis = normaliseAxis(attributes["axis"] as number, first.length, op);
  for (const { shape, name } of inputs) {
    if (shape.length !== first.length || shape.some((size, k) => k !== axis && size !== first[k])) {
      throw graphError(op, `[${first.join(", ")}] but for axis ${axis}`, `[${shape.join(", ")}] of ${name}`);
    }
  }
  const total =
    inputs.length === 1
      ? first[axis]!
      : inputs.reduce((sum, { shape }) => sum + fixedSize(shape[axis], op), 0);
  return [{ dtype: oneType(context), shape: first.with(axis, total) }];
}

function inferExpand({ op, inputs, wantedShape }: InferContext): readonly ValueType[] {
  if (!wantedShape) throw graphError(op, "the shape wanted", "none");
  const { dtype, name, shape } = inputs[0]!;
  fitsInto(op, wantedShape, { name, shape });
  return [{ dtype, shape: wantedShape }];
}

/** Checks that a value broadcasts to a shape without widening it. */
function fitsInto(op: string, wanted: Shape, { name, shape }: Pick<Value, "name" | "shape">): void {
  if (!sameShape(broadcastShapes(shape, wanted, op), wanted)) {
    throw graphError(op, `${name} to broadcast to [${wanted.join(", ")}]`, `[${shape.join(", ")}]`);
  }
}

function inferGather({ op, inputs, attributes }: InferContext): readonly ValueType[] {
  const [data, indices] = inputs as readonly [Value, Value];
  const axis = normaliseAxis((attributes["axis"] as number) ?? 0, data.shape.length, op);
  if (indices.dtype !== "int64" && indices.dtype !== "int32")
    throw graphError(op, "int64 or int32 indices", `${indices.dtype} ${indices.name}`);
  return [
    {
      dtype: data.dtype,
      shape: [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)],
    },
  ];
}

/**
 * Normalised values, then mean and inverse standard deviation with the normalised axis kept as 1: float32 whatever
 * the input is, as ONNX's `stash_type` has it.
 */
function inferLayerNorm(context: InferContext): readonly ValueType[] {
  const { op, inputs, attributes } = context;
  const { shape } = inputs[0]!;
  const dtype = oneType(context);
  const axis = normaliseAxis(attributes["axis"] as number, shape.length, op);
  if (axis !== shape.length - 1) throw graphError(op, "the last axis", `axis ${axis}`);
  for (const affine of inputs.slice(1)) fitsInto(op, shape, affine);
  const moments: ValueType = { dtype: "float32", shape: shape.with(axis, 1) };
  return [{ dtype, shape }, moments, moments];
}

function inferMatMul(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const [a, b] = inputs as readonly [Value, Value];
  const received = `[${a.shape.join(", ")}] and [${b.shape.join(", ")}]`;
  if (a.shape.length < 2 || b.shape.length < 2) throw graphError(op, "two or more axes", received);
  if (a.shape.at(-1) !== b.shape.at(-2))
    throw graphError(op, `${a.name} and ${b.name} to share the inner size`, received);
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2), op);
  return [{ dtype: oneType(context), shape: [...batch, a.shape.at(-2)!, b.shape.at(-1)!] }];
}

function inferPad(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const { dtype, shape } = inputs[0]!;
  const pads = constantInts(context, 1);
  if (pads.length !== 2 * shape.length) throw graphError(op, `${2 * shape.length} pads`, `${pads.length}`);
  const padded = shape.map((size, axis) => {
    const added = pads[axis]! + pads[axis + shape.length]!;
    return added === 0 ? size : fixedSize(size, op) + added;
  });
  return [{ dtype, shape: padded }];
}

function inferReduce({ op, inputs, attributes }: InferContext): readonly ValueType[] {
  return [reduced(op, inputs[0]!, attributes["axes"] as readonly number[], attributes["keepdims"] !== 0)];
}

function inferReduceSum(context: InferContext): readonly ValueType[] {
  const { op, inputs, attributes } = context;
  return [reduced(op, inputs[0]!, constantInts(context, 1), attributes["keepdims"] !== 0)];
}

function reduced(op: string, input: Value, axes: readonly number[], keep: boolean): ValueType {
  const over = new Set(axes.map((axis) => normaliseAxis(axis, input.shape.length, op)));
  const shape = input.shape.flatMap((size, axis) => (over.has(axis) ? (keep ? [1] : []) : [size]));
  return { dtype: input.dtype, shape };
}

function inferReshape({ op, inputs, wantedShape }: InferContext): readonly ValueType[] {
  const { dtype, shape } = inputs[0]!;
  if (!wantedShape) throw graphError(op, "the shape wanted", "none");
  const product = (dims: Shape): string => {
    const fixed = dims.reduce<number>((total, size) => (typeof size === "number" ? total * size : total), 1);
    return [fixed, ...dims.filter((size) => typeof size === "string").sort()].join("·");
  };
  if (product(shape) !== product(wantedShape)) {
    throw graphError(
      op,
      `as many elements as [${shape.join(", ")}] of ${inputs[0]!.name}`,
      `[${wantedShape.join(", ")}]`,
    );
  }
  return [{ dtype, shape: wantedShape }];
}

function inferSlice(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const { dtype, shape } = inputs[0]!;
  const [starts, ends, axes] = [1, 2, 3].map((index) => constantInts(context, index)) as [
    number[],
    number[],
    number[],
  ];
  if (axes.length !== 1) throw graphError(op, "one axis a node", `${axes.length}`);
  const axis = normaliseAxis(axes[0]!, shape.length, op);
  const size = fixedSize(shape[axis], op);
  const [start, end] = [starts[0]!, ends[0]!];
  if (start < 0 || end > size || start > end)
    throw graphError(op, `a range inside [0, ${size}]`, `[${start}, ${end}]`);
  return [{ dtype, shape: shape.with(axis, end - start) }];
}

function inferSplit(context: InferContext): readonly ValueType[] {
  const { op, inputs, attributes } = context;
  const { dtype, shape } = inputs[0]!;
  const axis = normaliseAxis(attributes["axis"] as number, shape.length, op);
  const sizes = constantInts(context, 1);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total !== shape[axis]) throw graphError(op, `sizes that add up to ${shape[axis]}`, `${total}`);
  return sizes.map((size) => ({ dtype, shape: shape.with(axis, size) }));
}

function inferSqueeze(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const { dtype, shape } = inputs[0]!;
  const axes = constantInts(context, 1).map((axis) => normaliseAxis(axis, shape.length, op));
  const wide = axes.find((axis) => shape[axis] !== 1);
  if (wide !== undefined) throw graphError(op, `size 1 on axis ${wide}`, `[${shape.join(", ")}]`);
  return [{ dtype, shape: shape.filter((_, axis) => !axes.includes(axis)) }];
}

function inferTranspose({ op, inputs, attributes }: InferContext): readonly ValueType[] {
  const { dtype, shape } = inputs[0]!;
  const perm = attributes["perm"] as readonly number[];
  if (
    !sameShape(
      [...perm].sort((a, b) => a - b),
      shape.map((_, axis) => axis),
    )
  ) {
    throw graphError(op, `an order of ${shape.length} axes`, `[${perm.join(", ")}]`);
  }
  return [{ dtype, shape: perm.map((axis) => shape[axis]!) }];
}

function inferUnsqueeze(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const { dtype, shape } = inputs[0]!;
  const given = constantInts(context, 1);
  const rank = shape.length + given.length;
  const axes = new Set(given.map((axis) => normaliseAxis(axis, rank, op)));
  if (axes.size !== given.length) throw graphError(op, "different axes", `[${given.join(", ")}]`);
  const rest = [...shape];
  return [{ dtype, shape: Array.from({ length: rank }, (_, axis) => (axes.has(axis) ? 1 : rest.shift()!)) }];
}

function inferWhere(context: InferContext): readonly ValueType[] {
  const { op, inputs } = context;
  const [condition, a, b] = inputs as readonly [Value, Value, Value];
  if (condition.dtype !== "bool") throw graphError(op, "a bool condition", condition.dtype);
  return [
    {
      dtype: oneType(context, 1),
      shape: broadcastShapes(condition.shape, broadcastShapes(a.shape, b.shape, op), op),
    },
  ];
}
