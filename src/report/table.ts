/** Tables of text and numbers, and their form on a terminal; `page.ts` gives them theirs in HTML. */
import { formatCount } from "../base/format.ts";

/** Null where there is nothing to say. */
export type Cell = string | number | null;

export interface Column {
  readonly title: string;
  /** How the column's numbers are written; as counts (12.3k) unless said otherwise. */
  readonly format?: (value: number) => string;
}

export interface Table {
  readonly columns: readonly Column[];
  /** One cell a column. */
  readonly rows: readonly (readonly Cell[])[];
  /** Indices of rows that deserve a look, such as the one that is advised. */
  readonly strong?: readonly number[];
}

/** A table as it is written: all text, with the columns that stand to the right. */
export interface WrittenTable {
  readonly titles: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** True for a column whose cells are all numbers or empty. */
  readonly numeric: readonly boolean[];
}

const GAP = "  ";

/** Formats every cell; a missing or null one is `–`. */
export function writeTable({ columns, rows }: Table): WrittenTable {
  return {
    titles: columns.map(({ title }) => title),
    rows: rows.map((row) => columns.map((column, i) => writeCell(row[i] ?? null, column))),
    numeric: columns.map((_, i) => rows.every((row) => typeof (row[i] ?? 0) === "number")),
  };
}

/** Aligned lines with a rule under the titles, numbers to the right; a strong row is marked by `›` in front. */
export function terminalTable(table: Table): string {
  const { titles, rows, numeric } = writeTable(table);
  const widths = titles.map((title, i) => Math.max(...[title, ...rows.map((row) => row[i]!)].map(columnsOf)));
  const marked = (table.strong?.length ?? 0) > 0;
  const line = (cells: readonly string[], strong: boolean): string => {
    const padded = cells.map((cell, i) => pad(cell, widths[i]!, numeric[i]!)).join(GAP);
    return `${marked ? (strong ? "› " : "  ") : ""}${padded}`.trimEnd();
  };
  const rule = line(
    widths.map((width) => "─".repeat(width)),
    false,
  );
  const body = rows.map((row, i) => line(row, table.strong?.includes(i) ?? false));
  return `${[line(titles, false), rule, ...body].join("\n")}\n`;
}

function writeCell(cell: Cell, column: Column): string {
  if (cell === null) return "–";
  return typeof cell === "string" ? cell : (column.format ?? formatCount)(cell);
}

function pad(text: string, width: number, right: boolean): string {
  const space = " ".repeat(width - columnsOf(text));
  return right ? space + text : text + space;
}

/** Terminal columns of a text, taking each character for one. */
function columnsOf(text: string): number {
  return [...text].length;
}
