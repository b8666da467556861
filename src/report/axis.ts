/** Domain, ticks and tick labels of a chart's axis, from the values on it; not how it is drawn. */
import { formatBytes, formatCount, formatMicroseconds, type Precision } from "../base/format.ts";

/** How an axis's numbers are written. `count`: 12k; `bytes`: 1.5 MiB; `microseconds`: 4.5 ms; `percent` of 1. */
export const NUMBER_FORMATS = {
  count: formatCount,
  bytes: formatBytes,
  microseconds: formatMicroseconds,
  percent: (part: number, precision?: Precision): string => `${formatCount(part * 100, precision)}%`,
} as const satisfies Record<string, (value: number, precision?: Precision) => string>;

export type NumberFormat = keyof typeof NUMBER_FORMATS;

/** An axis as a caller asks for it. */
export interface AxisSpec {
  readonly title: string;
  /** Linear unless said otherwise. Values of 0 or less have no place on a log axis and are left out. */
  readonly scale?: "linear" | "log";
  /** `count` unless said otherwise. */
  readonly format?: NumberFormat;
  /** Whether a linear axis starts at 0. */
  readonly zero?: boolean;
  /** Values that the axis has room for besides those drawn, so that charts side by side have the same. */
  readonly holds?: readonly number[];
}

/** An axis as it is drawn. */
export interface Axis {
  readonly domain: readonly [number, number];
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
  /** Where a value lies: 0 at the start of the domain, 1 at its end. */
  readonly position: (value: number) => number;
  /** The value that lies at a position. */
  readonly valueAt: (position: number) => number;
}

/** About this many ticks, so that labels have room. */
const TICKS = 5;
/** At most this many different values on a log axis are ticks themselves, such as 1, 8 and 64 rows. */
const MAX_VALUE_TICKS = 8;

/** Whether a value can be drawn on the axis. */
export function drawable(spec: AxisSpec, value: number): boolean {
  return Number.isFinite(value) && (spec.scale !== "log" || value > 0);
}

/**
 * The axis that holds every drawable value. `values` may be empty: the domain is then [0, 1], or [1, 10] if log.
 * `margin` is the part of a linear domain's length added at each end, so that lines do not touch the edge.
 */
export function layOutAxis(spec: AxisSpec, values: readonly number[], margin = 0): Axis {
  const drawn = [...values, ...(spec.holds ?? [])].filter((value) => drawable(spec, value));
  return spec.scale === "log" ? logAxis(spec, drawn) : linearAxis(spec, drawn, margin);
}

function linearAxis(spec: AxisSpec, values: readonly number[], margin: number): Axis {
  const domain = linearDomain(values, spec.zero ?? false, margin);
  const ticks = linearTicks(domain, spec.format);
  return {
    domain,
    ticks: labelled(spec, ticks),
    position: (value) => (value - domain[0]) / (domain[1] - domain[0]),
    valueAt: (position) => domain[0] + position * (domain[1] - domain[0]),
  };
}

function linearTicks([low, high]: readonly [number, number], format: NumberFormat = "count"): number[] {
  const step = niceStep((high - low) / TICKS, format);
  // Tolerance: 0.07 / 0.01 is a little more than 7.
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function linearDomain(values: readonly number[], zero: boolean, margin: number): readonly [number, number] {
  const [least, most] = extent(zero ? [0, ...values] : values, [0, 1]);
  if (least === most)
    return least === 0 ? [0, 1] : [least - Math.abs(least) / 2, least + Math.abs(least) / 2];
  const room = margin * (most - least);
  // An end at 0 stays there: what cannot be negative should not look as if it could.
  return [least === 0 ? 0 : least - room, most === 0 ? 0 : most + room];
}

function logAxis(spec: AxisSpec, values: readonly number[]): Axis {
  const [low, high] = extent(values, [1, 10]);
  // A little room at both ends, so that markers are not cut.
  const room = low === high ? 2 : (high / low) ** 0.04;
  const domain = [low / room, high * room] as const;
  const different = [...new Set(values)].sort((a, b) => a - b);
  const few = spec.format === undefined && different.length > 0 && different.length <= MAX_VALUE_TICKS;
  const powers = few ? different : logTicks(domain, spec.format);
  // Within less than a factor of two there may be none.
  const chosen = powers.length > 0 ? powers : linearTicks(domain, spec.format);
  const span = Math.log(domain[1] / domain[0]);
  return {
    domain,
    ticks: labelled(spec, chosen),
    position: (value) => Math.log(value / domain[0]) / span,
    valueAt: (position) => domain[0] * Math.exp(position * span),
  };
}

/** Powers of ten, thinned out where there are many, with 2 and 5 between where there are few; for bytes, of two. */
function logTicks([low, high]: readonly [number, number], format: NumberFormat = "count"): number[] {
  const base = format === "bytes" ? 2 : 10;
  const logarithm = (value: number): number => Math.log(value) / Math.log(base);
  const powers = logarithm(high / low);
  const factors = base === 10 && powers < 3 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.round(powers / 7));
  const ticks: number[] = [];
  for (let power = Math.floor(logarithm(low)); power <= Math.ceil(logarithm(high)); power++) {
    if (power % every !== 0) continue;
    for (const factor of factors) ticks.push(Number((factor * base ** power).toPrecision(12)));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

/** 1, 2 or 5 times a power of ten at or above `least`; for bytes, a power of two. */
function niceStep(least: number, format: NumberFormat): number {
  if (format === "bytes") return 2 ** Math.ceil(Math.log2(least));
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= least * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** Three digits, or as many more as tell the ticks apart. */
function labelled(spec: AxisSpec, ticks: readonly number[]): { value: number; label: string }[] {
  const format = NUMBER_FORMATS[spec.format ?? "count"];
  let labels: string[] = [];
  for (let digits = 3; digits <= 12; digits++) {
    labels = ticks.map((value) => format(value, { digits }));
    if (new Set(labels).size === ticks.length) break;
  }
  return ticks.map((value, i) => ({ value, label: labels[i]! }));
}

function extent(values: readonly number[], none: readonly [number, number]): readonly [number, number] {
  if (values.length === 0) return none;
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ] as readonly [number, number]);
}
