/** The policies that the server's benchmarks ask, exported as any team is, and adapters to swap in. Numbers are random. */

import { exportTeam } from "../../../exporters/export-team.ts";
import { backboneSha256 } from "../../../exporters/metadata.ts";
import { agentAdapter, type Team } from "../../../models/team.ts";
import { Random } from "../../../src/base/random.ts";
import { type FloatTensor, floatTensor } from "../../../src/base/tensor.ts";
import type { Adapter } from "../../../src/checkpoint/adapter.ts";
import { randomTeam } from "../../helpers/team.ts";

export const AGENTS = 8;
export const OBSERVATION = 30;
export const ACTIONS = 6;
export const MODEL = "team";

const SIZES = {
  observationSizes: new Array<number>(AGENTS).fill(OBSERVATION),
  actionSizes: new Array<number>(AGENTS).fill(ACTIONS),
  rank: 8,
  alpha: 8,
};

/** What an adapter's numbers are moved by, so that any two of them act differently. */
const SPREAD = 0.2;

/** 8 agents of 30 features and 6 continuous actions, hidden layers of 64 and 64, adapters of rank 8 on each layer. */
export function mlpTeam(): Team {
  return randomTeam({ ...SIZES, hidden: [64, 64] });
}

/** The same sizes with one hidden layer of 64 and a GRU of 64. */
export function recurrentTeam(): Team {
  return randomTeam({ ...SIZES, hidden: [64], recurrent: true });
}

/** Writes `<repository>/team`, factored. */
export function exportFactored(team: Team, repository: string, name = MODEL): void {
  exportTeam(team, { repository, mode: "factored", name });
}

/** The team with other adapters; 0 has its own. */
export function teamVariant(team: Team, variant: number): Team {
  if (variant === 0) return team;
  const random = new Random(variant);
  return { ...team, adapters: team.adapters!.map((value) => value + SPREAD * random.normal()) };
}

export function adapterOf(team: Team, agent: number): Adapter {
  return { backboneSha256: backboneSha256(team), layers: agentAdapter(team, agent) };
}

/** float32 [rows…, O] of seeded normal deviates. */
export function observations(leading: readonly number[], seed = 1, size = OBSERVATION): FloatTensor {
  const random = new Random(seed);
  const dims = [...leading, size];
  const count = dims.reduce((product, axis) => product * axis, 1);
  return floatTensor(
    dims,
    Float32Array.from({ length: count }, () => random.normal()),
  );
}
