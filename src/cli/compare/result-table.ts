/** The table of everything that a comparison measured, for the terminal and the page. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import type { Table } from "../../report/table.ts";
import { fastestModes } from "./fastest.ts";
import { bySize, targetNames } from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";

/** All measured rows, the fastest of each size marked; devices and precisions have columns where there are several. */
export function resultTable(rows: readonly CompareRow[]): Table {
  const { columns } = targetNames(rows);
  const fastest = new Set(bySize(rows).map((size) => fastestModes(size)[0]));
  return {
    columns: [
      { title: "agents" },
      { title: "rows" },
      ...columns.map((title) => ({ title })),
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
      ...columns.map((column) => row[column]),
      row.mode,
      row.p50Us,
      row.p99Us,
      row.actionsPerSecond,
      row.residentBytes,
      row.createMs,
      row.swapMs,
    ]),
    strong: [...rows.keys()].filter((index) => fastest.has(rows[index]!)),
  };
}

function milliseconds(value: number): string {
  return formatMicroseconds(value * 1e3);
}
