/** One learning curve out of several runs: mean and band; not how it is drawn. */
import { mean, standardDeviation } from "../base/statistics.ts";
import type { LinePoint } from "./plot.ts";

/** One run: figures over environment steps, steps ascending. */
export type Curve = readonly { readonly x: number; readonly y: number }[];

/**
 * Mean over runs at every x that any run has and all runs reach, others interpolated between their neighbours; the
 * band goes from the lowest to the highest run, or one population standard deviation to each side. Points that
 * are not finite are left out; a single run has no band.
 */
export function bandOverRuns(runs: readonly Curve[], band: "min-max" | "std"): LinePoint[] {
  const curves = runs.map((run) => run.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)));
  if (curves.length === 0 || curves.some((curve) => curve.length === 0)) return [];
  const from = Math.max(...curves.map((curve) => curve[0]!.x));
  const to = Math.min(...curves.map((curve) => curve.at(-1)!.x));
  const every = new Set(curves.flatMap((curve) => curve.map(({ x }) => x)));
  const shared = [...every].filter((x) => x >= from && x <= to).sort((a, b) => a - b);
  return shared.map((x) => {
    const values = curves.map((curve) => interpolate(curve, x));
    return curves.length === 1 ? { x, y: values[0]! } : { x, y: mean(values), ...ends(values, band) };
  });
}

function ends(values: readonly number[], band: "min-max" | "std"): { low: number; high: number } {
  if (band === "min-max") return { low: Math.min(...values), high: Math.max(...values) };
  const [centre, spread] = [mean(values), standardDeviation(values)];
  return { low: centre - spread, high: centre + spread };
}

/** `x` lies within the curve. */
function interpolate(curve: Curve, x: number): number {
  const after = curve.findIndex((point) => point.x >= x);
  const right = curve[after]!;
  if (right.x === x) return right.y;
  const left = curve[after - 1]!;
  return left.y + ((right.y - left.y) * (x - left.x)) / (right.x - left.x);
}
