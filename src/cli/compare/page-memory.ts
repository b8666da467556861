/** The page's sections on memory and swaps: a loaded team, many adapters, and new weights for one agent. */
import { formatBytes, formatCount } from "../../base/format.ts";
import { barChart } from "../../report/bars.ts";
import type { Block, Section } from "../../report/page.ts";
import type { Table } from "../../report/table.ts";
import type { LoadedBytes } from "./contract.ts";
import type { AdaptersMemory } from "./many-adapters.ts";
import { counted, targetCharts } from "./page-charts.ts";
import { ofOnePrecision, targetNames } from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";

const ON_A_DEVICE =
  " On a device: exact bytes of weights and bank in its memory; buffers of a run and what the library keeps aside are not in it.";

export async function memorySection(
  rows: readonly CompareRow[],
  adapters: readonly AdaptersMemory[],
): Promise<Section> {
  const fewest = Math.min(...rows.map((row) => row.rows));
  const own = rows.filter((row) => row.rows === fewest);
  const more = own.some(({ device }) => device !== "cpu") ? ON_A_DEVICE : "";
  const chart = await targetCharts(
    ofOnePrecision(own),
    ({ residentBytes, residentBytesRounds }) => [residentBytes, residentBytesRounds],
    {
      title: "Memory of a loaded team",
      subtitle: `Where it runs, after steps of ${counted(fewest, "row")} an agent`,
      caption: `Growth of the process: sessions, weights, buffers of a run and the bank; not the library itself, which every mode needs once.${more}`,
      format: "bytes",
    },
  );
  return {
    heading: "Memory",
    blocks: [chart, memoryTable(own), ...(await adapterBlocks(adapters))],
  };
}

function memoryTable(rows: readonly CompareRow[]): Block {
  const { columns } = targetNames(rows);
  const elsewhere = rows.some(({ device }) => device !== "cpu");
  const table: Table = {
    columns: [
      { title: "agents" },
      ...columns.map((title) => ({ title })),
      { title: "mode" },
      { title: "backbone", format: formatBytes },
      { title: "bank", format: formatBytes },
      { title: "an adapter", format: formatBytes },
      { title: elsewhere ? "on the device" : "weights", format: formatBytes },
      { title: "process", format: formatBytes },
      ...(elsewhere ? [] : [{ title: "process ÷ weights", format: twoDigits }]),
    ],
    rows: rows.map((row) => [
      row.agents,
      ...columns.map((column) => row[column]),
      row.mode,
      row.backboneBytes,
      row.bankBytes || null,
      row.adapterBytes || null,
      elsewhere ? row.deviceBytes || null : row.weightBytes,
      row.hostBytes,
      ...(elsewhere ? [] : [row.hostBytes / row.weightBytes]),
    ]),
  };
  const caption = "Exact bytes of the numbers in graphs and bank, and what the process grew by.";
  return { kind: "table", table, caption };
}

/** One backbone with a bank against merged graphs, by target. */
async function adapterBlocks(measured: readonly AdaptersMemory[]): Promise<Block[]> {
  const [first] = measured;
  if (!first) return [];
  const names = targetNames(measured);
  const bars = measured.flatMap((each) =>
    (["factored", "merged"] as const).map((way) => ({
      label: names.of(each),
      series: way,
      value: placeBytes(each, each[way]),
    })),
  );
  const svg = await barChart({
    title: `Memory of ${formatCount(first.adapters)} adapters`,
    subtitle: "Where the model runs: the process, or the device's own memory",
    format: "bytes",
    bars,
  });
  const scaled = measured.some(({ sessions, adapters }) => sessions < adapters);
  const caption =
    "factored: one backbone, the graph for teams and the one for rows, and a bank of all adapters. merged: a graph and session each" +
    (scaled ? `; ${first.sessions} were loaded and their memory scaled.` : ".");
  return [{ kind: "figure", svg, caption }, adaptersTable(measured)];
}

function adaptersTable(measured: readonly AdaptersMemory[]): Block {
  const bytes = (title: string) => ({ title, format: formatBytes });
  const table: Table = {
    columns: [
      { title: "device" },
      { title: "precision" },
      bytes("factored, device"),
      bytes("factored, process"),
      bytes("merged, device"),
      bytes("merged, process"),
      { title: "factored ÷ merged", format: twoDigits },
    ],
    rows: measured.map(({ device, precision, factored, merged, ratio }) => [
      device,
      precision,
      factored.deviceBytes || null,
      factored.hostBytes,
      merged.deviceBytes || null,
      merged.hostBytes,
      ratio,
    ]),
  };
  return { kind: "table", table, caption: "The ratio is that of the memory where the model runs." };
}

/** By the first precision: a slot of half the bytes tells nothing new. */
export async function swapSection(all: readonly CompareRow[]): Promise<Section> {
  const rows = ofOnePrecision(all);
  const names = targetNames(rows);
  const fewest = Math.min(...rows.map((row) => row.rows));
  const own = rows.filter((row) => row.rows === fewest && row.mode !== "rows");
  const bars = own.map((row) => ({
    label: [counted(row.agents, "agent"), names.of(row)].filter((text) => text !== "").join(", "),
    series: row.mode,
    value: row.swapMs * 1e3,
    low: Math.min(...row.swapMsRounds) * 1e3,
    high: Math.max(...row.swapMsRounds) * 1e3,
  }));
  const svg = await barChart({
    title: "New weights for one agent",
    subtitle: "From bytes in memory until the next step uses them; whiskers hold every round",
    format: "microseconds",
    bars,
  });
  const away = rows.some(({ device }) => device !== "cpu")
    ? " On a device times end when it is done: a bank's slot was read from again, a new session has run."
    : "";
  const caption =
    "merged loads that agent's session again, stacked the session of all agents; both need a newly exported graph first, " +
    `which is not counted. factored puts the adapter into the bank as the server does, without touching a session.${away}`;
  return { heading: "Swapping an adapter", blocks: [{ kind: "figure", svg, caption }] };
}

function twoDigits(ratio: number): string {
  return formatCount(ratio, { digits: 2 });
}

function placeBytes({ device }: AdaptersMemory, { hostBytes, deviceBytes }: LoadedBytes): number {
  return device === "cpu" ? hostBytes : deviceBytes;
}
