/** Memory of a process over time: samples in bytes, and how fast they rise. Not what is held. */
import { readFileSync } from "node:fs";
import { mean } from "../../../src/base/statistics.ts";

/** A value and when it was read. */
export interface Sample {
  readonly seconds: number;
  readonly value: number;
}

export interface Growth {
  readonly mean: number;
  /** Largest less smallest. */
  readonly range: number;
  /** Of the least-squares line through the samples. */
  readonly perSecond: number;
  /** What that line gains from the first sample that counts to the last. */
  readonly gained: number;
}

/** Leaves out the first third: what is taken once, when everything has run for the first time. */
export function growth(samples: readonly Sample[]): Growth {
  const settled = samples.slice(Math.floor(samples.length / 3));
  const values = settled.map(({ value }) => value);
  const times = settled.map(({ seconds }) => seconds);
  const [middle, centre] = [mean(times), mean(values)];
  let covariance = 0;
  let variance = 0;
  for (const { seconds, value } of settled) {
    covariance += (seconds - middle) * (value - centre);
    variance += (seconds - middle) ** 2;
  }
  const perSecond = covariance / variance;
  const gained = perSecond * (times.at(-1)! - times[0]!);
  return { mean: centre, range: Math.max(...values) - Math.min(...values), perSecond, gained };
}

/** Samples the resident memory of another process each second until it is stopped; none where the system does not tell. */
export function sampleResident(pid: number): { readonly samples: Sample[]; stop(): void } {
  const samples: Sample[] = [];
  const started = performance.now();
  const take = (): void => {
    const bytes = residentBytes(pid);
    if (bytes !== undefined) samples.push({ seconds: (performance.now() - started) / 1000, value: bytes });
  };
  const timer = setInterval(take, 1000);
  return { samples, stop: () => clearInterval(timer) };
}

function residentBytes(pid: number): number | undefined {
  try {
    const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
