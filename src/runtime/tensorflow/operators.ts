/**
 * What every operator of the graphs is in TensorFlow.js: a table of functions of tensors, which its autodiff can follow.
 * Not the order in which nodes run, nor how long their results are kept: see `graph.ts`.
 */
import type { DataType, Tensor } from "@tensorflow/tfjs";
import { type DType, dtypeOfOnnx, type HostTensor } from "../../base/tensor.ts";
import type { OnnxNode } from "../../onnx/model.ts";
import { split } from "./split.ts";

/** The functions of TensorFlow.js, of whichever package they come. */
export type TensorFlow = typeof import("@tensorflow/tfjs");
export type Tensors = readonly Tensor[];

/** What an operator sees of a node. */
export interface Call {
  readonly tf: TensorFlow;
  readonly node: OnnxNode;
  /** By position; nothing for an input that is left out or one of {@link HOST_INPUTS}. */
  readonly x: readonly (Tensor | undefined)[];
  /** By position: the inputs that are constants of the graph. */
  readonly constants: readonly (HostTensor | undefined)[];
}

/** Gives tensors that are objects of their own: an input is never passed on as it is. */
export type Operator = (call: Call) => Tensors;

/** TensorFlow.js has float32, int32 and bool, so halves, doubles and 64-bit integers become the nearest of them. */
export const TENSOR_TYPES = {
  float32: "float32",
  float64: "float32",
  float16: "float32",
  int32: "int32",
  int64: "int32",
  uint8: "int32",
  bool: "bool",
} as const satisfies Record<DType, DataType>;

/** Inputs that say sizes, axes or pads: constants of the graph, read here and never made tensors. */
export const HOST_INPUTS: Readonly<Record<string, readonly number[]>> = {
  Expand: [1],
  Pad: [1, 2],
  ReduceSum: [1],
  Reshape: [1],
  Slice: [1, 2, 3],
  Split: [1],
  Squeeze: [1],
  Unsqueeze: [1],
};

const unary =
  (name: UnaryName): Operator =>
  ({ tf, x }) => [tf[name](x[0]!)];
const binary =
  (name: BinaryName): Operator =>
  ({ tf, x }) => [tf[name](x[0]!, x[1]!)];

/** Of both sizes first: its autodiff does not undo broadcasting. */
const spreadBinary =
  (name: "maximum" | "minimum"): Operator =>
  ({ tf, x: [a, b] }) => [tf[name](broadcast(tf, a!, b!.shape), broadcast(tf, b!, a!.shape))];

/** Without a gradient in TensorFlow.js, which would throw: it is zero. */
const comparison =
  (name: "equal" | "greater" | "less"): Operator =>
  ({ tf, x }) => [flat(tf, (a, b) => tf[name](a!, b!), [x[0]!, x[1]!])];

type UnaryName =
  | "abs"
  | "clone"
  | "exp"
  | "log"
  | "logicalNot"
  | "neg"
  | "reciprocal"
  | "relu"
  | "sigmoid"
  | "sign"
  | "softplus"
  | "sqrt"
  | "tanh";
type BinaryName = "add" | "div" | "logicalAnd" | "mul" | "sub";

export const OPERATORS = {
  Abs: unary("abs"),
  Add: binary("add"),
  And: binary("logicalAnd"),
  ArgMax: argMax,
  Cast: ({ tf, node, x }) => [tf.cast(x[0]!, TENSOR_TYPES[castType(node)])],
  Clip: clip,
  Concat: (call) => [call.tf.concat(call.x as Tensor[], axisOf(call))],
  Div: binary("div"),
  Equal: comparison("equal"),
  Exp: unary("exp"),
  Expand: (call) => [broadcast(call.tf, call.x[0]!, whole(call, 1))],
  Gather: (call) => [gather(call.tf, call.x[0]!, call.x[1]!, axisOf(call, 0))],
  Greater: comparison("greater"),
  Identity: unary("clone"),
  LayerNormalization: layerNormalization,
  Less: comparison("less"),
  Log: unary("log"),
  LogSoftmax: (call) => [logSoftmax(call)],
  MatMul: ({ tf, x }) => [matMul(tf, x[0]!, x[1]!)],
  Max: spreadBinary("maximum"),
  Min: spreadBinary("minimum"),
  Mul: binary("mul"),
  Neg: unary("neg"),
  Not: unary("logicalNot"),
  Pad: pad,
  Reciprocal: unary("reciprocal"),
  ReduceMax: (call) => [call.tf.max(call.x[0]!, ints(call, "axes"), keepsDims(call))],
  ReduceMean: (call) => [call.tf.mean(call.x[0]!, ints(call, "axes"), keepsDims(call))],
  ReduceSum: (call) => [call.tf.sum(call.x[0]!, whole(call, 1), keepsDims(call))],
  Relu: unary("relu"),
  Reshape: reshape,
  Sigmoid: unary("sigmoid"),
  Sign: unary("sign"),
  Slice: slice,
  Softmax: (call) => [call.tf.exp(logSoftmax(call))],
  Softplus: unary("softplus"),
  Split: (call) => split(call.tf, call.x[0]!, whole(call, 1), axisOf(call, 0)),
  Sqrt: unary("sqrt"),
  Squeeze: squeeze,
  Sub: binary("sub"),
  Tanh: unary("tanh"),
  Transpose: (call) => [call.tf.transpose(call.x[0]!, ints(call, "perm"))],
  Unsqueeze: unsqueeze,
  Where: ({ tf, x }) => [tf.where(x[0]!, x[1]!, x[2]!)],
} as const satisfies Record<string, Operator>;

/** What a Cast node makes. */
export function castType(node: OnnxNode): DType {
  return dtypeOfOnnx((node.attributes["to"] as { int: number }).int)!;
}

/** `run` with a gradient of zero. */
function flat(tf: TensorFlow, run: (...x: Tensor[]) => Tensor, inputs: Tensors): Tensor {
  return tf.customGrad((...args) => {
    const x = args.slice(0, inputs.length) as Tensor[];
    return { value: run(...x), gradFunc: () => x.map((input) => tf.zerosLike(input)) };
  })(...inputs);
}

function argMax(call: Call): Tensors {
  const { tf } = call;
  const axis = axisOf(call, 0);
  const index = flat(tf, (x) => tf.argMax(x!, axis), [call.x[0]!]);
  return [keepsDims(call) ? tf.expandDims(index, axis) : index];
}

/** Bounds may be inputs of the graph, so this is not `clipByValue`; at a bound the gradient goes to x, as there. */
function clip({ tf, x }: Call): Tensors {
  const [value, low, high] = x as readonly [Tensor, ...(Tensor | undefined)[]];
  const spread = (bound: Tensor): Tensor => tf.broadcastTo(bound, value.shape);
  const raised = low ? tf.maximum(value, spread(low)) : value;
  return [high ? tf.minimum(raised, spread(high)) : low ? raised : tf.clone(value)];
}

/** Normalised over the last axes, and the moments as ONNX gives them: mean and 1/√(variance + ε). */
function layerNormalization(call: Call): Tensors {
  const { tf } = call;
  const [x, gain, bias] = call.x as readonly [Tensor, Tensor, Tensor | undefined];
  const axes = x.shape.map((_, axis) => axis).slice(axisOf(call, -1));
  const mean = tf.mean(x, axes, true);
  const centred = tf.sub(x, mean);
  const variance = tf.mean(tf.square(centred), axes, true);
  const epsilon = call.node.attributes["epsilon"] as { float: number } | undefined;
  const inverse = tf.rsqrt(tf.add(variance, epsilon?.float ?? 1e-5));
  const scaled = tf.mul(tf.mul(centred, inverse), gain);
  return [bias ? tf.add(scaled, bias) : scaled, mean, inverse];
}

/** The maximum is subtracted inside, so nothing overflows. */
function logSoftmax(call: Call): Tensor {
  const { tf } = call;
  return tf.sub(call.x[0]!, tf.logSumExp(call.x[0]!, axisOf(call, -1), true));
}

/** TensorFlow.js differentiates no product that broadcasts, so both sides get the same leading axes first. */
function matMul(tf: TensorFlow, a: Tensor, b: Tensor): Tensor {
  if (b.rank === 2 && a.rank > 2) {
    const rows = tf.matMul(tf.reshape(a, [sizeBefore(a.shape, -1), a.shape.at(-1)!]), b);
    return tf.reshape(rows, [...a.shape.slice(0, -1), b.shape[1]!]);
  }
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const spread = (x: Tensor): Tensor => tf.broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
  return tf.matMul(spread(a), spread(b));
}

/** Product of the sizes before an axis: a size of −1 cannot be worked out where another is 0. */
function sizeBefore(shape: readonly number[], axis: number): number {
  return shape.slice(0, axis).reduce((product, size) => product * size, 1);
}

/** ONNX's Expand: the sizes asked for meet those that are there. */
function broadcast(tf: TensorFlow, x: Tensor, sizes: readonly number[]): Tensor {
  return tf.broadcastTo(x, tf.broadcast_util.assertAndGetBroadcastShape(x.shape, [...sizes]));
}

function gather(tf: TensorFlow, data: Tensor, indices: Tensor, axis: number): Tensor {
  const rows = tf.gather(data, tf.cast(tf.reshape(indices, [indices.size]), "int32"), axis);
  return tf.reshape(rows, [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)]);
}

function pad(call: Call): Tensors {
  const [x] = call.x as readonly [Tensor];
  const pads = whole(call, 1);
  const pairs = x.shape.map((_, axis): [number, number] => [pads[axis]!, pads[axis + x.rank]!]);
  return [call.tf.pad(x, pairs, Number(call.constants[2]?.data[0] ?? 0))];
}

/** 0 stands for the size that is there, −1 for what is left. */
function reshape(call: Call): Tensors {
  const [x] = call.x as readonly [Tensor];
  const sizes = whole(call, 1).map((size, axis) => (size === 0 ? x.shape[axis]! : size));
  return [call.tf.reshape(x, sizes)];
}

function slice(call: Call): Tensors {
  const [x] = call.x as readonly [Tensor];
  const [starts, ends, axes] = [whole(call, 1), whole(call, 2), whole(call, 3)];
  const begin = x.shape.map(() => 0);
  const size = [...x.shape];
  for (const [k, given] of axes.entries()) {
    const axis = front(given, x.rank);
    const inside = (position: number): number =>
      Math.min(Math.max(position < 0 ? position + x.shape[axis]! : position, 0), x.shape[axis]!);
    begin[axis] = inside(starts[k]!);
    size[axis] = Math.max(inside(ends[k]!) - begin[axis], 0);
  }
  return [call.tf.slice(x, begin, size)];
}

function squeeze(call: Call): Tensors {
  const [x] = call.x as readonly [Tensor];
  const axes = whole(call, 1).map((axis) => front(axis, x.rank));
  return [
    call.tf.reshape(
      x,
      x.shape.filter((_, axis) => !axes.includes(axis)),
    ),
  ];
}

function unsqueeze(call: Call): Tensors {
  const [x] = call.x as readonly [Tensor];
  const given = whole(call, 1);
  const shape = [...x.shape];
  for (const axis of given.map((axis) => front(axis, x.rank + given.length)).sort((a, b) => a - b))
    shape.splice(axis, 0, 1);
  return [call.tf.reshape(x, shape)];
}

/** @param otherwise ONNX's axis for a node that names none. */
function axisOf(call: Call, otherwise?: number): number {
  return front(int(call, "axis", otherwise), call.x[0]!.rank);
}

function keepsDims(call: Call): boolean {
  return int(call, "keepdims", 1) === 1;
}

function front(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

function int({ node }: Call, name: string, otherwise = 0): number {
  return (node.attributes[name] as { int: number } | undefined)?.int ?? otherwise;
}

function ints({ node }: Call, name: string): number[] {
  return [...(node.attributes[name] as { ints: readonly number[] }).ints];
}

/** Whole numbers of one of {@link HOST_INPUTS}. */
function whole({ constants }: Call, index: number): number[] {
  return Array.from(constants[index]!.data, Number);
}
