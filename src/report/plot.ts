/** Line charts as SVG text. Not where their data come from, nor the page around them. */
import { type Axis, type AxisSpec, drawable, layOutAxis } from "./axis.ts";
import { describe, drawnAxis, heading, type Layer, nominal } from "./layers.ts";
import { spreadApart } from "./spread.ts";
import { renderSvg } from "./svg.ts";
import { INK, SERIES, SHAPES } from "./theme.ts";

/** A point of a line, with the ends of the band around it if there is one. */
export interface LinePoint {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
}

export interface LineSeries {
  /** Unique in the chart; written at the line's end. */
  readonly name: string;
  readonly points: readonly LinePoint[];
  /** Drawn dashed and unlabelled in the colour of the series so named, such as a p99 beside its p50. */
  readonly dashedBeside?: string;
}

export interface Marker {
  readonly x: number;
  readonly label: string;
}

export interface LineChart {
  readonly title: string;
  readonly subtitle?: string;
  readonly x: AxisSpec;
  readonly y: AxisSpec;
  readonly series: readonly LineSeries[];
  /** Whether measured points are marked, for lines of few points. */
  readonly points?: boolean;
  /** Moments worth a thin vertical line, such as the switch to adapters. */
  readonly markers?: readonly Marker[];
  /** Of the plot itself, in pixels: 640 × 300. */
  readonly width?: number;
  readonly height?: number;
}

/** Least distance in pixels between the labels at the ends of lines. */
const LABEL_GAP = 16;
/** A y axis's title stands above it and reads from left to right. */
const TITLE_ON_TOP = { titleAngle: 0, titleAlign: "left", titleAnchor: "end", titleX: 0, titleY: -10 };

/** Lines with optional bands, each labelled at its end in its own colour; points that an axis cannot hold are left out. */
export function lineChart(chart: LineChart): Promise<string> {
  const { width = 640, height = 300 } = chart;
  const series = chart.series.map((line) => ({ ...line, points: drawablePoints(line, chart) }));
  const points = series.flatMap((line) => line.points);
  const xAxis = layOutAxis(
    chart.x,
    points.map((point) => point.x),
  );
  const yAxis = layOutAxis(
    chart.y,
    points.flatMap(({ y, low = y, high = y }) => [y, low, high]),
    0.04,
  );
  const names = series.map(({ name }) => name);
  const colour = names.map((name) => SERIES[colourIndex(series, name)]!.light);
  const shape = names.map((name) => SHAPES[colourIndex(series, name)]!);
  const encoding = {
    x: {
      field: "x",
      type: "quantitative",
      ...drawnAxis(chart.x, xAxis, { grid: false, domain: true, domainColor: INK.rule.light }),
    },
    y: { field: "y", type: "quantitative", ...drawnAxis(chart.y, yAxis, TITLE_ON_TOP) },
    color: nominal("series", names, colour),
  };
  const specification = {
    ...heading(chart),
    width,
    height,
    data: {
      values: series.flatMap(({ name, points: own }) => own.map((point) => ({ series: name, ...point }))),
    },
    layer: [
      ...markerLayers(chart.markers ?? [], xAxis, encoding.x, height),
      bandLayer(encoding, series.filter((line) => line.points.some(({ low }) => low !== undefined)).length),
      lineLayer(encoding, namesOf(series, false), { strokeWidth: 2 }),
      lineLayer(encoding, namesOf(series, true), { strokeWidth: 1.5, strokeDash: [4, 3] }),
      ...(chart.points ? [pointLayer(encoding, names, shape)] : []),
      labelLayer(encoding, endLabels(series, yAxis, height)),
    ],
  };
  return renderSvg(specification, describe(chart, names));
}

type LineEncoding = Readonly<Record<"x" | "y" | "color", Layer>>;

/** The points that both axes can hold; a band whose ends the y axis cannot hold is dropped. */
function drawablePoints(line: LineSeries, chart: LineChart): LinePoint[] {
  const held = (value = Number.NaN): boolean => drawable(chart.y, value);
  return line.points
    .filter((point) => drawable(chart.x, point.x) && held(point.y))
    .map(({ x, y, low, high }) => (held(low) && held(high) ? { x, y, low: low!, high: high! } : { x, y }));
}

function namesOf(series: readonly LineSeries[], dashed: boolean): string[] {
  return series.filter((line) => (line.dashedBeside !== undefined) === dashed).map(({ name }) => name);
}

/** Colours go round in the order of the undashed series; a dashed one has that of its companion. */
function colourIndex(series: readonly LineSeries[], name: string): number {
  const companion = series.find((line) => line.name === name)?.dashedBeside ?? name;
  return Math.max(0, namesOf(series, false).indexOf(companion)) % SERIES.length;
}

/** Many bands over one another stay lighter than the lines. */
function bandLayer(encoding: LineEncoding, bands: number): Layer {
  return {
    transform: [{ filter: "isValid(datum.low)" }],
    mark: { type: "area", opacity: Math.min(0.16, 0.36 / bands) },
    encoding: { ...encoding, y: { ...encoding.y, field: "low" }, y2: { field: "high" } },
  };
}

function lineLayer(encoding: LineEncoding, names: readonly string[], style: Layer): Layer {
  return {
    transform: [{ filter: { field: "series", oneOf: names } }],
    mark: { type: "line", strokeJoin: "round", strokeCap: "round", ...style },
    encoding,
  };
}

function pointLayer(encoding: LineEncoding, names: readonly string[], shapes: readonly string[]): Layer {
  const shape = nominal("series", names, shapes);
  return { mark: { type: "point", filled: true, size: 50, opacity: 1 }, encoding: { ...encoding, shape } };
}

function markerLayers(markers: readonly Marker[], axis: Axis, x: Layer, height: number): Layer[] {
  const inside = markers.filter((marker) => axis.position(marker.x) >= 0 && axis.position(marker.x) <= 1);
  const data = { values: inside };
  const text = {
    type: "text",
    align: "left",
    baseline: "bottom",
    dx: 6,
    color: INK.muted.light,
    fontSize: 12,
  };
  return [
    { data, mark: { type: "rule", color: INK.rule.light, strokeDash: [2, 3] }, encoding: { x } },
    { data, mark: text, encoding: { x, y: { value: height - 6 }, text: { field: "label" } } },
  ];
}

function labelLayer(encoding: LineEncoding, labels: readonly Layer[]): Layer {
  return {
    data: { values: labels },
    mark: { type: "text", align: "left", dx: 9, fontSize: 12, fontWeight: 600 },
    encoding: { ...encoding, text: { field: "series" } },
  };
}

/** A label at the last point of each undashed line, moved up or down as little as keeps labels apart. */
function endLabels(series: readonly LineSeries[], axis: Axis, height: number): Layer[] {
  const ends = series
    .filter((line) => line.dashedBeside === undefined && line.points.length > 0)
    .map((line) => ({ series: line.name, last: line.points.at(-1)! }))
    .map((end) => ({ ...end, at: axis.position(end.last.y) * height }))
    .sort((a, b) => a.at - b.at);
  const spread = spreadApart(
    ends.map((end) => end.at),
    LABEL_GAP,
    height,
  );
  return ends.map((end, i) => ({ series: end.series, x: end.last.x, y: axis.valueAt(spread[i]! / height) }));
}
