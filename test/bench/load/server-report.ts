/** What the rounds of the server's benchmark come to: a row a case, and its floors. Not how they are measured. */
import { median } from "../../../src/base/statistics.ts";
import { type Floor, floor } from "./floors.ts";
import type { LoadResult } from "./load-process.ts";
import { CASES, type Case, type CaseName } from "./server-cases.ts";

/** Of which time a part is: of a request in the engine, of its handling with its reply, of the processor's. */
type OutsidePart = "engine" | "handling" | "processor";

export interface Measured extends LoadResult {
  readonly requestsPerSecond: number;
  /** Processor time of the server over wall time, and a request. */
  readonly cpuShareOfServer: number;
  readonly cpuUsOfServer: number;
  /** Parts of time outside ONNX Runtime; of the server alone, twins do not tell. */
  readonly outside?: Readonly<Record<OutsidePart, number>>;
}

export type Round = Readonly<Record<CaseName, Measured>>;

type Column = readonly [head: string, (name: CaseName, rounds: readonly Round[]) => string];

const COLUMNS: readonly Column[] = [
  ["case", (name) => name],
  ["requests/s", (name, rounds) => whole(median(rates(name, rounds)))],
  ["lowest to highest", (name, rounds) => spread(rates(name, rounds))],
  ["of bare", (name, rounds) => twinRatio(name, rounds)],
  ["p50 µs", (name, rounds) => whole(middle(name, rounds, ({ p50Us }) => p50Us))],
  ["p99 µs", (name, rounds) => whole(middle(name, rounds, ({ p99Us }) => p99Us))],
  ["p99.9 µs", (name, rounds) => whole(middle(name, rounds, ({ p999Us }) => p999Us))],
  ["processor µs", (name, rounds) => whole(middle(name, rounds, ({ cpuUsOfServer }) => cpuUsOfServer))],
  ["outside, engine", (name, rounds) => percent(outside(name, rounds, "engine"))],
  ["outside, handling", (name, rounds) => percent(outside(name, rounds, "handling"))],
  ["outside, processor", (name, rounds) => percent(outside(name, rounds, "processor"))],
  [
    "server core",
    (name, rounds) => percent(middle(name, rounds, ({ cpuShareOfServer }) => cpuShareOfServer)),
  ],
  ["load core", (name, rounds) => percent(middle(name, rounds, ({ cpuShare }) => cpuShare))],
];

/** Medians over rounds, the heads first. */
export function tableOf(rounds: readonly Round[]): string[][] {
  const names = Object.keys(CASES) as CaseName[];
  return [
    COLUMNS.map(([head]) => head),
    ...names.map((name) => COLUMNS.map(([, text]) => text(name, rounds))),
  ];
}

/** Ratios are taken round by round. */
export function floorsOf(rounds: readonly Round[]): Floor[] {
  const over = (name: CaseName, twin: CaseName): number => median(ratios(name, twin, rounds));
  return [
    floor("binary over bare", over("binary", "bare binary"), { least: 0.8 }),
    floor("JSON over bare", over("json", "bare json"), { least: 0.8 }),
    floor("binary over Express", over("binary", "express binary"), { least: 2 }),
    floor("JSON over Express", over("json", "express json"), { least: 2 }),
    floor(
      "64 environments: server time outside ONNX Runtime",
      outside("64 environments, alone", rounds, "engine"),
      { most: 0.25 },
    ),
  ];
}

function middle(name: CaseName, rounds: readonly Round[], of: (result: Measured) => number): number {
  return median(rounds.map((round) => of(round[name])));
}

function rates(name: CaseName, rounds: readonly Round[]): number[] {
  return rounds.map((round) => round[name].requestsPerSecond);
}

function ratios(name: CaseName, twin: CaseName, rounds: readonly Round[]): number[] {
  return rounds.map((round) => round[name].requestsPerSecond / round[twin].requestsPerSecond);
}

function outside(name: CaseName, rounds: readonly Round[], part: OutsidePart): number {
  return middle(name, rounds, (result) => result.outside?.[part] ?? Number.NaN);
}

function twinRatio(name: CaseName, rounds: readonly Round[]): string {
  const { twin }: Case = CASES[name];
  // Cases name their twins by the keys of the same table.
  return twin === undefined ? "" : median(ratios(name, twin as CaseName, rounds)).toFixed(2);
}

function whole(value: number): string {
  return `${Math.round(value)}`;
}

function spread(values: readonly number[]): string {
  return `${whole(Math.min(...values))} to ${whole(Math.max(...values))}`;
}

function percent(share: number): string {
  return Number.isNaN(share) ? "" : `${Math.round(share * 100)} %`;
}
