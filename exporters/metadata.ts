/** What an exported graph says about itself in `metadata_props`: text pairs under `lorasa.`. */
import { fileTensors, type Team } from "../models/team.ts";
import { backboneIdentity } from "../src/checkpoint/checkpoint.ts";
import type { Precision } from "../src/checkpoint/repository.ts";

export type GraphRole = "merged" | "stacked" | "team" | "rows" | "single";

const FORMAT = "lorasa-policy/1";

/** SHA-256 of the backbone's file, which adapters carry as their revision. */
export function backboneSha256(team: Team): string {
  return backboneIdentity(fileTensors(team.parameters.backbone, team.backbone));
}

/** Specifications are JSON, so that a client in any language can read them. */
export function graphMetadata(
  team: Team,
  role: GraphRole,
  { sampled = false, precision = "fp32" }: { readonly sampled?: boolean; readonly precision?: Precision },
  agent?: number,
): Record<string, string> {
  const { encoder, head } = team.actor;
  const own = agent === undefined ? undefined : team.agents[agent]!;
  const observation = {
    size: own?.observationSize ?? encoder.size,
    agent_id: encoder.agentId,
    standardise: encoder.standardise,
  };
  return {
    "lorasa.format": FORMAT,
    "lorasa.graph": role,
    "lorasa.mode": role === "merged" || role === "stacked" ? role : "factored",
    "lorasa.sampled": `${sampled}`,
    "lorasa.precision": precision,
    "lorasa.environment": team.environment.name,
    "lorasa.step_seconds": `${team.environment.stepSeconds}`,
    "lorasa.agents": JSON.stringify(team.agents.map(({ name }) => name)),
    ...(own && { "lorasa.agent": own.name }),
    "lorasa.sharing": team.sharing.kind,
    "lorasa.backbone_sha256": backboneSha256(team),
    "lorasa.observation_spec": JSON.stringify(observation),
    "lorasa.action_spec": JSON.stringify({ ...head, size: own?.actionSize ?? head.size }),
    ...loraMetadata(team),
  };
}

function loraMetadata({ sharing, parameters }: Team): Record<string, string> {
  if (sharing.kind !== "low-rank") return {};
  return {
    "lorasa.rank": `${sharing.lora.rank}`,
    "lorasa.alpha": `${sharing.lora.alpha}`,
    "lorasa.targets": JSON.stringify(parameters.layers.map(({ name }) => name)),
  };
}
