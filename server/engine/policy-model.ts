/**
 * A loaded model of the repository: its graphs, its adapters and the names under which it answers. The same
 * requests and replies whether it was exported merged, stacked or factored. Not HTTP, not files, not waiting.
 */
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { firstNonFinite } from "../../src/base/tensor.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import type { WireTensor } from "../protocol/datatypes.ts";
import type { InferRequest, TensorMetadata } from "../protocol/request.ts";
import type { AdapterRegistry } from "./adapter-registry.ts";
import type { PolicyAnswer, PolicyRows } from "./batch.ts";
import { type MemoryUse, memoryUses } from "./model-memory.ts";
import { clearPadding, isPadded } from "./padding.ts";
import type { PlacedModel } from "./placed-model.ts";
import type { RowAgents, RowBlock } from "./placement.ts";
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
import type { InferResult, ServedModel } from "./service.ts";
import { EndpointStatistics } from "./statistics.ts";

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

/** What a model is put together from. */
export interface ModelParts {
  readonly manifest: ModelManifest;
  readonly placed: PlacedModel;
  /** Absent for a model whose adapters are in its graphs. */
  readonly registry?: AdapterRegistry;
  /** Places the model on the CPU; absent when it must not be. */
  readonly placeOnCpu?: () => Promise<PlacedModel>;
  /** Why it is on its device, where that was a choice. */
  readonly why?: string;
  /** Whether the device still runs graphs. */
  readonly isDeviceUsable: () => boolean;
}

/** What became of a model whose device failed a run. */
export type Recovery =
  /** It runs on the CPU now. */
  | "moved"
  /** The device works: the run was too much for it. */
  | "usable"
  /** The device is gone, and the model with it. */
  | "lost";

export class PolicyModel {
  readonly manifest: ModelManifest;
  readonly registry: AdapterRegistry | undefined;
  readonly endpoints: readonly Endpoint[];
  readonly #parts: ModelParts;
  readonly #accepts: readonly PolicyInput[];
  readonly #paddedOutputs: ReadonlySet<string>;
  #placed: PlacedModel;
  #moving: Promise<Recovery> | undefined;
  #lost = false;
  #disposed = false;
  #versions: { readonly team: readonly unknown[]; readonly text: string } | undefined;

  constructor(parts: ModelParts) {
    const { manifest, placed, registry } = parts;
    this.manifest = manifest;
    this.registry = registry;
    this.#parts = parts;
    this.#placed = placed;
    this.#accepts = POLICY_INPUT_NAMES.filter((name) => placed.sample.has(name));
    const outputs = Object.entries(POLICY_OUTPUTS).filter(([, { width }]) => isPadded(manifest, width));
    this.#paddedOutputs = new Set(outputs.map(([name]) => name));
    this.endpoints = [this.#endpoint(), ...manifest.agents.map((_, agent) => this.#endpoint(agent))];
  }

  /** Where it runs now: another device after {@link recover} moved it. */
  get placed(): PlacedModel {
    return this.#placed;
  }

  /** Why it is on its device, where that was a choice. */
  get why(): string | undefined {
    return this.#parts.why;
  }

  /** Whether its device is gone and nothing took its place. */
  get isLost(): boolean {
    return this.#lost;
  }

  /** What the model takes, by what it is for and where it lies. */
  get memory(): readonly MemoryUse[] {
    const { registry } = this;
    const { device, backboneBytes, sharedBytes, bankBytes } = this.#placed;
    return memoryUses(device, {
      backbone: backboneBytes,
      shared: sharedBytes,
      bank: bankBytes,
      adapters: registry ? registry.residentCount * registry.adapterBytes : 0,
    });
  }

  /** Nodes of its graphs that the device leaves to the CPU. */
  get cpuNodes(): number {
    return this.#placed.graphs.reduce((sum, { session }) => sum + session.cpuNodes.length, 0);
  }

  /** SHA-256 of the graphs' files. */
  get graphKeys(): readonly string[] {
    return this.#placed.graphs.map(({ file }) => file.sha256);
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
      const { runs, answers } = this.#placed.plan(batch, this.#placed.layout(batch));
      for (const { graph, leading, fixed, wanted, fill, read } of runs) {
        const binding = graph.bind(leading, fixed, wanted);
        fill(binding);
        binding.run();
        read(binding.outputs);
      }
      return this.result(prepared, request, answers[0]!);
    } finally {
      this.release(prepared);
    }
  }

  /** After a run that the device failed: goes on on the CPU when the device is gone and that was allowed. */
  recover(): Promise<Recovery> {
    this.#moving ??= this.#recover().finally(() => {
      this.#moving = undefined;
    });
    return this.#moving;
  }

  dispose(): void {
    this.#disposed = true;
    this.#placed.dispose();
  }

  async #recover(): Promise<Recovery> {
    if (this.#placed.device === "cpu") return "moved";
    if (this.#parts.isDeviceUsable()) return "usable";
    this.#lost = true;
    const placed = await this.#parts.placeOnCpu?.();
    if (!placed) return "lost";
    if (this.#disposed) {
      placed.dispose();
      return "lost";
    }
    const gone = this.#placed;
    this.#placed = placed;
    this.#lost = false;
    try {
      gone.dispose();
    } catch {
      // A device that is gone may refuse to take back what it held.
    }
    return "moved";
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
      outputs: this.#placed.sample.session.outputs.map(({ name, dtype }) => ({
        name,
        datatype: dtype === "int64" ? ("INT64" as const) : ("FP32" as const),
        shape: [...leading, POLICY_OUTPUTS[name]!.width(sizes)],
      })),
    };
  }
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
