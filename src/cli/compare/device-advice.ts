/** What devices, precisions and many adapters cost and give, in sentences, out of the numbers that were measured. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import { median } from "../../base/statistics.ts";
import type { Precision } from "../../checkpoint/repository.ts";
import type { Device } from "../../runtime/session.ts";
import { fastestModes } from "./fastest.ts";
import type { AdaptersMemory } from "./many-adapters.ts";
import { bySize, sizeText } from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";
import type { VerifiedTarget } from "./targets.ts";

/** The quickest way of each device for one size of team and rows, and how far apart. */
export interface DeviceDuel {
  readonly own: CompareRow;
  readonly other: CompareRow;
  /** Time on `other` of that on `own`: above 1 where `own` wins. */
  readonly gain: number;
}

/** Less than this apart is as quick. */
const SAME = 1.05;
const HALF: Precision = "fp16";

/** One for each size that both devices were measured with. @param rows of one precision. */
export function duels(rows: readonly CompareRow[], own: Device, other: Device): DeviceDuel[] {
  return bySize(rows).flatMap((size) => {
    const [mine] = fastestModes(size.filter(({ device }) => device === own));
    const [theirs] = fastestModes(size.filter(({ device }) => device === other));
    return mine && theirs ? [{ own: mine, other: theirs, gain: theirs.p50Us / mine.p50Us }] : [];
  });
}

/** Where each device beats the first one, which is the CPU if that was measured. */
export function deviceReasons(rows: readonly CompareRow[]): string[] {
  const devices = [...new Set(rows.map(({ device }) => device))];
  const base = devices.includes("cpu") ? "cpu" : devices[0]!;
  return devices.filter((device) => device !== base).map((device) => crossover(rows, device, base));
}

function crossover(rows: readonly CompareRow[], own: Device, base: Device): string {
  const all = duels(rows, own, base);
  const won = all.filter(({ gain }) => gain > SAME);
  if (won.length === 0) return neverWon(all, own, base);
  const least = won.toSorted((a, b) => rowsOfStep(a) - rowsOfStep(b))[0]!;
  const most = won.toSorted((a, b) => b.gain - a.gain)[0]!;
  const where =
    won.length === all.length ? `all ${all.length} sizes` : `${won.length} of ${all.length} sizes`;
  const smallest = `the smallest ${sizeText(least.own)} (${formatCount(rowsOfStep(least))} rows a step, ${least.own.mode})`;
  return (
    `${own} is faster than ${base} at ${where}, ${smallest}, by up to ${times(most.gain)} (${sizeText(most.own)}).` +
    (won.length === all.length ? "" : ` At the others stay on ${base}.`)
  );
}

function neverWon(all: readonly DeviceDuel[], own: Device, base: Device): string {
  const losses = all.map(({ gain }) => 1 / gain);
  const nearest = all.toSorted((a, b) => b.gain - a.gain)[0];
  if (!nearest) return `${own} and ${base} have no size in common.`;
  return (
    `${base} is the faster device, or as fast, at all ${all.length} sizes: a step on ${own} takes ${formatCount(Math.min(...losses), { digits: 2 })} to ` +
    `${times(Math.max(...losses))} as long, nearest at ${sizeText(nearest.own)}. Small policies are often fastest on the CPU, since a device costs the way to it.`
  );
}

/** What each lower precision costs and gives on a device, of the same modes and sizes in fp32. */
export function precisionReasons(rows: readonly CompareRow[], targets: readonly VerifiedTarget[]): string[] {
  return targets
    .filter(({ precision }) => precision === HALF)
    .flatMap(({ device, maxActionDiff }) => {
      const pairs = precisionPairs(rows, device);
      if (pairs.length === 0) return [];
      const ratio = (of: (row: CompareRow) => number): string =>
        formatCount(median(pairs.map(([half, full]) => of(half) / of(full))), { digits: 2 });
      return [
        `fp16 on ${device}: actions differ from the trained network's by at most ${maxActionDiff.toExponential(1)}; ` +
          `weights take ${ratio(({ weightBytes }) => weightBytes)} times fp32's bytes, and a step ${ratio(({ p50Us }) => p50Us)} times its time (medians).`,
      ];
    });
}

/** The fp16 and the fp32 row of every mode and size that a device was measured with in both. */
export function precisionPairs(
  rows: readonly CompareRow[],
  device: Device,
): (readonly [half: CompareRow, full: CompareRow])[] {
  const own = rows.filter((row) => row.device === device);
  return own
    .filter(({ precision }) => precision === HALF)
    .flatMap((half) => {
      const full = own.find(
        (row) =>
          row.precision === "fp32" &&
          row.mode === half.mode &&
          row.agents === half.agents &&
          row.rows === half.rows,
      );
      return full ? [[half, full] as const] : [];
    });
}

/** Memory of many adapters on each target. */
export function adaptersReasons(measured: readonly AdaptersMemory[]): string[] {
  return measured.map(({ device, precision, adapters, factored, merged, sessions, ratio }) => {
    const place = device === "cpu" ? "hostBytes" : "deviceBytes";
    const scaled = sessions < adapters ? ` (${sessions} sessions loaded, scaled)` : "";
    return (
      `${formatCount(adapters)} adapters on ${device}${precision === HALF ? " in fp16" : ""}: ${formatBytes(factored[place])} on one ` +
      `backbone, ${formatBytes(merged[place])} as merged graphs${scaled}, ${ratio <= 1 ? `1/${formatCount(1 / ratio, { digits: 2 })}` : times(ratio)} of the memory.`
    );
  });
}

/** A time in words beside a device's name, for the first sentence. */
export function placeText({ device }: CompareRow, isMany: boolean): string {
  return isMany ? ` on ${device}` : "";
}

/** The other devices' quickest ways for the size of a row, in words; empty without any. */
export function otherDevices(row: CompareRow, rows: readonly CompareRow[]): string {
  const devices = [...new Set(rows.map(({ device }) => device))].filter((device) => device !== row.device);
  const parts = devices.flatMap((device) => {
    const [best] = fastestModes(rows.filter((each) => each.device === device));
    return best ? [`${formatMicroseconds(best.p50Us)} on ${device} (${best.mode})`] : [];
  });
  return parts.length === 0 ? "" : ` The quickest elsewhere: ${parts.join(", ")}.`;
}

function rowsOfStep({ own }: DeviceDuel): number {
  return own.agents * own.rows;
}

function times(ratio: number): string {
  return `${formatCount(ratio, { digits: 2 })} times`;
}
