/** Values and nodes: what a graph under construction is made of. */
import { LorasaError } from "../base/errors.ts";
import { type DType, formatDims, type HostTensor, sameDims } from "../base/tensor.ts";
import type { Dim, OnnxAttribute, Shape } from "../onnx/model.ts";
import type { OpName } from "./ops.ts";

/** An edge of the graph: an input, a constant or the output of one node. */
export interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Set for constants only. */
  readonly constant?: HostTensor;
}

export interface Node {
  readonly name: string;
  readonly op: OpName;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** The type and shape of a value before it has a name. */
export interface ValueType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** `float32 [rows, 64]`. */
export function formatType(type: ValueType): string {
  return `${type.dtype} ${formatDims(type.shape)}`;
}

export function graphError(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_GRAPH", { asked, expected, received });
}

/**
 * Numpy's broadcasting over sizes of which some are names: a name meets itself or 1.
 * @throws LORASA_GRAPH when the shapes do not meet.
 */
export function broadcastShapes(a: Shape, b: Shape, asked: string): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - (rank - a.length)] ?? 1;
    const right = b[axis - (rank - b.length)] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw graphError(asked, "shapes that broadcast", `${formatDims(a)} and ${formatDims(b)}`);
  });
}

/** The axis counted from the front. @throws LORASA_GRAPH when out of range. */
export function normaliseAxis(axis: number, rank: number, asked: string): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || positive < 0 || positive >= rank) {
    throw graphError(asked, `an axis in [${-rank}, ${rank - 1}]`, `${axis}`);
  }
  return positive;
}

/** The size as a number. @throws LORASA_GRAPH for a named size. */
export function fixedSize(size: Dim | undefined, asked: string): number {
  if (typeof size !== "number") throw graphError(asked, "a size known in numbers", `${size}`);
  return size;
}

/** Product of fixed sizes. @throws LORASA_GRAPH for a named size. */
export function fixedCount(shape: Shape, asked: string): number {
  return shape.reduce<number>((product, size) => product * fixedSize(size, asked), 1);
}

export { sameDims as sameShape };
