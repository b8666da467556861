/** How large a trained team is: parameters and bytes of its files. Not how fast it is. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { criticParameters, type RowOfAgent, type Sharing } from "../../../models/policy.ts";
import type { Team } from "../../../models/team.ts";
import { elementCount } from "../../base/tensor.ts";
import { BACKBONE_FILE } from "../../checkpoint/checkpoint.ts";
import { TENSORS_FILE } from "../../checkpoint/peft.ts";
import { criticConfig } from "../../training/config.ts";
import type { SavedRun } from "../../training/saved-run.ts";

/** Numbers that networks are made of; adapters count beside the backbone, as they do in training. */
export interface ParameterCounts {
  readonly actorParameters: number;
  /** In the last phase. */
  readonly trainableParameters: number;
  /**
   * Of an agent's network, those that no other agent uses (its adapter, its head, its own network): the mean over
   * agents, rounded. 0 for what agents of a type or a cluster share, but where one is alone in it.
   */
  readonly ownParameters: number;
}

export interface TeamSizes extends ParameterCounts {
  readonly agents: number;
  readonly criticParameters: number;
  /** Of the files with the actor's weights: backbone and adapters, one that agents share counted once. */
  readonly actorBytes: number;
  readonly criticBytes: number;
}

/** For every agent, the row of each part that is its; undefined for a part that all share. */
interface Rows {
  readonly backbone: RowOfAgent | undefined;
  readonly adapters: RowOfAgent;
}

export function parameterCounts({ parameters, backbone, adapters, agents, sharing }: Team): ParameterCounts {
  const { size, specs } = parameters.backbone;
  const rows = rowsOf(sharing, agents.length);
  const heads = specs.filter(({ copies }) => copies !== undefined);
  const head = heads.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const alone = loners(rows.backbone) * size + loners(rows.adapters) * (parameters.adapters?.size ?? 0);
  return {
    actorParameters: backbone.length + (adapters?.length ?? 0),
    trainableParameters: (adapters ?? backbone).length,
    ownParameters: Math.round(alone / agents.length) + (rows.backbone ? 0 : head),
  };
}

/** @param checkpoint the folder that the team was read from. */
export function teamSizes(team: Team, { config, environment }: SavedRun, checkpoint: string): TeamSizes {
  const critic = criticParameters(criticConfig(config, environment));
  const bytes = (...path: readonly string[]): number => statSync(join(checkpoint, ...path)).size;
  const { adapters: rows } = rowsOf(team.sharing, team.agents.length);
  // A folder of adapters has a file for every agent; those of one row are the same.
  const owners = team.adapters ? team.agents.filter((_, agent) => rows.indexOf(rows[agent]!) === agent) : [];
  const adapters = owners.map(({ name }) => bytes("adapters", name, TENSORS_FILE));
  return {
    ...parameterCounts(team),
    agents: team.agents.length,
    criticParameters: critic.owners * critic.size,
    actorBytes: adapters.reduce((sum, each) => sum + each, bytes(BACKBONE_FILE)),
    criticBytes: bytes("critic.safetensors"),
  };
}

function rowsOf(sharing: Sharing, agents: number): Rows {
  const each = Array.from({ length: agents }, (_, agent) => agent);
  const clusterOf = "clusterOf" in sharing ? sharing.clusterOf : undefined;
  const adapterOf = sharing.kind === "low-rank" ? sharing.adapterOf : undefined;
  return { backbone: sharing.kind === "individual" ? each : clusterOf, adapters: adapterOf ?? each };
}

/** How many agents are alone in their rows. */
function loners(rows: RowOfAgent = []): number {
  return rows.filter((row, agent) => rows.indexOf(row) === agent && rows.lastIndexOf(row) === agent).length;
}
