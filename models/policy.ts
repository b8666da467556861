/** A team's policy: its networks, how the agents share them, and the flat parameters of each part. */
import { elementCount, floatTensor } from "../src/base/tensor.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";
import { adapterLayout, flatAdapters, type LoraConfig, type RankedLayer, rankedLayers } from "./adapters.ts";
import {
  type AdapterSource,
  individualBinding,
  mergedLowRankBinding,
  mergedSource,
  multiTaskBinding,
  sharedBinding,
  type WeightBinding,
} from "./bindings.ts";
import {
  type ActorConfig,
  actor,
  type BodyConfig,
  type CriticConfig,
  critic,
  hiddenSize,
} from "./networks.ts";
import { encode, encodedSize, pickedId, teamId } from "./observation.ts";
import { ParameterLayout, type ParameterSource, type ParameterSpec, recordParameters } from "./parameters.ts";

/** For each agent, which row of the parameters is its own: 0, 1, … without gaps. */
export type RowOfAgent = readonly number[];

/** How the agents share the actor's weights. */
export type Sharing =
  | { readonly kind: "shared" }
  | { readonly kind: "individual" }
  /** A network for each cluster of agents (SePS). */
  | { readonly kind: "clustered"; readonly clusterOf: RowOfAgent }
  /** One trunk and a head an agent (MTL). */
  | { readonly kind: "multi-task" }
  | {
      readonly kind: "low-rank";
      readonly lora: LoraConfig;
      /** Agents whose backbones are those of clusters; one for all when left out. */
      readonly clusterOf?: RowOfAgent;
      /** Agents that share an adapter, such as units of a type; each its own when left out. */
      readonly adapterOf?: RowOfAgent;
    };

/** The flat parameters of an actor: what is trained, and what stays as it is. */
export interface ActorParameters {
  readonly backbone: ParameterLayout;
  /** Low-rank sharing only. */
  readonly adapters?: ParameterLayout;
  readonly layers: readonly RankedLayer[];
}

export function actorParameters(config: ActorConfig, sharing: Sharing): ActorParameters {
  const agents = config.encoder.agents;
  const separate = sharing.kind === "individual";
  const specs = recordParameters(agents, (g, source) => {
    const x = g.input("x", "float32", [agents, 1, encodedSize(config.encoder)]);
    const binding = separate
      ? individualBinding(source)
      : sharing.kind === "multi-task"
        ? multiTaskBinding(source, agents)
        : sharedBinding(source);
    actor(g, binding, x, config, placeholderState(g, config.body, agents));
  });
  const backbone = layoutOf(specs, backboneOwners(sharing, agents));
  if (sharing.kind !== "low-rank") return { backbone, layers: [] };
  const layers = rankedLayers(backbone, sharing.lora);
  const owners = sharing.adapterOf ? rowCount(sharing.adapterOf) : agents;
  return { backbone, adapters: adapterLayout(layers, owners, sharing.lora), layers };
}

/**
 * Agents that are trained as one: the mean of their losses is taken together, and the means of different groups are
 * added. All are one group where something is trained for all.
 */
export function lossGroups(sharing: Sharing, agents: number): RowOfAgent {
  if (sharing.kind === "clustered") return sharing.clusterOf;
  if (sharing.kind === "shared" || sharing.kind === "multi-task")
    return Array.from({ length: agents }, () => 0);
  return (sharing.kind === "low-rank" && sharing.adapterOf) || Array.from({ length: agents }, (_, n) => n);
}

/** How many rows agents have: they are numbered without gaps. */
export function rowCount(rowOf: RowOfAgent): number {
  return Math.max(...rowOf) + 1;
}

/** The critic's parameters: one critic for all values it gives, or one each. */
export function criticParameters(config: CriticConfig): ParameterLayout {
  const values = config.encoder.agents;
  const specs = recordParameters(values, (g, source) => {
    const x = g.input("x", "float32", [values, 1, encodedSize(config.encoder)]);
    critic(g, criticBinding(config, source), x, config, placeholderState(g, config.body, values));
  });
  return new ParameterLayout(specs, config.separate ? values : 1);
}

/** How the values of a critic share its weights. */
export function criticBinding({ separate }: CriticConfig, source: ParameterSource): WeightBinding {
  return separate ? individualBinding(source) : sharedBinding(source);
}

/**
 * The binding that trains.
 * @param flat what is trained: float32 of the backbone's dims, or of the adapters'.
 * @param frozen the backbone under low-rank adapters.
 */
export function trainingBinding(
  g: GraphBuilder,
  parameters: ActorParameters,
  sharing: Sharing,
  agents: number,
  flat: Value,
  frozen?: Value,
): WeightBinding {
  if (sharing.kind === "shared") return sharedBinding(parameters.backbone.source(g, flat));
  if (sharing.kind === "multi-task") return multiTaskBinding(parameters.backbone.source(g, flat), agents);
  if (sharing.kind === "low-rank") {
    const adapters = agentAdapters(g, parameters, sharing, flat);
    return mergedLowRankBinding(agentBackbone(g, parameters, sharing.clusterOf, frozen!), adapters);
  }
  const clusterOf = sharing.kind === "clustered" ? sharing.clusterOf : undefined;
  return individualBinding(agentBackbone(g, parameters, clusterOf, flat));
}

/**
 * Every agent's own network as flat float32 [N, P], or [1, P] where all have one: what acts, and what merged and stacked
 * exports hold, so all agree by construction. {@link networkLayout} says where what lies.
 */
export function agentNetworks(
  g: GraphBuilder,
  parameters: ActorParameters,
  sharing: Sharing,
  agents: number,
  backbone: Value,
  adapters?: Value,
): Value {
  if (sharing.kind === "shared" || sharing.kind === "individual") return backbone;
  if (sharing.kind === "clustered") return rowsOf(g, backbone, sharing.clusterOf);
  if (sharing.kind === "low-rank") {
    const source = agentBackbone(g, parameters, sharing.clusterOf, backbone);
    return flattened(
      g,
      parameters,
      agents,
      mergedSource(source, agentAdapters(g, parameters, sharing, adapters!)),
    );
  }
  return flattened(g, parameters, agents, parameters.backbone.source(g, backbone));
}

/**
 * The binding of some agents' networks, each with rows of its own.
 * @param pick float32 [b, N]: rows of an identity.
 */
export function pickedBinding(
  g: GraphBuilder,
  layout: ParameterLayout,
  networks: Value,
  pick: Value,
): WeightBinding {
  const count = pick.shape[0] as number;
  const own = layout.owners === 1 ? g.expand(networks, [count, layout.size]) : g.matMul(pick, networks);
  return individualBinding(ownedNetworks(layout, count, "agent").source(g, own));
}

/** Where the parameters of one agent's network lie in what {@link agentNetworks} gives. */
export function networkLayout(
  { backbone }: ActorParameters,
  { kind }: Sharing,
  agents: number,
): ParameterLayout {
  return ownedNetworks(backbone, kind === "shared" ? 1 : agents, kind === "shared" ? "team" : "agent");
}

/**
 * Encoded vectors of a whole team or critic, float32 [N, rows, F], from raw ones [N or 1, rows, O].
 * @param pick float32 [b, N]: rows of an identity; then only those agents', [b, rows, F].
 */
export function encodeTeam(
  g: GraphBuilder,
  raw: Value,
  { encoder }: ActorConfig | CriticConfig,
  pick?: Value,
): Value {
  return encode(g, raw, encoder, pick ? pickedId(g, encoder, pick) : teamId(g, encoder));
}

function backboneOwners(sharing: Sharing, agents: number): number {
  if (sharing.kind === "individual") return agents;
  const clusterOf = "clusterOf" in sharing ? sharing.clusterOf : undefined;
  return clusterOf ? rowCount(clusterOf) : 1;
}

function layoutOf(specs: readonly ParameterSpec[], owners: number): ParameterLayout {
  return new ParameterLayout(
    owners === 1 ? specs : specs.map((spec) => ({ ...spec, owner: "agent" })),
    owners,
  );
}

/** One agent's parameters, none of them a copy among others. */
function ownedNetworks(backbone: ParameterLayout, owners: number, owner: "team" | "agent"): ParameterLayout {
  const specs = backbone.specs.map(({ name, shape, initializer }) => ({ name, owner, shape, initializer }));
  return new ParameterLayout(specs, owners);
}

/** The backbone's tensors: one for all, or `[N, …]` where agents own or pick theirs. */
function agentBackbone(
  g: GraphBuilder,
  { backbone }: ActorParameters,
  clusterOf: RowOfAgent | undefined,
  flat: Value,
): ParameterSource {
  if (clusterOf === undefined) return backbone.source(g, flat);
  return ownedNetworks(backbone, clusterOf.length, "agent").source(g, rowsOf(g, flat, clusterOf));
}

function agentAdapters(
  g: GraphBuilder,
  { adapters }: ActorParameters,
  { lora, adapterOf }: Extract<Sharing, { readonly kind: "low-rank" }>,
  flat: Value,
): AdapterSource {
  if (adapterOf === undefined) return flatAdapters(g, adapters!, flat, lora);
  const layout = new ParameterLayout(adapters!.specs, adapterOf.length);
  return flatAdapters(g, layout, rowsOf(g, flat, adapterOf), lora);
}

/** Tensors `shape`, `[1, …shape]` or `[N, …shape]` as rows [N, P]. */
function flattened(
  g: GraphBuilder,
  { backbone }: ActorParameters,
  agents: number,
  source: ParameterSource,
): Value {
  const parts = backbone.specs.map((spec) => {
    const size = elementCount(spec.shape);
    const tensor = source.get(g, { ...spec, owner: "agent" });
    const owned = tensor.shape.length > spec.shape.length ? tensor.shape[0]! : 1;
    return g.expand(g.reshape(tensor, [owned, size]), [agents, size]);
  });
  return g.concat(parts, 1);
}

/**
 * Rows of a matrix [G, P] by agent: [N, P]. A product with rows of an identity, since that has a gradient and gathering
 * has none; adding zeros to a number leaves it as it is.
 */
function rowsOf(g: GraphBuilder, flat: Value, rowOf: RowOfAgent): Value {
  const rows = rowCount(rowOf);
  const picks = Float32Array.from({ length: rowOf.length * rows }, (_, k) =>
    rowOf[Math.floor(k / rows)] === k % rows ? 1 : 0,
  );
  return g.matMul(g.constant("row_of_agent", floatTensor([rowOf.length, rows], picks)), flat);
}

function placeholderState(
  g: GraphBuilder,
  body: BodyConfig,
  agents: number,
): { hidden: Value; steps: number } | undefined {
  if (!body.recurrent) return undefined;
  return { hidden: g.input("hidden", "float32", [agents, 1, hiddenSize(body)]), steps: 1 };
}
