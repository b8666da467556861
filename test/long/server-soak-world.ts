/**
 * What the soak serves and knows: a team whose adapters are swapped, a recurrent one for sequences, a spare one that
 * comes and goes, and how each must act. Not what is asked of them.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { exportTeam } from "../../exporters/export-team.ts";
import type { Team } from "../../models/team.ts";
import type { Random } from "../../src/base/random.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import { adapterParameters } from "../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { type ActionTable, actionTable } from "../bench/load/action-table.ts";
import {
  AGENTS,
  adapterOf,
  exportFactored,
  mlpTeam,
  observations,
  recurrentTeam,
  teamVariant,
} from "../bench/load/policy.ts";
import { stackParameters } from "../bench/load/twin-policy.ts";
import { Versions } from "../bench/load/versions.ts";

/** Names of the models. */
export const SWAPPED = "team";
export const RECURRENT = "walkers";
export const SPARE = "spare";

export const TOKEN = "a token for the soak";
export const SETS = 4;
export const VARIANTS = 6;
/** Longest sequence. */
export const STEPS = 12;

export interface World {
  readonly port: number;
  readonly agents: readonly string[];
  /** float32 [1, N, O] each. */
  readonly sets: readonly FloatTensor[];
  readonly versions: Versions;
  /** Actions of the team that is swapped; the spare one acts as its variant 0. */
  readonly table: ActionTable;
  /** The recurrent team's: its "variants" are the steps of a sequence. */
  readonly steps: ActionTable;
  /** PEFT's files, by agent and variant. */
  readonly adapters: readonly (readonly AdapterFiles[])[];
}

export interface AdapterFiles {
  readonly config: string;
  readonly tensors: Uint8Array;
}

/** What an actor of the soak works with. */
export interface Actor {
  readonly world: World;
  readonly random: Random;
  /** Told of a reply that is not as it must be. */
  wrong(what: string): void;
}

/** Writes the repository; what must be known of it is computed before a server reads it. */
export function prepareWorld(repository: string): Omit<World, "port"> {
  const team = mlpTeam();
  const recurrent = recurrentTeam();
  exportFactored(team, repository, SWAPPED);
  exportFactored(recurrent, repository, RECURRENT);
  exportTeam({ ...team }, { repository, mode: "stacked", name: SPARE });
  const agents = team.agents.map(({ name }) => name);
  const sets = Array.from({ length: SETS }, (_, set) => observations([1, AGENTS], set + 1));
  return {
    agents,
    sets,
    versions: new Versions(agents),
    table: actionTable(team, join(repository, SWAPPED), sets, VARIANTS),
    steps: stepTable(recurrent, join(repository, RECURRENT), sets),
    adapters: agents.map((_, agent) => adapterFiles(team, agent)),
  };
}

/** float32 [1, O] of one agent. */
export function ownObservation({ sets }: World, set: number, agent: number): FloatTensor {
  const { dims, data } = sets[set]!;
  const size = dims[2]!;
  return floatTensor([1, size], data.slice(agent * size, (agent + 1) * size));
}

function adapterFiles(team: Team, agent: number): AdapterFiles[] {
  return Array.from({ length: VARIANTS }, (_, variant) => {
    const files = encodeAdapter(adapterOf(teamVariant(team, variant), agent));
    return { config: Buffer.from(files[CONFIG_FILE]!).toString("utf8"), tensors: files[TENSORS_FILE]! };
  });
}

/** Actions of sequences that see the same observations at each step, from zero state. */
function stepTable(team: Team, folder: string, sets: readonly FloatTensor[]): ActionTable {
  const { graphs, actionSize, hiddenSize } = readModelManifest(folder);
  const session = createRuntime().createSession(readFileSync(join(folder, graphs.team!)));
  const adapters = stackParameters(team.agents.map((_, agent) => adapterParameters(adapterOf(team, agent))));
  const data = new Float32Array(sets.length * STEPS * AGENTS * actionSize);
  for (const [set, { data: rows }] of sets.entries()) {
    const obs = floatTensor([AGENTS, 1, rows.length / AGENTS], rows);
    const hidden = floatTensor([AGENTS, 1, hiddenSize]);
    const action = floatTensor([AGENTS, 1, actionSize]);
    const hiddenOut = floatTensor([AGENTS, 1, hiddenSize]);
    for (let step = 0; step < STEPS; step++) {
      session.run({ obs, hidden_in: hidden, ...adapters }, { action, hidden_out: hiddenOut });
      data.set(action.data, (set * STEPS + step) * AGENTS * actionSize);
      hidden.data.set(hiddenOut.data);
    }
  }
  session.dispose();
  return { variants: STEPS, agents: AGENTS, actions: actionSize, data };
}
