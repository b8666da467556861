/**
 * The package's native binding: loading it, loading a graph into it, and what its failures mean. Not what is run.
 *
 * Its `run` is synchronous: the public API only wraps the same call in a `setImmediate` each, which costs a turn of
 * the event loop and forbids stepping simulators in lockstep. The package's version is pinned for that reason.
 */
import { createRequire } from "node:module";
import type { Env, Tensor } from "onnxruntime-common";
import { LorasaError } from "../../base/errors.ts";
import type { Device } from "../session.ts";

interface NativeMetadata {
  readonly name: string;
  readonly isTensor: boolean;
  readonly symbolicDimensions: readonly string[];
  readonly shape: readonly number[];
  readonly type: number;
}

export type NativeTensors = Record<string, Tensor | null>;

export interface NativeSession {
  loadModel(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, options: object): void;
  readonly inputMetadata: readonly NativeMetadata[];
  readonly outputMetadata: readonly NativeMetadata[];
  run(feeds: NativeTensors, fetches: NativeTensors, options: object): Record<string, Tensor>;
  endProfiling(): void;
  dispose(): void;
}

interface NativeBinding {
  readonly binding: { readonly InferenceSession: new () => NativeSession };
  initOrt(): void;
}

export interface NativeOptions {
  readonly threads?: number;
  readonly profilePrefix?: string;
  /** Leaves every output in the device's memory. */
  readonly keepOutputs?: boolean;
  /** Fails when the device lacks a kernel instead of running the node on the CPU. */
  readonly deviceOnly?: boolean;
}

/** A failure's name in the library's messages, what it is, and what helps. */
type Fault = readonly [pattern: RegExp, received: string, mend: string];

/** A tensor of several times the largest buffer is more buffers than a shader binds, or more values than it counts. */
const NO_MEMORY: Fault = [
  /out of memory|max buffer size|OUT_OF_(DEVICE|HOST)_MEMORY|Failed to allocate|invalid due to a previous error|Too many storage buffers|narrowing_error/i,
  "no room in the device's memory",
  "take fewer resident adapters, smaller batches or --precision fp16",
];

const FAULTS: Readonly<Record<Exclude<Device, "cpu">, readonly Fault[]>> = {
  webgpu: [
    [
      /Failed to get a WebGPU adapter|No supported adapters/,
      "no driver or adapter",
      "install a Vulkan, Metal or Direct3D 12 driver, or choose --device cpu",
    ],
    [
      /requires f16/,
      "a device without half precision",
      "serve an export of --precision fp32, or choose --device cpu",
    ],
    NO_MEMORY,
    [/device.{0,20}lost|lost.{0,20}device/i, "a device that was lost", "start again"],
  ],
  cuda: [
    [
      /Failed to load shared library|unsupported: 'cuda'/,
      "none of ONNX Runtime's CUDA files, or a CUDA library that they need is missing",
      "see CUDA in the README for the command that installs them, or choose --device webgpu or cpu",
    ],
    NO_MEMORY,
  ],
};

/** No fault of a device. */
const NOTHING_WANTED = /At least one output should be requested/;

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

/** @throws LORASA_GRAPH for a graph that the CPU does not load, LORASA_DEVICE for one that the device does not. */
export function loadGraph(bytes: Uint8Array, device: Device, options: NativeOptions = {}): NativeSession {
  const { binding } = loadNative();
  const session = new binding.InferenceSession();
  const { threads = 1, profilePrefix } = options;
  const settings = {
    executionProviders: [device],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    logSeverityLevel: 4,
    extra: {
      session: {
        // Spinning threads would take the core that the simulators need.
        intra_op: { allow_spinning: threads > 1 ? "1" : "0" },
        ...(options.deviceOnly && { disable_cpu_ep_fallback: "1" }),
      },
    },
    ...(profilePrefix && { enableProfiling: true, profileFilePrefix: profilePrefix }),
    ...(options.keepOutputs && { preferredOutputLocation: "gpu-buffer" }),
  };
  try {
    session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, settings);
  } catch (cause) {
    throw device === "cpu" ? graphError("loading a graph", cause) : deviceError(device, "loading", cause);
  }
  return session;
}

/** One run; what only the values show, such as an index out of range, becomes an error of ours. */
export function runGraph(
  session: NativeSession,
  device: Device,
  feeds: NativeTensors,
  fetches: NativeTensors,
): Record<string, Tensor> {
  try {
    return session.run(feeds, fetches, {});
  } catch (cause) {
    const isGraphs = device === "cpu" || NOTHING_WANTED.test((cause as Error).message);
    throw isGraphs ? graphError("running a graph", cause) : deviceError(device, "running", cause);
  }
}

function graphError(asked: string, cause: unknown): LorasaError {
  const expected = asked.startsWith("loading") ? { expected: "a valid ONNX model" } : {};
  return new LorasaError("LORASA_GRAPH", { asked, ...expected, received: nativeMessage(cause), cause });
}

function deviceError(device: Exclude<Device, "cpu">, doing: string, cause: unknown): LorasaError {
  const whole = (cause as Error).message;
  const fault = FAULTS[device].find(([pattern]) => pattern.test(whole));
  return new LorasaError("LORASA_DEVICE", {
    asked: `${doing} a graph on device ${device}`,
    expected: "a usable device",
    received: fault?.[1] ?? nativeMessage(cause),
    mend: fault?.[2] ?? "choose --device cpu",
    cause,
  });
}

/** The first line, without the place in the library's source that some name. */
function nativeMessage(cause: unknown): string {
  return (cause as Error).message.split("\n")[0]!.replace(/\/\S+\.\w+:\d+ .* was false\. /, "");
}
