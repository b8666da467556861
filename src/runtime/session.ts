/** What running a graph means, whichever library and device does it. Not how: see `onnxruntime.ts`. */
import type { DType, HostTensor } from "../base/tensor.ts";

/** Where a session's kernels run. */
export const DEVICES = ["cpu", "webgpu", "cuda"] as const;
export type Device = (typeof DEVICES)[number];

/** A tensor that stays in a device's memory between runs; on `cpu` that is host memory. */
export interface ResidentTensor {
  readonly device: Device;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Copies the values to the host. */
  download(): Promise<HostTensor>;
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
  readonly device?: Device;
  /** Threads inside an operator. Default 1. */
  readonly threads?: number;
  /** Decodes the graph first and refuses external data, subgraphs and other operator sets: for files of others. */
  readonly untrusted?: boolean;
  /** Names of outputs that stay on the device. */
  readonly residentOutputs?: readonly string[];
  /** Writes ONNX Runtime's profile of every node to files that start so. */
  readonly profilePrefix?: string;
}

/** A run whose tensors were checked once: `run` reads the inputs' and overwrites the outputs' memory. */
export interface BoundRun {
  run(): void;
}

/** A loaded graph. It owns native memory until `dispose`. */
export interface Session {
  readonly device: Device;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /**
   * Runs synchronously. Every input must be fed, and nothing else.
   * @param fetches outputs to compute (default all); a tensor given for one is filled in place.
   * @throws LORASA_NAME, LORASA_DTYPE or LORASA_SHAPE for feeds that do not fit; LORASA_DISPOSED after `dispose`.
   */
  run(
    feeds: Readonly<Record<string, RunTensor>>,
    fetches?: Readonly<Record<string, HostTensor | null>>,
  ): Record<string, RunTensor>;
  /** Checks the tensors now and keeps them, for many runs over the same memory. */
  bind(feeds: Readonly<Record<string, HostTensor>>, fetches: Readonly<Record<string, HostTensor>>): BoundRun;
  /** Frees the session; a second call does nothing. */
  dispose(): void;
}

/** A library that runs graphs on a device. */
export interface Runtime {
  readonly device: Device;
  createSession(model: Uint8Array, options?: SessionOptions): Session;
  /** Puts a tensor into the device's memory. */
  upload(tensor: HostTensor): ResidentTensor;
}
