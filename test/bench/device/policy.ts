/**
 * The policies of the device benchmark at any size, with numbers that cost nothing to draw: what is timed does not
 * depend on them. Not policies that act.
 *
 * A network of 64 observations, two hidden layers and 8 actions, an adapter of rank 8 at every layer.
 */
import { mergedGraph, rowsGraph, stackedGraph, teamGraph } from "../../../exporters/graphs.ts";
import type { Weights } from "../../../exporters/weights.ts";
import type { ActorConfig } from "../../../models/networks.ts";
import { type Initializer, ParameterLayout } from "../../../models/parameters.ts";
import { actorParameters, type Sharing } from "../../../models/policy.ts";
import { adapterLayers, type Team } from "../../../models/team.ts";
import { adapterLayout } from "../../../server/engine/resident-adapter.ts";
import { elementCount } from "../../../src/base/tensor.ts";
import type { Mode } from "../../../src/cli/compare/contract.ts";
import type { ModeBytes } from "../../../src/cli/compare/mode-bytes.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";

export const OBSERVATIONS = 64;
export const ACTIONS = 8;
const RANK = 8;
const SHARING: Sharing = {
  kind: "low-rank",
  lora: { rank: RANK, alpha: RANK, zero: "loraB", exclude: [] },
};

/** @param agents N. */
export function actorConfig(hidden: number, agents: number): ActorConfig {
  return {
    encoder: { agents, size: OBSERVATIONS, agentId: false, standardise: false },
    body: { featureNorm: false, hidden: [hidden, hidden], activation: "tanh", recurrent: false },
    head: { kind: "gaussian", size: ACTIONS, low: -1, high: 1, stdX: 1, stdY: 0.5 },
  };
}

/** Numbers of the backbone, and of one adapter. */
export function policySize(hidden: number): { readonly backbone: number; readonly adapter: number } {
  const { backbone, adapters } = actorParameters(actorConfig(hidden, 1), SHARING);
  return { backbone: backbone.size, adapter: adapters!.size };
}

/** Everything that a mode is loaded from: merged agents share one graph's bytes, slots of the bank one adapter's. */
export function policyBytes(mode: Mode, hidden: number, agents: number): ModeBytes {
  const team = policyTeam(hidden, mode === "merged" ? 1 : agents);
  if (mode === "merged") {
    const graph = encodeModel(mergedGraph(team, 0, {}, ownWeights(team)));
    return { agents, graphs: Array.from({ length: agents }, () => graph) };
  }
  if (mode === "stacked") {
    return { agents, graphs: [encodeModel(stackedGraph(team, {}, ownWeights(team)))] };
  }
  const graph = mode === "factored" ? teamGraph(team) : rowsGraph(team);
  const layers = adapterLayers(team);
  const values = filled(adapterLayout(layers).length, RANK);
  return { agents, graphs: [encodeModel(graph)], bank: { values, layers, precision: "fp32" } };
}

/** Without adapters' numbers: graphs take them from the bank. */
function policyTeam(hidden: number, agents: number): Team {
  const actor = actorConfig(hidden, agents);
  const parameters = actorParameters(actor, SHARING);
  return {
    environment: { name: "bench/Policy", stepSeconds: 0.05 },
    agents: Array.from({ length: agents }, (_, agent) => ({
      name: `agent_${agent}`,
      observationSize: OBSERVATIONS,
      actionSize: ACTIONS,
    })),
    actor,
    sharing: SHARING,
    parameters,
    backbone: backboneNumbers(parameters.backbone),
  };
}

/** The backbone's numbers, a little other for each agent: a graph keeps what is the same for all only once. */
function ownWeights({ agents, backbone, parameters }: Team): Weights {
  const layout = new ParameterLayout(parameters.backbone.specs, agents.length);
  const flat = new Float32Array(layout.owners * layout.size);
  for (let owner = 0; owner < layout.owners; owner++) {
    flat.set(backbone, owner * layout.size);
    for (const { name } of layout.specs) layout.view(flat, name, owner).data[0]! += owner / layout.owners;
  }
  return { layout, flat };
}

/** As training starts, but not orthogonal: weights uniform in ±gain/√in, with a gain of 1 at most. */
export function backboneNumbers(layout: ParameterLayout): Float32Array {
  const flat = new Float32Array(layout.size);
  for (const { name, shape, initializer } of layout.specs) {
    const { data } = layout.view(flat, name);
    if (initializer.kind === "constant") data.fill(initializer.value);
    else data.set(filled(elementCount(shape), shape[0]! / Math.min(1, gainOf(initializer)) ** 2));
  }
  return flat;
}

function gainOf(initializer: Initializer): number {
  return initializer.kind === "orthogonal" ? initializer.gain : 1;
}

/** Multiples of the golden ratio, without their whole part: as even as random numbers, and quicker. In ±1/√fanIn. */
export function filled(length: number, fanIn: number): Float32Array {
  const scale = 1 / Math.sqrt(fanIn);
  const values = new Float32Array(length);
  let x = 0;
  for (let k = 0; k < length; k++) {
    x += 0.618033988749895;
    if (x >= 1) x -= 1;
    values[k] = scale * (2 * x - 1);
  }
  return values;
}
