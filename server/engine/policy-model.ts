/**
 * A loaded model of the repository: its graphs, its adapters and the names under which it answers. The same
 * requests and replies whether it was exported merged, stacked or factored. Not HTTP, not files.
 */
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { firstNonFinite } from "../../src/base/tensor.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import type { WireTensor } from "../protocol/datatypes.ts";
import type { InferRequest, ParameterValue, TensorMetadata } from "../protocol/request.ts";
import { type AdapterBank, type BankSnapshot, loadedEntry } from "./adapter-bank.ts";
import type { BoundGraph } from "./bound-graph.ts";
import { clearPadding, isPadded } from "./padding.ts";
import { type RowAgents, type RowBlock, rowCount } from "./placement.ts";
import { type Addressee, checkRequest } from "./policy-request.ts";
import {
  POLICY_INPUT_NAMES,
  POLICY_INPUTS,
  POLICY_OUTPUTS,
  type PolicyInput,
  rowSizes,
} from "./policy-tensors.ts";
import { type PolicyAnswer, type PolicyRows, runFactored, runGrouped, runMerged } from "./run-rows.ts";

/** The loaded graphs of each mode. */
export type ModelGraphs =
  | { readonly mode: "merged"; readonly agents: readonly BoundGraph[] }
  | { readonly mode: "stacked"; readonly team: BoundGraph }
  | {
      readonly mode: "factored";
      readonly team: BoundGraph;
      readonly rows: BoundGraph;
      readonly bank: AdapterBank;
    };

/** A name that can be asked for inference: the team, or one agent of it. */
export interface Endpoint {
  readonly name: string;
  readonly model: PolicyModel;
  /** Index of the agent; absent for the team. */
  readonly agent?: number;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}

export interface InferResult {
  readonly outputs: readonly WireTensor[];
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  readonly rows: number;
  /** Time in the graphs and in ordering their rows. */
  readonly computeSeconds: number;
}

export class PolicyModel {
  readonly manifest: ModelManifest;
  readonly graphs: ModelGraphs;
  readonly endpoints: readonly Endpoint[];
  readonly #accepts: readonly PolicyInput[];

  constructor(manifest: ModelManifest, graphs: ModelGraphs) {
    this.manifest = manifest;
    this.graphs = graphs;
    const sample = graphs.mode === "merged" ? graphs.agents[0]! : graphs.team;
    this.#accepts = POLICY_INPUT_NAMES.filter((name) => sample.has(name));
    this.endpoints = [this.#endpoint(), ...manifest.agents.map((_, agent) => this.#endpoint(agent))];
  }

  get bank(): AdapterBank | undefined {
    return this.graphs.mode === "factored" ? this.graphs.bank : undefined;
  }

  /**
   * Index of the agent of that name.
   * @throws LORASA_UNKNOWN_AGENT.
   */
  agentIndex(name: string): number {
    const names = this.manifest.agents.map((agent) => agent.name);
    const index = names.indexOf(name);
    if (index >= 0) return index;
    throw new LorasaError("LORASA_UNKNOWN_AGENT", {
      asked: `agent ${JSON.stringify(name.slice(0, 80))}`,
      expected: `an agent of ${this.manifest.name}`,
      received: "an unknown name",
      mend: suggestion(name.slice(0, 80), names),
    });
  }

  /**
   * Answers a request addressed to the team or to one agent.
   * @throws what `checkRequest` throws; LORASA_UNKNOWN_ADAPTER when an agent concerned has no adapter loaded;
   *   LORASA_NAME for an unknown output; LORASA_NOT_FINITE when the policy's answer overflows.
   */
  infer(endpoint: Endpoint, request: InferRequest): InferResult {
    const addressee = this.#addressee(endpoint.agent);
    const { leading, rows } = checkRequest(addressee, request.inputs);
    for (const { name } of request.outputs ?? []) checkOutput(name, endpoint.outputs);
    // Taken once: the run and the versions that the reply names are of the same moment.
    const snapshot = this.bank?.current;
    const parameters = snapshot ? { adapter_versions: this.#versions(snapshot, rows.agents) } : {};
    const started = performance.now();
    const answer = this.#run(rows, snapshot);
    const computeSeconds = (performance.now() - started) / 1000;
    this.#clearPadding(answer, rows.agents);
    const outputs = endpoint.outputs.map(({ name }) => wireTensor(name, leading, answer[name]!));
    return { outputs, parameters, rows: rowCount(rows.agents, rows.team), computeSeconds };
  }

  dispose(): void {
    const { graphs } = this;
    const all = graphs.mode === "merged" ? graphs.agents : [graphs.team];
    for (const graph of graphs.mode === "factored" ? [...all, graphs.rows] : all) graph.dispose();
  }

  #run(rows: PolicyRows, snapshot: BankSnapshot | undefined): PolicyAnswer {
    const { graphs } = this;
    if (graphs.mode === "merged") return runMerged(graphs.agents, rows);
    if (graphs.mode === "stacked") return runGrouped(graphs.team, NO_ADAPTERS, rows);
    return runFactored(graphs, (snapshot ?? graphs.bank.current).tensors, rows);
  }

  #clearPadding(answer: PolicyAnswer, agents: RowAgents): void {
    for (const name in answer) {
      const own = POLICY_OUTPUTS[name]!.width;
      if (isPadded(this.manifest, agents, own)) clearPadding(answer[name]!, this.manifest, agents, own);
    }
  }

  /** `agent_0=3,agent_1=1` for the agents that the rows concern, in the team's order. */
  #versions(snapshot: BankSnapshot, rows: RowAgents): string {
    const { agents } = this.manifest;
    const version = (slot: number): string => {
      const { name } = agents[slot]!;
      return `${name}=${loadedEntry(snapshot, slot, name).version}`;
    };
    if (rows.kind === "agent") return version(rows.agent);
    if (rows.kind === "team") return agents.map((_, slot) => version(slot)).join(",");
    return [...new Set(rows.index)]
      .sort((a, b) => a - b)
      .map(version)
      .join(",");
  }

  #addressee(agent: number | undefined): Addressee {
    const common = { manifest: this.manifest, accepts: this.#accepts };
    return agent === undefined ? common : { ...common, agent };
  }

  #endpoint(agent?: number): Endpoint {
    const { manifest, graphs } = this;
    const sizes = rowSizes(manifest, agent);
    const leading = agent === undefined ? [-1, manifest.agents.length] : [-1];
    const sample = graphs.mode === "merged" ? graphs.agents[0]! : graphs.team;
    const inputs = this.#accepts.map((name) => ({
      name,
      datatype: "FP32" as const,
      shape: [...leading, POLICY_INPUTS[name].width(sizes)],
    }));
    const outputs = sample.session.outputs.map(({ name, dtype }) => ({
      name,
      datatype: dtype === "int64" ? ("INT64" as const) : ("FP32" as const),
      shape: [...leading, POLICY_OUTPUTS[name]!.width(sizes)],
    }));
    const own = agent === undefined ? "" : `.${manifest.agents[agent]!.name}`;
    const common = { name: `${manifest.name}${own}`, model: this, inputs, outputs };
    return agent === undefined ? common : { ...common, agent };
  }
}

/** One object, so that bindings see that nothing changed. */
const NO_ADAPTERS = {};

function checkOutput(name: string, outputs: readonly TensorMetadata[]): void {
  const known = outputs.map((output) => output.name);
  if (known.includes(name)) return;
  throw new LorasaError("LORASA_NAME", {
    asked: `output ${name}`,
    expected: "an output of the model",
    received: "an unknown name",
    mend: suggestion(name, known),
  });
}

function wireTensor(
  name: string,
  leading: readonly number[],
  { data, width }: RowBlock<Float32Array | BigInt64Array>,
): WireTensor {
  const shape = [...leading, width];
  if (data instanceof BigInt64Array) return { name, datatype: "INT64", shape, data };
  const at = firstNonFinite(data);
  if (at < 0) return { name, datatype: "FP32", shape, data };
  throw new LorasaError("LORASA_NOT_FINITE", {
    asked: `output ${name}`,
    expected: "finite numbers",
    received: `${data[at]} at element ${at}`,
    mend: "the observation or the adapter is too large for float32",
  });
}
