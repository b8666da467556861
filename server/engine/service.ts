/** What the server's doors (HTTP, gRPC) ask of the engine. Not how a request travels, not how it is run. */
import type { WireTensor } from "../protocol/datatypes.ts";
import type { InferRequest, ParameterValue, TensorMetadata } from "../protocol/request.ts";
import type { AdapterFiles } from "./adapter-intake.ts";

/** A name that can be asked for inference, such as `team`, `team.agent_0` or `team.agent_0.blue`. */
export interface ServedModel {
  readonly name: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}

/** What a door knows of a request beyond its tensors. */
export interface InferCall {
  /** Whether nobody waits for the answer any more: asked before the request is run. */
  cancelled(): boolean;
}

export interface InferResult {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Those that were asked for, in the request's order; all of them when none were named. */
  readonly outputs: readonly { readonly tensor: WireTensor; readonly binary: boolean }[];
}

/** Counted events and their total time, as the statistics extension writes them. */
export interface Duration {
  readonly count: number;
  readonly ns: number;
}

/** One entry of `model_stats`, in the words of the statistics extension. */
export interface ModelStatistics {
  readonly name: string;
  readonly version: string;
  /** Milliseconds since the epoch; 0 before the first. */
  readonly last_inference: number;
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<
    Record<
      | "success"
      | "fail"
      | "queue"
      | "compute_input"
      | "compute_infer"
      | "compute_output"
      | "cache_hit"
      | "cache_miss",
      Duration
    >
  >;
  readonly response_stats: Readonly<Record<string, never>>;
  readonly batch_stats: readonly {
    readonly batch_size: number;
    readonly compute_input: Duration;
    readonly compute_infer: Duration;
    readonly compute_output: Duration;
  }[];
  readonly memory_usage: readonly {
    readonly type: "CPU" | "CPU_PINNED" | "GPU";
    readonly id: number;
    readonly byte_size: number;
  }[];
}

export type ModelState = "READY" | "UNAVAILABLE" | "LOADING" | "UNLOADING";

/** One entry of the repository's index. */
export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  readonly state: ModelState;
  /** Empty when there is nothing to say. */
  readonly reason: string;
}

/** An adapter of a factored model. Its name is its agent's, or `<agent>.<variant>`. */
export interface AdapterStatus {
  readonly name: string;
  readonly agent: string;
  /** Rises by one with each load, replacement and rollback; 0 when none was loaded yet. */
  readonly version: number;
  readonly state: "READY" | "UNAVAILABLE";
  readonly reason: string;
  /** In memory; otherwise its next request reads it from its files. */
  readonly resident: boolean;
  readonly pinned: boolean;
  /** Empty before the first read. */
  readonly sha256: string;
  readonly bytes: number;
  /** Milliseconds since the epoch; 0 for never. */
  readonly loadedAtMs: number;
  readonly lastUsedMs: number;
  /** Version that a rollback restores; 0 when there is none. */
  readonly previousVersion: number;
}

/** A layer that an adapter changes. */
export interface AdaptedLayer {
  readonly name: string;
  readonly in: number;
  readonly out: number;
  readonly rank: number;
  readonly scale: number;
}

export interface AdapterLoad {
  readonly files: AdapterFiles;
  /** Whether a loaded adapter may be replaced. */
  readonly replace: boolean;
  /** Keeps it in memory. */
  readonly pin?: boolean;
  /** Expected SHA-256 of the tensors' file, in hex. */
  readonly sha256?: string;
}

/** The adapters of one model. Every method throws LORASA_UNKNOWN_ADAPTER for a name that it does not have. */
export interface Adapters {
  readonly layers: readonly AdaptedLayer[];
  list(): readonly AdapterStatus[];
  status(name: string): AdapterStatus;
  /**
   * Checks an adapter whole, stores it, then makes it the one that requests begin with.
   * @throws LORASA_EXISTS without `replace`, LORASA_ADAPTER, LORASA_CHECKSUM, LORASA_NOT_FINITE, LORASA_DISK,
   *   LORASA_TOO_LARGE when there are too many.
   */
  load(name: string, load: AdapterLoad): Promise<AdapterStatus>;
  /**
   * Requests that begin later fail; those that began finish.
   * @param drain waits for them; without it LORASA_BUSY is thrown when there are any.
   * @throws LORASA_BUSY also for a pinned adapter.
   */
  unload(name: string, drain: boolean): Promise<AdapterStatus>;
  pin(name: string, pinned: boolean): Promise<AdapterStatus>;
  /** Makes the version before the current one again, under a new number. */
  rollback(name: string): Promise<AdapterStatus>;
}

/** The models of a server. */
export interface PolicyService {
  /** Not while starting or stopping. */
  isReady(): boolean;
  /** @throws LORASA_UNKNOWN_MODEL. */
  endpoint(name: string, version?: string): ServedModel;
  /**
   * Runs a request, together with others that wait.
   * @throws what checking a request throws; LORASA_UNAVAILABLE when stopping, full or out of time; LORASA_CANCELLED.
   */
  infer(endpoint: ServedModel, request: InferRequest, call: InferCall): Promise<InferResult>;
  /** Of one name, or of all that were loaded. */
  statistics(name?: string, version?: string): readonly ModelStatistics[];
  /** Every name that can be asked, and what is in the folder and not loaded. */
  index(): readonly IndexEntry[];
  /** Loads a model of the folder, or loads it again: requests go on with the old one until the new one is ready. */
  load(name: string): Promise<void>;
  /** Forgets a model after the requests that have begun; an unknown name has nothing to unload. */
  unload(name: string): Promise<void>;
  /**
   * The adapters of a model.
   * @throws LORASA_UNKNOWN_MODEL; LORASA_ADAPTER for one whose adapters are merged into its graphs.
   */
  adapters(model: string): Adapters;
}
