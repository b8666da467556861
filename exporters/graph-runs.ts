/**
 * The graphs of an export, each with the rows of a team that it answers and the tensors that stay the same: agent
 * indices, adapters read from their files.
 *
 * Letters: E environments.
 */
import type { Team } from "../models/team.ts";
import { parseJson } from "../src/base/files.ts";
import { DTYPES, elementCount, floatTensor, type HostTensor } from "../src/base/tensor.ts";
import { checkAdapter } from "../src/checkpoint/adapter.ts";
import { decodeOnnxAdapter } from "../src/checkpoint/onnx-adapter.ts";
import { CONFIG_FILE, parseAdapter, TENSORS_FILE } from "../src/checkpoint/peft.ts";
import type { ModelManifest } from "../src/checkpoint/repository.ts";
import type { Runtime, Session } from "../src/runtime/session.ts";
import { graphAdapter } from "./adapter-files.ts";
import { type Matrix, resetRows, type StepInputs } from "./verification-inputs.ts";

/** Bytes of an exported file by its path in the model's folder. */
export type ReadExported = (path: string) => Buffer;

/** One graph on some rows of a team, with the state of those rows. The session belongs to {@link openGraphRuns}. */
export class GraphRun {
  /** Path of the graph, and the agent where there is one run an agent. */
  readonly name: string;
  /** Row n·E + e of the team for each of the graph's rows. */
  readonly rows: readonly number[];
  readonly #session: Session;
  readonly #parts: RunParts;
  readonly #hidden: Matrix;

  constructor(session: Session, parts: RunParts, hiddenWidth: number) {
    this.name = parts.name;
    this.rows = parts.rows;
    this.#session = session;
    this.#parts = parts;
    this.#hidden = { data: new Float32Array(parts.rows.length * hiddenWidth), width: hiddenWidth };
  }

  /** Outputs by name, in the graph's own rows and widths. */
  step({ tensors, began }: StepInputs): Record<string, Matrix> {
    const hidden = this.#hidden;
    const ownBegan = Uint8Array.from(this.rows, (row) => began[row]!);
    resetRows(hidden, ownBegan);
    const feeds: Record<string, HostTensor> = { ...this.#parts.fixed };
    for (const { name, shape } of this.#session.inputs) {
      // A graph of one agent takes the first of a padded row's features. Widths are numbers in every export.
      const width = shape.at(-1) as number;
      const rows =
        name === "hidden_in" ? hidden.data : tensors[name] && pick(tensors[name], this.rows, width);
      if (rows) feeds[name] = floatTensor([...this.#parts.leading, width], rows);
    }
    const outputs = mapTensors(this.#session.run(feeds) as Record<string, HostTensor>);
    if (outputs["hidden_out"]) hidden.data.set(outputs["hidden_out"].data);
    return outputs;
  }
}

interface RunParts {
  readonly path: string;
  readonly name: string;
  readonly rows: readonly number[];
  readonly leading: readonly number[];
  readonly fixed: Readonly<Record<string, HostTensor>>;
}

/** Every graph of a manifest, once or once an agent; `dispose` frees their sessions. */
export function openGraphRuns(
  team: Team,
  manifest: ModelManifest,
  envs: number,
  { read, runtime }: { readonly read: ReadExported; readonly runtime: Runtime },
): { readonly runs: readonly GraphRun[]; dispose(): void } {
  const sessions = new Map<string, Session>();
  const dispose = (): void => {
    for (const session of sessions.values()) session.dispose();
  };
  try {
    const parts = [...agentRuns(team, manifest, envs, read), ...teamRuns(team, manifest, envs, read)];
    for (const { path } of parts) {
      if (!sessions.has(path)) sessions.set(path, runtime.createSession(read(path)));
    }
    const runs = parts.map((own) => new GraphRun(sessions.get(own.path)!, own, manifest.hiddenSize));
    return { runs, dispose };
  } catch (cause) {
    dispose();
    throw cause;
  }
}

/** The graphs that answer for one agent at a time: its own merged one, or `single` with its file. */
function agentRuns(team: Team, { graphs }: ModelManifest, envs: number, read: ReadExported): RunParts[] {
  return team.agents.flatMap(({ name }, agent) => {
    const rows = Array.from({ length: envs }, (_, env) => agent * envs + env);
    const merged = graphs.agents?.[name];
    const runs: RunParts[] = [];
    if (merged) runs.push({ path: merged, name: merged, rows, leading: [envs], fixed: {} });
    if (graphs.single) {
      const fixed = Object.fromEntries(readOnnxAdapter(name, read));
      runs.push({ path: graphs.single, name: `${graphs.single} with ${name}`, rows, leading: [envs], fixed });
    }
    return runs;
  });
}

/** The graphs that answer for all agents: `team` in their order, `rows` mixed. */
function teamRuns(team: Team, manifest: ModelManifest, envs: number, read: ReadExported): RunParts[] {
  const { graphs, mode } = manifest;
  const count = team.agents.length;
  const all = Array.from({ length: count * envs }, (_, row) => row);
  const adapters = mode === "factored" ? team.agents.map(({ name }) => readPeft(name, manifest, read)) : [];
  const runs: RunParts[] = [];
  if (graphs.team) {
    const fixed = stack(adapters);
    runs.push({ path: graphs.team, name: graphs.team, rows: all, leading: [count, envs], fixed });
  }
  if (graphs.rows) {
    const rows = all.map((_, at) => scattered(at, all.length));
    const fixed = { ...rowIndices(rows, envs, count), ...stack(adapters.toReversed()) };
    runs.push({ path: graphs.rows, name: graphs.rows, rows, leading: [all.length], fixed });
  }
  return runs;
}

function mapTensors(tensors: Readonly<Record<string, HostTensor>>): Record<string, Matrix> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { data, dims }]) => [
      name,
      { data: Float32Array.from(data as ArrayLike<number | bigint>, Number), width: dims.at(-1)! },
    ]),
  );
}

/** An order in which neighbours are not neighbours: steps of a stride that shares no factor with the count. */
function scattered(at: number, count: number): number {
  let stride = Math.max(1, Math.floor(count * 0.618));
  while (gcd(stride, count) !== 1) stride++;
  return (at * stride) % count;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Slots are the agents in reverse, so that an agent's index taken for its slot shows. */
function rowIndices(rows: readonly number[], envs: number, agents: number): Record<string, HostTensor> {
  const agent = rows.map((row) => Math.floor(row / envs));
  const tensor = (values: readonly number[]): HostTensor => ({
    dtype: "int64",
    dims: [values.length],
    data: BigInt64Array.from(values, BigInt),
  });
  return { agent: tensor(agent), slot: tensor(agent.map((index) => agents - 1 - index)) };
}

function readPeft(agent: string, manifest: ModelManifest, read: ReadExported): Map<string, HostTensor> {
  const config = parseJson(read(`adapters/${agent}/${CONFIG_FILE}`), CONFIG_FILE);
  const parsed = parseAdapter(config, read(`adapters/${agent}/${TENSORS_FILE}`), `adapter ${agent}`);
  const checked = checkAdapter(parsed, manifest.adapterLayers, manifest.backboneSha256);
  return graphAdapter(checked, manifest.precision);
}

function readOnnxAdapter(agent: string, read: ReadExported): Map<string, HostTensor> {
  return decodeOnnxAdapter(read(`adapters/${agent}.onnx_adapter`), `adapter ${agent}`).parameters;
}

/** The same tensors of several adapters along a new leading axis. */
function stack(adapters: readonly ReadonlyMap<string, HostTensor>[]): Record<string, HostTensor> {
  const [first] = adapters;
  if (!first) return {};
  return Object.fromEntries(
    [...first].map(([name, { dtype, dims }]) => {
      const data = new DTYPES[dtype].array(adapters.length * elementCount(dims));
      for (const [slot, adapter] of adapters.entries()) {
        // An adapter's tensors are all of one type, and numbers.
        data.set(adapter.get(name)!.data as never, slot * elementCount(dims));
      }
      return [name, { dtype, dims: [adapters.length, ...dims], data }];
    }),
  );
}

function pick({ data, width }: Matrix, rows: readonly number[], wanted: number): Float32Array {
  const picked = new Float32Array(rows.length * wanted);
  for (const [at, row] of rows.entries())
    picked.set(data.subarray(row * width, row * width + wanted), at * wanted);
  return picked;
}
