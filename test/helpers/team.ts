/** A small team of random numbers: biases, norms, log-stds and both low-rank factors are all drawn, none is zero. */
import type { HeadConfig } from "../../models/distributions.ts";
import { initialise } from "../../models/initialise.ts";
import type { Activation } from "../../models/layers.ts";
import type { ActorConfig } from "../../models/networks.ts";
import { actorParameters, type RowOfAgent, type Sharing } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";

/** Every way of sharing, with low-rank adapters in each form that they have. */
export const SHARINGS = [
  "shared",
  "individual",
  "clustered",
  "multi-task",
  "low-rank",
  "low-rank on clusters",
  "low-rank by type",
  "low-rank on clusters by type",
  "low-rank with ranks by layer",
] as const;
export type SharingName = (typeof SHARINGS)[number];

export interface RandomTeamOptions {
  readonly seed?: number;
  /** One entry an agent (default three agents of 5). */
  readonly observationSizes?: readonly number[];
  /** Default 2 for each agent. */
  readonly actionSizes?: readonly number[];
  readonly head?: HeadConfig["kind"];
  /** Bounds of continuous actions (default −1 and 1). */
  readonly low?: number;
  readonly high?: number;
  readonly sharing?: SharingName;
  readonly rank?: number;
  readonly alpha?: number;
  /** Layers without an adapter; the log-std counts only where the head has one. */
  readonly exclude?: readonly string[];
  readonly hidden?: readonly number[];
  readonly activation?: Activation;
  readonly recurrent?: boolean;
  readonly agentId?: boolean;
  readonly standardise?: boolean;
  readonly featureNorm?: boolean;
}

/** Spread of what is added to every number that a network starts with. */
const SPREAD = 0.2;

/** Low-rank, Gaussian, not recurrent and with agent ids unless asked otherwise; agents are `agent_0`, `agent_1`, … */
export function randomTeam(options: RandomTeamOptions = {}): Team {
  const random = new Random(options.seed ?? 1);
  const observationSizes = options.observationSizes ?? [5, 5, 5];
  const actionSizes = options.actionSizes ?? observationSizes.map(() => 2);
  const actor = actorConfig(options, observationSizes, Math.max(...actionSizes));
  const sharing = sharingOf(options, observationSizes.length);
  const parameters = actorParameters(actor, sharing);
  return {
    environment: { name: "test/Random", stepSeconds: 0.05 },
    agents: observationSizes.map((observationSize, index) => ({
      name: `agent_${index}`,
      observationSize,
      actionSize: actionSizes[index]!,
    })),
    actor,
    sharing,
    parameters,
    backbone: moved(initialise(parameters.backbone, random), random),
    ...(parameters.adapters && { adapters: moved(initialise(parameters.adapters, random), random) }),
  };
}

/** The same team with one factor of every adapter set to zero. */
export function withZeroFactor(team: Team, factor: "lora_A" | "lora_B"): Team {
  const layout = team.parameters.adapters!;
  const adapters = team.adapters!.slice();
  for (const { name } of layout.specs) {
    // A vector has only a B; its A is the constant 1.
    const vector = !layout.specs.some((spec) => spec.name === name.replace(/lora_B$/, "lora_A"));
    if (!name.endsWith(factor) && !vector) continue;
    for (let agent = 0; agent < layout.owners; agent++) layout.view(adapters, name, agent).data.fill(0);
  }
  return { ...team, adapters };
}

function actorConfig(
  options: RandomTeamOptions,
  observationSizes: readonly number[],
  size: number,
): ActorConfig {
  const kind = options.head ?? "gaussian";
  const bounds = { low: options.low ?? -1, high: options.high ?? 1, stdX: 1, stdY: 0.5 };
  return {
    encoder: {
      agents: observationSizes.length,
      size: Math.max(...observationSizes),
      agentId: options.agentId ?? true,
      standardise: options.standardise ?? false,
    },
    body: {
      featureNorm: options.featureNorm ?? true,
      hidden: options.hidden ?? [8, 8],
      activation: options.activation ?? "tanh",
      recurrent: options.recurrent ? { layersAfter: 1 } : false,
    },
    head: kind === "categorical" ? { kind, size } : { kind, size, ...bounds },
  };
}

function sharingOf(
  { sharing = "low-rank", rank = 2, alpha = 3, exclude = [], head }: RandomTeamOptions,
  agents: number,
): Sharing {
  const clusterOf = turns(agents, 0);
  if (sharing === "clustered") return { kind: sharing, clusterOf };
  if (sharing === "shared" || sharing === "individual" || sharing === "multi-task") return { kind: sharing };
  const known = exclude.filter((layer) => head !== "categorical" || layer !== "head.log_std");
  const ranks = sharing.endsWith("ranks by layer") ? { "mlp.0": 1, head: 4 } : {};
  return {
    kind: "low-rank",
    lora: { rank, alpha, zero: "loraB", exclude: known, ranks },
    ...(sharing.includes("clusters") && { clusterOf }),
    ...(sharing.endsWith("type") && { adapterOf: turns(agents, 1) }),
  };
}

/** Two rows: 0 1 0 1 … from the first agent on, or the first agent alone in its row and the others in the next. */
function turns(agents: number, alone: 0 | 1): RowOfAgent {
  return Array.from({ length: agents }, (_, agent) => (alone === 1 ? Math.min(agent, 1) : agent % 2));
}

function moved(flat: Float32Array, random: Random): Float32Array {
  return flat.map((value) => value + SPREAD * random.normal());
}
