/** The charts of an experiment's report: learning curves and final returns, a chart for each part that fits one. */
import type { AxisSpec, NumberFormat } from "../../report/axis.ts";
import { type IntervalRow, intervalChart } from "../../report/intervals.ts";
import { lineChart, type Marker } from "../../report/plot.ts";
import { SERIES } from "../../report/theme.ts";
import type { Difference } from "./comparison.ts";
import type { ExperimentReport, GroupReport, Spread } from "./report-data.ts";

export interface ReportChart {
  /** Of its SVG file, without the ending. */
  readonly file: string;
  readonly heading: string;
  readonly svg: string;
  readonly caption: string;
}

const CURVES = {
  return: { heading: "Return of training episodes", format: "count" },
  evaluationReturn: { heading: "Return of deterministic evaluations", format: "count" },
  evaluationWon: { heading: "Episodes won in evaluations", format: "percent" },
} as const satisfies Record<string, { heading: string; format: NumberFormat }>;

/** Groups that are told apart at a glance in one chart. */
const MOST_LINES = SERIES.length;

/** @param markers moments worth a line in the charts of a facet, such as the switch to adapters. */
export async function reportCharts(
  report: ExperimentReport,
  markers: (groups: readonly GroupReport[]) => readonly Marker[],
): Promise<ReportChart[]> {
  const facets = facetsOf(report.groups);
  const names = Object.keys(CURVES) as (keyof typeof CURVES)[];
  const shown = names.filter((name) => report.groups.some(({ curves }) => (curves[name]?.length ?? 0) > 1));
  const curves = shown.flatMap((name) => facets.map((facet) => curveChart(name, facet, facets, markers)));
  return Promise.all([...facets.flatMap((facet) => finalCharts(facet, besideOf(facet, facets))), ...curves]);
}

interface Facet {
  readonly title: string;
  readonly groups: readonly GroupReport[];
}

/** Groups that share a chart: of one task, split along axes until the lines can be told apart. */
export function facetsOf(groups: readonly GroupReport[]): Facet[] {
  let facets: Facet[] = splitBy({ title: "", groups }, ({ env }) => env);
  for (const axis of Object.keys(groups[0]?.labels ?? {})) {
    facets = facets.flatMap((facet) =>
      facet.groups.length <= MOST_LINES ? [facet] : splitBy(facet, ({ labels }) => labels[axis] ?? null),
    );
  }
  return facets.flatMap(inPieces);
}

/** A group without a place on the axis, such as a lone baseline, is in every part. */
function splitBy(facet: Facet, keyOf: (group: GroupReport) => string | null): Facet[] {
  const keys = [...new Set(facet.groups.map(keyOf))].filter((key) => key !== null);
  if (keys.length < 2) return [facet];
  return keys.map((key) => ({
    title: [facet.title, key].filter((part) => part !== "").join(", "),
    groups: facet.groups.filter((group) => [key, null].includes(keyOf(group))),
  }));
}

function inPieces({ title, groups }: Facet): Facet[] {
  const pieces: Facet[] = [];
  for (let at = 0; at < groups.length; at += MOST_LINES) {
    const number = groups.length > MOST_LINES ? ` (${at / MOST_LINES + 1})` : "";
    pieces.push({ title: `${title}${number}`, groups: groups.slice(at, at + MOST_LINES) });
  }
  return pieces;
}

async function curveChart(
  name: keyof typeof CURVES,
  facet: Facet,
  facets: readonly Facet[],
  markers: (groups: readonly GroupReport[]) => readonly Marker[],
): Promise<ReportChart> {
  const { heading, format } = CURVES[name];
  const { title, groups } = facet;
  const env = groups[0]!.env;
  const holds = besideOf(facet, facets).flatMap(({ curves }) =>
    (curves[name] ?? []).flatMap(({ y, low = y, high = y }) => [low, high]),
  );
  const y: AxisSpec = { title: "", format, holds, ...(format === "percent" && { zero: true }) };
  const svg = await lineChart({
    title: title === "" ? heading : `${heading}: ${title}`,
    subtitle: env,
    x: { title: "environment steps" },
    y,
    markers: markers(groups),
    series: groups.map((group) => ({ name: shortTitle(group, groups), points: group.curves[name] ?? [] })),
  });
  const caption = "Mean over seeds; the band goes from the lowest run to the highest.";
  return { file: fileName("curve", name, title), heading, svg, caption };
}

function finalCharts(facet: Facet, beside: readonly GroupReport[]): Promise<ReportChart>[] {
  // One group alone is told whole by its row of the table.
  if (beside.length === 1) return [];
  const charts: readonly (readonly [string, string, NumberFormat, (group: GroupReport) => Spread | null])[] =
    [
      ["return", "Final return", "count", (group) => group.return],
      ["won", "Final episodes won", "percent", ({ won }) => won],
    ];
  const finals = charts.flatMap(([name, heading, format, spreadOf]) =>
    facet.groups.every((group) => spreadOf(group) === null)
      ? []
      : [finalChart({ ...facet, name, heading, format, beside, spreadOf })],
  );
  const compared = facet.groups.some(({ baseline }) => baseline !== null);
  return compared ? [...finals, differenceChart(facet, beside)] : finals;
}

async function finalChart(
  asked: Facet & {
    readonly name: string;
    readonly heading: string;
    readonly format: NumberFormat;
    /** Groups whose charts have the same scale. */
    readonly beside: readonly GroupReport[];
    readonly spreadOf: (group: GroupReport) => Spread | null;
  },
): Promise<ReportChart> {
  const { name, heading, format, title, groups, beside, spreadOf } = asked;
  const rows = groups.flatMap((group) => {
    const spread = spreadOf(group);
    if (spread === null) return [];
    return [rowOf(shortTitle(group, groups), spread.interquartileMean, spread.values, spread.interval)];
  });
  const svg = await intervalChart({
    title: title === "" ? heading : `${heading}: ${title}`,
    subtitle: groups[0]!.env,
    format,
    holds: beside.flatMap((group) => spreadOf(group)?.values ?? []),
    rows,
  });
  const caption =
    "A faint dot a run; the strong one is their interquartile mean with its 95 % bootstrap interval.";
  return { file: fileName("final", name, title), heading, svg, caption };
}

/** Each group less its baseline: of episodes won where all tell it, like the table, else of returns. */
async function differenceChart(
  { title, groups }: Facet,
  beside: readonly GroupReport[],
): Promise<ReportChart> {
  const byWon = beside.every(({ baseline }) => baseline === null || baseline.won !== null);
  const differenceOf = ({ baseline }: GroupReport): Difference | null =>
    baseline && (byWon ? baseline.won : baseline.return);
  const rows = groups.flatMap((group) => {
    const difference = differenceOf(group);
    if (difference === null) return [];
    return [rowOf(shortTitle(group, groups), difference.value, difference.pairs ?? [], difference.interval)];
  });
  const heading = byWon ? "Episodes won, less the baseline's" : "Return, less the baseline's";
  const svg = await intervalChart({
    title: title === "" ? heading : `${heading}: ${title}`,
    subtitle: groups[0]!.env,
    format: byWon ? "percent" : "count",
    holds: beside.flatMap((group) => differenceOf(group)?.pairs ?? []),
    reference: 0,
    rows,
  });
  const caption =
    "A faint dot a pair of runs of one seed; the strong one is the difference with its 95 % bootstrap interval.";
  return { file: fileName("difference", byWon ? "won" : "return", title), heading, svg, caption };
}

function rowOf(
  label: string,
  value: number,
  values: readonly number[],
  interval: Spread["interval"],
): IntervalRow {
  return { label, value, values, ...(interval && { low: interval[0], high: interval[1] }) };
}

/** Charts of one task side by side have one scale. */
function besideOf({ groups: [first] }: Facet, facets: readonly Facet[]): GroupReport[] {
  return facets.flatMap(({ groups }) => groups).filter(({ env }) => env === first!.env);
}

/** A group's title without the words that all groups of the chart share. */
function shortTitle({ title }: GroupReport, groups: readonly GroupReport[]): string {
  const words = title.split(" ");
  const left = words.filter((word) => !groups.every((group) => group.title.split(" ").includes(word)));
  return left.length === 0 ? title : left.join(" ");
}

function fileName(kind: string, name: string, title: string): string {
  const words = [kind, name, title].filter((word) => word !== "").join("-");
  return words.replace(/[^A-Za-z0-9.+-]+/g, "-").replace(/-+$/, "");
}
