/** Times of team steps of one mode over agents and rows, smallest first; what passes a limit is left out and says why. */
import { formatBytes } from "../../../src/base/format.ts";
import { LoadedMode } from "../../../src/cli/compare/loaded-mode.ts";
import { timeSteps } from "../../../src/cli/compare/step-times.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import { type Case, LIMITS, type Sizes } from "./plan.ts";
import { OBSERVATIONS, policyBytes, policySize } from "./policy.ts";

type StepCase = Extract<Case, { part: "steps" }>;

export interface StepCell {
  readonly agents: number;
  /** Of each agent. */
  readonly rows: number;
}

/** Of a step of the whole team; one of a single sample where a step takes long. */
export type StepFigures =
  | { readonly p50Us: number; readonly p99Us: number; readonly actionsPerSecond: number }
  | { readonly leftOut: string };

/** Steps from which one sample does, once one was run to warm up. */
const LONG_MS = 300;
const SEED = 5;

/**
 * Measures a case.
 * @param known what an earlier run measured.
 * @param found told of each cell as it is there.
 */
export function measureSteps(
  each: StepCase,
  sizes: Sizes,
  known: (cell: StepCell) => StepFigures | undefined,
  found: (cell: StepCell, figures: StepFigures) => void,
): void {
  const runtime = createRuntime(each.runner.device);
  const took = new Map<string, number>();
  const tell = (cell: StepCell, figures: StepFigures): void => {
    if ("p50Us" in figures) took.set(nameOf(cell), figures.p50Us / 1e3);
    if (!known(cell)) found(cell, figures);
  };
  for (const agents of sizes.agents) {
    const cells = sizes.rows.map((rows) => ({ agents, rows }));
    for (const cell of cells) {
      const before = known(cell);
      if (before) tell(cell, before);
    }
    const left = cells.filter((cell) => !known(cell));
    const over = weightLimit(each, agents);
    if (over !== undefined) for (const cell of left) tell(cell, { leftOut: over });
    if (over !== undefined || left.length === 0) continue;
    const bytes = policyBytes(each.mode, each.hidden, agents);
    const loaded = new LoadedMode(runtime, bytes, { threads: each.runner.threads });
    for (const cell of left) tell(cell, measureCell(each, cell, { loaded, took, sizes }));
    loaded.dispose();
  }
}

interface Place {
  readonly loaded: LoadedMode;
  /** Milliseconds of the cells so far. */
  readonly took: Map<string, number>;
  readonly sizes: Sizes;
}

function measureCell({ hidden }: StepCase, cell: StepCell, { loaded, took, sizes }: Place): StepFigures {
  const { agents, rows } = cell;
  const tensor = 4 * agents * rows * Math.max(hidden, OBSERVATIONS);
  if (tensor > LIMITS.tensorBytes) return { leftOut: `a tensor of ${formatBytes(tensor)}` };
  const expected = expectedMs(cell, sizes, took);
  if (expected > LIMITS.stepMs) {
    const text = Number.isFinite(expected)
      ? `up to ${Math.round(expected)} ms`
      : "more than smaller ones, left out";
    return { leftOut: `a step of ${text}` };
  }
  const step = loaded.bind(loaded.buffers(rows, SEED));
  step();
  const began = performance.now();
  step();
  const onceMs = performance.now() - began;
  const long = onceMs > LONG_MS;
  const { p50Us, p99Us, stepsPerSecond } = long
    ? { p50Us: onceMs * 1e3, p99Us: onceMs * 1e3, stepsPerSecond: 1e3 / onceMs }
    : timeSteps(step, sizes.warmUpMs, sizes.measureMs);
  return { p50Us, p99Us, actionsPerSecond: agents * rows * stepsPerSecond };
}

/** By the neighbours with fewer agents or rows, if time grew as they do; where both were left out it is too long. */
function expectedMs({ agents, rows }: StepCell, sizes: Sizes, took: ReadonlyMap<string, number>): number {
  const fewer = sizes.agents[sizes.agents.indexOf(agents) - 1];
  const less = sizes.rows[sizes.rows.indexOf(rows) - 1];
  const neighbours = [
    ...(fewer === undefined ? [] : [{ cell: { agents: fewer, rows }, factor: agents / fewer }]),
    ...(less === undefined ? [] : [{ cell: { agents, rows: less }, factor: rows / less }]),
  ];
  if (neighbours.length === 0) return 0;
  return Math.min(
    ...neighbours.map(({ cell, factor }) => factor * (took.get(nameOf(cell)) ?? Number.POSITIVE_INFINITY)),
  );
}

function nameOf({ agents, rows }: StepCell): string {
  return `${agents} × ${rows}`;
}

/** Why a mode is too large to be loaded. */
function weightLimit({ mode, hidden }: StepCase, agents: number): string | undefined {
  const { backbone, adapter } = policySize(hidden);
  const graph = 4 * backbone * (mode === "stacked" ? agents : 1);
  const all = 4 * (mode === "factored" ? backbone + agents * adapter : backbone * agents);
  if (mode === "merged" && agents > LIMITS.mergedSessions) return `${agents} sessions`;
  if (graph > LIMITS.graphBytes) return `a graph of ${formatBytes(graph)}`;
  return all > LIMITS.weightBytes ? `weights of ${formatBytes(all)}` : undefined;
}
