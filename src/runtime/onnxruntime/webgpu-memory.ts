/**
 * Tensors in a WebGPU device's memory: made, filled and read back by graphs of one node, since the binding has no
 * other way in. Not what runs on them.
 *
 * A buffer is made by a session whose outputs stay on the device; any other session writes into it when it is given
 * as a fetch. All sessions of a process share one device and one queue, so that runs take effect in the order in
 * which they were called.
 */
import { Tensor } from "onnxruntime-common";
import { LorasaError } from "../../base/errors.ts";
import { DTYPES, type DType, elementCount, formatDims, type HostTensor } from "../../base/tensor.ts";
import { encodeModel } from "../../onnx/encode.ts";
import { checkFirst, checkSame, disposed } from "../check.ts";
import type { ResidentTensor } from "../session.ts";
import { loadGraph, type NativeSession, runGraph } from "./binding.ts";
import { hostZeros } from "./host-memory.ts";
import { fromNative, hostToNative, type NativeResident } from "./tensors.ts";

/** Graphs that move values, one session an element type: `make` keeps its output on the device, `copy` does not. */
interface Movers {
  readonly make: NativeSession;
  readonly copy: NativeSession;
  /** float32 and int32 only: other types have no such kernel everywhere. */
  readonly fill?: NativeSession;
}

const FILLED: readonly DType[] = ["float32", "int32"];

/** The memory of the one device of a process. */
export class WebGpuMemory {
  readonly #movers = new Map<DType, Movers>();
  #bytes = 0;

  /** Bytes of the tensors that are alive. */
  get bytes(): number {
    return this.#bytes;
  }

  upload(tensor: HostTensor): ResidentTensor {
    const { dtype, dims } = tensor;
    const flat = [checkedCount(dtype, dims)];
    const { make } = this.#moversOf(dtype);
    const { y } = runGraph(make, "webgpu", { x: hostToNative({ ...tensor, dims: flat }) }, { y: null });
    return this.#own(y!, dtype, dims);
  }

  allocate(dtype: DType, dims: readonly number[]): ResidentTensor {
    const count = checkedCount(dtype, dims);
    const { fill } = this.#moversOf(dtype);
    if (!fill) return this.upload(hostZeros(dtype, dims));
    const size = new Tensor("int64", BigInt64Array.of(BigInt(count)), [1]);
    const { y } = runGraph(fill, "webgpu", { size }, { y: null });
    return this.#own(y!, dtype, dims);
  }

  #own(buffer: Tensor, dtype: DType, dims: readonly number[]): ResidentTensor {
    const bytes = elementCount(dims) * DTYPES[dtype].bytes;
    this.#bytes += bytes;
    const free = (): void => {
      this.#bytes -= bytes;
      buffer.dispose();
    };
    return new WebGpuResident(view(buffer, dtype, dims), this.#moversOf(dtype).copy, free);
  }

  #moversOf(dtype: DType): Movers {
    const known = this.#movers.get(dtype);
    if (known) return known;
    const identity = mover(dtype, "Identity");
    const movers = {
      make: loadGraph(identity, "webgpu", { keepOutputs: true }),
      copy: loadGraph(identity, "webgpu"),
      ...(FILLED.includes(dtype) && {
        fill: loadGraph(mover(dtype, "Expand"), "webgpu", { keepOutputs: true }),
      }),
    };
    this.#movers.set(dtype, movers);
    return movers;
  }
}

class WebGpuResident implements NativeResident {
  readonly device = "webgpu";
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly #tensor: Tensor;
  readonly #copy: NativeSession;
  /** Absent once disposed of. */
  #free: (() => void) | undefined;
  /** Whose memory it is; absent for an owner. */
  readonly #owner: WebGpuResident | undefined;

  constructor(tensor: Tensor, copy: NativeSession, free: () => void, owner?: WebGpuResident) {
    this.dtype = tensor.type as DType;
    this.dims = tensor.dims;
    this.#tensor = tensor;
    this.#copy = copy;
    this.#free = free;
    this.#owner = owner;
  }

  native(): Tensor {
    this.checkOpen();
    return this.#tensor;
  }

  checkOpen(): void {
    if (this.#free === undefined) throw disposed("a resident tensor");
    this.#owner?.checkOpen();
  }

  download(): HostTensor {
    const { y } = runGraph(this.#copy, "webgpu", { x: this.#flat() }, { y: null });
    return { ...fromNative(y!), dims: this.dims };
  }

  write(tensor: HostTensor): void {
    checkSame(this, tensor);
    const x = hostToNative({ ...tensor, dims: [tensor.data.length] });
    const { y } = runGraph(this.#copy, "webgpu", { x }, { y: this.#flat() });
    // Another handle on the same buffer.
    y!.dispose();
  }

  first(size: number): ResidentTensor {
    checkFirst(this.dims, size);
    const part = view(this.native(), this.dtype, [size, ...this.dims.slice(1)]);
    return new WebGpuResident(part, this.#copy, () => {}, this);
  }

  dispose(): void {
    this.#free?.();
    this.#free = undefined;
  }

  #flat(): Tensor {
    return view(this.native(), this.dtype, [elementCount(this.dims)]);
  }
}

/** The same buffer under other sizes, from its start. */
function view(buffer: Tensor, dtype: DType, dims: readonly number[]): Tensor {
  // onnxruntime-common types the element type by a list that excludes nothing used here.
  return Tensor.fromGpuBuffer(buffer.gpuBuffer, { dataType: dtype as "float32", dims: [...dims] });
}

function checkedCount(dtype: DType, dims: readonly number[]): number {
  const count = elementCount(dims);
  if (count > 0) return count;
  throw new LorasaError("LORASA_SHAPE", {
    asked: `${dtype} ${formatDims(dims)} in a device's memory`,
    expected: "at least one value",
    received: "none",
  });
}

/** `y` [n]: the values of `x` [n], or zeros of the size `size`. */
function mover(dtype: DType, op: "Identity" | "Expand"): Uint8Array {
  const zeros = op === "Expand";
  return encodeModel({
    irVersion: 8,
    opset: 15,
    name: op,
    inputs: [zeros ? { name: "size", dtype: "int64", shape: [1] } : { name: "x", dtype, shape: ["n"] }],
    outputs: [{ name: "y", dtype, shape: ["n"] }],
    initializers: new Map(zeros ? [["zero", hostZeros(dtype, [1])]] : []),
    nodes: [{ name: op, op, inputs: zeros ? ["zero", "size"] : ["x"], outputs: ["y"], attributes: {} }],
    metadata: {},
  });
}
