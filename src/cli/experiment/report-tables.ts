/** The tables of an experiment's report: results, sizes and times, a row a group. Not where they are written. */
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatFixed,
  formatMicroseconds,
} from "../../base/format.ts";
import { type Table, writeTable } from "../../report/table.ts";
import type { ExperimentReport, GroupReport, Spread } from "./report-data.ts";

/** A table with its heading and how it is read. */
export interface ReportTable {
  readonly heading: string;
  readonly table: Table;
  readonly caption: string;
}

/** What the runs reached; the same for every way to the same runs. */
export function resultTables(report: ExperimentReport): ReportTable[] {
  return [returnTable(report), sizeTable(report)];
}

function returnTable({ groups }: ExperimentReport): ReportTable {
  const wins = groups.some(({ won }) => won !== null);
  const compared = groups.some(({ baseline }) => baseline !== null);
  return {
    heading: "Final results",
    table: {
      columns: titles(
        "runs",
        "seeds",
        "return ± std",
        "IQM [95 %]",
        ...(wins ? ["won", "won IQM [95 %]"] : []),
        ...(compared ? ["against baseline [95 %]"] : []),
      ),
      rows: groups.map((group) => [
        group.title,
        `${group.seeds.length}`,
        withDeviation(group.return),
        withInterval(group.return.interquartileMean, group.return.interval, shortFixed),
        ...(wins ? wonCells(group.won) : []),
        ...(compared ? [againstCell(group)] : []),
      ]),
      strong: best(groups),
    },
    caption:
      "Return of the deterministic evaluation at the end of training: mean and sample standard deviation over seeds, " +
      "interquartile mean (of fewer than four runs, the mean) with its bootstrap interval over seeds. " +
      "With few seeds an interval is narrower than what new seeds would show.",
  };
}

function wonCells(won: Spread | null): (string | null)[] {
  if (won === null) return [null, null];
  return [percent(won.mean), withInterval(won.interquartileMean, won.interval, percent)];
}

function againstCell({ baseline }: GroupReport): string | null {
  if (baseline === null) return null;
  return withInterval(baseline.difference, baseline.interval, signed);
}

/** The highest mean return of each task that has several groups. */
function best(groups: readonly GroupReport[]): number[] {
  const tasks = [...new Set(groups.map(({ env }) => env))];
  const compared = tasks.filter((task) => groups.filter(({ env }) => env === task).length > 1);
  return compared.map((env) => {
    const means = groups.map((group) => (group.env === env ? group.return.mean : Number.NEGATIVE_INFINITY));
    return means.indexOf(Math.max(...means));
  });
}

function sizeTable({ groups }: ExperimentReport): ReportTable {
  const ratio = (value: number | undefined): string | null =>
    value === undefined ? null : `× ${value.toFixed(2)}`;
  return {
    heading: "Parameters and bytes",
    table: {
      columns: titles(
        "runs",
        "agents",
        "actor",
        "trained last",
        "own per agent",
        "of baseline",
        "critic",
        "actor file",
        "of baseline",
        "critic file",
      ),
      rows: groups.map(({ title, sizes, baseline }) => [
        title,
        `${sizes.agents}`,
        formatFixed(sizes.actorParameters, 0),
        formatFixed(sizes.trainableParameters, 0),
        formatFixed(sizes.ownParameters, 0),
        ratio(baseline?.parameters),
        formatFixed(sizes.criticParameters, 0),
        formatBytes(sizes.actorBytes),
        ratio(baseline?.bytes),
        formatBytes(sizes.criticBytes),
      ]),
    },
    caption:
      "Numbers that the actor's weights are (backbone and adapters), those that the last phase trains, those of an " +
      "agent's network that not all agents share, and the files of the checkpoint that hold them.",
  };
}

/** What the runs took on the machine that ran them. */
export function timeTable({ groups }: ExperimentReport): ReportTable {
  const peaks = groups.some(({ times }) => times.peakMemoryBytes !== null);
  return {
    heading: "Times",
    table: {
      columns: titles("runs", "training", "steps/s", "step of the team", ...(peaks ? ["peak memory"] : [])),
      rows: groups.map(({ title, times }) => [
        title,
        formatDuration(times.trainingSeconds),
        formatCount(times.envStepsPerSecond),
        times.inferenceMicroseconds === null ? null : formatMicroseconds(times.inferenceMicroseconds),
        ...(peaks ? [times.peakMemoryBytes === null ? null : formatBytes(times.peakMemoryBytes)] : []),
      ]),
    },
    caption:
      "Mean seconds of training and environment steps a second, evaluation included, with other runs beside it where " +
      "several ran at once; and the time in which the trained policy answers one observation of every agent.",
  };
}

/** A table as Markdown; a strong row is bold. */
export function markdownTable(table: Table): string {
  const { titles: heads, rows, numeric } = writeTable(table);
  const cell = (text: string, strong: boolean): string =>
    strong ? `**${escapePipes(text)}**` : escapePipes(text);
  const line = (cells: readonly string[], strong = false): string =>
    `| ${cells.map((text) => cell(text, strong)).join(" | ")} |`;
  const rule = `| ${numeric.map((right, i) => (right || i > 0 ? "---:" : "---")).join(" | ")} |`;
  return [line(heads), rule, ...rows.map((row, i) => line(row, table.strong?.includes(i)))].join("\n");
}

function escapePipes(text: string): string {
  return text.replaceAll("|", "\\|");
}

function titles(...names: readonly string[]): { title: string }[] {
  return names.map((title) => ({ title }));
}

function withDeviation({ mean, std }: Spread): string {
  return std === null ? shortFixed(mean) : `${shortFixed(mean)} ± ${shortFixed(std)}`;
}

function withInterval(
  value: number,
  interval: readonly [number, number] | null,
  write: (value: number) => string,
): string {
  return interval === null ? write(value) : `${write(value)} [${write(interval[0])}, ${write(interval[1])}]`;
}

/** Returns live between 0.01 and 10,000: four digits at most. */
function shortFixed(value: number): string {
  const size = Math.abs(value);
  return formatFixed(value, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

function signed(value: number): string {
  return value > 0 ? `+${shortFixed(value)}` : shortFixed(value);
}

function percent(part: number): string {
  return `${formatFixed(part * 100, 1)} %`;
}
