/** Measured rows by size and by target, and how both are called in words. */
import type { Target } from "./contract.ts";
import type { CompareRow } from "./summary.ts";

/** The rows of each size, in their order. */
export function bySize(rows: readonly CompareRow[]): CompareRow[][] {
  return grouped(rows, (row) => `${row.agents} ${row.rows}`);
}

/** The rows of each device and precision, in their order. */
export function byTarget(rows: readonly CompareRow[]): CompareRow[][] {
  return grouped(rows, targetKey);
}

/** Without other precisions than the first: what devices and modes are compared by. */
export function ofOnePrecision(rows: readonly CompareRow[]): CompareRow[] {
  return rows.filter(({ precision }) => precision === rows[0]!.precision);
}

export function isSameTarget(a: Target, b: Target): boolean {
  return targetKey(a) === targetKey(b);
}

/** What tells the targets of some rows apart, as a column of a table or words behind a mode. */
export interface TargetNames {
  readonly columns: readonly ("device" | "precision")[];
  /** Such as `webgpu` or `webgpu fp16`; empty where there is one target. */
  of(target: Target): string;
}

export function targetNames(targets: readonly Target[]): TargetNames {
  const columns = (["device", "precision"] as const).filter(
    (column) => new Set(targets.map((target) => target[column])).size > 1,
  );
  return { columns, of: (target) => columns.map((column) => target[column]).join(" ") };
}

export function sizeText({ agents, rows }: CompareRow): string {
  return `${agents} ${agents === 1 ? "agent" : "agents"} with ${rows} ${rows === 1 ? "row" : "rows"} each`;
}

export function sizeShort({ agents, rows }: CompareRow): string {
  return `${agents} × ${rows}`;
}

function targetKey({ device, precision }: Target): string {
  return `${device} ${precision}`;
}

function grouped(rows: readonly CompareRow[], key: (row: CompareRow) => string): CompareRow[][] {
  const groups = new Map<string, CompareRow[]>();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return [...groups.values()];
}
