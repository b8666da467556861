/** Resident tensors where sessions read the host's memory: nothing is copied. */
import type { Tensor } from "onnxruntime-common";
import { DTYPES, type DType, elementCount, type HostTensor } from "../../base/tensor.ts";
import { checkFirst, checkSame, disposed } from "../check.ts";
import type { Device, ResidentTensor } from "../session.ts";
import { hostToNative, type NativeResident } from "./tensors.ts";

export class HostResident implements NativeResident {
  readonly device: Device;
  #tensor: HostTensor | undefined;

  constructor(tensor: HostTensor, device: Device) {
    this.#tensor = tensor;
    this.device = device;
  }

  get dtype(): DType {
    return this.#open().dtype;
  }

  get dims(): readonly number[] {
    return this.#open().dims;
  }

  native(): Tensor {
    return hostToNative(this.#open());
  }

  checkOpen(): void {
    this.#open();
  }

  download(): HostTensor {
    const { dtype, dims, data } = this.#open();
    return { dtype, dims, data: data.slice() };
  }

  write(tensor: HostTensor): void {
    const own = this.#open();
    checkSame(own, tensor);
    // Both have the array of the same element type.
    (own.data as Float32Array).set(tensor.data as Float32Array);
  }

  first(size: number): ResidentTensor {
    const { dtype, dims, data } = this.#open();
    checkFirst(dims, size);
    const part = [size, ...dims.slice(1)];
    return new HostResident({ dtype, dims: part, data: data.subarray(0, elementCount(part)) }, this.device);
  }

  dispose(): void {
    this.#tensor = undefined;
  }

  #open(): HostTensor {
    if (this.#tensor === undefined) throw disposed("a resident tensor");
    return this.#tensor;
  }
}

export function hostZeros(dtype: DType, dims: readonly number[]): HostTensor {
  return { dtype, dims, data: new DTYPES[dtype].array(elementCount(dims)) };
}
