/** Our tensors as the native binding takes them, and back. Not memory on a device: see `webgpu-memory.ts`. */
import { Tensor } from "onnxruntime-common";
import { LorasaError } from "../../base/errors.ts";
import { DTYPES, type DType, dtypeOfOnnx, type HostTensor, type TensorData } from "../../base/tensor.ts";
import type { Device, ResidentTensor, RunTensor, TensorInfo } from "../session.ts";
import type { NativeSession } from "./binding.ts";

/** A resident tensor that knows how the binding takes it. */
export interface NativeResident extends ResidentTensor {
  /** @throws LORASA_DISPOSED. */
  native(): Tensor;
  /** @throws LORASA_DISPOSED, as whatever else is done with it. */
  checkOpen(): void;
}

/** @throws LORASA_DEVICE for a tensor of another device: the library would read one's memory as the other's. */
export function toNative(tensor: RunTensor, device: Device): Tensor {
  if ("data" in tensor) return hostToNative(tensor);
  if (isNative(tensor) && tensor.device === device) return tensor.native();
  throw new LorasaError("LORASA_DEVICE", {
    asked: "a resident tensor",
    expected: `one of this runtime on ${device}`,
    received: `one on ${tensor.device}`,
  });
}

export function isNative(tensor: RunTensor): tensor is NativeResident {
  return "native" in tensor;
}

export function hostToNative(tensor: HostTensor): Tensor {
  // onnxruntime-common's constructor overloads want the array type that belongs to the name.
  return new (Tensor as unknown as new (type: string, data: TensorData, dims: readonly number[]) => Tensor)(
    tensor.dtype,
    tensor.data,
    tensor.dims,
  );
}

export function fromNative(tensor: Tensor): HostTensor {
  // Float16 data arrives as Uint16Array (Node 20 has no Float16Array).
  return { dtype: tensor.type as DType, dims: tensor.dims, data: tensor.data as TensorData };
}

/** @throws LORASA_DTYPE for a value that is no tensor of a known type. */
export function tensorInfo(metadata: NativeSession["inputMetadata"][number]): TensorInfo {
  const dtype = dtypeOfOnnx(metadata.type);
  if (!metadata.isTensor || dtype === undefined) {
    throw new LorasaError("LORASA_DTYPE", {
      asked: `graph value ${metadata.name}`,
      expected: `a tensor of ${Object.keys(DTYPES).join(", ")}`,
      received: metadata.isTensor ? `ONNX type ${metadata.type}` : "another kind of value",
    });
  }
  const shape = metadata.shape.map((size, axis) =>
    size >= 0 ? size : metadata.symbolicDimensions[axis] || "?",
  );
  return { name: metadata.name, dtype, shape };
}

export function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  change: (value: A, name: string) => B,
): Record<string, B> {
  const result: Record<string, B> = {};
  for (const name in record) result[name] = change(record[name]!, name);
  return result;
}
