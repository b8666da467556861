/** An experiment's report as files: JSON, Markdown, charts and a page. Not what is in its tables. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { diskError, writeFileAtomic } from "../../base/files.ts";
import { formatCount } from "../../base/format.ts";
import { htmlPage, type Page, type Section } from "../../report/page.ts";
import { terminalTable } from "../../report/table.ts";
import { switchStep } from "../../training/config.ts";
import type { Grid } from "./grid.ts";
import { type ReportChart, reportCharts } from "./report-charts.ts";
import type { ExperimentReport, GroupReport } from "./report-data.ts";
import { madeWithText, markdownTable, type ReportTable, resultTables, timeTable } from "./report-tables.ts";

export interface ReportFiles {
  readonly json: string;
  readonly markdown: string;
  readonly page: string;
  readonly charts: readonly string[];
}

/** Writes `report.json`, `report.md`, `report.html` and the charts as SVG into a folder. @throws LORASA_DISK. */
export async function writeReport(
  report: ExperimentReport,
  grid: Grid,
  folder: string,
): Promise<ReportFiles> {
  const charts = await reportCharts(report, (groups) => switchMarkers(grid, groups));
  const at = (name: string): string => join(folder, name);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw diskError(`writing ${folder}`, cause);
  }
  const files = {
    json: at("report.json"),
    markdown: at("report.md"),
    page: at("report.html"),
    charts: charts.map(({ file }) => at(`${file}.svg`)),
  };
  for (const { file, svg } of charts) writeFileAtomic(at(`${file}.svg`), svg);
  writeFileAtomic(files.json, `${JSON.stringify(report)}\n`);
  writeFileAtomic(files.markdown, reportMarkdown(report, charts));
  writeFileAtomic(files.page, reportPage(report, grid, charts));
  return files;
}

/** The tables as text. */
export function reportText(report: ExperimentReport): string {
  if (report.groups.length === 0) return "no run is finished yet";
  return [...resultTables(report), timeTable(report)]
    .map(({ heading, table }) => `${heading}\n${terminalTable(table)}`)
    .join("\n");
}

export function reportMarkdown(report: ExperimentReport, charts: readonly ReportChart[]): string {
  const tables = report.groups.length === 0 ? [] : [...resultTables(report), timeTable(report)];
  return [
    `# ${report.name}`,
    "",
    "```",
    report.command,
    "```",
    "",
    `${report.about} ${seedsText(report)}`,
    ...missingLines(report),
    ...tables.flatMap(({ heading, table, caption }) => [
      "",
      `## ${heading}`,
      "",
      markdownTable(table),
      "",
      caption,
    ]),
    ...charts.flatMap(({ file, heading }) => ["", `![${heading}](${file}.svg)`]),
    "",
  ].join("\n");
}

function reportPage(report: ExperimentReport, grid: Grid, charts: readonly ReportChart[]): string {
  const { groups } = report;
  const page: Page = {
    title: report.name,
    summary: `${report.about} ${seedsText(report)}`,
    sections: [
      ...(report.missing.length === 0
        ? []
        : [{ heading: "Not finished", blocks: [{ kind: "text", text: missingText(report) }] } as const]),
      ...(groups.length === 0 ? [] : [...resultSections(report, charts), tableSection(timeTable(report))]),
    ],
    measured: { facts: facts(report, grid), commands: [report.command] },
  };
  return htmlPage(page);
}

/** The table first, then final returns, then curves, then sizes. */
function resultSections(report: ExperimentReport, charts: readonly ReportChart[]): Section[] {
  const [results, ...others] = resultTables(report) as [ReportTable, ...ReportTable[]];
  const headings = [...new Set(charts.map(({ heading }) => heading))];
  return [
    tableSection(results),
    ...headings.map((heading) => ({
      heading,
      blocks: charts
        .filter((chart) => chart.heading === heading)
        .map(({ svg, caption }) => ({ kind: "figure", svg, caption }) as const),
    })),
    ...others.map(tableSection),
  ];
}

function tableSection({ heading, table, caption }: ReportTable): Section {
  return { heading, blocks: [{ kind: "table", table, caption }] };
}

function facts(report: ExperimentReport, { file, groups }: Grid): { name: string; value: string }[] {
  const shared = Object.entries(file.base).map(([field, value]) => `${field} ${plain(value)}`);
  return [
    ...(report.madeWith.length === 0 ? [] : [{ name: "runs", value: madeWithText(report) }]),
    { name: "groups", value: `${groups.length}` },
    { name: "settings of all runs", value: shared.join(", ") },
    ...Object.entries(file.axes).map(([axis, values]) => ({
      name: axis,
      value: Array.isArray(values) ? values.map(plain).join(", ") : Object.keys(values).join(", "),
    })),
  ];
}

function plain(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function seedsText({ seeds, groups }: ExperimentReport): string {
  const steps = [...new Set(groups.map((group) => group.steps))];
  const length = steps.length === 1 ? `, ${formatCount(steps[0]!)} environment steps each` : "";
  return `${seeds.length === 1 ? `Seed ${seeds[0]}` : `Seeds ${seeds.join(", ")}`}${length}.`;
}

function missingLines(report: ExperimentReport): string[] {
  return report.missing.length === 0 ? [] : ["", missingText(report)];
}

function missingText({ missing }: ExperimentReport): string {
  return `Not finished: ${missing.join(", ")}.`;
}

/** Where adapters start, if all that have them start at once. */
function switchMarkers({ groups }: Grid, shown: readonly GroupReport[]): { x: number; label: string }[] {
  const configs = shown.map(({ name }) => groups.find((group) => group.name === name)!.config);
  const steps = new Set(configs.map(switchStep).filter((step, i) => step < configs[i]!.steps));
  return steps.size === 1 ? [{ x: [...steps][0]!, label: "adapters start" }] : [];
}
