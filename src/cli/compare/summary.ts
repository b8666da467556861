/** One row for each mode and size out of all rounds: medians, with what every round gave. */
import { median } from "../../base/statistics.ts";
import type { Device } from "../../runtime/session.ts";
import type { Mode, TeamFiles, TeamMeasurement } from "./contract.ts";

/** What one round measured, by mode. */
export type Round = Map<Mode, readonly TeamMeasurement[]>;

export interface CompareRow {
  readonly mode: Mode;
  readonly device: Device;
  readonly agents: number;
  /** Rows that each agent sends a step. */
  readonly rows: number;
  /** Of a step of the whole team; median over rounds, as all that follows. */
  readonly p50Us: number;
  readonly p99Us: number;
  /** Actions of all agents together, pauses between steps included. */
  readonly actionsPerSecond: number;
  /** Growth of the process, once steps of so many rows have run. */
  readonly residentBytes: number;
  /** Exact bytes of the numbers in graphs and bank. */
  readonly weightBytes: number;
  readonly createMs: number;
  readonly swapMs: number;
  /** p50Us of each round, in their order. */
  readonly p50UsRounds: readonly number[];
  readonly swapMsRounds: readonly number[];
  readonly residentBytesRounds: readonly number[];
}

/** Rows by size of the team, then rows, then mode. */
export function summarise(
  files: ReadonlyMap<Mode, readonly TeamFiles[]>,
  rounds: readonly Round[],
  device: Device,
): CompareRow[] {
  const rows = [...files].flatMap(([mode, teams]) =>
    teams.flatMap((team) => {
      const measured = rounds.map((round) => round.get(mode)!.find(({ agents }) => agents === team.agents)!);
      return measured[0]!.steps.map((_, at) => rowOf({ mode, device, at }, team, measured));
    }),
  );
  return rows.sort((a, b) => a.agents - b.agents || a.rows - b.rows);
}

function rowOf(
  { mode, device, at }: { mode: Mode; device: Device; at: number },
  { agents, weightBytes }: TeamFiles,
  measured: readonly TeamMeasurement[],
): CompareRow {
  const steps = measured.map((each) => each.steps[at]!);
  const { rows } = steps[0]!;
  const p50UsRounds = steps.map(({ p50Us }) => rounded(p50Us));
  const swapMsRounds = measured.map(({ swapMs }) => rounded(swapMs));
  const residentBytesRounds = steps.map(({ residentBytes }) => Math.round(residentBytes));
  return {
    mode,
    device,
    agents,
    rows,
    p50Us: median(p50UsRounds),
    p99Us: rounded(median(steps.map(({ p99Us }) => p99Us))),
    actionsPerSecond: Math.round(agents * rows * median(steps.map(({ stepsPerSecond }) => stepsPerSecond))),
    residentBytes: Math.round(median(residentBytesRounds)),
    weightBytes,
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
