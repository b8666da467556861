/**
 * A trained team as data: its networks, how the agents share them, and the numbers. What checkpoints hold and
 * exporters take; tensors for files are PyTorch's (`[out, in]`), flat parameters inside are `[in, out]`.
 *
 * Letters: N agents, P numbers of the backbone, Q of one adapter.
 */

import { LorasaError } from "../src/base/errors.ts";
import { type FloatTensor, floatTensor } from "../src/base/tensor.ts";
import { isVector } from "./adapters.ts";
import type { ActorConfig } from "./networks.ts";
import type { ParameterLayout, ParameterSpec } from "./parameters.ts";
import { type ActorParameters, networkLayout, type Sharing } from "./policy.ts";

/** An agent as its simulator knows it. */
export interface TeamAgent {
  readonly name: string;
  /** Its own lengths; networks see them padded to the longest. */
  readonly observationSize: number;
  readonly actionSize: number;
  /** What kind of agent it is, where agents of a kind may share an adapter. */
  readonly type?: string;
}

export interface Team {
  readonly environment: { readonly name: string; readonly stepSeconds: number };
  readonly agents: readonly TeamAgent[];
  readonly actor: ActorConfig;
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  /** float32 [1 or N, P]. */
  readonly backbone: Float32Array;
  /** float32 [N, Q]; low-rank sharing only. */
  readonly adapters?: Float32Array;
}

/** One adapted layer of one agent, input by rank. */
export interface TeamAdapterLayer {
  readonly name: string;
  readonly in: number;
  readonly out: number;
  readonly rank: number;
  readonly scale: number;
  /** float32 [in, rank] and [rank, out]. */
  readonly loraA: FloatTensor;
  readonly loraB: FloatTensor;
}

/** Whether the team is adapters on one backbone, which can be kept apart: what a factored export takes. */
export function isFactored({ sharing }: Pick<Team, "sharing">): boolean {
  return sharing.kind === "low-rank" && sharing.clusterOf === undefined;
}

/** Layers that have an adapter, as files and manifests describe them. */
export function adapterLayers(
  team: Pick<Team, "sharing" | "parameters">,
): Omit<TeamAdapterLayer, "loraA" | "loraB">[] {
  const { sharing, parameters } = team;
  if (sharing.kind !== "low-rank") return [];
  const scale = sharing.lora.alpha / sharing.lora.rank;
  return parameters.layers.map(({ name, inSize, outSize, rank }) => ({
    name,
    in: inSize,
    out: outSize,
    rank,
    scale,
  }));
}

/** One agent's adapter; empty without low-rank sharing. */
export function agentAdapter(team: Team, agent: number): TeamAdapterLayer[] {
  const { adapters, parameters } = team;
  if (!adapters || !parameters.adapters) return [];
  const layout = parameters.adapters;
  const row = adapterRow(team.sharing, agent);
  return adapterLayers(team).map((layer) => ({
    ...layer,
    loraA: isVector({ inSize: layer.in })
      ? floatTensor([1, 1], [1])
      : layout.view(adapters, `${layer.name}.lora_A`, row),
    loraB: layout.view(adapters, `${layer.name}.lora_B`, row),
  }));
}

/** Writes an agent's adapter into the flat adapters. @throws LORASA_NAME for a layer that the team does not adapt. */
export function setAgentAdapter(
  { parameters, sharing }: Pick<Team, "parameters" | "sharing">,
  adapters: Float32Array,
  agent: number,
  layers: readonly Pick<TeamAdapterLayer, "name" | "in" | "loraA" | "loraB">[],
): void {
  const layout = parameters.adapters!;
  const row = adapterRow(sharing, agent);
  for (const { name, in: inSize, loraA, loraB } of layers) {
    if (!isVector({ inSize })) layout.view(adapters, `${name}.lora_A`, row).data.set(loraA.data);
    const target = layout.view(adapters, `${name}.lora_B`, row).data;
    // A vector's A is 1 here; a file may split the product between the two factors.
    const factor = isVector({ inSize }) ? loraA.data[0]! : 1;
    for (let k = 0; k < target.length; k++) target[k] = factor * loraB.data[k]!;
  }
}

/**
 * Every agent's network without adapters: flat float32 [1 or N, P] and where what lies in it.
 */
export function baseNetworks(team: Team): { readonly layout: ParameterLayout; readonly flat: Float32Array } {
  const { sharing, backbone, parameters, agents } = team;
  const clusterOf = "clusterOf" in sharing ? sharing.clusterOf : undefined;
  const layout = networkLayout(
    parameters,
    clusterOf || sharing.kind !== "low-rank" ? sharing : SHARED,
    agents.length,
  );
  if (sharing.kind !== "multi-task" && !clusterOf) return { layout, flat: backbone };
  const flat = new Float32Array(layout.owners * layout.size);
  for (let agent = 0; agent < agents.length; agent++) {
    for (const { name, copies } of parameters.backbone.specs) {
      const own = parameters.backbone.view(backbone, name, clusterOf?.[agent] ?? 0, copies ? agent : 0);
      layout.view(flat, name, agent).data.set(own.data);
    }
  }
  return { layout, flat };
}

const SHARED: Sharing = { kind: "shared" };

/**
 * Flat parameters as named tensors for a file: weights `[out, in]`, a log-std `[K, 1]` under `<name>.weight`, the rest
 * as they are; with more than one owner, or copies, a tensor has a leading axis N.
 */
export function fileTensors(layout: ParameterLayout, flat: Float32Array): Map<string, FloatTensor> {
  return new Map(
    layout.specs.map((spec) => {
      const own = places(layout, spec).map(([owner, copy]) =>
        toFile(spec.name, layout.view(flat, spec.name, owner, copy)),
      );
      return [fileName(spec.name), isStacked(layout, spec) ? stack(own) : own[0]!];
    }),
  );
}

/** The inverse of {@link fileTensors}. @throws LORASA_NAME or LORASA_SHAPE naming the tensor that does not fit. */
export function flatParameters(
  layout: ParameterLayout,
  tensors: ReadonlyMap<string, { dims: readonly number[]; data: ArrayLike<number | bigint> }>,
): Float32Array {
  const flat = new Float32Array(layout.owners * layout.size);
  for (const spec of layout.specs) {
    const name = fileName(spec.name);
    const tensor = tensors.get(name);
    const size = spec.shape.reduce((product, axis) => product * axis, 1);
    if (!tensor)
      throw new LorasaError("LORASA_NAME", {
        asked: `tensor ${name}`,
        expected: "one in the file",
        received: "none",
      });
    const expected = toFile(spec.name, layout.view(flat, spec.name)).dims;
    const all = places(layout, spec);
    const dims = isStacked(layout, spec) ? [all.length, ...expected] : expected;
    if (dims.join() !== tensor.dims.join()) {
      throw new LorasaError("LORASA_SHAPE", {
        asked: `tensor ${name}`,
        expected: `[${dims.join(", ")}]`,
        received: `[${tensor.dims.join(", ")}]`,
      });
    }
    for (const [index, [owner, copy]] of all.entries()) {
      const own = Float32Array.from({ length: size }, (_, k) => Number(tensor.data[index * size + k]));
      const target = layout.view(flat, spec.name, owner, copy);
      target.data.set(spec.shape.length === 2 ? transposed(own, spec.shape[1]!, spec.shape[0]!) : own);
    }
  }
  return flat;
}

/** Owner and copy of each tensor of a parameter, in the order of a file. */
function places({ owners }: ParameterLayout, { copies = 1 }: ParameterSpec): [number, number][] {
  return Array.from({ length: owners * copies }, (_, k) => [Math.floor(k / copies), k % copies]);
}

function isStacked({ owners }: ParameterLayout, { copies }: ParameterSpec): boolean {
  return owners > 1 || copies !== undefined;
}

/** Which row of the adapters an agent has. */
function adapterRow(sharing: Sharing, agent: number): number {
  return sharing.kind === "low-rank" && sharing.adapterOf ? sharing.adapterOf[agent]! : agent;
}

/** A log-std is a layer of one input in files, so that an adapter can name it as a module. */
function fileName(name: string): string {
  return name.endsWith("log_std") ? `${name}.weight` : name;
}

function toFile(name: string, tensor: FloatTensor): FloatTensor {
  const [rows, columns] = tensor.dims as readonly [number, number?];
  if (columns !== undefined) return floatTensor([columns, rows], transposed(tensor.data, rows, columns));
  return name.endsWith("log_std") ? floatTensor([rows, 1], tensor.data) : tensor;
}

function stack(tensors: readonly FloatTensor[]): FloatTensor {
  const [first] = tensors as readonly [FloatTensor];
  const data = new Float32Array(tensors.length * first.data.length);
  for (const [index, tensor] of tensors.entries()) data.set(tensor.data, index * first.data.length);
  return floatTensor([tensors.length, ...first.dims], data);
}

/** `[rows, columns]` → `[columns, rows]`. */
function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j]!;
  return result;
}
