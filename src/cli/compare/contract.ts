/** What is measured and what comes of it: the words that the comparing process and its measuring ones share. */
import type { AdapterLayer } from "../../checkpoint/repository.ts";
import type { Device } from "../../runtime/session.ts";

/**
 * `merged`: one session an agent, run one after another. `stacked`: all merged agents in one graph. `factored`: one
 * backbone and a bank of adapters, rows grouped by agent. `rows`: the same with rows of any agents in any order.
 */
export const MODES = ["merged", "stacked", "factored", "rows"] as const;
export type Mode = (typeof MODES)[number];

/** The files of one mode for a team of one size. */
export interface TeamFiles {
  readonly agents: number;
  /** Paths of the graphs: one an agent when merged. */
  readonly graphs: readonly string[];
  /** Exact bytes of the numbers in the graphs and the bank. */
  readonly weightBytes: number;
  readonly bank?: BankFile;
}

export interface BankFile {
  /** float32, little-endian: for each layer lora_A `[N, in, r]`, then lora_B `[N, r, out]`, the scale folded in. */
  readonly path: string;
  readonly layers: readonly AdapterLayer[];
}

/** What one fresh process measures: one mode, all sizes. */
export interface MeasureTask {
  readonly mode: Mode;
  readonly device: Device;
  readonly teams: readonly TeamFiles[];
  /** Rows that each agent sends, ascending. */
  readonly rows: readonly number[];
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Time of a team step: every agent sends its rows and gets its actions. */
export interface StepTimes {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly stepsPerSecond: number;
}

/** What one process found for a team of one size. */
export interface TeamMeasurement {
  readonly agents: number;
  /** All sessions and the bank, from bytes in memory until they can run. */
  readonly createMs: number;
  /** One agent's new weights, from bytes in memory until the next step uses them. */
  readonly swapMs: number;
  readonly steps: readonly (StepTimes & { readonly rows: number; readonly residentBytes: number })[];
}
