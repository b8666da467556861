/** What running a graph means, whichever library and device does it. Not how: see `onnxruntime.ts`. */
import type { DType, HostTensor } from "../base/tensor.ts";

/** The library that runs graphs. */
export const BACKENDS = ["onnxruntime", "tensorflow"] as const;
export type Backend = (typeof BACKENDS)[number];

/** Where a session's kernels run. */
export const DEVICES = ["cpu", "webgpu", "cuda"] as const;
export type Device = (typeof DEVICES)[number];

/**
 * A tensor that stays in a device's memory between runs; on `cpu` and `cuda` that is host memory. Fed to a run, nothing
 * is copied up; given as a fetch, the run overwrites it where it lies. Runs take effect in the order in which they
 * were called.
 */
export interface ResidentTensor {
  readonly device: Device;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Copies the values to the host, once every run so far is done. */
  download(): HostTensor;
  /** Overwrites all values: `tensor` has the same type and sizes. */
  write(tensor: HostTensor): void;
  /** The first `size` entries of the first axis: the same memory, which stays the owner's to dispose of. */
  first(size: number): ResidentTensor;
  /** Frees the device's memory; a second call does nothing. */
  dispose(): void;
}

export type RunTensor = HostTensor | ResidentTensor;

/** An input or output: sizes that are not fixed are names. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly (number | string)[];
}

export interface SessionOptions {
  /** Threads inside an operator. Default 1. */
  readonly threads?: number;
  /** Decodes the graph first and refuses external data, subgraphs and other operator sets: for files of others. */
  readonly untrusted?: boolean;
  /**
   * Whether large constants lie in the device's memory once for all sessions that hold the same, instead of in each.
   * On `cpu` and `cuda`, where sessions lay them out anew for their kernels, this changes nothing.
   */
  readonly shareWeights?: boolean;
  /** Writes ONNX Runtime's profile of every node to files that start so. */
  readonly profilePrefix?: string;
}

/** A run whose tensors were checked once: `run` reads the inputs' and overwrites the outputs' memory. */
export interface BoundRun {
  run(): void;
}

/** A constant in a device's memory that several sessions read. */
export interface SharedWeight {
  /** Of type, sizes and values. */
  readonly sha256: string;
  readonly bytes: number;
}

/** A loaded graph. It owns native memory until `dispose`. */
export interface Session {
  readonly device: Device;
  /** Nodes that the device has no kernel for and the CPU runs, as `operator name`; none on `cpu`. */
  readonly cpuNodes: readonly string[];
  /** Large constants that are shared, by what they hold; none where each session keeps its own. */
  readonly sharedWeights: readonly SharedWeight[];
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /**
   * Runs synchronously. Every input must be fed, and nothing else.
   * @param fetches outputs to compute (default all); a tensor given for one is filled in place.
   * @throws LORASA_NAME, LORASA_DTYPE or LORASA_SHAPE for feeds that do not fit; LORASA_DISPOSED after `dispose`.
   */
  run(
    feeds: Readonly<Record<string, RunTensor>>,
    fetches?: Readonly<Record<string, RunTensor | null>>,
  ): Record<string, RunTensor>;
  /** Checks the tensors now and keeps them, for many runs over the same memory. Fetches may be some of the outputs. */
  bind(feeds: Readonly<Record<string, RunTensor>>, fetches: Readonly<Record<string, RunTensor>>): BoundRun;
  /** Frees the session; a second call does nothing. */
  dispose(): void;
}

/** A library that runs graphs on a device. */
export interface Runtime {
  readonly backend: Backend;
  readonly device: Device;
  /** What resident tensors and shared weights take of a device's own memory; 0 where they lie in the host's. */
  readonly residentBytes: number;
  createSession(model: Uint8Array, options?: SessionOptions): Session;
  /** Puts a tensor into the device's memory. ONNX Runtime on `cpu` and `cuda` keeps the host's memory, not a copy. */
  upload(tensor: HostTensor): ResidentTensor;
  /** A tensor of zeros in the device's memory. */
  allocate(dtype: DType, dims: readonly number[]): ResidentTensor;
}
