/** The page's sections on devices and precisions: which one for which size, and what a lower precision costs. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import type { Block, Section } from "../../report/page.ts";
import type { Table } from "../../report/table.ts";
import type { Device } from "../../runtime/session.ts";
import type { CompareResult } from "./compare-team.ts";
import { precisionPairs } from "./device-advice.ts";
import { fastestModes } from "./fastest.ts";
import { chartBlock, counted, different, pointOf } from "./page-charts.ts";
import { bySize, ofOnePrecision } from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";
import { missingText } from "./targets.ts";

/** Devices side by side; nothing where there is one and none was left out. */
export async function deviceSections({ rows, targets, missing }: CompareResult): Promise<Section[]> {
  const exact = ofOnePrecision(rows);
  const devices = [...new Set(exact.map(({ device }) => device))];
  const blocks: Block[] = missing.map((target) => ({ kind: "text", text: `${missingText(target)}.` }));
  if (devices.length > 1) blocks.push(await duelCharts(exact, devices), duelTable(exact));
  const sections: Section[] = blocks.length > 0 ? [{ heading: "Which device", blocks }] : [];
  const half = targets.filter(({ precision }) => precision === "fp16");
  if (half.length > 0) sections.push(precisionSection(rows, half));
  return sections;
}

/** The quickest mode of each device over sizes of the team, a chart for each number of rows. */
function duelCharts(rows: readonly CompareRow[], devices: readonly Device[]): Promise<Block> {
  const charts = different(rows.map((row) => row.rows)).map((count) => ({
    title: `${counted(count, "row")} from each agent`,
    series: devices.map((device) => ({
      name: device,
      points: bySize(rows.filter((row) => row.rows === count && row.device === device)).flatMap((size) =>
        fastestModes(size)
          .slice(0, 1)
          .map((row) => pointOf(row, ({ p50Us, p50UsRounds }) => [p50Us, p50UsRounds])),
      ),
    })),
  }));
  return chartBlock(charts, {
    subtitle: "Median time of a team step, by the fastest mode",
    caption:
      "Each device with the mode that is the fastest there. Where lines cross, the other device takes over.",
    format: "microseconds",
  });
}

function duelTable(rows: readonly CompareRow[]): Block {
  const counts = different(rows.map((row) => row.rows));
  const table: Table = {
    columns: [{ title: "agents" }, ...counts.map((count) => ({ title: `${counted(count, "row")} each` }))],
    rows: different(rows.map(({ agents }) => agents)).map((agents) => [
      `${agents}`,
      ...counts.map((count) => winnerText(rows.filter((row) => row.agents === agents && row.rows === count))),
    ]),
  };
  const caption = "The fastest device and mode, and how many times as long the next device takes.";
  return { kind: "table", table, caption };
}

/** Such as `cpu, stacked (webgpu 4.1 ×)`. */
function winnerText(size: readonly CompareRow[]): string | null {
  const [best] = fastestModes(size);
  const [next] = fastestModes(size.filter(({ device }) => device !== best?.device));
  if (!best) return null;
  if (!next) return `${best.device}, ${best.mode}`;
  return `${best.device}, ${best.mode} (${next.device} ${formatCount(next.p50Us / best.p50Us, { digits: 2 })} ×)`;
}

function precisionSection(rows: readonly CompareRow[], targets: CompareResult["targets"]): Section {
  const columns: Table["columns"] = [
    { title: "device" },
    { title: "agents" },
    { title: "rows" },
    { title: "mode" },
    { title: "fp32", format: formatMicroseconds },
    { title: "fp16", format: formatMicroseconds },
    { title: "time", format: ratio },
    { title: "weights fp32", format: formatBytes },
    { title: "weights fp16", format: formatBytes },
    { title: "bytes", format: ratio },
  ];
  const pairs = targets.flatMap(({ device }) => precisionPairs(rows, device));
  const differences: Table = {
    columns: [
      { title: "device" },
      { title: "actions", format: (value) => value.toExponential(1) },
      { title: "any output", format: (value) => value.toExponential(1) },
    ],
    rows: targets.map(({ device, maxActionDiff, maxAbsDiff }) => [device, maxActionDiff, maxAbsDiff]),
  };
  const measured: Block = {
    kind: "table",
    table: {
      columns,
      rows: pairs.map(([half, full]) => [
        half.device,
        half.agents,
        half.rows,
        half.mode,
        full.p50Us,
        half.p50Us,
        half.p50Us / full.p50Us,
        full.weightBytes,
        half.weightBytes,
        half.weightBytes / full.weightBytes,
      ]),
    },
    caption: "What it gives: p50 of a team step and exact bytes of graphs and bank in both, fp16 over fp32.",
  };
  const caption =
    "What fp16 costs: the largest difference from the trained network, over 12 steps of random raw observations.";
  return {
    heading: "Half precision",
    blocks: [{ kind: "table", table: differences, caption }, ...(pairs.length > 0 ? [measured] : [])],
  };
}

function ratio(value: number): string {
  return formatCount(value, { digits: 2 });
}
