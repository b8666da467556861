/**
 * A model's outputs and gradients from TensorFlow.js's CPU backend: a second opinion on every operator's values and,
 * through its own autodiff, on gradients. The operators are the runtime's; not its sessions, which free what autodiff
 * would still read.
 */
import * as tf from "@tensorflow/tfjs";
import { DTYPES, type DType, type HostTensor, type TensorData } from "../../src/base/tensor.ts";
import type { OpName } from "../../src/graph/ops.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import {
  HOST_INPUTS,
  OPERATORS,
  type Operator,
  TENSOR_TYPES,
} from "../../src/runtime/tensorflow/operators.ts";

// Production mode is what silences the advice to install the native library.
tf.enableProdMode();
await tf.setBackend("cpu");

/** An operator of the graphs that the runtime's table lacks does not compile. */
const TABLE = OPERATORS satisfies Record<OpName, Operator>;

type Feeds = Readonly<Record<string, HostTensor>>;

/**
 * The model's outputs. TensorFlow.js has float32, int32 and bool only: other types are narrowed on the way in.
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
    const atHost = HOST_INPUTS[node.op] ?? [];
    const results = TABLE[node.op as OpName]({
      tf,
      node,
      x: node.inputs.map((name, index) => (atHost.includes(index) ? undefined : values[name])),
      constants: node.inputs.map((name) => model.initializers.get(name)),
    });
    for (const [index, name] of node.outputs.entries()) values[name] = results[index]!;
  }
  return Object.fromEntries(model.outputs.map(({ name }) => [name, values[name]!]));
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
