/** One row for each mode, target and size out of all rounds: medians, with what every round gave. */
import { memoryUses, totalBytes } from "../../../server/engine/model-memory.ts";
import { median } from "../../base/statistics.ts";
import type { Device } from "../../runtime/session.ts";
import type { CompareCase, Mode, Target, TeamFiles, TeamMeasurement, WeightBytes } from "./contract.ts";

/** What one round measured. */
export type Round = ReadonlyMap<CompareCase, readonly TeamMeasurement[]>;

export interface CompareRow extends Target {
  readonly mode: Mode;
  readonly agents: number;
  /** Rows that each agent sends a step. */
  readonly rows: number;
  /** Of a step of the whole team; median over rounds, as all that follows. */
  readonly p50Us: number;
  readonly p99Us: number;
  /** Actions of all agents together, pauses between steps included. */
  readonly actionsPerSecond: number;
  /** Where the mode runs: `hostBytes` on the CPU, else `deviceBytes`. */
  readonly residentBytes: number;
  /** Growth of the process, once steps of so many rows have run. */
  readonly hostBytes: number;
  /** Exact bytes of the weights and adapters in a device's own memory; 0 on the CPU. */
  readonly deviceBytes: number;
  /** Exact bytes of the numbers in graphs and bank, wherever they lie. */
  readonly weightBytes: number;
  /** In the graphs, in the bank, and in one adapter of the bank. */
  readonly backboneBytes: number;
  readonly bankBytes: number;
  readonly adapterBytes: number;
  readonly createMs: number;
  readonly swapMs: number;
  /** p50Us of each round, in their order. */
  readonly p50UsRounds: readonly number[];
  readonly swapMsRounds: readonly number[];
  readonly residentBytesRounds: readonly number[];
}

/** Rows by size of the team, then rows, then the order of the cases. */
export function summarise(cases: readonly CompareCase[], rounds: readonly Round[]): CompareRow[] {
  const rows = cases.flatMap((each) =>
    each.teams.flatMap((files) => {
      const measured = rounds.map((round) => round.get(each)!.find(({ agents }) => agents === files.agents)!);
      return measured[0]!.steps.map((_, at) => rowOf(each, files, measured, at));
    }),
  );
  return rows.sort((a, b) => a.agents - b.agents || a.rows - b.rows);
}

/** Exact bytes in a device's own memory. */
export function deviceBytes(device: Device, { backbone, bank }: WeightBytes): number {
  return totalBytes(memoryUses(device, { backbone, bank, adapters: 0 }), "device");
}

function rowOf(
  { mode, device, precision }: CompareCase,
  { agents, bytes }: TeamFiles,
  measured: readonly TeamMeasurement[],
  at: number,
): CompareRow {
  const steps = measured.map((each) => each.steps[at]!);
  const { rows } = steps[0]!;
  const p50UsRounds = steps.map(({ p50Us }) => rounded(p50Us));
  const swapMsRounds = measured.map(({ swapMs }) => rounded(swapMs));
  const hostBytesRounds = steps.map(({ hostBytes }) => Math.round(hostBytes));
  const onDevice = deviceBytes(device, bytes);
  const residentBytesRounds = device === "cpu" ? hostBytesRounds : hostBytesRounds.map(() => onDevice);
  return {
    mode,
    device,
    precision,
    agents,
    rows,
    p50Us: median(p50UsRounds),
    p99Us: rounded(median(steps.map(({ p99Us }) => p99Us))),
    actionsPerSecond: Math.round(agents * rows * median(steps.map(({ stepsPerSecond }) => stepsPerSecond))),
    residentBytes: Math.round(median(residentBytesRounds)),
    hostBytes: Math.round(median(hostBytesRounds)),
    deviceBytes: onDevice,
    weightBytes: bytes.backbone + bytes.bank,
    backboneBytes: bytes.backbone,
    bankBytes: bytes.bank,
    adapterBytes: bytes.adapter,
    createMs: rounded(median(measured.map(({ createMs }) => createMs))),
    swapMs: median(swapMsRounds),
    p50UsRounds,
    swapMsRounds,
    residentBytesRounds,
  };
}

/** To four digits: more is noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
