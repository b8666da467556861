/** Host tensors as TensorFlow.js's and back. Not tensors that stay: see `resident.ts`. */
import type { Tensor } from "@tensorflow/tfjs";
import { LorasaError } from "../../base/errors.ts";
import { DTYPES, type DType, type HostTensor, type TensorData } from "../../base/tensor.ts";
import { TENSOR_TYPES, type TensorFlow } from "./operators.ts";

/** What graphs may hold here: TensorFlow.js has these, and runs int64 as int32. */
const KNOWN_TYPES: readonly DType[] = ["float32", "int32", "int64", "bool"];

/** @throws LORASA_DTYPE for a type that TensorFlow.js would silently make another. */
export function checkType(dtype: DType, asked: string): void {
  if (KNOWN_TYPES.includes(dtype)) return;
  throw new LorasaError("LORASA_DTYPE", {
    asked: `backend tensorflow, ${asked}`,
    expected: KNOWN_TYPES.join(", "),
    received: dtype,
    mend: "choose --backend onnxruntime",
  });
}

/**
 * A copy of the values: backends may keep the array that they are given.
 * @throws LORASA_RANGE for 64-bit integers that int32 does not hold.
 */
export function toTensor(tf: TensorFlow, { dtype, dims, data }: HostTensor): Tensor {
  const values = dtype === "int64" ? narrowed(data as BigInt64Array) : (data as Float32Array).slice();
  return tf.tensor(values, [...dims], TENSOR_TYPES[dtype]);
}

/** The values as a host tensor of their own, or written into the memory of `into`. */
export function toHost(tensor: Tensor, dtype: DType, into?: HostTensor): HostTensor {
  const values = tensor.dataSync();
  const host = into ?? { dtype, dims: [...tensor.shape], data: new DTYPES[dtype].array(values.length) };
  if (dtype === "int64") {
    for (let i = 0; i < values.length; i++) host.data[i] = BigInt(values[i]!);
  } else (host.data as Exclude<TensorData, BigInt64Array>).set(values as Float32Array);
  return host;
}

function narrowed(values: BigInt64Array): Int32Array {
  const result = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    result[i] = Number(values[i]!);
    if (BigInt(result[i]!) !== values[i]) throw tooWide(values[i]!);
  }
  return result;
}

function tooWide(value: bigint): LorasaError {
  return new LorasaError("LORASA_RANGE", {
    asked: "an int64 value on backend tensorflow",
    expected: "one that fits 32 bits",
    received: `${value}`,
  });
}
