/** Charts of a few figures with what they were taken from: every value a dot, their middle with its interval. */
import { type AxisSpec, layOutAxis, NUMBER_FORMATS, type NumberFormat } from "./axis.ts";
import { describe, drawnAxis, heading, type Layer } from "./layers.ts";
import { renderSvg } from "./svg.ts";
import { INK, SERIES } from "./theme.ts";

export interface IntervalRow {
  /** Unique in the chart. */
  readonly label: string;
  readonly value: number;
  /** What the value sums up. */
  readonly values: readonly number[];
  /** Ends of the value's interval. */
  readonly low?: number;
  readonly high?: number;
}

export interface IntervalChart {
  readonly title: string;
  readonly subtitle?: string;
  readonly format?: NumberFormat;
  /** Values that the axis has room for besides those drawn, so that charts side by side have the same. */
  readonly holds?: readonly number[];
  /** A value worth a thin vertical line, such as the 0 of differences; the axis holds it. */
  readonly reference?: number;
  readonly rows: readonly IntervalRow[];
}

/** Of the plot, in pixels; each row takes as much of its height. */
const WIDTH = 560;
const ROW_STEP = 32;

/** A line a row on a common axis that need not start at 0; rows that are not finite are left out. */
export function intervalChart(chart: IntervalChart): Promise<string> {
  const rows = chart.rows.filter(({ value }) => Number.isFinite(value));
  const ends = rows.flatMap(({ value, values, low = value, high = value }) => [value, low, high, ...values]);
  const references = chart.reference === undefined ? [] : [chart.reference];
  const holds = [...(chart.holds ?? []), ...references];
  const xSpec: AxisSpec = { title: "", format: chart.format ?? "count", holds };
  const x = { type: "quantitative", ...drawnAxis(xSpec, layOutAxis(xSpec, ends, 0.05), {}) };
  const labels = rows.map(({ label }) => label);
  const y: Layer = {
    field: "label",
    type: "nominal",
    sort: null,
    scale: { domain: labels },
    axis: { title: null, grid: false, labelColor: INK.text.light, labelLimit: 260, labelPadding: 14 },
  };
  const colour = SERIES[0].light;
  const write = NUMBER_FORMATS[chart.format ?? "count"];
  const specification = {
    ...heading(chart),
    width: WIDTH,
    height: Math.max(1, rows.length) * ROW_STEP,
    layer: [
      {
        data: { values: references.map((value) => ({ value })) },
        mark: { type: "rule", color: INK.rule.light },
        encoding: { x: { field: "value", ...x } },
      },
      {
        data: { values: rows.flatMap(({ label, values }) => values.map((value) => ({ label, value }))) },
        mark: { type: "point", filled: true, size: 36, opacity: 0.35, color: colour },
        encoding: { y, x: { field: "value", ...x } },
      },
      {
        data: { values: rows.filter(({ low, high }) => low !== undefined && high !== undefined) },
        mark: { type: "rule", strokeWidth: 2, color: colour },
        encoding: { y, x: { field: "low", ...x }, x2: { field: "high" } },
      },
      {
        data: { values: rows.map(({ label, value }) => ({ label, value })) },
        mark: { type: "point", filled: true, size: 90, opacity: 1, color: colour },
        encoding: { y, x: { field: "value", ...x } },
      },
      {
        data: { values: rows.map(({ label, value }) => ({ label, value, text: write(value) })) },
        mark: { type: "text", baseline: "bottom", dy: -6, fontSize: 11, color: INK.text.light },
        encoding: { y, x: { field: "value", ...x }, text: { field: "text" } },
      },
    ],
  };
  return renderSvg(specification, describe(chart, labels));
}
