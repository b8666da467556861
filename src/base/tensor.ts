/** Element types, shapes and host tensors that every layer shares; no arithmetic on them. */
import { LorasaError } from "./errors.ts";

/** Element types of graphs and files: bytes an element, the typed array that holds them, and ONNX's number for them. */
export const DTYPES = {
  float32: { bytes: 4, array: Float32Array, onnx: 1 },
  float64: { bytes: 8, array: Float64Array, onnx: 11 },
  int32: { bytes: 4, array: Int32Array, onnx: 6 },
  int64: { bytes: 8, array: BigInt64Array, onnx: 7 },
  bool: { bytes: 1, array: Uint8Array, onnx: 9 },
  uint8: { bytes: 1, array: Uint8Array, onnx: 2 },
  float16: { bytes: 2, array: Uint16Array, onnx: 10 },
} as const;

export type DType = keyof typeof DTYPES;

/** The element type of an ONNX number, if it is one of {@link DTYPES}. */
export function dtypeOfOnnx(number: number): DType | undefined {
  return (Object.keys(DTYPES) as DType[]).find((dtype) => DTYPES[dtype].onnx === number);
}

export type TensorData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

/** Sizes known in numbers. */
export type Dims = readonly number[];

/** A tensor in host memory, row-major: `data.length` is the product of `dims`. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: Dims;
  readonly data: TensorData;
}

/** A float32 host tensor: what almost every tensor here is. */
export interface FloatTensor extends HostTensor {
  readonly dtype: "float32";
  readonly data: Float32Array;
}

/**
 * Product of the sizes; 1 for a scalar.
 * @throws LORASA_SHAPE for a size that is negative or not an integer, or a product above 2^53.
 */
export function elementCount(dims: Dims): number {
  let count = 1;
  for (const size of dims) {
    count *= size;
    if (!Number.isInteger(size) || size < 0 || count > Number.MAX_SAFE_INTEGER) {
      throw new LorasaError("LORASA_SHAPE", {
        asked: "element count",
        expected: "sizes that are whole, not negative and of a product below 2^53",
        received: formatDims(dims),
      });
    }
  }
  return count;
}

/** `[2, 3]`, or `[]` for a scalar. */
export function formatDims(dims: readonly (number | string)[]): string {
  return `[${dims.join(", ")}]`;
}

export function sameDims(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** A float32 tensor over `data` (not copied), or zeros when no data is given. */
export function floatTensor(dims: Dims, data?: Float32Array | readonly number[]): FloatTensor {
  const values =
    data instanceof Float32Array
      ? data
      : data
        ? Float32Array.from(data)
        : new Float32Array(elementCount(dims));
  if (values.length !== elementCount(dims)) {
    throw new LorasaError("LORASA_SHAPE", {
      asked: `tensor ${formatDims(dims)}`,
      expected: `${elementCount(dims)} values`,
      received: `${values.length}`,
    });
  }
  return { dtype: "float32", dims, data: values };
}

/** Index of the first NaN or infinity, or −1. */
export function firstNonFinite(data: ArrayLike<number>): number {
  if (data instanceof Float32Array && isFinite32(data)) return -1;
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i]!)) return i;
  return -1;
}

/**
 * A sum of float32 in double cannot overflow, so it is finite when all of them are: no branch an element, and four
 * sums to wait on.
 */
function isFinite32(data: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const even = data.length & ~3;
  for (let i = 0; i < even; i += 4) {
    a += data[i]!;
    b += data[i + 1]!;
    c += data[i + 2]!;
    d += data[i + 3]!;
  }
  for (let i = even; i < data.length; i++) a += data[i]!;
  return Number.isFinite(a + b + c + d);
}
