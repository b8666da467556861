/** What the engine tells metrics and logs. Not what they make of it. */

export interface BatchEvent {
  readonly model: string;
  readonly requests: number;
  readonly rows: number;
  /** Wait of the request that waited longest. */
  readonly queueSeconds: number;
  /** In the graphs alone. */
  readonly computeSeconds: number;
}

export interface AdapterEvent {
  readonly kind: "loaded" | "replaced" | "rolled back" | "unloaded" | "read" | "evicted";
  readonly model: string;
  readonly adapter: string;
  readonly version: number;
  readonly sha256: string;
  /** From the checked adapter to the new version being what requests begin with; 0 where nothing was installed. */
  readonly seconds: number;
}

export interface ModelEvent {
  readonly kind: "loaded" | "unloaded";
  readonly model: string;
  readonly seconds: number;
  readonly bytes: number;
}

/** A device that does not work, or has no room for a model. */
export interface DeviceEvent {
  readonly model: string;
  readonly device: string;
  /** One line for a person. */
  readonly reason: string;
  /** Whether the model goes on on the CPU. */
  readonly moved: boolean;
}

/** Nodes of a graph that the device has no kernel for: each of their runs waits for copies both ways. */
export interface CpuNodesEvent {
  readonly model: string;
  readonly graph: string;
  /** `operator name` each. */
  readonly nodes: readonly string[];
}

export interface EngineEvents {
  batch(event: BatchEvent): void;
  adapter(event: AdapterEvent): void;
  model(event: ModelEvent): void;
  device(event: DeviceEvent): void;
  cpuNodes(event: CpuNodesEvent): void;
  /** A fault that no request can be told of, or only in general. */
  fault(error: unknown): void;
}

/** For those who run a model without watching it. */
export const NO_EVENTS: EngineEvents = {
  batch() {},
  adapter() {},
  model() {},
  device() {},
  cpuNodes() {},
  fault() {},
};
