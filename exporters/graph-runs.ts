/**
 * The graphs of an export, each with the rows of a team that it answers and the tensors that stay the same: agent
 * indices, adapters read from their files.
 *
 * Letters: N agents, E environments, O observation, K actions.
 */
import type { Team } from "../models/team.ts";
import { parseJson } from "../src/base/files.ts";
import { DTYPES, elementCount, floatTensor, type FloatTensor, type HostTensor } from "../src/base/tensor.ts";
import { adapterParameters, checkAdapter } from "../src/checkpoint/adapter.ts";
import { decodeOnnxAdapter } from "../src/checkpoint/onnx-adapter.ts";
import { CONFIG_FILE, parseAdapter, TENSORS_FILE } from "../src/checkpoint/peft.ts";
import type { ModelManifest } from "../src/checkpoint/repository.ts";
import { createRuntime } from "../src/runtime/onnxruntime.ts";
import type { Session } from "../src/runtime/session.ts";
import { type Matrix, resetRows, type StepInputs } from "./verification-inputs.ts";

/** Bytes of an exported file by its path in the model's folder. */
export type ReadExported = (path: string) => Buffer;

/** One graph run on some rows of a team; owns its session and the rows' state. */
export class GraphRun {
  /** Path of the graph, and the agent where there is one run an agent. */
  readonly name: string;
  /** Row n·E + e of the team for each of the graph's rows. */
  readonly rows: readonly number[];
  readonly #session: Session;
  readonly #leading: readonly number[];
  readonly #fixed: Readonly<Record<string, HostTensor>>;
  readonly #hidden: Matrix;

  constructor(name: string, session: Session, parts: RunParts, hiddenWidth: number) {
    this.name = name;
    this.rows = parts.rows;
    this.#session = session;
    this.#leading = parts.leading;
    this.#fixed = parts.fixed;
    this.#hidden = { data: new Float32Array(parts.rows.length * hiddenWidth), width: hiddenWidth };
  }

  /** Outputs by name, in the graph's own rows and widths. */
  step({ tensors, began }: StepInputs): Record<string, Matrix> {
    resetRows(
      this.#hidden,
      Uint8Array.from(this.rows, (row) => began[row]!),
    );
    const feeds: Record<string, HostTensor> = { ...this.#fixed };
    for (const { name, shape } of this.#session.inputs) {
      const matrix = name === "hidden_in" ? this.#hidden : undefined;
      // A graph of one agent takes the first of a padded row's features; its width is a number.
      const width = shape.at(-1) as number;
      if (matrix) feeds[name] = floatTensor([...this.#leading, width], matrix.data);
      else if (tensors[name])
        feeds[name] = floatTensor([...this.#leading, width], pick(tensors[name], this.rows, width));
    }
    const results = this.#session.run(feeds) as Record<string, HostTensor>;
    const outputs = Object.fromEntries(
      Object.entries(results).map(([name, { data, dims }]) => {
        const width = dims.at(-1)!;
        return [name, { data: Float32Array.from(data as ArrayLike<number | bigint>, Number), width }];
      }),
    );
    if (outputs["hidden_out"]) this.#hidden.data.set(outputs["hidden_out"].data);
    return outputs;
  }

  dispose(): void {
    this.#session.dispose();
  }
}

interface RunParts {
  readonly rows: readonly number[];
  readonly leading: readonly number[];
  readonly fixed: Readonly<Record<string, HostTensor>>;
}

/** Every graph of a manifest, once or once an agent. The caller disposes them. */
export function graphRuns(team: Team, manifest: ModelManifest, envs: number, read: ReadExported): GraphRun[] {
  const runtime = createRuntime();
  const opened: GraphRun[] = [];
  try {
    for (const [path, label, parts] of describeRuns(team, manifest, envs, read)) {
      const session = runtime.createSession(read(path));
      opened.push(new GraphRun(label, session, parts, manifest.hiddenSize));
    }
  } catch (cause) {
    for (const run of opened) run.dispose();
    throw cause;
  }
  return opened;
}

type Described = readonly [path: string, label: string, parts: RunParts];

function describeRuns(team: Team, manifest: ModelManifest, envs: number, read: ReadExported): Described[] {
  const { graphs } = manifest;
  const count = team.agents.length;
  const all = Array.from({ length: count * envs }, (_, row) => row);
  const agentRows = (agent: number): number[] => all.slice(agent * envs, (agent + 1) * envs);
  const runs: Described[] = [];
  for (const [agent, { name }] of team.agents.entries()) {
    const path = graphs.agents?.[name];
    if (path) runs.push([path, path, { rows: agentRows(agent), leading: [envs], fixed: {} }]);
    if (graphs.single) {
      const fixed = Object.fromEntries(readOnnxAdapter(name, read));
      runs.push([
        graphs.single,
        `${graphs.single} with ${name}`,
        { rows: agentRows(agent), leading: [envs], fixed },
      ]);
    }
  }
  const adapters =
    manifest.mode === "factored" ? team.agents.map(({ name }) => readPeft(name, manifest, read)) : [];
  if (graphs.team)
    runs.push([graphs.team, graphs.team, { rows: all, leading: [count, envs], fixed: stack(adapters) }]);
  if (graphs.rows) {
    const mixed = all.map((_, at) => scattered(at, all.length));
    const fixed = { ...rowIndices(mixed, envs, count), ...stack(adapters.toReversed()) };
    runs.push([graphs.rows, graphs.rows, { rows: mixed, leading: [all.length], fixed }]);
  }
  return runs;
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

function readPeft(agent: string, manifest: ModelManifest, read: ReadExported): Map<string, FloatTensor> {
  const config = parseJson(read(`adapters/${agent}/${CONFIG_FILE}`), CONFIG_FILE);
  const parsed = parseAdapter(config, read(`adapters/${agent}/${TENSORS_FILE}`), `adapter ${agent}`);
  return adapterParameters(checkAdapter(parsed, manifest.adapterLayers, manifest.backboneSha256));
}

function readOnnxAdapter(agent: string, read: ReadExported): Map<string, HostTensor> {
  return decodeOnnxAdapter(read(`adapters/${agent}.onnx_adapter`), `adapter ${agent}`).parameters;
}

/** The same tensors of several adapters along a new leading axis. */
function stack(adapters: readonly ReadonlyMap<string, FloatTensor>[]): Record<string, FloatTensor> {
  const [first] = adapters;
  if (!first) return {};
  return Object.fromEntries(
    [...first].map(([name, { dims }]) => {
      const data = new DTYPES.float32.array(adapters.length * elementCount(dims));
      for (const [slot, adapter] of adapters.entries())
        data.set(adapter.get(name)!.data, slot * elementCount(dims));
      return [name, floatTensor([adapters.length, ...dims], data)];
    }),
  );
}

function pick({ data, width }: Matrix, rows: readonly number[], wanted: number): Float32Array {
  const picked = new Float32Array(rows.length * wanted);
  for (const [at, row] of rows.entries())
    picked.set(data.subarray(row * width, row * width + wanted), at * wanted);
  return picked;
}
