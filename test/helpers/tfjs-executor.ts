/**
 * Interprets a model's nodes with TensorFlow.js on its CPU backend: a second opinion on every operator's values and,
 * through its own autodiff, on gradients. Not a fast executor.
 */
import * as tf from "@tensorflow/tfjs";
import { DTYPES, type DType, type HostTensor, type TensorData } from "../../src/base/tensor.ts";
import { OPS, type OpName } from "../../src/graph/ops.ts";
import type { OnnxModel, OnnxNode } from "../../src/onnx/model.ts";

// Production mode is what silences the advice to install the native library.
tf.enableProdMode();
await tf.setBackend("cpu");

type Tensors = readonly tf.Tensor[];
type Feeds = Readonly<Record<string, HostTensor>>;

/** What an operator sees: its node, its inputs, and the values of those that are constants. */
interface Call {
  readonly node: OnnxNode;
  readonly x: Tensors;
  readonly constants: readonly (HostTensor | undefined)[];
}

/**
 * The model's outputs. TensorFlow.js has float32, int32 and bool only: 64-bit integers are narrowed on the way in.
 */
export function runTfjs(model: OnnxModel, feeds: Feeds): Record<string, HostTensor> {
  const tensors = tf.tidy(() => interpret(model, mapValues(feeds, toTensor)));
  const results: Record<string, HostTensor> = {};
  for (const { name, dtype } of model.outputs) results[name] = toHost(tensors[name]!, dtype);
  tf.dispose(tensors);
  return results;
}

/**
 * Gradients of the output `lossName`, a scalar, with respect to float32 inputs, by TensorFlow.js's autodiff.
 * @throws Error where no path leads from an input to the loss.
 */
export function tfjsGradients(
  model: OnnxModel,
  lossName: string,
  targets: readonly string[],
  feeds: Feeds,
): Record<string, HostTensor> {
  const tensors = mapValues(feeds, toTensor);
  const loss = (...values: tf.Tensor[]): tf.Tensor => {
    const replaced = Object.fromEntries(targets.map((name, index) => [name, values[index]!]));
    return interpret(model, { ...tensors, ...replaced })[lossName]!;
  };
  const gradients = tf.tidy(() => tf.grads(loss)(targets.map((name) => tensors[name]!)));
  const results = targets.map((name, index) => [name, toHost(gradients[index]!, "float32")] as const);
  tf.dispose([tensors, gradients]);
  return Object.fromEntries(results);
}

function interpret(model: OnnxModel, feeds: Record<string, tf.Tensor>): Record<string, tf.Tensor> {
  const values: Record<string, tf.Tensor> = { ...feeds };
  for (const [name, tensor] of model.initializers) values[name] = toTensor(tensor);
  for (const node of model.nodes) {
    if (!Object.hasOwn(OPS, node.op)) throw new Error(`operator ${node.op} is not in the table`);
    const run: (call: Call) => Tensors = EXECUTORS[node.op as OpName];
    const given = node.inputs.filter((name) => name !== "");
    const results = run({
      node,
      x: given.map((name) => values[name]!),
      constants: given.map((name) => model.initializers.get(name)),
    });
    for (const [index, name] of node.outputs.entries()) values[name] = results[index]!;
  }
  return Object.fromEntries(model.outputs.map(({ name }) => [name, values[name]!]));
}

const unary =
  (run: (x: tf.Tensor) => tf.Tensor) =>
  ({ x }: Call): Tensors => [run(x[0]!)];
const binary =
  (run: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) =>
  ({ x }: Call): Tensors => [run(x[0]!, x[1]!)];

/** For operators whose autodiff does not undo broadcasting. */
const spreadBinary = (run: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): ((call: Call) => Tensors) =>
  binary((a, b) => run(broadcast(a, b.shape), broadcast(b, a.shape)));

const EXECUTORS = {
  Abs: unary(tf.abs),
  Add: binary(tf.add),
  And: binary(tf.logicalAnd),
  ArgMax: (call) => {
    const axis = axisOf(call);
    const index = flat((x) => tf.argMax(x, axis), call.x[0]!);
    return [int(call, "keepdims", 1) === 1 ? tf.expandDims(index, axis) : index];
  },
  Cast: (call) => [tf.cast(call.x[0]!, TENSOR_TYPES[castType(int(call, "to", 1))])],
  // Bounds may be inputs of the graph, so not `clipByValue`; at a bound the gradient goes to x, as there.
  Clip: ({ x }) => {
    const spread = (bound: tf.Tensor): tf.Tensor => tf.broadcastTo(bound, x[0]!.shape);
    const raised = x[1] ? tf.maximum(x[0]!, spread(x[1])) : x[0]!;
    return [x[2] ? tf.minimum(raised, spread(x[2])) : raised];
  },
  Concat: (call) => [tf.concat([...call.x], axisOf(call))],
  Div: binary(tf.div),
  Equal: binary((a, b) => flat(tf.equal, a, b)),
  Exp: unary(tf.exp),
  Expand: (call) => [broadcast(call.x[0]!, whole(call, 1))],
  Gather: (call) => [gather(call.x[0]!, call.x[1]!, axisOf(call, 0))],
  Greater: binary((a, b) => flat(tf.greater, a, b)),
  Identity: unary(tf.clone),
  LayerNormalization: layerNormalization,
  Less: binary((a, b) => flat(tf.less, a, b)),
  Log: unary(tf.log),
  LogSoftmax: (call) => [tf.sub(call.x[0]!, tf.logSumExp(call.x[0]!, axisOf(call), true))],
  MatMul: binary(matMul),
  Max: spreadBinary(tf.maximum),
  Min: spreadBinary(tf.minimum),
  Mul: binary(tf.mul),
  Neg: unary(tf.neg),
  Not: unary(tf.logicalNot),
  Pad: (call) => {
    const pads = whole(call, 1);
    const rank = call.x[0]!.rank;
    const pairs = Array.from({ length: rank }, (_, k): [number, number] => [pads[k]!, pads[k + rank]!]);
    return [tf.pad(call.x[0]!, pairs, Number(call.constants[2]?.data[0] ?? 0))];
  },
  Reciprocal: unary(tf.reciprocal),
  ReduceMax: (call) => [tf.max(call.x[0]!, ints(call, "axes"), int(call, "keepdims", 1) === 1)],
  ReduceMean: (call) => [tf.mean(call.x[0]!, ints(call, "axes"), int(call, "keepdims", 1) === 1)],
  ReduceSum: (call) => [tf.sum(call.x[0]!, whole(call, 1), int(call, "keepdims", 1) === 1)],
  Relu: unary(tf.relu),
  Reshape: (call) => [
    tf.reshape(
      call.x[0]!,
      whole(call, 1).map((size, axis) => (size === 0 ? call.x[0]!.shape[axis]! : size)),
    ),
  ],
  Sigmoid: unary(tf.sigmoid),
  Sign: unary(tf.sign),
  Slice: (call) => {
    const x = call.x[0]!;
    const [start, end, axis] = [1, 2, 3].map((index) => whole(call, index)[0]!) as [number, number, number];
    const begin = x.shape.map((_, k) => (k === axis ? start : 0));
    return [
      tf.slice(
        x,
        begin,
        x.shape.map((size, k) => (k === axis ? end - start : size)),
      ),
    ];
  },
  Softmax: (call) => {
    const x = call.x[0]!;
    return [tf.exp(tf.sub(x, tf.logSumExp(x, axisOf(call), true)))];
  },
  Softplus: unary(tf.softplus),
  Split: (call) => tf.split(call.x[0]!, whole(call, 1), axisOf(call)),
  Sqrt: unary(tf.sqrt),
  Squeeze: (call) => [
    tf.squeeze(
      call.x[0]!,
      whole(call, 1).map((axis) => front(axis, call.x[0]!.rank)),
    ),
  ],
  Sub: binary(tf.sub),
  Tanh: unary(tf.tanh),
  Transpose: (call) => [tf.transpose(call.x[0]!, ints(call, "perm"))],
  Unsqueeze: (call) => {
    const rank = call.x[0]!.rank + whole(call, 1).length;
    const axes = whole(call, 1).map((axis) => front(axis, rank));
    return [axes.sort((a, b) => a - b).reduce((x, axis) => tf.expandDims(x, axis), call.x[0]!)];
  },
  Where: ({ x }) => [tf.where(x[0]!, x[1]!, x[2]!)],
} as const satisfies Record<OpName, (call: Call) => Tensors>;

/** An operator with a gradient of zero, where TensorFlow.js has none and would throw. */
function flat(run: (...x: tf.Tensor[]) => tf.Tensor, ...inputs: tf.Tensor[]): tf.Tensor {
  return tf.customGrad((...args) => {
    const x = args.slice(0, inputs.length) as tf.Tensor[];
    return { value: run(...x), gradFunc: () => x.map((input) => tf.zerosLike(input)) };
  })(...inputs);
}

/** Normalised over the last axes, and the moments as ONNX gives them: mean and 1/√(variance + ε). */
function layerNormalization(call: Call): Tensors {
  const [x, gain, bias] = call.x as readonly [tf.Tensor, tf.Tensor, tf.Tensor | undefined];
  const first = axisOf(call);
  const axes = x.shape.map((_, axis) => axis).slice(first);
  const { mean, variance } = tf.moments(x, axes, true);
  const epsilon = call.node.attributes["epsilon"] as { float: number } | undefined;
  const inverse = tf.rsqrt(tf.add(variance, epsilon?.float ?? 1e-5));
  const scaled = tf.mul(tf.mul(tf.sub(x, mean), inverse), gain);
  return [bias ? tf.add(scaled, bias) : scaled, mean, inverse];
}

/** TensorFlow.js differentiates no product that broadcasts, so both sides get the same leading axes first. */
function matMul(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  if (b.rank === 2 && a.rank > 2) {
    const rows = tf.matMul(tf.reshape(a, [-1, a.shape.at(-1)!]), b);
    return tf.reshape(rows, [...a.shape.slice(0, -1), b.shape[1]!]);
  }
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const spread = (x: tf.Tensor): tf.Tensor => tf.broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
  return tf.matMul(spread(a), spread(b));
}

/** ONNX's Expand: the sizes asked for meet those that are there. */
function broadcast(x: tf.Tensor, sizes: readonly number[]): tf.Tensor {
  return tf.broadcastTo(x, tf.broadcast_util.assertAndGetBroadcastShape(x.shape, [...sizes]));
}

function gather(data: tf.Tensor, indices: tf.Tensor, axis: number): tf.Tensor {
  const rows = tf.gather(data, tf.cast(tf.reshape(indices, [-1]), "int32"), axis);
  return tf.reshape(rows, [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)]);
}

function axisOf(call: Call, otherwise = -1): number {
  return front(int(call, "axis", otherwise), call.x[0]!.rank);
}

function front(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

function int({ node }: Call, name: string, otherwise: number): number {
  return (node.attributes[name] as { int: number } | undefined)?.int ?? otherwise;
}

function ints({ node }: Call, name: string): number[] {
  return [...(node.attributes[name] as { ints: readonly number[] }).ints];
}

/** Whole numbers of a constant input. */
function whole({ node, constants }: Call, index: number): number[] {
  const constant = constants[index];
  if (!constant) throw new Error(`${node.name}: input ${index} is not a constant`);
  return Array.from(constant.data, Number);
}

const TENSOR_TYPES = {
  float32: "float32",
  float64: "float32",
  float16: "float32",
  int32: "int32",
  int64: "int32",
  uint8: "int32",
  bool: "bool",
} as const satisfies Record<DType, tf.DataType>;

function castType(number: number): DType {
  return ({ 1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64" } as const)[number] ?? "float16";
}

function toTensor({ dtype, dims, data }: HostTensor): tf.Tensor {
  return tf.tensor(Array.from(data, Number), [...dims], TENSOR_TYPES[dtype]);
}

function toHost(tensor: tf.Tensor, dtype: DType): HostTensor {
  const values = tensor.dataSync();
  const data: TensorData =
    dtype === "int64" ? BigInt64Array.from(values, BigInt) : new DTYPES[dtype].array(values as never);
  return { dtype, dims: tensor.shape, data };
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
