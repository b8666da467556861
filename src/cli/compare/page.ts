/** The page of a comparison: advice first, then latency, memory, swaps, and every round. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import { VERSION } from "../../base/version.ts";
import { barChart } from "../../report/bars.ts";
import { type Block, htmlPage, type Page, type Section } from "../../report/page.ts";
import { type LineSeries, lineChart } from "../../report/plot.ts";
import type { Table } from "../../report/table.ts";
import { fastestModes } from "./advice.ts";
import type { CompareResult } from "./compare-team.ts";
import { MODES, type Mode } from "./contract.ts";
import { resultTable } from "./result-table.ts";
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
      await latencySection(rows),
      await memorySection(rows),
      await swapSection(rows),
      allSection(rows),
      roundsSection(rows),
    ],
    measured: { facts: facts(result), ...(command !== undefined && { commands: [command] }) },
  };
  return htmlPage(page);
}

function highlights({ rows, teamAgents, maxAbsDiff }: CompareResult): NonNullable<Page["highlights"]> {
  const own = rows.filter(({ agents }) => agents === teamAgents);
  const size = (own.length > 0 ? own : rows)[0]!;
  const at = rows.filter(({ agents, rows: count }) => agents === size.agents && count === size.rows);
  const fastest = fastestModes(at)[0] ?? at[0]!;
  const factored = at.find(({ mode }) => mode === "factored");
  const most = rows.filter(({ agents, rows: count }) => {
    const last = rows.at(-1)!;
    return agents === last.agents && count === last.rows;
  });
  const best = Math.max(...most.map(({ actionsPerSecond }) => actionsPerSecond));
  return [
    {
      value: formatMicroseconds(fastest.p50Us),
      label: `a step of ${size.agents}, ${fastest.mode}`,
    },
    ...(factored ? [{ value: formatMicroseconds(factored.swapMs * 1e3), label: "a swap, factored" }] : []),
    { value: formatCount(best), label: `actions a second, ${most[0]!.agents} agents` },
    { value: maxAbsDiff.toExponential(1), label: "apart at most" },
  ];
}

async function latencySection(rows: readonly CompareRow[]): Promise<Section> {
  const figures = different(rows.map((row) => row.rows)).map(async (count): Promise<Block> => {
    const own = rows.filter((row) => row.rows === count);
    const svg = await lineChart({
      title: `${count} ${count === 1 ? "row" : "rows"} from each agent`,
      subtitle: "Median time of a team step; the band holds every round",
      x: { title: "agents", scale: "log" },
      y: { title: "", scale: "log", format: "microseconds" },
      points: true,
      series: byMode(own, ({ p50Us, p50UsRounds }) => [p50Us, p50UsRounds]),
      height: 260,
    });
    const caption = `${count === 1 ? "One simulator" : `${count} simulators`}, every agent asked at once. Both axes are logarithmic: lower is better.`;
    return { kind: "figure", svg, caption };
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

async function memorySection(rows: readonly CompareRow[]): Promise<Section> {
  const fewest = Math.min(...rows.map((row) => row.rows));
  const own = rows.filter((row) => row.rows === fewest);
  const svg = await lineChart({
    title: "Memory of a loaded team",
    subtitle: `Growth of the process, after steps of ${fewest} ${fewest === 1 ? "row" : "rows"} an agent`,
    x: { title: "agents", scale: "log" },
    y: { title: "", scale: "log", format: "bytes" },
    points: true,
    series: byMode(own, ({ residentBytes, residentBytesRounds }) => [residentBytes, residentBytesRounds]),
    height: 260,
  });
  const table: Table = {
    columns: [
      { title: "agents" },
      { title: "mode" },
      { title: "weights", format: formatBytes },
      { title: "process", format: formatBytes },
      { title: "process ÷ weights", format: (ratio) => formatCount(ratio, { digits: 2 }) },
    ],
    rows: own.map((row) => [
      row.agents,
      row.mode,
      row.weightBytes,
      row.residentBytes,
      row.residentBytes / row.weightBytes,
    ]),
  };
  return {
    heading: "Memory",
    blocks: [
      {
        kind: "figure",
        svg,
        caption:
          "Sessions, weights, buffers of a run and the bank; not the library itself, which every mode needs once.",
      },
      { kind: "table", table, caption: "Exact bytes of the numbers, and what the process grew by." },
    ],
  };
}

async function swapSection(rows: readonly CompareRow[]): Promise<Section> {
  const fewest = Math.min(...rows.map((row) => row.rows));
  const own = rows.filter((row) => row.rows === fewest && row.mode !== "rows");
  const bars = own.map(({ agents, mode, swapMs, swapMsRounds }) => ({
    label: `${agents} ${agents === 1 ? "agent" : "agents"}`,
    series: mode,
    value: swapMs * 1e3,
    low: Math.min(...swapMsRounds) * 1e3,
    high: Math.max(...swapMsRounds) * 1e3,
  }));
  const svg = await barChart({
    title: "New weights for one agent",
    subtitle: "From bytes in memory until the next step uses them; whiskers hold every round",
    format: "microseconds",
    bars,
  });
  const caption =
    "merged loads that agent's session again, stacked the session of all agents; both need a newly exported graph first, " +
    "which is not counted. factored puts the adapter into the bank as the server does, without touching a session.";
  return { heading: "Swapping an adapter", blocks: [{ kind: "figure", svg, caption }] };
}

function allSection(rows: readonly CompareRow[]): Section {
  const caption =
    "Medians over rounds; p50 and p99 of a step of the whole team. The fastest of each size is marked.";
  return { heading: "All measurements", blocks: [{ kind: "table", table: resultTable(rows), caption }] };
}

function roundsSection(rows: readonly CompareRow[]): Section {
  const rounds = rows[0]!.p50UsRounds.map((_, round) => ({
    title: `round ${round + 1}`,
    format: formatMicroseconds,
  }));
  const table: Table = {
    columns: [
      { title: "agents" },
      { title: "rows" },
      { title: "mode" },
      ...rounds,
      { title: "spread", format: (part: number) => `${formatCount(part * 100, { digits: 2 })} %` },
    ],
    rows: rows.map(({ agents, rows: count, mode, p50UsRounds, p50Us }) => {
      const spread = (Math.max(...p50UsRounds) - Math.min(...p50UsRounds)) / p50Us;
      return [agents, count, mode, ...p50UsRounds, spread];
    }),
  };
  const caption =
    "p50 of a team step in each round; spread is the distance from lowest to highest, of the median.";
  return { heading: "Every round", blocks: [{ kind: "table", table, caption }] };
}

function fastestTable(rows: readonly CompareRow[]): Table {
  const counts = different(rows.map((row) => row.rows));
  return {
    columns: [
      { title: "agents" },
      ...counts.map((count) => ({ title: `${count} ${count === 1 ? "row" : "rows"} each` })),
    ],
    rows: different(rows.map(({ agents }) => agents)).map((agents) => [
      `${agents}`,
      ...counts.map((count) => {
        const fastest = fastestModes(rows.filter((row) => row.agents === agents && row.rows === count));
        return fastest.length === 0 ? null : fastest.map(({ mode }) => mode).join(" ≈ ");
      }),
    ]),
  };
}

/** A line a mode over sizes of the team, its band from the lowest to the highest round. */
function byMode(
  rows: readonly CompareRow[],
  values: (row: CompareRow) => readonly [number, readonly number[]],
): LineSeries[] {
  return modesOf(rows).map((mode) => ({
    name: mode,
    points: rows
      .filter((row) => row.mode === mode)
      .map((row) => {
        const [y, rounds] = values(row);
        return { x: row.agents, y, low: Math.min(...rounds), high: Math.max(...rounds) };
      }),
  }));
}

function modesOf(rows: readonly CompareRow[]): Mode[] {
  return MODES.filter((mode) => rows.some((row) => row.mode === mode));
}

function facts(result: CompareResult): NonNullable<Page["measured"]>["facts"] {
  const { machine, rows, teamAgents } = result;
  const synthetic = different(rows.map(({ agents }) => agents)).filter((agents) => agents !== teamAgents);
  return [
    {
      name: "Equality",
      value:
        "All modes and the trained network side by side, on random raw observations over 12 steps with states carried " +
        "on; measuring starts only when no two differ by more than 1e-5.",
    },
    {
      name: "Rounds",
      value: `${result.rounds}. Each mode in a fresh process each round, in one order and then the other, sizes too.`,
    },
    {
      name: "A step",
      value:
        "Sessions of one thread over tensors that are in place; results are written into memory of the caller. No " +
        "network, no JSON.",
    },
    ...(synthetic.length > 0
      ? [
          {
            name: "Synthetic teams",
            value: `${synthetic.join(", ")} agents: the trained weights repeated and moved a little, since only time and memory are measured there.`,
          },
        ]
      : []),
    {
      name: "Memory",
      value:
        "Resident size of the process without JavaScript's heap, before and after loading the team several times more; " +
        "what the library takes once is not in it.",
    },
    {
      name: "Device",
      value:
        result.device === "cpu"
          ? "cpu"
          : `${result.device}; every run copies its tensors, the bank too, to the device, and memory is the host's`,
    },
    {
      name: "Machine",
      value: `${machine.processor}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}`,
    },
    { name: "lorasa", value: VERSION },
    { name: "Duration", value: `${formatCount(result.seconds)} s` },
  ];
}

function different(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
