/**
 * ONNX Runtime behind one file: the only importer of onnxruntime-node.
 *
 * It runs through the package's native binding, whose `run` is synchronous: the public API only wraps the same
 * call in a `setImmediate` each, which costs a turn of the event loop and forbids stepping simulators in lockstep.
 * The package's version is pinned for that reason.
 */
import { createRequire } from "node:module";
import { type Env, Tensor } from "onnxruntime-common";
import { LorasaError } from "../base/errors.ts";
import { DTYPES, type DType, dtypeOfOnnx, type HostTensor, type TensorData } from "../base/tensor.ts";
import { decodeModel } from "../onnx/decode.ts";
import { encodeModel } from "../onnx/encode.ts";
import { checkFeeds, checkFetches } from "./check.ts";
import {
  type BoundRun,
  DEVICES,
  type Device,
  type ResidentTensor,
  type RunTensor,
  type Runtime,
  type Session,
  type SessionOptions,
  type TensorInfo,
} from "./session.ts";

interface NativeMetadata {
  readonly name: string;
  readonly isTensor: boolean;
  readonly symbolicDimensions: readonly string[];
  readonly shape: readonly number[];
  readonly type: number;
}

type NativeTensors = Record<string, Tensor | null>;

interface NativeSession {
  loadModel(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, options: object): void;
  readonly inputMetadata: readonly NativeMetadata[];
  readonly outputMetadata: readonly NativeMetadata[];
  run(feeds: NativeTensors, fetches: NativeTensors, options: object): Record<string, Tensor>;
  dispose(): void;
}

interface NativeBinding {
  readonly binding: { readonly InferenceSession: new () => NativeSession };
  initOrt(): void;
}

const ISSUES: Readonly<Record<Exclude<Device, "cpu">, string>> = {
  webgpu: "install a Vulkan, Metal or Direct3D 12 driver, or choose --device cpu",
  cuda: "install ONNX Runtime's CUDA files for Node, or choose --device cpu",
};

let native: NativeBinding | undefined;

/** Loads the native library on first use, so that commands that run no graph start quickly. */
function loadNative(): NativeBinding {
  if (native) return native;
  const require = createRequire(import.meta.url);
  // The binding has no types of its own under this path; it reads the settings of the CommonJS copy of the package.
  native = require("onnxruntime-node/dist/binding.js") as NativeBinding;
  const { env } = require("onnxruntime-common") as { env: Env };
  // What it would log as an error is thrown as one too.
  env.logLevel = "fatal";
  native.initOrt();
  return native;
}

/**
 * A runtime on the device. Sessions of one device share nothing but the library's thread pools.
 * @throws LORASA_DEVICE for a device of another name; whether it is there shows when a session is created.
 */
export function createRuntime(device: Device = "cpu"): Runtime {
  if (!DEVICES.includes(device)) {
    throw new LorasaError("LORASA_DEVICE", {
      asked: "creating a runtime",
      expected: `a device of ${DEVICES.join(", ")}`,
      received: `${device}`,
    });
  }
  return {
    device,
    createSession: (model, options = {}) => new OnnxSession(model, { ...options, device }),
    upload(tensor) {
      if (device === "cpu") return new HostResident(tensor);
      throw new LorasaError("LORASA_DEVICE", {
        asked: `a tensor that stays on ${device}`,
        expected: "device cpu",
        received: device,
        mend: "choose --device cpu",
      });
    },
  };
}

class OnnxSession implements Session {
  readonly device: Device;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  #session: NativeSession | undefined;
  readonly #allFetches: NativeTensors;

  constructor(model: Uint8Array, options: SessionOptions) {
    this.device = options.device ?? "cpu";
    this.#session = loadSession(model, options);
    this.inputs = this.#session.inputMetadata.map(tensorInfo);
    this.outputs = this.#session.outputMetadata.map(tensorInfo);
    this.#allFetches = Object.fromEntries(this.outputs.map(({ name }) => [name, null]));
  }

  run(
    feeds: Readonly<Record<string, RunTensor>>,
    fetches?: Readonly<Record<string, HostTensor | null>>,
  ): Record<string, RunTensor> {
    const session = this.#open();
    const sizes = checkFeeds(this.inputs, feeds);
    if (fetches) checkFetches(this.outputs, fetches, sizes);
    const nativeFetches = fetches
      ? mapValues(fetches, (tensor) => tensor && toNative(tensor))
      : { ...this.#allFetches };
    const results = runNative(session, mapValues(feeds, toNative), nativeFetches, {});
    return mapValues(results, (result, name) => fetches?.[name] ?? fromNative(result));
  }

  bind(feeds: Readonly<Record<string, HostTensor>>, fetches: Readonly<Record<string, HostTensor>>): BoundRun {
    const session = this.#open();
    checkFetches(this.outputs, fetches, checkFeeds(this.inputs, feeds));
    const nativeFeeds = mapValues(feeds, toNative);
    const nativeFetches = mapValues(fetches, toNative);
    const options = {};
    return {
      run: () => {
        if (this.#session === undefined) throw disposed();
        runNative(session, nativeFeeds, nativeFetches, options);
      },
    };
  }

  dispose(): void {
    this.#session?.dispose();
    this.#session = undefined;
  }

  #open(): NativeSession {
    if (this.#session === undefined) throw disposed();
    return this.#session;
  }
}

function loadSession(model: Uint8Array, options: SessionOptions): NativeSession {
  const device = options.device ?? "cpu";
  // ONNX Runtime opens the files that external data names, and its parser may see what ours does not (it merges a field
  // that is there twice): graphs of others are read here, and what was read is written anew.
  const bytes = options.untrusted ? encodeModel(decodeModel(model, "graph")) : model;
  const { binding } = loadNative();
  const session = new binding.InferenceSession();
  const settings = {
    executionProviders: [device],
    intraOpNumThreads: options.threads ?? 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    logSeverityLevel: 4,
    // Spinning threads would take the core that the simulators need.
    extra: {
      session: { intra_op: { allow_spinning: (options.threads ?? 1) > 1 ? "1" : "0" } },
    },
    ...(options.profilePrefix && { enableProfiling: true, profileFilePrefix: options.profilePrefix }),
    ...(options.residentOutputs?.length &&
      device !== "cpu" && {
        preferredOutputLocation: Object.fromEntries(
          options.residentOutputs.map((name) => [name, "gpu-buffer"]),
        ),
      }),
  };
  try {
    session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, settings);
  } catch (cause) {
    throw loadError(device, cause);
  }
  return session;
}

/** One run; what only the values show, such as an index out of range, becomes an error of ours. */
function runNative(
  session: NativeSession,
  feeds: NativeTensors,
  fetches: NativeTensors,
  options: object,
): Record<string, Tensor> {
  try {
    return session.run(feeds, fetches, options);
  } catch (cause) {
    throw new LorasaError("LORASA_GRAPH", {
      asked: "running a graph",
      received: nativeMessage(cause),
      cause,
    });
  }
}

/** The first line, without the place in the library's source that some begin with. */
function nativeMessage(cause: unknown): string {
  return (cause as Error).message.split("\n")[0]!.replace(/^\/.* was false\. /, "");
}

function loadError(device: Device, cause: unknown): LorasaError {
  const received = nativeMessage(cause);
  if (device === "cpu") {
    return new LorasaError("LORASA_GRAPH", {
      asked: "loading a graph",
      expected: "a valid ONNX model",
      received,
      cause,
    });
  }
  return new LorasaError("LORASA_DEVICE", {
    asked: `device ${device}`,
    expected: "a usable device",
    received,
    mend: ISSUES[device],
    cause,
  });
}

function disposed(): LorasaError {
  return new LorasaError("LORASA_DISPOSED", {
    asked: "running a graph",
    expected: "an open session",
    received: "one that was disposed",
  });
}

function tensorInfo(metadata: NativeMetadata): TensorInfo {
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

function toNative(tensor: RunTensor): Tensor {
  if (tensor instanceof HostResident) return toNative(tensor.tensor);
  if (!("data" in tensor)) {
    throw new LorasaError("LORASA_DEVICE", {
      asked: "a resident tensor",
      expected: "one of this device",
      received: tensor.device,
    });
  }
  // onnxruntime-common's constructor overloads want the array type that belongs to the name.
  return new (Tensor as unknown as new (type: string, data: TensorData, dims: readonly number[]) => Tensor)(
    tensor.dtype,
    tensor.data,
    tensor.dims,
  );
}

function fromNative(tensor: Tensor): HostTensor {
  // Float16 data arrives as Uint16Array (Node 20 has no Float16Array).
  return { dtype: tensor.type as DType, dims: tensor.dims, data: tensor.data as TensorData };
}

/** On the CPU "resident" is the host's memory: nothing is copied. */
class HostResident implements ResidentTensor {
  readonly device: Device = "cpu";
  #tensor: HostTensor | undefined;

  constructor(tensor: HostTensor) {
    this.#tensor = tensor;
  }

  get tensor(): HostTensor {
    if (this.#tensor === undefined) throw disposed();
    return this.#tensor;
  }

  get dtype(): DType {
    return this.tensor.dtype;
  }

  get dims(): readonly number[] {
    return this.tensor.dims;
  }

  download(): Promise<HostTensor> {
    const { dtype, dims, data } = this.tensor;
    return Promise.resolve({ dtype, dims, data: new DTYPES[dtype].array(data as never) });
  }

  dispose(): void {
    this.#tensor = undefined;
  }
}

function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  change: (value: A, name: string) => B,
): Record<string, B> {
  const result: Record<string, B> = {};
  for (const name in record) result[name] = change(record[name]!, name);
  return result;
}
