/** A team's policy: its networks, how the agents share them, and the flat parameters of each part. */
import type { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";
import { adapterLayout, flatAdapters, type LoraConfig, type RankedLayer, rankedLayers } from "./adapters.ts";
import {
  individualBinding,
  mergedLowRankBinding,
  mergedSource,
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
import { encode, encodedSize, teamId } from "./observation.ts";
import { ParameterLayout, type ParameterSource, recordParameters } from "./parameters.ts";

/** How the agents share the actor's weights. */
export type Sharing =
  | { readonly kind: "shared" }
  | { readonly kind: "individual" }
  | { readonly kind: "low-rank"; readonly lora: LoraConfig };

/** The flat parameters of an actor: what is trained, and what stays as it is. */
export interface ActorParameters {
  readonly backbone: ParameterLayout;
  /** Low-rank sharing only. */
  readonly adapters?: ParameterLayout;
  readonly layers: readonly RankedLayer[];
}

export function actorParameters(config: ActorConfig, sharing: Sharing): ActorParameters {
  const agents = config.encoder.agents;
  const individual = sharing.kind === "individual";
  const specs = recordParameters(agents, (g, source) => {
    const x = g.input("x", "float32", [agents, 1, encodedSize(config.encoder)]);
    const binding = individual ? individualBinding(source) : sharedBinding(source);
    actor(g, binding, x, config, placeholderState(g, config.body, agents));
  });
  const backbone = new ParameterLayout(specs, individual ? agents : 1);
  if (sharing.kind !== "low-rank") return { backbone, layers: [] };
  const layers = rankedLayers(backbone, sharing.lora);
  return { backbone, adapters: adapterLayout(layers, agents, sharing.lora), layers };
}

/** The critic's parameters: one critic for all values it gives. */
export function criticParameters(config: CriticConfig): ParameterLayout {
  const values = config.encoder.agents;
  const specs = recordParameters(values, (g, source) => {
    const x = g.input("x", "float32", [values, 1, encodedSize(config.encoder)]);
    critic(g, sharedBinding(source), x, config, placeholderState(g, config.body, values));
  });
  return new ParameterLayout(specs, 1);
}

/** The binding that trains: `flat` holds what is trained, `frozen` the backbone under low-rank adapters. */
export function trainingBinding(
  g: GraphBuilder,
  parameters: ActorParameters,
  sharing: Sharing,
  flat: Value,
  frozen?: Value,
): WeightBinding {
  if (sharing.kind === "shared") return sharedBinding(parameters.backbone.source(g, flat));
  if (sharing.kind === "individual") return individualBinding(parameters.backbone.source(g, flat));
  const adapters = flatAdapters(g, parameters.adapters!, flat, sharing.lora);
  return mergedLowRankBinding(parameters.backbone.source(g, frozen!), adapters);
}

/**
 * Every agent's own weights as flat float32 [N, P] in the backbone's layout: W0 + scale·A·B, and copies of what has no
 * adapter. Acting, merged and stacked exports read them, so all agree by construction.
 */
export function mergeAdapters(
  g: GraphBuilder,
  parameters: ActorParameters,
  lora: LoraConfig,
  frozen: Value,
  flat: Value,
): Value {
  const agents = parameters.adapters!.owners;
  const adapters = flatAdapters(g, parameters.adapters!, flat, lora);
  const source: ParameterSource = mergedSource(parameters.backbone.source(g, frozen), adapters);
  const parts = parameters.backbone.specs.map((spec) => {
    const size = spec.shape.reduce((product, axis) => product * axis, 1);
    const merged = source.get(g, { ...spec, owner: "agent" });
    return g.expand(g.reshape(merged, [merged.shape[0]!, size]), [agents, size]);
  });
  return g.concat(parts, 1);
}

/** Encoded vectors of a whole team or critic, float32 [N, rows, F], from raw ones [N or 1, rows, O]. */
export function encodeTeam(g: GraphBuilder, raw: Value, config: ActorConfig | CriticConfig): Value {
  return encode(g, raw, config.encoder, teamId(g, config.encoder));
}

function placeholderState(
  g: GraphBuilder,
  body: BodyConfig,
  agents: number,
): { hidden: Value; steps: number } | undefined {
  if (!body.recurrent) return undefined;
  return { hidden: g.input("hidden", "float32", [agents, 1, hiddenSize(body)]), steps: 1 };
}
