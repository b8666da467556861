/** Memory of many adapters on one backbone or as merged sessions: as the process, the runtime and the GPU's driver tell it. */
import { ADAPTER_LOADERS } from "../../../src/cli/compare/load-adapters.ts";
import type { ModeBytes } from "../../../src/cli/compare/mode-bytes.ts";
import { settledBytes } from "../../../src/cli/compare/settled-bytes.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import { gpuUsedBytes } from "./machine.ts";
import type { Case, Sizes } from "./plan.ts";
import { policyBytes, policySize } from "./policy.ts";

export interface MemoryFigures {
  readonly adapters: number;
  /** Adapters that were loaded; of merged ones the bytes are these, not yet scaled. */
  readonly loaded: number;
  /** Growth of the process. */
  readonly hostBytes: number;
  /** Of weights and bank: what the runtime counts, and constants that merged sessions keep. */
  readonly deviceBytes: number;
  /** Growth of what the GPU's driver says is in use, by anyone; null without such a driver. */
  readonly gpuUsedBytes: number | null;
}

/** Agents of the graph for a whole team. */
const TEAM = 8;

export function measureMemory(
  { runner, hidden, way }: Extract<Case, { part: "memory" }>,
  { adapters, mergedSessions }: Sizes,
): MemoryFigures {
  const runtime = createRuntime(runner.device);
  const modes: readonly ModeBytes[] =
    way === "merged"
      ? [policyBytes("merged", hidden, 1)]
      : [policyBytes("factored", hidden, TEAM), policyBytes("rows", hidden, TEAM)];
  const count = way === "merged" ? Math.min(adapters, mergedSessions) : adapters;
  // What the library takes once is there then.
  ADAPTER_LOADERS[way](runtime, modes, 1)();
  const before = { host: settledBytes(), device: runtime.residentBytes, gpu: gpuUsedBytes() };
  const dispose = ADAPTER_LOADERS[way](runtime, modes, count);
  const kept = way === "merged" && runner.device !== "cpu" ? 4 * count * policySize(hidden).backbone : 0;
  const gpu = gpuUsedBytes();
  const figures = {
    adapters,
    loaded: count,
    hostBytes: Math.max(0, settledBytes() - before.host),
    deviceBytes: runtime.residentBytes - before.device + kept,
    gpuUsedBytes: gpu === null || before.gpu === null ? null : gpu - before.gpu,
  };
  // Until here all is held.
  dispose();
  return figures;
}
