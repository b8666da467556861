/**
 * Runs a batch of requests through a policy's graphs, in each layout that the graphs come in, with each row's
 * adapter. Not when a batch is made: see `scheduler.ts`.
 */
import type { AdapterBank } from "./adapter-bank.ts";
import type { BoundGraph, FixedInputs, RowBuffers } from "./bound-graph.ts";
import {
  agentOfRow,
  gatherRows,
  groupPlaces,
  type Place,
  type RowAgents,
  type RowBlock,
  rowCount,
  rowPlaces,
  rowsOfAgent,
  scatterRows,
} from "./placement.ts";
import { POLICY_OUTPUTS, type PolicyInput, type RowSizes } from "./policy-tensors.ts";
import type { RowAdapters } from "./request-adapters.ts";
import type { ResidentAdapter } from "./resident-adapter.ts";

/** A request whose tensors are checked: rows with an agent each, and where the answer goes. */
export interface PolicyRows {
  readonly agents: RowAgents;
  /** Number of agents in the team, N. */
  readonly team: number;
  readonly features: Readonly<Partial<Record<PolicyInput, RowBlock>>>;
  /** Widths of the rows that are answered. */
  readonly answered: RowSizes;
  /** Outputs that are read; all of them when absent. */
  readonly wanted?: readonly string[];
  /** Absent for a model without a bank. */
  readonly adapters?: RowAdapters;
}

export type PolicyAnswer = Readonly<Record<string, RowBlock<Float32Array | BigInt64Array>>>;

/** A graph, which buffers it needs, and how rows get in and out: everything but the run itself. */
export interface GraphRun {
  readonly graph: BoundGraph;
  readonly leading: readonly number[];
  readonly fixed: FixedInputs;
  /** Outputs that some request reads; all of them when absent. */
  readonly wanted?: readonly string[];
  fill(buffers: RowBuffers): void;
  read(outputs: RowBuffers["outputs"]): void;
}

/** The runs of a batch, and the answers that they fill, one a request. */
export interface BatchPlan {
  readonly runs: readonly GraphRun[];
  readonly answers: readonly PolicyAnswer[];
}

/** One object, so that bindings see that nothing changed. */
const NOTHING_FIXED: FixedInputs = {};

/**
 * All agents in one graph `[N, E, …]`: rows are sorted by agent and short groups padded.
 * @param bank slot n is agent n's; absent for a stacked graph.
 * @param size rows of a group, at least the most that an agent has.
 */
export function planGrouped(
  graph: BoundGraph,
  bank: AdapterBank | undefined,
  batch: readonly PolicyRows[],
  size: number,
): BatchPlan {
  const { team } = batch[0]!;
  const agents = batch.map((rows) => rows.agents);
  const places = groupPlaces(agents, team, size);
  const answers = batch.map((rows) => allocateAnswer(graph, rows));
  const fill = (buffers: RowBuffers): void => {
    if (bank) for (const rows of batch) putOwn(bank, rows);
    for (const [at, rows] of batch.entries()) gather(buffers, rows, places[at]!);
  };
  const read = (outputs: RowBuffers["outputs"]): void => {
    for (const [at, place] of places.entries()) scatter(outputs, answers[at]!, place);
  };
  const fixed = bank?.first(team) ?? NOTHING_FIXED;
  return { runs: [{ graph, leading: [team, size], fixed, ...wantedOf(batch), fill, read }], answers };
}

/** One graph `[B, …]` that gathers each row's adapter by its slot. */
export function planGathered(graph: BoundGraph, bank: AdapterBank, batch: readonly PolicyRows[]): BatchPlan {
  const { team } = batch[0]!;
  const agents = batch.map((rows) => rows.agents);
  const places = rowPlaces(agents, team) as number[];
  const total = agents.reduce((sum, rows) => sum + rowCount(rows, team), 0);
  const answers = batch.map((rows) => allocateAnswer(graph, rows));
  const fixed = bank.beginBatch(countAdapters(batch, bank.spare));
  const fill = (buffers: RowBuffers): void => {
    const { agent, slot } = buffers.indices;
    for (const [at, rows] of batch.entries()) {
      gather(buffers, rows, places[at]!);
      if (agent) fillAgents(agent, rows, places[at]!);
      if (slot) fillSlots(slot, rows, places[at]!, bank);
    }
  };
  const read = (outputs: RowBuffers["outputs"]): void => {
    for (const [at, place] of places.entries()) scatter(outputs, answers[at]!, place);
  };
  return { runs: [{ graph, leading: [total], fixed, ...wantedOf(batch), fill, read }], answers };
}

/** A graph an agent, `[B, …]` each: runs those that have rows. */
export function planMerged(graphs: readonly BoundGraph[], batch: readonly PolicyRows[]): BatchPlan {
  const answers = batch.map((rows) => allocateAnswer(graphs[0]!, rows));
  const runs: GraphRun[] = [];
  for (const [agent, graph] of graphs.entries()) {
    const sources = batch.map((rows) => rowsOfAgent(rows.agents, rows.team, agent));
    const total = sources.reduce((sum, rows) => sum + rows.length, 0);
    if (total > 0) runs.push(mergedRun(graph, batch, sources, answers, total));
  }
  return { runs, answers };
}

function mergedRun(
  graph: BoundGraph,
  batch: readonly PolicyRows[],
  sources: readonly Int32Array[],
  answers: readonly PolicyAnswer[],
  total: number,
): GraphRun {
  const fill = ({ inputs }: RowBuffers): void => {
    for (const name in inputs) {
      const into = inputs[name]!;
      let at = 0;
      for (const [request, rows] of batch.entries()) {
        at = pickRows(into, at, rows.features[name as PolicyInput]!, sources[request]!);
      }
    }
  };
  const read = (outputs: RowBuffers["outputs"]): void => {
    let at = 0;
    for (const [request, answer] of answers.entries()) {
      const rows = sources[request]!;
      for (const name in answer) {
        returnRows(answer[name] as RowBlock, outputs[name] as RowBlock, rows, at);
      }
      at += rows.length;
    }
  };
  return { graph, leading: [total], fixed: NOTHING_FIXED, ...wantedOf(batch), fill, read };
}

/** Copies the named rows behind each other from `at`; the next free row. */
function pickRows(into: RowBlock, at: number, from: RowBlock, rows: Int32Array): number {
  const copied = Math.min(into.width, from.width);
  for (let k = 0; k < rows.length; k++) {
    const start = (at + k) * into.width;
    const origin = rows[k]! * from.width;
    for (let i = 0; i < copied; i++) into.data[start + i] = from.data[origin + i]!;
    for (let i = copied; i < into.width; i++) into.data[start + i] = 0;
  }
  return at + rows.length;
}

/** The reverse, from `at` on. */
function returnRows(into: RowBlock, from: RowBlock, rows: Int32Array, at: number): void {
  const copied = Math.min(into.width, from.width);
  for (let k = 0; k < rows.length; k++) {
    const start = rows[k]! * into.width;
    const origin = (at + k) * from.width;
    for (let i = 0; i < copied; i++) into.data[start + i] = from.data[origin + i]!;
    // A block of int64 is one wide: nothing is left of it.
    for (let i = copied; i < into.width; i++) into.data[start + i] = 0;
  }
}

/** What the requests of a batch read together; nothing where one reads all. */
function wantedOf(batch: readonly PolicyRows[]): Pick<GraphRun, "wanted"> {
  if (batch.some(({ wanted }) => !wanted)) return {};
  return { wanted: [...new Set(batch.flatMap(({ wanted }) => wanted!))].sort() };
}

function gather({ inputs }: RowBuffers, rows: PolicyRows, place: Place): void {
  // The request reader gave every row input that the graphs have.
  for (const name in inputs) gatherRows(inputs[name]!, rows.features[name as PolicyInput]!, place);
}

function scatter(outputs: RowBuffers["outputs"], answer: PolicyAnswer, place: Place): void {
  // Both blocks have the element type of the same graph output.
  for (const name in answer) scatterRows(answer[name] as RowBlock, outputs[name] as RowBlock, place);
}

/**
 * Whether each agent has one adapter throughout the batch, so that slot n of a grouped graph can be agent n's.
 */
export function hasOneAdapterAnAgent(batch: readonly PolicyRows[]): boolean {
  const first = batch[0]!.adapters;
  // The usual case: every request was given the same array.
  if (first?.kind === "own" && batch.every(({ adapters }) => isOwn(adapters, first.byAgent))) return true;
  const seen: (ResidentAdapter | undefined)[] = [];
  const isFirst = (agent: number, adapter: ResidentAdapter): boolean => {
    seen[agent] ??= adapter;
    return seen[agent] === adapter;
  };
  return batch.every((rows) => eachAdapter(rows, isFirst));
}

/** Whether each agent has the one adapter of its own name. */
export function hasOwnAdapters(batch: readonly PolicyRows[], names: readonly string[]): boolean {
  const isOwnName = (agent: number, { name }: ResidentAdapter): boolean => name === names[agent];
  return (
    hasOneAdapterAnAgent(batch) &&
    batch.every((rows) => rows.adapters?.kind === "own" || eachAdapter(rows, isOwnName))
  );
}

function isOwn(adapters: RowAdapters | undefined, byAgent: readonly unknown[]): boolean {
  return adapters?.kind === "own" && adapters.byAgent === byAgent;
}

function putOwn(bank: AdapterBank, rows: PolicyRows): void {
  eachAdapter(rows, (agent, adapter) => {
    bank.put(agent, adapter);
    return true;
  });
}

/** Calls with each agent and adapter of a request until one answers false. */
function eachAdapter(
  { agents, adapters, team }: PolicyRows,
  call: (agent: number, adapter: ResidentAdapter) => boolean,
): boolean {
  if (adapters?.kind === "own") {
    return adapters.byAgent.every((adapter, agent) => adapter === undefined || call(agent, adapter));
  }
  const rows = rowCount(agents, team);
  for (let row = 0; row < rows; row++) {
    if (!call(agentOfRow(agents, row, team), adapterOfRow(adapters, row)!)) return false;
    if (agents.kind === "agent" && adapters?.kind === "one") return true;
  }
  return true;
}

function adapterOfRow(adapters: RowAdapters | undefined, row: number): ResidentAdapter | undefined {
  if (adapters?.kind === "rows") return adapters.distinct[adapters.index[row]!];
  return adapters?.kind === "one" ? adapters.adapter : undefined;
}

/** Distinct adapters of the batch; a larger number when that is quicker to see and still at most `enough`. */
function countAdapters(batch: readonly PolicyRows[], enough: number): number {
  const most = batch.reduce((sum, { adapters }) => {
    if (adapters?.kind === "own") return sum + adapters.byAgent.length;
    return sum + (adapters?.kind === "rows" ? adapters.distinct.length : 1);
  }, 0);
  if (most <= enough) return most;
  const distinct = new Set<ResidentAdapter>();
  for (const rows of batch) eachAdapter(rows, (_, adapter) => distinct.add(adapter) === distinct);
  return distinct.size;
}

function fillAgents(index: BigInt64Array, { agents, team }: PolicyRows, place: number): void {
  const rows = rowCount(agents, team);
  for (let row = 0; row < rows; row++) index[place + row] = BigInt(agentOfRow(agents, row, team));
}

function fillSlots(
  index: BigInt64Array,
  { agents, team, adapters }: PolicyRows,
  place: number,
  bank: AdapterBank,
): void {
  const rows = rowCount(agents, team);
  for (let row = 0; row < rows; row++) {
    const own = adapters?.kind === "own" ? adapters.byAgent[agentOfRow(agents, row, team)] : undefined;
    index[place + row] = BigInt(bank.slotOf((own ?? adapterOfRow(adapters, row))!));
  }
}

/** One piece of memory for all outputs: reading a run's rows writes every element of it. */
function allocateAnswer(graph: BoundGraph, rows: PolicyRows): PolicyAnswer {
  const count = rowCount(rows.agents, rows.team);
  const { wanted } = rows;
  const all = graph.session.outputs;
  const outputs = wanted ? all.filter(({ name }) => wanted.includes(name)) : all;
  // BoundGraph refused every output that is not in the table.
  const widths = outputs.map(({ name }) => POLICY_OUTPUTS[name]!.width(rows.answered));
  const bytes = outputs.map(({ dtype }, at) => alignedBytes(dtype === "int64" ? 8 : 4, count * widths[at]!));
  const { buffer } = Buffer.allocUnsafeSlow(bytes.reduce((sum, each) => sum + each, 0));
  const answer: Record<string, RowBlock<Float32Array | BigInt64Array>> = {};
  let offset = 0;
  for (const [at, { name, dtype }] of outputs.entries()) {
    const width = widths[at]!;
    const length = count * width;
    const data =
      dtype === "int64"
        ? new BigInt64Array(buffer, offset, length)
        : new Float32Array(buffer, offset, length);
    answer[name] = { width, data };
    offset += bytes[at]!;
  }
  return answer;
}

/** Up to a multiple of eight, so that what follows may be int64. */
function alignedBytes(size: number, length: number): number {
  return Math.ceil((size * length) / 8) * 8;
}
