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
        ...(compared ? ["baseline", "against baseline [95 %]"] : []),
      ),
      rows: groups.map((group) => [
        group.title,
        `${group.seeds.length}`,
        withDeviation(group.return),
        withInterval(group.return.interquartileMean, group.return.interval, shortFixed),
        ...(wins ? wonCells(group.won) : []),
        ...(compared ? [baselineCell(group, groups), againstCell(group)] : []),
      ]),
      strong: best(groups),
    },
    caption:
      "Return of the deterministic evaluation at the end of training: mean and sample standard deviation over seeds, " +
      "interquartile mean (of fewer than four runs, the mean) with its bootstrap interval over seeds. " +
      `With few seeds an interval is narrower than what new seeds would show.${compared ? PAIRS_CAPTION : ""}` +
      (wins ? WON_CAPTION : ""),
  };
}

const PAIRS_CAPTION =
  " Against a baseline with the same seeds, pairs of runs of one seed are drawn: what seeds differ by drops out.";

const WON_CAPTION =
  " Where episodes are won or lost, the share won decides which row is strong and is what stands against the baseline, " +
  "in percentage points.";

function baselineCell({ baseline }: GroupReport, groups: readonly GroupReport[]): string | null {
  return groups.find(({ name }) => name === baseline?.group)?.title ?? null;
}

function wonCells(won: Spread | null): (string | null)[] {
  if (won === null) return [null, null];
  return [percent(won.mean), withInterval(won.interquartileMean, won.interval, percent)];
}

function againstCell({ baseline }: GroupReport): string | null {
  if (baseline === null) return null;
  const { won } = baseline;
  if (won !== null) return withInterval(won.value, won.interval, points);
  return withInterval(baseline.return.value, baseline.return.interval, signed);
}

/** The best of each task that has several groups: by the share won where all tell it, then by mean return. */
function best(groups: readonly GroupReport[]): number[] {
  const tasks = [...new Set(groups.map(({ env }) => env))];
  return tasks.flatMap((env) => {
    const rivals = groups.filter((group) => group.env === env);
    const byWon = rivals.every(({ won }) => won !== null);
    const rank = ({ won, return: reached }: GroupReport): [number, number] => [
      byWon ? won!.mean : 0,
      reached.mean,
    ];
    // A group with a run that gave no number has no rank.
    const ranked = rivals.filter((group) => rank(group).every(Number.isFinite));
    const [first] = ranked.toSorted((a, b) => {
      const [[wonA, meanA], [wonB, meanB]] = [rank(a), rank(b)];
      return wonB - wonA || meanB - meanA;
    });
    return first && rivals.length > 1 ? [groups.indexOf(first)] : [];
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
      "agent's network that no other agent uses (the mean over agents: none of what units of a type or a cluster share), " +
      "and the files of the checkpoint that hold them, shared adapters counted once. Baselines are those of the results.",
  };
}

/** What the runs took on the machine that ran them. */
export function timeTable(report: ExperimentReport): ReportTable {
  const { groups } = report;
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
      "several ran at once; and the time in which the trained policy, every agent's network merged, answers one " +
      `observation of every agent. ${madeWithText(report)}${timedOnText(report)}`,
  };
}

/** What the finished runs were made with, in one line. */
export function madeWithText({ madeWith }: Pick<ExperimentReport, "madeWith">): string {
  const parts = madeWith.map(
    ({ what, runs }) => `${what ?? "what was not noted"} (${runs === 1 ? "1 run" : `${runs} runs`})`,
  );
  return `Made with ${parts.join("; ")}.`;
}

function timedOnText({ timedOn }: ExperimentReport): string {
  return timedOn.length === 0 ? "" : ` The step of the team was timed on ${timedOn.join("; ")}.`;
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

/** A difference of shares. */
function points(part: number): string {
  const text = formatFixed(part * 100, 1);
  return `${part > 0 ? "+" : ""}${text} pp`;
}

function percent(part: number): string {
  return `${formatFixed(part * 100, 1)} %`;
}
