/** Cutting a tensor into pieces along an axis, as parameters are cut out of one flat tensor at every run. */
import type { Tensor } from "@tensorflow/tfjs";
import type { TensorFlow } from "./operators.ts";

/**
 * Pieces of `sizes` along `axis`, with gradients. TensorFlow.js's own split copies the whole tensor once for each
 * piece, or reads it element by element; where tensors lie in the host's memory it is read once here instead.
 */
export function split(tf: TensorFlow, x: Tensor, sizes: readonly number[], axis: number): Tensor[] {
  if (tf.getBackend() === "tensorflow") return tf.split(x, [...sizes], axis);
  const values = x.dataSync();
  const starts = sizes.map((_, index) => sizes.slice(0, index).reduce((sum, size) => sum + size, 0));
  return sizes.map((size, index) => piece(tf, x, values, { axis, start: starts[index]!, size }));
}

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly size: number;
}

function piece(
  tf: TensorFlow,
  x: Tensor,
  values: Float32Array | Int32Array | Uint8Array,
  range: Range,
): Tensor {
  const shape = x.shape.with(range.axis, range.size);
  const rest = x.shape[range.axis]! - range.start - range.size;
  const pads = x.shape.map((_, k): [number, number] => (k === range.axis ? [range.start, rest] : [0, 0]));
  return tf.customGrad(() => ({
    value: tf.tensor(cut(values, x.shape, range), shape, x.dtype),
    gradFunc: (dy: Tensor) => tf.pad(dy, pads),
  }))(x);
}

/** Rows of all that follows the axis, one for each index before it. */
function cut(
  values: Float32Array | Int32Array | Uint8Array,
  shape: readonly number[],
  { axis, start, size }: Range,
): typeof values {
  const after = shape.slice(axis + 1).reduce((product, extent) => product * extent, 1);
  const [whole, width] = [shape[axis]! * after, size * after];
  const rows = shape.slice(0, axis).reduce((product, extent) => product * extent, 1);
  if (rows === 1) return values.slice(start * after, start * after + width);
  const part = new (values.constructor as Float32ArrayConstructor)(rows * width);
  for (let row = 0; row < rows; row++) {
    const from = row * whole + start * after;
    part.set(values.subarray(from, from + width), row * width);
  }
  return part;
}
