/** The findings of the device benchmark as tables in Markdown and as floors. Not how they were measured. */
import { formatBytes, formatCount, formatMicroseconds } from "../../../src/base/format.ts";
import { type Floor, floor } from "../load/floors.ts";
import type { Findings } from "./findings.ts";
import { caseKey, type Runner, STEP_MODES } from "./plan.ts";
import type { StepCell, StepFigures } from "./steps.ts";

/** The most that one backbone may take of the memory of merged graphs, and a swap in microseconds. */
const MOST_OF_MERGED = 0.1;
const MOST_SWAP_US = 1000;
/** Relative difference of losses that other orders of summation explain. */
const AGREEMENT = 1e-3;

/** What a size is answered the soonest by. */
interface Best extends StepCell {
  readonly mode: string;
  readonly us: number;
  readonly actionsPerSecond: number;
}

export function markdownTable(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(titles), line(titles.map((_, at) => (at === 0 ? "---" : "---:"))), ...rows.map(line)];
}

/** Runners that any steps were measured on, in order. */
export function stepRunners({ steps }: Findings): string[] {
  return [...new Set(Object.keys(steps).map((key) => key.split(" | ")[1]!))];
}

/** A line a size: the median step of every mode on every runner, and the most actions a second of each. */
export function stepTable(findings: Findings, hidden: number): string[] {
  const runners = stepRunners(findings);
  const rows = sizesOf(findings).map(({ agents, rows: count }) => [
    `${agents} × ${count}`,
    ...runners.flatMap((runner) =>
      STEP_MODES.map((mode) => figure(stepOf(findings, { runner, hidden, mode }, { agents, rows: count }))),
    ),
    ...runners.map((runner) => {
      const best = bestOf(findings, runner, hidden, { agents, rows: count });
      return best ? formatCount(best.actionsPerSecond) : "–";
    }),
  ]);
  const titles = [
    "agents × rows",
    ...runners.flatMap((runner) => STEP_MODES.map((mode) => `${runner}, ${mode}`)),
    ...runners.map((runner) => `${runner}, actions/s`),
  ];
  return markdownTable(titles, rows);
}

/** Where each device beats each way to use the CPU, by hidden size. */
export function crossoverTable(findings: Findings): string[] {
  const runners = stepRunners(findings);
  const bases = runners.filter((runner) => runner.startsWith("cpu"));
  const rows = runners
    .filter((runner) => !bases.includes(runner))
    .flatMap((runner) =>
      findings.sizes.hidden.flatMap((hidden) =>
        bases.map((base) => [`${hidden}`, runner, base, ...crossover(findings, hidden, { runner, base })]),
      ),
    );
  return markdownTable(["hidden", "device", "against", "wins", "from", "at most"], rows);
}

export function swapTable({ swap }: Findings): string[] {
  const titles = ["", "adapter", "swap p50", "p99", "a step", "the same with a swap before it"];
  return markdownTable(
    titles,
    Object.entries(swap).map(([key, each]) => [
      shortKey(key),
      formatBytes(each.adapterBytes),
      ...[each.p50Us, each.p99Us, each.stepUs, each.swapAndStepUs].map((us) => formatMicroseconds(us)),
    ]),
  );
}

export function memoryTable({ memory }: Findings): string[] {
  const scaled = Object.entries(memory).map(([key, each]) => {
    const scale = each.adapters / each.loaded;
    const bytes = (value: number | null): string => (value === null ? "–" : formatBytes(value * scale));
    const { hostBytes, deviceBytes, gpuUsedBytes } = each;
    return [shortKey(key), `${each.loaded}`, bytes(deviceBytes), bytes(gpuUsedBytes), bytes(hostBytes)];
  });
  return markdownTable(["", "loaded", "on the device", "in use, by its driver", "process"], scaled);
}

export function trainTable({ train }: Findings): string[] {
  return markdownTable(
    ["", "a step", "steps", "first losses", "library"],
    Object.entries(train).map(([key, { ms, steps, losses, library }]) => [
      shortKey(key),
      formatMicroseconds(1e3 * ms),
      `${steps}`,
      losses
        .slice(0, 3)
        .map((loss) => loss.toFixed(6))
        .join(", "),
      library ?? "ONNX Runtime",
    ]),
  );
}

/** What must hold; those whose figures are missing are not among them. */
export function deviceFloors(findings: Findings): Floor[] {
  const { swap, memory, train, sizes } = findings;
  const floors: Floor[] = [];
  const runner: Runner = { name: "webgpu", device: "webgpu", threads: 1 };
  const own = swap[caseKey({ part: "swap", runner, hidden: sizes.swapHidden })];
  if (own) floors.push(floor(`swap at hidden ${sizes.swapHidden}, µs`, own.p50Us, { most: MOST_SWAP_US }));
  const [factored, merged] = (["factored", "merged"] as const).map(
    (way) => memory[caseKey({ part: "memory", runner, hidden: sizes.swapHidden, way })],
  );
  if (factored && merged) {
    const ratio = factored.deviceBytes / (merged.deviceBytes * (merged.adapters / merged.loaded));
    floors.push(floor(`memory of ${factored.adapters} adapters, of merged`, ratio, { most: MOST_OF_MERGED }));
  }
  const apart = largestDisagreement(train);
  if (apart !== undefined) floors.push(floor("losses apart, relative", apart, { most: AGREEMENT }));
  return floors;
}

/** Between any two that trained a network of the same size. */
function largestDisagreement(train: Findings["train"]): number | undefined {
  const bySize = new Map<string, (readonly number[])[]>();
  for (const [key, { losses }] of Object.entries(train)) {
    const size = key.split(" | ")[2]!;
    bySize.set(size, [...(bySize.get(size) ?? []), losses]);
  }
  const apart = [...bySize.values()].flatMap(([first, ...others]) =>
    others.flatMap((losses) =>
      losses.map((loss, k) => Math.abs(loss - first![k]!) / Math.max(Math.abs(first![k]!), 0.01)),
    ),
  );
  return apart.length === 0 ? undefined : Math.max(...apart);
}

function crossover(
  findings: Findings,
  hidden: number,
  { runner, base }: { readonly runner: string; readonly base: string },
): [wins: string, from: string, most: string] {
  const duels = sizesOf(findings).flatMap((size) => {
    const [own, other] = [runner, base].map((who) => bestOf(findings, who, hidden, size));
    return own && other ? [{ ...size, gain: other.us / own.us, mode: own.mode }] : [];
  });
  const won = duels.filter(({ gain }) => gain > 1);
  const least = won.toSorted((a, b) => a.agents * a.rows - b.agents * b.rows)[0];
  const most = won.toSorted((a, b) => b.gain - a.gain)[0];
  const wins = `${won.length} of ${duels.length} sizes`;
  if (!least || !most) return [wins, "never", "–"];
  const named = ({ agents, rows }: StepCell): string => `${agents} × ${rows}`;
  return [
    wins,
    `${named(least)} (${least.mode})`,
    `${formatCount(most.gain, { digits: 2 })} times (${named(most)})`,
  ];
}

function bestOf(findings: Findings, runner: string, hidden: number, cell: StepCell): Best | undefined {
  const all = STEP_MODES.flatMap((mode): Best[] => {
    const figures = stepOf(findings, { runner, hidden, mode }, cell);
    if (!figures || "leftOut" in figures) return [];
    return [{ ...cell, mode, us: figures.p50Us, actionsPerSecond: figures.actionsPerSecond }];
  });
  return all.toSorted((a, b) => a.us - b.us)[0];
}

function stepOf(
  { steps }: Findings,
  { runner, hidden, mode }: { readonly runner: string; readonly hidden: number; readonly mode: string },
  { agents, rows }: StepCell,
): StepFigures | undefined {
  const cells = steps[`steps | ${runner} | ${hidden} ${mode}`] ?? [];
  return cells.find((cell) => cell.agents === agents && cell.rows === rows);
}

function figure(figures: StepFigures | undefined): string {
  if (!figures) return "";
  return "leftOut" in figures ? "–" : formatMicroseconds(figures.p50Us);
}

function sizesOf({ sizes }: Findings): StepCell[] {
  return sizes.agents.flatMap((agents) => sizes.rows.map((rows) => ({ agents, rows })));
}

/** Without the part's name. */
function shortKey(key: string): string {
  return key.split(" | ").slice(1).join(", ");
}
