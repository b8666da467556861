/** Parts of Vega-Lite specifications that every kind of chart shares; not a chart. */
import type { Axis, AxisSpec } from "./axis.ts";

/** A layer, or part of one: plain JSON. */
export type Layer = Readonly<Record<string, unknown>>;

export function heading(chart: { readonly title: string; readonly subtitle?: string }): Layer {
  return {
    title: { text: chart.title, ...(chart.subtitle === undefined ? {} : { subtitle: chart.subtitle }) },
  };
}

/** What a chart shows, for those who cannot see it. */
export function describe(
  chart: { readonly title: string; readonly subtitle?: string },
  names: readonly string[],
): string {
  const shown = names.filter((name) => name !== "").join(", ");
  return [chart.title, chart.subtitle, shown].filter((part) => part !== undefined && part !== "").join(". ");
}

/** A channel that tells series apart without a legend. */
export function nominal(field: string, domain: readonly string[], range: readonly string[]): Layer {
  return { field, type: "nominal", scale: { domain, range }, legend: null };
}

/** Scale and axis of a channel with our own domain, ticks and labels. */
export function drawnAxis(spec: AxisSpec, axis: Axis, more: Layer): Layer {
  const labels = Object.fromEntries(axis.ticks.map(({ value, label }) => [value, label]));
  return {
    scale: {
      type: spec.scale ?? "linear",
      domain: axis.domain,
      nice: false,
      ...(spec.scale === "log" ? {} : { zero: false }),
    },
    axis: {
      title: spec.title === "" ? null : spec.title,
      values: axis.ticks.map(({ value }) => value),
      labelExpr: `${JSON.stringify(labels)}[datum.value]`,
      labelOverlap: true,
      labelFlush: false,
      ...more,
    },
  };
}
