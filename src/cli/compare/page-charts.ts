/** The line charts of a comparison over sizes of the team: a line a mode, a chart a target, all of one scale. */
import type { AxisSpec, NumberFormat } from "../../report/axis.ts";
import type { Block } from "../../report/page.ts";
import { type LinePoint, type LineSeries, lineChart } from "../../report/plot.ts";
import { MODES, type Mode } from "./contract.ts";
import { byTarget, targetNames } from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";

/** What a chart's lines show: a value and what every round gave. */
export type RowValue = (row: CompareRow) => readonly [value: number, rounds: readonly number[]];

export interface ChartText {
  readonly title: string;
  readonly subtitle: string;
  readonly caption: string;
  readonly format: NumberFormat;
}

/** Of the plot in pixels: alone, and beside others. */
const WIDE = { width: 640, height: 260 };
const NARROW = { width: 280, height: 240 };

/** A line a mode over sizes of the team, its band from the lowest to the highest round; a chart a target. */
export async function targetCharts(
  rows: readonly CompareRow[],
  values: RowValue,
  text: ChartText,
): Promise<Block> {
  const names = targetNames(rows);
  const groups = byTarget(rows);
  const charts = groups.map((own) => ({
    title: groups.length === 1 ? text.title : `${text.title}, ${names.of(own[0]!)}`,
    series: modesOf(own).map((mode) => ({
      name: mode,
      points: own.filter((row) => row.mode === mode).map((row) => pointOf(row, values)),
    })),
  }));
  return chartBlock(charts, text);
}

/** Charts of one scale; one alone is wider. */
export async function chartBlock(
  charts: readonly { readonly title: string; readonly series: readonly LineSeries[] }[],
  { subtitle, caption, format }: Omit<ChartText, "title">,
): Promise<Block> {
  const holds = charts.flatMap(({ series }) => series.flatMap(({ points }) => points.flatMap(ends)));
  const y: AxisSpec = { title: "", scale: "log", format, holds };
  const size = charts.length === 1 ? WIDE : NARROW;
  const svgs = await Promise.all(
    charts.map(({ title, series }) =>
      lineChart({ title, subtitle, x: { title: "agents", scale: "log" }, y, points: true, series, ...size }),
    ),
  );
  return svgs.length === 1 ? { kind: "figure", svg: svgs[0]!, caption } : { kind: "figures", svgs, caption };
}

/** A size of the team with the band of all rounds. */
export function pointOf(row: CompareRow, values: RowValue): LinePoint {
  const [y, rounds] = values(row);
  return { x: row.agents, y, low: Math.min(...rounds), high: Math.max(...rounds) };
}

export function modesOf(rows: readonly CompareRow[]): Mode[] {
  return MODES.filter((mode) => rows.some((row) => row.mode === mode));
}

/** Ascending, each once. */
export function different(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

export function counted(count: number, thing: string): string {
  return `${count} ${count === 1 ? thing : `${thing}s`}`;
}

function ends({ y, low = y, high = y }: LinePoint): number[] {
  return [y, low, high];
}
