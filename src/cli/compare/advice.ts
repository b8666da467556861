/** What to do, in sentences, out of the numbers that were measured. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import type { Mode } from "./contract.ts";
import type { CompareRow } from "./summary.ts";

export interface Advice {
  readonly headline: string;
  readonly reasons: readonly string[];
}

/** Modes that answer a whole team at once; `rows` is for requests of some agents. */
const TEAM_MODES: readonly Mode[] = ["merged", "stacked", "factored"];
/** A mode this little slower than the fastest is as fast for any purpose. */
const SAME = 1.05;
/** Rounds further apart than this, as a part of their median, are a warning. */
const UNSTEADY = 0.3;

/** @param teamAgents the size of the trained team, which the first sentence is about if it was measured. */
export function advise(rows: readonly CompareRow[], teamAgents: number): Advice {
  const sizes = rows.map(({ agents }) => agents);
  const agents = sizes.includes(teamAgents) ? teamAgents : Math.min(...sizes);
  const fewest = Math.min(...rows.map((row) => row.rows));
  const candidates = rows.filter(
    (row) => row.agents === agents && row.rows === fewest && TEAM_MODES.includes(row.mode),
  );
  const reasons = [
    winnersReason(rows),
    memoryReason(rows),
    swapReason(rows),
    scatteredReason(rows),
    unsteadyReason(rows),
  ];
  return {
    headline: candidates.length === 0 ? "Only the rows graph was measured." : headline(candidates),
    reasons: reasons.filter((reason) => reason !== undefined),
  };
}

/** The team modes of one size that no other beats by more than 5 %, or than the rounds of the fastest differ. */
export function fastestModes(rows: readonly CompareRow[]): CompareRow[] {
  const team = rows.filter(({ mode }) => TEAM_MODES.includes(mode)).sort((a, b) => a.p50Us - b.p50Us);
  const [fastest] = team;
  if (!fastest) return [];
  return team.filter(
    (row) =>
      row.p50Us <= SAME * fastest.p50Us || Math.min(...row.p50UsRounds) <= Math.max(...fastest.p50UsRounds),
  );
}

function headline(candidates: readonly CompareRow[]): string {
  const fastest = fastestModes(candidates)[0]!;
  const factored = candidates.find(({ mode }) => mode === "factored");
  const when = `For ${sizeText(fastest)}`;
  const time = `${formatMicroseconds(fastest.p50Us)} a team step`;
  if (!factored) return `${when}, ${fastest.mode} is the fastest (${time}).`;
  const swap = formatMicroseconds(factored.swapMs * 1e3);
  if (fastestModes(candidates).includes(factored)) {
    return `${when}, use factored: nothing measured is faster (${formatMicroseconds(factored.p50Us)} a team step), and an adapter is swapped in ${swap}.`;
  }
  const ratio = times(factored.p50Us / fastest.p50Us);
  return (
    `${when}, ${fastest.mode} is the fastest (${time}). Choose factored when adapters change while serving: a swap takes ` +
    `${swap} instead of ${formatMicroseconds(fastest.swapMs * 1e3)}, at ${ratio} the latency.`
  );
}

/** Which mode is the fastest at how many of the sizes. */
function winnersReason(rows: readonly CompareRow[]): string | undefined {
  const sizes = bySize(rows).filter((size) => fastestModes(size).length > 0);
  if (sizes.length < 2) return undefined;
  const wins = TEAM_MODES.map((mode) => {
    const won = sizes.filter((size) => fastestModes(size).some((row) => row.mode === mode));
    return { mode, won };
  }).filter(({ won }) => won.length > 0);
  const parts = wins.map(({ mode, won }) => {
    if (won.length === sizes.length) return `${mode} at all of them`;
    return `${mode} at ${won.length}${won.length <= 3 ? ` (${won.map(sizeShort).join(", ")})` : ""}`;
  });
  return `Fastest of the ${sizes.length} sizes measured, or level with it (agents × rows): ${parts.join(", ")}.`;
}

/** Of the largest team with the fewest rows: there the weights and sessions are most of it. */
function memoryReason(rows: readonly CompareRow[]): string | undefined {
  const team = rows.filter(({ mode }) => mode !== "rows");
  const agents = Math.max(...team.map((row) => row.agents));
  const most = bySize(team.filter((row) => row.agents === agents))[0] ?? [];
  if (most.length < 2) return undefined;
  const sorted = most.toSorted((a, b) => a.residentBytes - b.residentBytes);
  const parts = sorted.map(
    (row) => `${row.mode} ${formatBytes(row.residentBytes)} (weights alone ${formatBytes(row.weightBytes)})`,
  );
  return `Memory at ${sizeText(most[0]!)}: ${parts.join(", ")}.`;
}

function swapReason(rows: readonly CompareRow[]): string | undefined {
  const most = largest(rows.filter(({ mode }) => mode !== "rows"));
  const factored = most.find(({ mode }) => mode === "factored");
  if (!factored || most.length < 2) return undefined;
  const others = most
    .filter((row) => row !== factored)
    .map((row) => `${formatMicroseconds(row.swapMs * 1e3)} ${row.mode}`);
  return `A new adapter for one of ${factored.agents} agents: ${formatMicroseconds(factored.swapMs * 1e3)} factored, ${others.join(", ")}, once a new graph is exported.`;
}

function scatteredReason(rows: readonly CompareRow[]): string | undefined {
  const ratios = bySize(rows).flatMap((size) => {
    const grouped = size.find(({ mode }) => mode === "factored");
    const scattered = size.find(({ mode }) => mode === "rows");
    return grouped && scattered ? [{ size: grouped, ratio: scattered.p50Us / grouped.p50Us }] : [];
  });
  const most = ratios.toSorted((a, b) => b.ratio - a.ratio)[0];
  if (!most) return undefined;
  return (
    `Rows of any agents in any order (rows) cost up to ${times(most.ratio)} the grouped step (${sizeText(most.size)}): ` +
    "group them by agent where there are many."
  );
}

function unsteadyReason(rows: readonly CompareRow[]): string | undefined {
  const spreads = rows.map(
    ({ p50UsRounds, p50Us }) => (Math.max(...p50UsRounds) - Math.min(...p50UsRounds)) / p50Us,
  );
  const unsteady = spreads.filter((spread) => spread > UNSTEADY).length;
  if (unsteady === 0) return undefined;
  return `The rounds of ${unsteady} of ${rows.length} rows differ by more than ${formatCount(UNSTEADY * 100)} %: something else kept the machine busy, so trust only large differences.`;
}

function bySize(rows: readonly CompareRow[]): CompareRow[][] {
  const sizes = new Map<string, CompareRow[]>();
  for (const row of rows) {
    const key = `${row.agents} ${row.rows}`;
    sizes.set(key, [...(sizes.get(key) ?? []), row]);
  }
  return [...sizes.values()];
}

/** The rows of the largest team with the most rows. */
function largest(rows: readonly CompareRow[]): CompareRow[] {
  return bySize(rows).at(-1) ?? [];
}

function sizeText({ agents, rows }: CompareRow): string {
  return `${agents} ${agents === 1 ? "agent" : "agents"} with ${rows} ${rows === 1 ? "row" : "rows"} each`;
}

function sizeShort([row]: readonly CompareRow[]): string {
  return `${row!.agents} × ${row!.rows}`;
}

function times(ratio: number): string {
  return `${formatCount(ratio, { digits: 2 })} times`;
}
