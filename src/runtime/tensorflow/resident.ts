/**
 * Tensors that stay in TensorFlow.js between runs. Its tensors never change: new values are a new tensor in the place
 * of the old one.
 */
import type { Tensor } from "@tensorflow/tfjs";
import { DTYPES, type DType, type HostTensor } from "../../base/tensor.ts";
import { checkFirst, checkSame, disposed } from "../check.ts";
import type { Device, ResidentTensor } from "../session.ts";
import { TENSOR_TYPES, type TensorFlow } from "./operators.ts";
import { checkType, toHost, toTensor } from "./tensors.ts";

/** The resident tensors of a runtime. */
export class TensorflowMemory {
  readonly tf: TensorFlow;
  readonly device: Device;
  /** Of the tensors that are alive. */
  bytes = 0;

  constructor(tf: TensorFlow, device: Device) {
    this.tf = tf;
    this.device = device;
  }

  /** @throws LORASA_DTYPE, LORASA_RANGE for values that TensorFlow.js does not hold. */
  upload(tensor: HostTensor): ResidentTensor {
    checkType(tensor.dtype, "a resident tensor");
    return this.#keep(toTensor(this.tf, tensor), tensor.dtype);
  }

  allocate(dtype: DType, dims: readonly number[]): ResidentTensor {
    checkType(dtype, "a resident tensor");
    return this.#keep(this.tf.zeros([...dims], TENSOR_TYPES[dtype]), dtype);
  }

  #keep(tensor: Tensor, dtype: DType): ResidentTensor {
    const bytes = tensor.size * DTYPES[TENSOR_TYPES[dtype]].bytes;
    this.bytes += bytes;
    const slot: Slot = { memory: this, tensor, bytes };
    return new TensorflowResident(slot, dtype, tensor.shape);
  }
}

/** Where an owner's tensor lies. */
interface Slot {
  readonly memory: TensorflowMemory;
  readonly bytes: number;
  /** Absent once disposed of. */
  tensor: Tensor | undefined;
}

/** An owner, or the first entries of one. */
export class TensorflowResident implements ResidentTensor {
  readonly device: Device;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly #slot: Slot;
  readonly #owner: boolean;
  #open = true;

  constructor(slot: Slot, dtype: DType, dims: readonly number[], owner = true) {
    this.device = slot.memory.device;
    this.dtype = dtype;
    this.dims = dims;
    this.#slot = slot;
    this.#owner = owner;
  }

  /** @throws LORASA_DISPOSED. */
  requireOpen(): void {
    this.#whole();
  }

  /** A tensor for one run; the caller disposes of it. @throws LORASA_DISPOSED. */
  read(): Tensor {
    const { tf } = this.#slot.memory;
    return this.#owner ? tf.clone(this.#whole()) : tf.slice(this.#whole(), 0, this.dims[0]!);
  }

  /** Puts a tensor of the same type and sizes in place and takes it over. @throws LORASA_DISPOSED. */
  replace(tensor: Tensor): void {
    const { tf } = this.#slot.memory;
    const whole = this.#whole();
    if (this.#owner) this.#slot.tensor = tensor;
    else {
      this.#slot.tensor = tf.tidy(() => tf.concat([tensor, tf.slice(whole, this.dims[0]!)], 0));
      tensor.dispose();
    }
    whole.dispose();
  }

  download(): HostTensor {
    const tensor = this.read();
    const host = toHost(tensor, this.dtype);
    tensor.dispose();
    return host;
  }

  write(tensor: HostTensor): void {
    this.#whole();
    checkSame(this, tensor);
    this.replace(toTensor(this.#slot.memory.tf, tensor));
  }

  first(size: number): ResidentTensor {
    this.#whole();
    checkFirst(this.dims, size);
    return new TensorflowResident(this.#slot, this.dtype, [size, ...this.dims.slice(1)], false);
  }

  dispose(): void {
    this.#open = false;
    if (!this.#owner || !this.#slot.tensor) return;
    this.#slot.tensor.dispose();
    this.#slot.tensor = undefined;
    this.#slot.memory.bytes -= this.#slot.bytes;
  }

  /** The owner's tensor. */
  #whole(): Tensor {
    if (!this.#open || !this.#slot.tensor) throw disposed("a resident tensor");
    return this.#slot.tensor;
  }
}
