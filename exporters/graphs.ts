/**
 * The graphs of an export, one function a layout. All build the same actor; they differ in the binding that hands out
 * its weights and in how rows and agents are laid out.
 *
 * Letters: N agents, E environments, B rows, S adapter slots.
 */
import {
  type AdapterFactors,
  type AdapterSource,
  individualBinding,
  lowRankBinding,
  sharedBinding,
  type WeightBinding,
} from "../models/bindings.ts";
import { agentId, rowId, teamId } from "../models/observation.ts";
import { adapterLayers, isFactored, type Team } from "../models/team.ts";
import { LorasaError } from "../src/base/errors.ts";
import { floatTensor } from "../src/base/tensor.ts";
import { ADAPTER_DTYPES, type Precision } from "../src/checkpoint/repository.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { finishGraph } from "../src/graph/finish.ts";
import type { Value } from "../src/graph/value.ts";
import type { Dim, OnnxModel } from "../src/onnx/model.ts";
import { graphMetadata } from "./metadata.ts";
import { type PolicyInputs, policyInputs, policyOutputs, type RowSizes } from "./policy-graph.ts";
import { typedBinding } from "./precision.ts";
import { agentSource, mergedWeights, stackedSource, type Weights } from "./weights.ts";

/** Operator sets that an export can be written for: 15 is what game engines read, 17 has LayerNormalization. */
export const OPSETS = [15, 16, 17] as const;
export const DEFAULT_OPSET = 15;

export interface GraphOptions {
  /** One of {@link OPSETS} (default 15). */
  readonly opset?: number;
  /** Type of linear maps and of adapter inputs, see `precision.ts` (default `fp32`). */
  readonly precision?: Precision;
  /** Whether the graph takes `noise` and gives `log_prob` and `log_std` (default: the action is the mode). */
  readonly sampled?: boolean;
}

/** Names of sizes that are known at run time only. */
const BATCH = "batch";
const ENVS = "envs";
const SLOTS = "slots";

/**
 * An ordinary network of one agent: its own observation and action lengths, no adapters.
 * @throws LORASA_CONFIG for an operator set that is not supported; LORASA_RANGE for a weight that the precision does
 *   not hold. So do the others.
 */
export function mergedGraph(
  team: Team,
  agent: number,
  options: GraphOptions = {},
  weights: Weights = mergedWeights(team),
): OnnxModel {
  const own = team.agents[agent]!;
  const { sampled = false, precision = "fp32" } = options;
  const g = builder(options);
  const sizes = { leading: [BATCH], observation: own.observationSize, action: own.actionSize };
  const inputs = policyInputs(g, team.actor, sizes, sampled);
  policyOutputs(g, team.actor, inputs, {
    binding: typedBinding(team, precision, (dtype) => sharedBinding(agentSource(weights, agent, dtype))),
    id: agentId(g, team.actor.encoder, agent),
    own: undefined,
  });
  return finishGraph(g, "merged", graphMetadata(team, "merged", options, agent));
}

/** All merged agents in one graph: rows [N, E, …], padded to the longest agent. */
export function stackedGraph(
  team: Team,
  options: GraphOptions = {},
  weights: Weights = mergedWeights(team),
): OnnxModel {
  const { sampled = false, precision = "fp32" } = options;
  const g = builder(options);
  const shared = team.sharing.kind === "shared";
  const binding = typedBinding(team, precision, (dtype) =>
    shared ? sharedBinding(agentSource(weights, 0, dtype)) : individualBinding(stackedSource(weights, dtype)),
  );
  addTeam(g, team, teamInputs(g, team, sampled), binding);
  return finishGraph(g, "stacked", graphMetadata(team, "stacked", options));
}

/**
 * The backbone with every agent's adapter as inputs: rows [N, E, …], adapters [N, in, r] and [N, r, out].
 * @throws LORASA_CONFIG for a team without adapters.
 */
export function teamGraph(team: Team, options: GraphOptions = {}): OnnxModel {
  const { sampled = false } = options;
  const g = builder(options);
  const inputs = teamInputs(g, team, sampled);
  addTeam(g, team, inputs, factoredBinding(g, team, options, { layout: "agents" }));
  return finishGraph(g, "team", graphMetadata(team, "team", options));
}

/**
 * The backbone over rows of any agents: `agent` int64 [B] names each row's agent and `slot` int64 [B] its adapter in
 * a bank [S, in, r] and [S, r, out]. Indices are not checked in the graph: ONNX Runtime wraps −1.
 * @throws LORASA_CONFIG for a team without adapters.
 */
export function rowsGraph(team: Team, options: GraphOptions = {}): OnnxModel {
  const { sampled = false } = options;
  const g = builder(options);
  const inputs = policyInputs(g, team.actor, paddedSizes(team, [BATCH]), sampled);
  const agent = g.input("agent", "int64", [BATCH]);
  const slot = g.input("slot", "int64", [BATCH]);
  const own = ownActions(g, team);
  policyOutputs(g, team.actor, inputs, {
    binding: factoredBinding(g, team, options, { layout: "slots", slot }),
    id: rowId(g, team.actor.encoder, agent),
    own: own && g.gather(own, agent),
  });
  return finishGraph(g, "rows", graphMetadata(team, "rows", options));
}

/**
 * The backbone with one agent's adapter as inputs in Olive's names, and `agent_id` float32 [1, N], its one-hot row:
 * an `.onnx_adapter` file holds both.
 * @throws LORASA_CONFIG for a team without adapters.
 */
export function singleGraph(team: Team, options: GraphOptions = {}): OnnxModel {
  const { sampled = false } = options;
  const g = builder(options);
  const { encoder } = team.actor;
  const inputs = policyInputs(g, team.actor, paddedSizes(team, [BATCH]), sampled);
  const row = g.input("agent_id", "float32", [1, encoder.agents]);
  const own = ownActions(g, team);
  policyOutputs(g, team.actor, inputs, {
    binding: factoredBinding(g, team, options, { layout: "one" }),
    id: encoder.agentId ? g.concat([g.constant("front", floatTensor([1, encoder.size])), row], 1) : undefined,
    own: own && g.matMul(row, own),
  });
  return finishGraph(g, "single", graphMetadata(team, "single", options));
}

function builder({ opset = DEFAULT_OPSET }: GraphOptions): GraphBuilder {
  if (OPSETS.some((known) => known === opset)) return new GraphBuilder(opset);
  throw new LorasaError("LORASA_CONFIG", {
    asked: "export, opset",
    expected: OPSETS.join(", "),
    received: `${opset}`,
    mend: "15 is read by the most engines",
  });
}

function paddedSizes(team: Team, leading: readonly Dim[]): RowSizes {
  return { leading, observation: team.actor.encoder.size, action: team.actor.head.size };
}

function teamInputs(g: GraphBuilder, team: Team, sampled: boolean): PolicyInputs {
  return policyInputs(g, team.actor, paddedSizes(team, [team.agents.length, ENVS]), sampled);
}

function addTeam(g: GraphBuilder, team: Team, inputs: PolicyInputs, binding: WeightBinding): void {
  const own = ownActions(g, team);
  policyOutputs(g, team.actor, inputs, {
    binding,
    id: teamId(g, team.actor.encoder),
    own: own && g.unsqueeze(own, [1]),
  });
}

/** Constants of the backbone and required inputs for the adapters, the scale folded into lora_B by who feeds them. */
function factoredBinding(
  g: GraphBuilder,
  team: Team,
  { precision = "fp32" }: GraphOptions,
  rows: Pick<AdapterSource, "layout" | "slot">,
): WeightBinding {
  requireAdapters(team);
  const leading = { agents: [team.agents.length], slots: [SLOTS], one: [] }[rows.layout];
  const dtype = ADAPTER_DTYPES[precision];
  const inputs = new Map<string, AdapterFactors>();
  for (const layer of adapterLayers(team)) {
    const loraA = g.input(`${layer.name}.lora_A.weight`, dtype, [...leading, layer.in, layer.rank]);
    const loraB = g.input(`${layer.name}.lora_B.weight`, dtype, [...leading, layer.rank, layer.out]);
    inputs.set(layer.name, { loraA, loraB });
  }
  const backbone = { layout: team.parameters.backbone, flat: team.backbone };
  const factors: AdapterSource["factors"] = (_, layer) => inputs.get(layer.name);
  return typedBinding(team, precision, (type) =>
    lowRankBinding(agentSource(backbone, 0, type), { ...rows, scale: 1, factors }),
  );
}

/** @throws LORASA_CONFIG. */
function requireAdapters(team: Team): void {
  const { sharing } = team;
  if (isFactored(team)) return;
  throw new LorasaError("LORASA_CONFIG", {
    asked: "a factored export",
    expected: "a team with low-rank adapters on one backbone",
    received:
      sharing.kind === "low-rank" ? "a backbone for each cluster" : `a team of ${sharing.kind} weights`,
    mend: "export it with --mode merged or stacked",
  });
}

/** float32 [N, K]: 1 for the actions that an agent has; nothing where all agents have K. */
function ownActions(g: GraphBuilder, team: Team): Value | undefined {
  const { size } = team.actor.head;
  if (team.agents.every(({ actionSize }) => actionSize === size)) return undefined;
  const table = team.agents.flatMap(({ actionSize }) =>
    Array.from({ length: size }, (_, k) => (k < actionSize ? 1 : 0)),
  );
  return g.constant("own_actions", floatTensor([team.agents.length, size], table));
}
