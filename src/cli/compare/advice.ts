/** What to do, in sentences, out of the numbers that were measured. */
import { formatBytes, formatCount, formatMicroseconds } from "../../base/format.ts";
import {
  adaptersReasons,
  deviceReasons,
  otherDevices,
  placeText,
  precisionReasons,
} from "./device-advice.ts";
import { fastestModes, TEAM_MODES } from "./fastest.ts";
import type { AdaptersMemory } from "./many-adapters.ts";
import {
  bySize,
  byTarget,
  isSameTarget,
  ofOnePrecision,
  sizeShort,
  sizeText,
  targetNames,
} from "./row-groups.ts";
import type { CompareRow } from "./summary.ts";
import type { VerifiedTarget } from "./targets.ts";

export interface Advice {
  readonly headline: string;
  readonly reasons: readonly string[];
}

/** What the advice is about besides rows. */
export interface AdviceFacts {
  /** Size of the trained team, which the first sentence is about if it was measured. */
  readonly teamAgents: number;
  readonly targets?: readonly VerifiedTarget[];
  readonly adapters?: readonly AdaptersMemory[];
}

/** Rounds further apart than this, as a part of their median, are a warning. */
const UNSTEADY = 0.3;

/** Devices and modes by the first precision that was measured; what another one costs and gives is a reason. */
export function advise(
  rows: readonly CompareRow[],
  { teamAgents, targets = [], adapters = [] }: AdviceFacts,
): Advice {
  const exact = ofOnePrecision(rows);
  const sizes = exact.map(({ agents }) => agents);
  const agents = sizes.includes(teamAgents) ? teamAgents : Math.min(...sizes);
  const fewest = Math.min(...exact.map((row) => row.rows));
  const size = exact.filter((row) => row.agents === agents && row.rows === fewest);
  const reasons = [
    ...deviceReasons(exact),
    ...precisionReasons(rows, targets),
    ...adaptersReasons(adapters),
    ...byTarget(exact).flatMap((own) => modeReasons(own, targetNames(exact).of(own[0]!))),
    scatteredReason(exact),
    unsteadyReason(rows),
  ];
  return {
    headline: headline(size.filter(({ mode }) => TEAM_MODES.includes(mode))),
    reasons: reasons.filter((reason) => reason !== undefined),
  };
}

/** What is said of each device. @param device as it is called; empty where there is one. */
function modeReasons(rows: readonly CompareRow[], device: string): string[] {
  return [winnersReason(rows), memoryReason(rows), swapReason(rows)]
    .filter((reason) => reason !== undefined)
    .map((reason) => (device === "" ? reason : `${device}: ${reason}`));
}

function headline(size: readonly CompareRow[]): string {
  const [fastest] = fastestModes(size);
  if (!fastest) return "Only the rows graph was measured.";
  const candidates = size.filter((row) => isSameTarget(row, fastest));
  return (
    modeHeadline(candidates, placeText(fastest, size.length > candidates.length)) +
    otherDevices(fastest, size)
  );
}

/** @param place where the candidates run, if there are others. */
function modeHeadline(candidates: readonly CompareRow[], place: string): string {
  const fastest = fastestModes(candidates)[0]!;
  const factored = candidates.find(({ mode }) => mode === "factored");
  const when = `For ${sizeText(fastest)}`;
  const time = `${formatMicroseconds(fastest.p50Us)} a team step`;
  if (!factored) return `${when}, ${fastest.mode}${place} is the fastest (${time}).`;
  const swap = formatMicroseconds(factored.swapMs * 1e3);
  if (fastestModes(candidates).includes(factored)) {
    return `${when}, use factored${place}: nothing measured is faster (${formatMicroseconds(factored.p50Us)} a team step), and an adapter is swapped in ${swap}.`;
  }
  const ratio = times(factored.p50Us / fastest.p50Us);
  return (
    `${when}, ${fastest.mode}${place} is the fastest (${time}). Choose factored when adapters change while serving: a swap takes ` +
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
    return `${mode} at ${won.length}${won.length <= 3 ? ` (${won.map(([row]) => sizeShort(row!)).join(", ")})` : ""}`;
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
  const parts = sorted.map(({ mode, device, residentBytes, weightBytes, hostBytes }) => {
    const more =
      device === "cpu"
        ? `weights alone ${formatBytes(weightBytes)}`
        : `${formatBytes(hostBytes)} in the process`;
    return `${mode} ${formatBytes(residentBytes)} (${more})`;
  });
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
  const ratios = byTarget(rows)
    .flatMap(bySize)
    .flatMap((size) => {
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

/** The rows of the largest team with the most rows. */
function largest(rows: readonly CompareRow[]): CompareRow[] {
  return bySize(rows).at(-1) ?? [];
}

function times(ratio: number): string {
  return `${formatCount(ratio, { digits: 2 })} times`;
}
