/** Bar charts as SVG text: a few numbers side by side, each written out. */
import { type AxisSpec, layOutAxis, NUMBER_FORMATS, type NumberFormat } from "./axis.ts";
import { describe, drawnAxis, heading, type Layer, nominal } from "./layers.ts";
import { renderSvg } from "./svg.ts";
import { INK, SERIES } from "./theme.ts";

export interface Bar {
  readonly label: string;
  /** Bars of one label stand together, one a series. */
  readonly series?: string;
  readonly value: number;
  /** Ends of a whisker. */
  readonly low?: number;
  readonly high?: number;
}

export interface BarChart {
  readonly title: string;
  readonly subtitle?: string;
  readonly format?: NumberFormat;
  readonly bars: readonly Bar[];
  /** Of the longest bar, in pixels: 560. */
  readonly width?: number;
}

/** Height in pixels that a bar takes with its share of the gaps. */
const BAR_STEP = 26;
const BAR_MARK = { type: "bar", height: { band: 0.86 } };

/** Horizontal bars from 0, each with its value and its series beside it. */
export function barChart(chart: BarChart): Promise<string> {
  const bars = chart.bars.filter((bar) => Number.isFinite(bar.value));
  const values = bars.flatMap(({ value, low = value, high = value }) => [value, low, high]);
  const xSpec: AxisSpec = { title: "", zero: true, format: chart.format ?? "count" };
  const x = { type: "quantitative", ...drawnAxis(xSpec, layOutAxis(xSpec, values), {}) };
  const names = [...new Set(bars.map(({ series = "" }) => series))];
  const color = nominal(
    "series",
    names,
    names.map((_, i) => SERIES[i % SERIES.length]!.light),
  );
  const place = barPlace(names);
  const specification = {
    ...heading(chart),
    width: chart.width ?? 560,
    height: Math.max(1, bars.length) * BAR_STEP,
    data: { values: bars.map((bar) => barRow(bar, NUMBER_FORMATS[chart.format ?? "count"])) },
    layer: [
      { mark: BAR_MARK, encoding: { ...place, x: { field: "value", ...x }, color } },
      {
        mark: { type: "rule", strokeWidth: 1.5, color: INK.text.light },
        encoding: { ...place, x: { field: "low", ...x }, x2: { field: "high" } },
      },
      {
        mark: { type: "text", align: "left", dx: 6, fontSize: 12, color: INK.text.light },
        encoding: { ...place, x: { field: "end", ...x }, text: { field: "text" } },
      },
    ],
  };
  return renderSvg(specification, describe(chart, names));
}

/** What a bar's marks need: its value in words stands after whatever reaches farthest. */
function barRow(bar: Bar, format: (value: number) => string): Layer {
  const { series = "", value, high = value } = bar;
  const text = series === "" ? format(value) : `${format(value)}  ${series}`;
  return { ...bar, series, end: Math.max(value, high, 0), text };
}

function barPlace(names: readonly string[]): Layer {
  const axis = { title: null, grid: false, labelColor: INK.text.light, labelLimit: 260 };
  const scale = { paddingInner: names.length > 1 ? 0.25 : 0.1, paddingOuter: 0.1 };
  const y = { field: "label", type: "nominal", sort: null, axis, scale };
  return names.length > 1 ? { y, yOffset: { field: "series", sort: null, scale: { domain: names } } } : { y };
}
