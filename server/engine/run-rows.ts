/** Runs the rows of a request through a policy's graphs, in each layout that the graphs come in. */
import { elementCount } from "../../src/base/tensor.ts";
import type { BoundGraph, FixedInputs, RowBinding } from "./bound-graph.ts";
import {
  type Grouping,
  gatherRows,
  groupRows,
  type RowAgents,
  type RowBlock,
  rowCount,
  scatterRows,
} from "./placement.ts";
import { POLICY_OUTPUTS, type PolicyInput, type RowSizes } from "./policy-tensors.ts";

/** A request whose tensors are checked: rows with an agent each. */
export interface PolicyRows {
  readonly agents: RowAgents;
  /** Number of agents in the team, N. */
  readonly team: number;
  readonly features: Readonly<Partial<Record<PolicyInput, RowBlock>>>;
  /** Widths of the rows that are answered. */
  readonly answered: RowSizes;
}

export type PolicyAnswer = Readonly<Record<string, RowBlock<Float32Array | BigInt64Array>>>;

/**
 * How many padded rows of the grouped graph cost as much as one gathered row: about 0.3 against 1 µs on a CPU
 * (30-64-64-6, rank 8), less for larger adapters, whose copies the gathered graph makes for every row.
 */
const GROUPED_ROWS_PER_GATHERED = 3;

/** The graphs of a factored model: grouped while the padding is small enough, else gathered. */
export function runFactored(
  graphs: { readonly team: BoundGraph; readonly rows: BoundGraph },
  fixed: FixedInputs,
  rows: PolicyRows,
): PolicyAnswer {
  const grouping = groupRows(rows.agents, rows.team);
  const gathered = rowCount(rows.agents, rows.team);
  if (grouping.order.length > GROUPED_ROWS_PER_GATHERED * gathered)
    return runGathered(graphs.rows, fixed, rows);
  return runGrouped(graphs.team, fixed, rows, grouping);
}

/** All agents in one graph `[N, E, …]`: rows are sorted by agent and short groups padded. */
export function runGrouped(
  graph: BoundGraph,
  fixed: FixedInputs,
  rows: PolicyRows,
  { size, order }: Grouping = groupRows(rows.agents, rows.team),
): PolicyAnswer {
  const answer = allocateAnswer(graph, rows);
  const binding = graph.bind([rows.team, size], fixed);
  runOrdered(binding, rows, order, answer);
  return answer;
}

/** One graph `[B, …]` that gathers each row's adapter by its slot; slot and agent are the same number. */
function runGathered(graph: BoundGraph, fixed: FixedInputs, rows: PolicyRows): PolicyAnswer {
  const count = rowCount(rows.agents, rows.team);
  const answer = allocateAnswer(graph, rows);
  const binding = graph.bind([count], fixed);
  for (const index of Object.values(binding.indices)) fillAgents(index, rows);
  runOrdered(binding, rows, identity(count), answer);
  return answer;
}

/** A graph an agent, `[B, …]` each: runs those that have rows. */
export function runMerged(graphs: readonly BoundGraph[], rows: PolicyRows): PolicyAnswer {
  const { size, order, counts } = groupRows(rows.agents, rows.team);
  const answer = allocateAnswer(graphs[0]!, rows);
  for (const [agent, graph] of graphs.entries()) {
    const count = counts[agent]!;
    if (count === 0) continue;
    const own = order.subarray(agent * size, agent * size + count);
    runOrdered(graph.bind([count], NOTHING_FIXED), rows, own, answer);
  }
  return answer;
}

/** One object, so that bindings see that nothing changed. */
const NOTHING_FIXED: FixedInputs = {};

function runOrdered(binding: RowBinding, rows: PolicyRows, order: Int32Array, answer: PolicyAnswer): void {
  for (const name in binding.inputs) {
    // The request reader gave every row input that the graphs have.
    gatherRows(binding.inputs[name]!, rows.features[name as PolicyInput]!, order);
  }
  binding.run();
  for (const name in binding.outputs) {
    // Both blocks have the element type of the same graph output.
    scatterRows(answer[name] as RowBlock, binding.outputs[name] as RowBlock, order);
  }
}

function allocateAnswer(graph: BoundGraph, rows: PolicyRows): PolicyAnswer {
  const count = rowCount(rows.agents, rows.team);
  const answer: Record<string, RowBlock<Float32Array | BigInt64Array>> = {};
  for (const { name, dtype } of graph.session.outputs) {
    // BoundGraph refused every output that is not in the table.
    const width = POLICY_OUTPUTS[name]!.width(rows.answered);
    const length = elementCount([count, width]);
    answer[name] = { width, data: dtype === "int64" ? new BigInt64Array(length) : new Float32Array(length) };
  }
  return answer;
}

function fillAgents(index: BigInt64Array, { agents, team }: PolicyRows): void {
  if (agents.kind === "agent") index.fill(BigInt(agents.agent));
  else if (agents.kind === "tagged")
    for (let i = 0; i < index.length; i++) index[i] = BigInt(agents.index[i]!);
  else for (let i = 0; i < index.length; i++) index[i] = BigInt(i % team);
}

function identity(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, row) => row);
}
