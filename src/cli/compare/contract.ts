/** What is measured and what comes of it: the words that the comparing process and its measuring ones share. */
import type { AdapterLayer, Precision } from "../../checkpoint/repository.ts";
import type { Device } from "../../runtime/session.ts";

/**
 * `merged`: one session an agent, run one after another. `stacked`: all merged agents in one graph. `factored`: one
 * backbone and a bank of adapters, rows grouped by agent. `rows`: the same with rows of any agents in any order.
 */
export const MODES = ["merged", "stacked", "factored", "rows"] as const;
export type Mode = (typeof MODES)[number];

/** Where a mode runs and how exact its linear maps and adapters are. */
export interface Target {
  readonly device: Device;
  readonly precision: Precision;
}

/** Exact bytes of numbers. */
export interface WeightBytes {
  /** Of the graphs' constants: of all of them when merged. */
  readonly backbone: number;
  /** Of all agents' adapters as the graphs take them; 0 where they are in the graphs. */
  readonly bank: number;
  /** Of one adapter in the bank. */
  readonly adapter: number;
}

/** The files of one mode for a team of one size. */
export interface TeamFiles {
  readonly agents: number;
  /** Paths of the graphs: one an agent when merged. */
  readonly graphs: readonly string[];
  readonly bytes: WeightBytes;
  readonly bank?: BankFile;
}

export interface BankFile {
  /** [N, …] in the type of the graphs' inputs, little-endian: each agent's adapter as the server's `AdapterLayout` has it. */
  readonly path: string;
  readonly layers: readonly AdapterLayer[];
}

/** One mode on one target, for every size of the team. */
export interface CompareCase extends Target {
  readonly mode: Mode;
  readonly teams: readonly TeamFiles[];
}

/** What one fresh process measures. */
export interface MeasureTask extends CompareCase {
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
  /** One agent's new weights, from bytes in memory until the next step uses them and the device is done with them. */
  readonly swapMs: number;
  /** `hostBytes`: growth of the process once steps of so many rows have run. */
  readonly steps: readonly (StepTimes & { readonly rows: number; readonly hostBytes: number })[];
}

/** How many adapters are held: `factored` by one backbone with a bank, `merged` by a session each. */
export type Way = "factored" | "merged";

/** What one fresh process loads. */
export interface AdaptersTask extends Target {
  readonly way: Way;
  /** Adapters, or sessions of merged ones. */
  readonly count: number;
  /** Of `merged` one graph, loaded again and again; of `factored` the team's and that of rows. */
  readonly teams: readonly TeamFiles[];
}

/** What loading took. */
export interface LoadedBytes {
  /** Growth of the process. */
  readonly hostBytes: number;
  /** Of weights and bank in a device's own memory. */
  readonly deviceBytes: number;
}
