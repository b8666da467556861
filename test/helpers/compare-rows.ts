/** Rows of a comparison that nobody measured, for tests of what is made of them. */
import type { Mode } from "../../src/cli/compare/contract.ts";
import type { CompareRow } from "../../src/cli/compare/summary.ts";

/** On the CPU, 8 agents of 1 row; rounds 2 % to each side. */
export function compareRow(mode: Mode, p50Us: number, more: Partial<CompareRow> = {}): CompareRow {
  return {
    mode,
    device: "cpu",
    precision: "fp32",
    agents: 8,
    rows: 1,
    p50Us,
    p99Us: 2 * p50Us,
    actionsPerSecond: 8e6 / p50Us,
    residentBytes: 2 ** 20,
    hostBytes: 2 ** 20,
    deviceBytes: 0,
    weightBytes: 2 ** 19,
    backboneBytes: 2 ** 18,
    bankBytes: 2 ** 18,
    adapterBytes: 2 ** 15,
    createMs: 5,
    swapMs: mode === "factored" || mode === "rows" ? 0.02 : 4,
    p50UsRounds: [0.98 * p50Us, p50Us, 1.02 * p50Us],
    swapMsRounds: [4, 4, 4],
    residentBytesRounds: [2 ** 20],
    ...more,
  };
}
