/** A loaded graph on a device: what is done to it for the device, and its runs with every tensor checked. */
import type { Tensor } from "onnxruntime-common";
import { LorasaError } from "../../base/errors.ts";
import { decodeModel } from "../../onnx/decode.ts";
import { encodeModel } from "../../onnx/encode.ts";
import { checkFeeds, checkFetches, disposed } from "../check.ts";
import type {
  BoundRun,
  Device,
  RunTensor,
  Session,
  SessionOptions,
  SharedWeight,
  TensorInfo,
} from "../session.ts";
import { loadGraph, type NativeSession, type NativeTensors, runGraph } from "./binding.ts";
import { findCpuNodes } from "./cpu-nodes.ts";
import { liftConstants, type WeightPool } from "./shared-weights.ts";
import { fromNative, isNative, mapValues, tensorInfo, toNative } from "./tensors.ts";
import { lowerForWebGpu } from "./webgpu-graphs.ts";

/** Where a session's kernels run and, on WebGPU, where its shared constants lie. */
export type Place =
  | { readonly device: Exclude<Device, "webgpu"> }
  | { readonly device: "webgpu"; readonly weights: WeightPool };

/** A graph made ready for a device, and the constants that it is fed. */
interface Prepared {
  readonly bytes: Uint8Array;
  readonly constants: NativeTensors;
  readonly weights: readonly SharedWeight[];
}

export class OnnxSession implements Session {
  readonly device: Device;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly cpuNodes: readonly string[];
  readonly sharedWeights: readonly SharedWeight[];
  readonly #place: Place;
  readonly #constants: NativeTensors;
  readonly #allFetches: NativeTensors;
  #session: NativeSession | undefined;

  constructor(model: Uint8Array, place: Place, options: SessionOptions) {
    const { bytes, constants, weights } = prepare(model, place, options);
    this.device = place.device;
    this.#place = place;
    this.#constants = constants;
    this.sharedWeights = weights;
    try {
      const { session, cpuNodes } = load(bytes, place.device, options);
      this.#session = session;
      this.cpuNodes = cpuNodes;
    } catch (error) {
      this.#releaseWeights();
      throw error;
    }
    this.inputs = this.#session.inputMetadata.map(tensorInfo).filter(({ name }) => !(name in constants));
    this.outputs = this.#session.outputMetadata.map(tensorInfo);
    this.#allFetches = Object.fromEntries(this.outputs.map(({ name }) => [name, null]));
  }

  run(
    feeds: Readonly<Record<string, RunTensor>>,
    fetches?: Readonly<Record<string, RunTensor | null>>,
  ): Record<string, RunTensor> {
    const session = this.#open();
    const sizes = checkFeeds(this.inputs, feeds);
    if (fetches) checkFetches(this.outputs, fetches, sizes);
    const nativeFetches = fetches
      ? mapValues(fetches, (tensor) => tensor && toNative(tensor, this.device))
      : { ...this.#allFetches };
    const results = runGraph(session, this.device, this.#nativeFeeds(feeds), nativeFetches);
    const returned = mapValues(results, (result, name) => fetches?.[name] ?? fromNative(result));
    releaseHandles(results);
    return returned;
  }

  bind(feeds: Readonly<Record<string, RunTensor>>, fetches: Readonly<Record<string, RunTensor>>): BoundRun {
    this.#open();
    checkFetches(this.outputs, fetches, checkFeeds(this.inputs, feeds));
    const nativeFeeds = this.#nativeFeeds(feeds);
    const nativeFetches = mapValues(fetches, (tensor) => toNative(tensor, this.device));
    const residents = [...Object.values(feeds), ...Object.values(fetches)].filter(isNative);
    return {
      run: () => {
        // What was given back since then may be another's memory, or none.
        for (const tensor of residents) tensor.checkOpen();
        releaseHandles(runGraph(this.#open(), this.device, nativeFeeds, nativeFetches));
      },
    };
  }

  dispose(): void {
    if (this.#session === undefined) return;
    this.#session.dispose();
    this.#session = undefined;
    this.#releaseWeights();
  }

  #nativeFeeds(feeds: Readonly<Record<string, RunTensor>>): NativeTensors {
    return { ...mapValues(feeds, (tensor) => toNative(tensor, this.device)), ...this.#constants };
  }

  #releaseWeights(): void {
    if (this.#place.device !== "webgpu") return;
    for (const weight of this.sharedWeights) this.#place.weights.release(weight);
  }

  #open(): NativeSession {
    if (this.#session === undefined) throw disposed("a session");
    return this.#session;
  }
}

/** A run returns another handle on each buffer that it was given to fill; kept, they add up to a leak. */
function releaseHandles(results: Readonly<Record<string, Tensor>>): void {
  for (const name in results) if (results[name]!.location === "gpu-buffer") results[name]!.dispose();
}

/**
 * ONNX Runtime opens the files that external data names, and its parser may see what ours does not (it merges a field
 * that is there twice): graphs of others are read here, and what was read is written anew.
 */
function prepare(model: Uint8Array, place: Place, options: SessionOptions): Prepared {
  const unchanged = { constants: {}, weights: [] };
  if (place.device !== "webgpu") {
    const bytes = options.untrusted ? encodeModel(decodeModel(model, "graph")) : model;
    return { bytes, ...unchanged };
  }
  const lowered = lowerForWebGpu(decodeModel(model, "graph"));
  if (!options.shareWeights) return { bytes: encodeModel(lowered), ...unchanged };
  const lifted = liftConstants(lowered);
  const held = new Map<string, ReturnType<WeightPool["acquire"]>>();
  try {
    for (const [name, constant] of lifted.constants) held.set(name, place.weights.acquire(constant));
  } catch (error) {
    for (const weight of held.values()) place.weights.release(weight);
    throw error;
  }
  return {
    bytes: encodeModel(lifted.model),
    constants: Object.fromEntries(
      [...held].map(([name, { tensor }]) => [name, toNative(tensor, place.device)]),
    ),
    weights: [...held.values()].map(({ sha256, bytes }) => ({ sha256, bytes })),
  };
}

/** The session, and which of its nodes the CPU must run because the device cannot. */
function load(
  bytes: Uint8Array,
  device: Device,
  options: SessionOptions,
): { session: NativeSession; cpuNodes: readonly string[] } {
  const settings = {
    ...(options.threads !== undefined && { threads: options.threads }),
    ...(options.profilePrefix !== undefined && { profilePrefix: options.profilePrefix }),
  };
  if (device === "cpu") return { session: loadGraph(bytes, device, settings), cpuNodes: [] };
  try {
    return { session: loadGraph(bytes, device, { ...settings, deviceOnly: true }), cpuNodes: [] };
  } catch (error) {
    if (!isFallback(error)) throw error;
    const cpuNodes = findCpuNodes(bytes, device);
    return { session: loadGraph(bytes, device, settings), cpuNodes };
  }
}

/** Whether a graph was refused only because the CPU would run some of it. */
function isFallback(error: unknown): boolean {
  if (!(error instanceof LorasaError)) return false;
  return /fallback to CPU EP has been explicitly disabled/.test(
    (error.cause as Error | undefined)?.message ?? "",
  );
}
