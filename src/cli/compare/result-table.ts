/** The table of everything that a comparison measured, for the terminal and the page. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import type { Table } from "../../report/table.ts";
import { fastestModes } from "./advice.ts";
import type { CompareRow } from "./summary.ts";

/** All measured rows, the fastest of each size marked. */
export function resultTable(rows: readonly CompareRow[]): Table {
  return {
    columns: [
      { title: "agents" },
      { title: "rows" },
      { title: "mode" },
      { title: "p50", format: formatMicroseconds },
      { title: "p99", format: formatMicroseconds },
      { title: "actions/s", format: formatCount },
      { title: "memory", format: formatBytes },
      { title: "create", format: milliseconds },
      { title: "swap", format: milliseconds },
    ],
    rows: rows.map((row) => [
      row.agents,
      row.rows,
      row.mode,
      row.p50Us,
      row.p99Us,
      row.actionsPerSecond,
      row.residentBytes,
      row.createMs,
      row.swapMs,
    ]),
    strong: [...rows.keys()].filter((index) => isFastest(rows[index]!, rows)),
  };
}

function isFastest(row: CompareRow, rows: readonly CompareRow[]): boolean {
  return fastestModes(rows.filter((other) => sameSize(other, row)))[0] === row;
}

function sameSize(a: CompareRow, b: CompareRow): boolean {
  return a.agents === b.agents && a.rows === b.rows;
}

function milliseconds(value: number): string {
  return formatMicroseconds(value * 1e3);
}
