/**
 * A loaded model of the repository: its graphs, its adapters and the names under which it answers. The same
 * requests and replies whether it was exported merged, stacked or factored. Not HTTP, not files, not waiting.
 */
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { firstNonFinite } from "../../src/base/tensor.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import type { WireTensor } from "../protocol/datatypes.ts";
import type { InferRequest, TensorMetadata } from "../protocol/request.ts";
import { AdapterBank } from "./adapter-bank.ts";
import type { AdapterRegistry } from "./adapter-registry.ts";
import {
  type BatchPlan,
  hasOneAdapterAnAgent,
  type PolicyAnswer,
  type PolicyRows,
  planGathered,
  planGrouped,
  planMerged,
} from "./batch.ts";
import type { BoundGraph, FixedInputs } from "./bound-graph.ts";
import { type CostModel, measureCost } from "./cost-model.ts";
import { clearPadding, isPadded } from "./padding.ts";
import { groupSize, type RowAgents, type RowBlock, rowCount } from "./placement.ts";
import {
  type Addressee,
  addresseeOf,
  type CheckedRequest,
  checkRequest,
  type HeldState,
} from "./policy-request.ts";
import {
  POLICY_INPUT_NAMES,
  POLICY_INPUTS,
  POLICY_OUTPUTS,
  type PolicyInput,
  rowSizes,
} from "./policy-tensors.ts";
import {
  adapterIdOf,
  distinctAdapters,
  findAdapters,
  type RowAdapters,
  versionsText,
} from "./request-adapters.ts";
import { type AdapterLayout, adapterLayout } from "./resident-adapter.ts";
import type { InferResult, ServedModel } from "./service.ts";
import { EndpointStatistics } from "./statistics.ts";

/** The loaded graphs of each mode. */
export type ModelGraphs =
  | { readonly mode: "merged"; readonly agents: readonly BoundGraph[] }
  | { readonly mode: "stacked"; readonly team: BoundGraph }
  | {
      readonly mode: "factored";
      readonly team: BoundGraph;
      readonly rows: BoundGraph;
      readonly registry: AdapterRegistry;
    };

/** A name that can be asked for inference: the team, an agent of it, or an adapter of an agent. */
export interface Endpoint extends ServedModel {
  readonly model: PolicyModel;
  readonly addressee: Addressee;
  /** For all rows, where the name says it. */
  readonly adapter?: string;
  /** Shared by an agent and its variants. */
  readonly statistics: EndpointStatistics;
}

/** A request that can be run: its rows and what its reply needs. */
export interface PreparedRequest {
  readonly endpoint: Endpoint;
  readonly rows: PolicyRows;
  readonly leading: readonly number[];
}

/** Which graph a batch takes, with how many rows a group, and how long that is expected to take. */
export interface BatchLayout {
  readonly kind: "merged" | "grouped" | "gathered";
  readonly size: number;
  readonly ms: number;
}

/** The tensors of a factored model's graphs for adapters. */
interface Banks {
  readonly layout: AdapterLayout;
  /** Slot n holds the adapter of agent n. */
  readonly team: AdapterBank;
  readonly rows: AdapterBank;
}

/** Adapters that lie ready for the gathering graph; more come in for a batch that needs more. */
const READY_SLOTS = 64;

export class PolicyModel {
  readonly manifest: ModelManifest;
  readonly graphs: ModelGraphs;
  readonly endpoints: readonly Endpoint[];
  readonly #accepts: readonly PolicyInput[];
  readonly #sample: BoundGraph;
  readonly #banks: Banks | undefined;
  readonly #costs: { readonly main: CostModel; readonly rows: CostModel | undefined };
  readonly #paddedOutputs: ReadonlySet<string>;
  #versions: { readonly team: readonly unknown[]; readonly text: string } | undefined;

  /** Runs each graph a few times: what does not fit shows here, and what each costs. */
  constructor(manifest: ModelManifest, graphs: ModelGraphs) {
    this.manifest = manifest;
    this.graphs = graphs;
    this.#sample = graphs.mode === "merged" ? graphs.agents[0]! : graphs.team;
    this.#accepts = POLICY_INPUT_NAMES.filter((name) => this.#sample.has(name));
    this.#banks = graphs.mode === "factored" ? newBanks(manifest) : undefined;
    this.#costs = this.#measure();
    const outputs = Object.entries(POLICY_OUTPUTS).filter(([, { width }]) => isPadded(manifest, width));
    this.#paddedOutputs = new Set(outputs.map(([name]) => name));
    this.endpoints = [this.#endpoint(), ...manifest.agents.map((_, agent) => this.#endpoint(agent))];
  }

  get registry(): AdapterRegistry | undefined {
    return this.graphs.mode === "factored" ? this.graphs.registry : undefined;
  }

  /** Bytes of the tensors that graphs read adapters from. */
  get bankBytes(): number {
    return this.#banks ? this.#banks.team.bytes + this.#banks.rows.bytes : 0;
  }

  /** Host memory of the graphs' files, the banks and the adapters. */
  get bytes(): number {
    const registry = this.registry;
    const adapters = registry ? registry.residentCount * registry.adapterBytes : 0;
    return this.#allGraphs.reduce((sum, { file }) => sum + file.bytes, this.bankBytes + adapters);
  }

  /** SHA-256 of the graphs' files. */
  get graphKeys(): readonly string[] {
    return this.#allGraphs.map(({ file }) => file.sha256);
  }

  /** Whether the policy keeps a state between steps. */
  get recurrent(): boolean {
    return this.#accepts.includes("hidden_in");
  }

  /** The endpoint of an adapter of a name of its own, such as `team.agent_0.blue`. */
  variantEndpoint(adapter: string): Endpoint | undefined {
    const registry = this.registry;
    if (!registry?.has(adapter)) return undefined;
    const own = this.endpoints[1 + registry.agentOf(adapter)]!;
    return { ...own, name: `${this.manifest.name}.${adapter}`, adapter };
  }

  /**
   * Checks a request and holds its adapters until {@link release}; a promise when one must be read first.
   * @throws what `checkRequest` and `findAdapters` throw; LORASA_NAME for an unknown output.
   */
  prepare(
    endpoint: Endpoint,
    request: InferRequest,
    held?: HeldState,
  ): PreparedRequest | Promise<PreparedRequest> {
    const checked = checkRequest(endpoint.addressee, request.inputs, held);
    for (const output of request.outputs ?? []) checkOutput(output.name, endpoint.outputs);
    const wanted = request.outputs && wantedOutputs(request.outputs, held !== undefined);
    const name = adapterIdOf(request.parameters) ?? endpoint.adapter;
    if (!this.registry) {
      if (name !== undefined || checked.named) throw mergedAdapters(this.manifest);
      return this.#prepared(endpoint, checked, undefined, wanted);
    }
    const adapters = findAdapters(this.registry, this.manifest, checked, name);
    if (adapters instanceof Promise) {
      return adapters.then((found) => this.#prepared(endpoint, checked, found, wanted));
    }
    return this.#prepared(endpoint, checked, adapters, wanted);
  }

  /** Gives back the adapters of a request that is answered or given up. */
  release({ rows }: PreparedRequest): void {
    if (!rows.adapters) return;
    for (const adapter of distinctAdapters(rows.adapters)) adapter.holders -= 1;
    this.registry?.released();
  }

  /** The cheapest way to run a batch, by what the graphs took when the model was loaded. */
  layout(batch: readonly PolicyRows[]): BatchLayout {
    const { main, rows } = this.#costs;
    const { team } = batch[0]!;
    const agents = batch.map((each) => each.agents);
    const total = agents.reduce((sum, each) => sum + rowCount(each, team), 0);
    if (this.graphs.mode === "merged") return { kind: "merged", size: 0, ms: main.estimate(total) };
    const size = groupSize(agents, team);
    const grouped = { kind: "grouped", size, ms: main.estimate(team * size) } as const;
    if (!rows) return grouped;
    const gathered = { kind: "gathered", size: 0, ms: rows.estimate(total) } as const;
    // Without padding grouped is never much dearer, and a team request gives the same bits on every server.
    const cheaper = team * size === total || grouped.ms <= gathered.ms;
    return cheaper && hasOneAdapterAnAgent(batch) ? grouped : gathered;
  }

  /**
   * How a batch is to be run; its inputs are not copied yet.
   * @param apart gives adapters memory of their own, for a run that others do not wait for.
   */
  plan(batch: readonly PolicyRows[], { kind, size }: BatchLayout, apart = false): BatchPlan {
    const { graphs } = this;
    if (graphs.mode === "merged") return planMerged(graphs.agents, batch);
    if (graphs.mode === "stacked") return planGrouped(graphs.team, undefined, batch, size);
    const { layout, team, rows } = this.#banks!;
    if (kind === "grouped") {
      const bank = apart ? new AdapterBank(layout, this.manifest.agents.length) : team;
      return planGrouped(graphs.team, bank, batch, size);
    }
    return planGathered(graphs.rows, apart ? new AdapterBank(layout, 1) : rows, batch);
  }

  /**
   * The reply to a request that was run.
   * @throws LORASA_NOT_FINITE when the policy's answer overflows.
   */
  result(
    { endpoint, rows, leading }: PreparedRequest,
    request: InferRequest,
    answer: PolicyAnswer,
  ): InferResult {
    if (rows.agents.kind !== "agent") this.#clearPadding(answer, rows.agents);
    const asked =
      request.outputs ?? endpoint.outputs.map(({ name }) => ({ name, binary: request.binaryDefault }));
    return {
      modelName: endpoint.name,
      modelVersion: this.manifest.version,
      parameters: rows.adapters ? { adapter_versions: this.#versionsOf(rows.adapters) } : {},
      outputs: asked.map(({ name, binary }) => ({
        tensor: wireTensor(name, leading, answer[name]!),
        binary,
      })),
    };
  }

  /** Prepares, runs and answers at once, alone; for those who do not serve. All adapters must be in memory. */
  inferNow(endpoint: Endpoint, request: InferRequest): InferResult {
    const prepared = this.prepare(endpoint, request);
    if (prepared instanceof Promise)
      throw new LorasaError("LORASA_UNAVAILABLE", { asked: "an adapter in memory" });
    try {
      const batch = [prepared.rows];
      const { runs, answers } = this.plan(batch, this.layout(batch));
      for (const { graph, leading, fixed, fill, read } of runs) {
        const binding = graph.bind(leading, fixed);
        fill(binding);
        binding.run();
        read(binding.outputs);
      }
      return this.result(prepared, request, answers[0]!);
    } finally {
      this.release(prepared);
    }
  }

  dispose(): void {
    for (const graph of this.#allGraphs) graph.dispose();
  }

  get #allGraphs(): readonly BoundGraph[] {
    const { graphs } = this;
    if (graphs.mode === "merged") return graphs.agents;
    return graphs.mode === "stacked" ? [graphs.team] : [graphs.team, graphs.rows];
  }

  #prepared(
    endpoint: Endpoint,
    { agents, features, leading }: CheckedRequest,
    adapters: RowAdapters | undefined,
    wanted: readonly string[] | undefined,
  ): PreparedRequest {
    if (adapters) for (const adapter of distinctAdapters(adapters)) adapter.holders += 1;
    const rows = {
      agents,
      team: this.manifest.agents.length,
      features,
      answered: endpoint.addressee.sizes,
      ...(adapters && { adapters }),
      ...(wanted && { wanted }),
    };
    return { endpoint, leading, rows };
  }

  #measure(): { main: CostModel; rows: CostModel | undefined } {
    const { graphs, manifest } = this;
    const banks = this.#banks;
    const fixed: FixedInputs = banks?.team.tensors ?? {};
    if (graphs.mode === "merged") {
      for (const graph of graphs.agents.slice(1)) graph.bind(graph.leading(1), fixed).run();
      return { main: measureCost(graphs.agents[0]!, 1, fixed), rows: undefined };
    }
    const main = measureCost(graphs.team, manifest.agents.length, fixed);
    if (graphs.mode === "stacked" || !banks) return { main, rows: undefined };
    return { main, rows: measureCost(graphs.rows, 1, banks.rows.tensors) };
  }

  #clearPadding(answer: PolicyAnswer, agents: RowAgents): void {
    for (const name in answer) {
      if (!this.#paddedOutputs.has(name)) continue;
      clearPadding(answer[name]!, this.manifest, agents, POLICY_OUTPUTS[name]!.width);
    }
  }

  /** Of the team, written once for as long as its adapters stay. */
  #versionsOf(adapters: RowAdapters): string {
    if (adapters.kind !== "own") return versionsText(distinctAdapters(adapters));
    if (this.#versions?.team !== adapters.byAgent) {
      this.#versions = { team: adapters.byAgent, text: versionsText(distinctAdapters(adapters)) };
    }
    return this.#versions.text;
  }

  #endpoint(agent?: number): Endpoint {
    const { manifest } = this;
    const sizes = rowSizes(manifest, agent);
    const leading = agent === undefined ? [-1, manifest.agents.length] : [-1];
    const own = agent === undefined ? "" : `.${manifest.agents[agent]!.name}`;
    return {
      name: `${manifest.name}${own}`,
      model: this,
      addressee: addresseeOf(manifest, this.#accepts, agent),
      statistics: new EndpointStatistics(),
      inputs: this.#accepts.map((name) => ({
        name,
        datatype: "FP32" as const,
        shape: [...leading, POLICY_INPUTS[name].width(sizes)],
      })),
      outputs: this.#sample.session.outputs.map(({ name, dtype }) => ({
        name,
        datatype: dtype === "int64" ? ("INT64" as const) : ("FP32" as const),
        shape: [...leading, POLICY_OUTPUTS[name]!.width(sizes)],
      })),
    };
  }
}

function newBanks({ adapterLayers, agents }: ModelManifest): Banks {
  const layout = adapterLayout(adapterLayers);
  return {
    layout,
    team: new AdapterBank(layout, agents.length),
    rows: new AdapterBank(layout, Math.max(READY_SLOTS, agents.length)),
  };
}

/** A sequence also needs the state that its next request begins with. */
function wantedOutputs(
  outputs: readonly { readonly name: string }[],
  inSequence: boolean,
): readonly string[] {
  const names = outputs.map(({ name }) => name);
  return inSequence ? [...names, "hidden_out"] : names;
}

function checkOutput(name: string, outputs: readonly TensorMetadata[]): void {
  if (outputs.some((output) => output.name === name)) return;
  throw new LorasaError("LORASA_NAME", {
    asked: `output ${name}`,
    expected: "an output of the model",
    received: "an unknown name",
    mend: suggestion(
      name,
      outputs.map((output) => output.name),
    ),
  });
}

function mergedAdapters({ name, mode }: ModelManifest): LorasaError {
  return new LorasaError("LORASA_ADAPTER", {
    asked: `an adapter of ${name}`,
    expected: "a factored model",
    received: `a ${mode} one, whose adapters are in its graphs`,
    mend: "export it with --mode factored",
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
