/** The page of a comparison: advice first, then devices, latency, memory, swaps, and every round. */
import { formatCount, formatMicroseconds } from "../../base/format.ts";
import { type Block, htmlPage, type Page, type Section } from "../../report/page.ts";
import type { Table } from "../../report/table.ts";
import type { CompareResult } from "./compare-team.ts";
import type { Mode } from "./contract.ts";
import { fastestModes } from "./fastest.ts";
import { counted, different, modesOf, targetCharts } from "./page-charts.ts";
import { deviceSections } from "./page-devices.ts";
import { comparisonFacts } from "./page-facts.ts";
import { memorySection, swapSection } from "./page-memory.ts";
import { resultTable } from "./result-table.ts";
import { byTarget, ofOnePrecision, targetNames } from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";

const MODE_MEANINGS = {
  merged: "an ordinary graph and session for each agent, run one after another",
  stacked: "all merged agents in one graph and one run",
  factored: "one backbone and a bank of adapters, each agent's rows together",
  rows: "the same backbone and bank, rows of any agents in any order, each picking its adapter",
} as const satisfies Record<Mode, string>;

/** @param command what does it again. */
export async function comparePage(result: CompareResult, command?: string): Promise<string> {
  const { rows, advice } = result;
  const page: Page = {
    title: `Ways to run ${result.environment}`,
    summary:
      `One trained team of ${result.teamAgents}, exported in every way. All give the same actions (at most ` +
      `${result.maxAbsDiff.toExponential(1)} apart); they differ in what a step, a session and a new adapter cost.`,
    advice,
    highlights: highlights(result),
    sections: [
      ...(await deviceSections(result)),
      await latencySection(ofOnePrecision(rows)),
      await memorySection(rows, result.adapters),
      await swapSection(rows),
      allSection(rows),
      roundsSection(rows),
    ],
    measured: { facts: comparisonFacts(result), ...(command !== undefined && { commands: [command] }) },
  };
  return htmlPage(page);
}

function highlights(result: CompareResult): NonNullable<Page["highlights"]> {
  const { teamAgents, maxAbsDiff } = result;
  const rows = ofOnePrecision(result.rows);
  const names = targetNames(rows);
  const own = rows.filter(({ agents }) => agents === teamAgents);
  const size = (own.length > 0 ? own : rows)[0]!;
  const at = rows.filter(({ agents, rows: count }) => agents === size.agents && count === size.rows);
  const fastest = fastestModes(at)[0] ?? at[0]!;
  const factored = at.find(({ mode, device }) => mode === "factored" && device === fastest.device);
  const most = rows.filter(({ agents, rows: count }) => {
    const last = rows.at(-1)!;
    return agents === last.agents && count === last.rows;
  });
  const best = most.toSorted((a, b) => b.actionsPerSecond - a.actionsPerSecond)[0]!;
  const named = (text: string, row: CompareRow): string =>
    [text, names.of(row)].filter((part) => part !== "").join(", ");
  return [
    {
      value: formatMicroseconds(fastest.p50Us),
      label: named(`a step of ${size.agents}, ${fastest.mode}`, fastest),
    },
    ...(factored
      ? [{ value: formatMicroseconds(factored.swapMs * 1e3), label: named("a swap, factored", factored) }]
      : []),
    {
      value: formatCount(best.actionsPerSecond),
      label: named(`actions a second, ${best.agents} agents`, best),
    },
    { value: maxAbsDiff.toExponential(1), label: "apart at most" },
  ];
}

async function latencySection(rows: readonly CompareRow[]): Promise<Section> {
  const figures = different(rows.map((row) => row.rows)).map((count): Promise<Block> => {
    const asked = count === 1 ? "One simulator" : `${count} simulators`;
    return targetCharts(
      rows.filter((row) => row.rows === count),
      ({ p50Us, p50UsRounds }) => [p50Us, p50UsRounds],
      {
        title: `${counted(count, "row")} from each agent`,
        subtitle: "Median time of a team step; the band holds every round",
        caption: `${asked}, every agent asked at once. Both axes are logarithmic: lower is better.`,
        format: "microseconds",
      },
    );
  });
  return {
    heading: "Time of a team step",
    blocks: [
      {
        kind: "table",
        table: {
          columns: [{ title: "mode" }, { title: "what runs" }],
          rows: modesOf(rows).map((mode) => [mode, MODE_MEANINGS[mode]]),
        },
        caption: "The ways to run a team. A step: every agent sends its rows and gets its actions.",
      },
      ...(await Promise.all(figures)),
      {
        kind: "table",
        table: fastestTable(rows),
        caption: "The fastest way to answer a whole team, and those that cannot be told from it.",
      },
    ],
  };
}

function allSection(rows: readonly CompareRow[]): Section {
  const caption =
    "Medians over rounds; p50 and p99 of a step of the whole team. The fastest of each size is marked.";
  return { heading: "All measurements", blocks: [{ kind: "table", table: resultTable(rows), caption }] };
}

function roundsSection(rows: readonly CompareRow[]): Section {
  const { columns } = targetNames(rows);
  const rounds = rows[0]!.p50UsRounds.map((_, round) => ({
    title: `round ${round + 1}`,
    format: formatMicroseconds,
  }));
  const table: Table = {
    columns: [
      { title: "agents" },
      { title: "rows" },
      ...columns.map((title) => ({ title })),
      { title: "mode" },
      ...rounds,
      { title: "spread", format: (part: number) => `${formatCount(part * 100, { digits: 2 })} %` },
    ],
    rows: rows.map((row) => {
      const spread = (Math.max(...row.p50UsRounds) - Math.min(...row.p50UsRounds)) / row.p50Us;
      const where = columns.map((column) => row[column]);
      return [row.agents, row.rows, ...where, row.mode, ...row.p50UsRounds, spread];
    }),
  };
  const caption =
    "p50 of a team step in each round; spread is the distance from lowest to highest, of the median.";
  return { heading: "Every round", blocks: [{ kind: "table", table, caption }] };
}

/** A line for each size of the team and device. */
function fastestTable(rows: readonly CompareRow[]): Table {
  const { columns } = targetNames(rows);
  const counts = different(rows.map((row) => row.rows));
  const teams = different(rows.map(({ agents }) => agents)).flatMap((agents) =>
    byTarget(rows.filter((row) => row.agents === agents)),
  );
  return {
    columns: [
      { title: "agents" },
      ...columns.map((title) => ({ title })),
      ...counts.map((count) => ({ title: `${counted(count, "row")} each` })),
    ],
    rows: teams.map((team) => [
      `${team[0]!.agents}`,
      ...columns.map((column) => team[0]![column]),
      ...counts.map((count) => {
        const fastest = fastestModes(team.filter((row) => row.rows === count));
        return fastest.length === 0 ? null : fastest.map(({ mode }) => mode).join(" ≈ ");
      }),
    ]),
  };
}
