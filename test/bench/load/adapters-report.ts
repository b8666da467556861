/** What the rounds of the adapter benchmark come to: two tables and its floors. Not how they are measured. */
import { median } from "../../../src/base/statistics.ts";
import { type Floor, floor } from "./floors.ts";
import type { LatencySummary } from "./latencies.ts";
import type { MergedResult } from "./merged-process.ts";

/** Bytes over the idle server after garbage was collected: of the process, and of what V8 holds. */
export interface Memory {
  readonly resident: number;
  readonly used: number;
}

export interface AdaptersRound {
  /** What V8 holds of all adapters by name, none of them read, more than a server without them. */
  readonly knownBytes: number;
  /** As many adapters as may be in memory; after as many others took their places. */
  readonly memory: Readonly<Record<"full" | "after", Memory>>;
  readonly cold: LatencySummary;
  readonly warm: LatencySummary;
  readonly merged: readonly MergedResult[];
}

export interface Counts {
  readonly adapters: number;
  readonly resident: number;
  /** Sessions of each merged measurement. */
  readonly merged: readonly number[];
  /** Of the numbers of one adapter. */
  readonly adapterBytes: number;
}

const MOST_MS = 20;
const MOST_OF_ADAPTER_BYTES = 1.3;
const MEBIBYTE = 2 ** 20;

export function memoryTable(rounds: readonly AdaptersRound[], counts: Counts): string[][] {
  const held = (what: string, state: keyof AdaptersRound["memory"], count: number): string[] => {
    const resident = rounds.map(({ memory }) => memory[state].resident);
    const used = median(rounds.map(({ memory }) => memory[state].used));
    return [what, ...sizes(resident), (used / MEBIBYTE).toFixed(1), each(resident, count), ""];
  };
  const known = median(rounds.map(({ knownBytes }) => knownBytes));
  const merged = counts.merged.map((count, at) => {
    const bytes = rounds.map((round) => round.merged[at]!.bytes);
    const seconds = median(rounds.map((round) => round.merged[at]!.createSeconds));
    return [`${count} merged sessions`, ...sizes(bytes), "", each(bytes, count), seconds.toFixed(2)];
  });
  return [
    ["", "resident MiB", "lowest to highest", "held by V8 MiB", "each KiB", "created in s"],
    [`${counts.adapters} adapters known, none read`, "", "", (known / MEBIBYTE).toFixed(1), "", ""],
    held(`${counts.resident} of them in memory`, "full", counts.resident),
    held("after as many others", "after", counts.resident),
    ...merged,
  ];
}

/** Milliseconds of one request at a time. */
export function latencyTable(rounds: readonly AdaptersRound[]): string[][] {
  const row = (name: string, of: (round: AdaptersRound) => LatencySummary): string[] => {
    const ms = (which: "p50Us" | "p99Us" | "maxUs"): number[] =>
      rounds.map((round) => of(round)[which] / 1000);
    const middles = (["p50Us", "p99Us", "maxUs"] as const).map((which) => median(ms(which)));
    return [name, ...[...middles, Math.max(...ms("maxUs"))].map((value) => value.toFixed(2))];
  };
  return [
    ["one request at a time, ms", "p50", "p99", "slowest", "slowest of all rounds"],
    row("cold adapter", ({ cold }) => cold),
    row("warm adapter", ({ warm }) => warm),
  ];
}

export function floorsOf(rounds: readonly AdaptersRound[], { resident, adapterBytes }: Counts): Floor[] {
  const over = median(rounds.map(({ memory }) => memory.full.resident));
  const slowest = median(rounds.map(({ cold }) => cold.maxUs));
  return [
    floor(
      "memory over the idle server, of the bytes of the adapters in memory",
      over / (resident * adapterBytes),
      {
        most: MOST_OF_ADAPTER_BYTES,
      },
    ),
    floor("slowest cold adapter, ms", slowest / 1000, { most: MOST_MS }),
  ];
}

function sizes(bytes: readonly number[]): string[] {
  const mebibytes = (value: number): string => (value / MEBIBYTE).toFixed(1);
  return [mebibytes(median(bytes)), `${mebibytes(Math.min(...bytes))} to ${mebibytes(Math.max(...bytes))}`];
}

function each(bytes: readonly number[], count: number): string {
  return (median(bytes) / count / 1024).toFixed(1);
}
