/** What a loaded model takes of memory, by what for and where. An account of tensors and files, not of the process. */
import type { Device } from "../../src/runtime/session.ts";

export type MemoryPart = "backbone" | "bank" | "adapters";
/** The host's memory, or a device's own. */
export type MemoryPlace = "host" | "device";

export interface MemoryUse {
  readonly part: MemoryPart;
  readonly place: MemoryPlace;
  readonly bytes: number;
}

/** Bytes of each part, wherever it lies. */
export interface MemoryBytes {
  /** Of the graphs, the weights that they share counted once. */
  readonly backbone: number;
  /** Of the backbone: the weights that lie in a device's memory themselves. Default: all of it. */
  readonly shared?: number;
  /** Of the tensors through which graphs see adapters. */
  readonly bank: number;
  /** Of the adapters in the host's memory, from which the bank is filled. */
  readonly adapters: number;
}

export function memoryUses(device: Device, bytes: MemoryBytes): readonly MemoryUse[] {
  const place = {
    backbone: device === "cpu" ? "host" : "device",
    // ONNX Runtime's binding for CUDA takes inputs from the host at each run.
    bank: device === "webgpu" ? "device" : "host",
    adapters: "host",
  } as const satisfies Record<MemoryPart, MemoryPlace>;
  const uses = (Object.keys(place) as MemoryPart[]).map((part) => ({
    part,
    place: place[part],
    bytes: bytes[part],
  }));
  if (device !== "webgpu" || bytes.shared === undefined) return uses;
  // What of the graphs is no shared weight is the library's, which does not say where it lies.
  const graphs = { part: "backbone", place: "host", bytes: bytes.backbone - bytes.shared } as const;
  return [...uses.map((use) => (use.part === "backbone" ? { ...use, bytes: bytes.shared! } : use)), graphs];
}

/** All of a place, or of both. */
export function totalBytes(uses: readonly MemoryUse[], place?: MemoryPlace): number {
  return uses.reduce((sum, use) => sum + (place === undefined || use.place === place ? use.bytes : 0), 0);
}
