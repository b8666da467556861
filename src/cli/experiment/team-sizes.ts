/** How large a trained team is: parameters and bytes of its files. Not how fast it is. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { criticParameters } from "../../../models/policy.ts";
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
  /** Of an agent's network, those that not all agents share: its adapter, its head, its own or its cluster's network. */
  readonly ownParameters: number;
}

export interface TeamSizes extends ParameterCounts {
  readonly agents: number;
  readonly criticParameters: number;
  /** Of the files with the actor's weights: backbone and adapters. */
  readonly actorBytes: number;
  readonly criticBytes: number;
}

export function parameterCounts({ parameters, backbone, adapters }: Team): ParameterCounts {
  const { owners, size, specs } = parameters.backbone;
  const heads = specs.filter(({ copies }) => copies !== undefined);
  const own = owners > 1 ? size : heads.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return {
    actorParameters: backbone.length + (adapters?.length ?? 0),
    trainableParameters: (adapters ?? backbone).length,
    ownParameters: own + (parameters.adapters?.size ?? 0),
  };
}

/** @param checkpoint the folder that the team was read from. */
export function teamSizes(team: Team, { config, environment }: SavedRun, checkpoint: string): TeamSizes {
  const critic = criticParameters(criticConfig(config, environment));
  const bytes = (...path: readonly string[]): number => statSync(join(checkpoint, ...path)).size;
  const adapters = team.adapters ? team.agents.map(({ name }) => bytes("adapters", name, TENSORS_FILE)) : [];
  return {
    ...parameterCounts(team),
    agents: team.agents.length,
    criticParameters: critic.owners * critic.size,
    actorBytes: adapters.reduce((sum, each) => sum + each, bytes(BACKBONE_FILE)),
    criticBytes: bytes("critic.safetensors"),
  };
}
