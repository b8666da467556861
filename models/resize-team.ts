/**
 * A team of another size with the same layers: to measure what more agents cost, not to act. Numbers beyond the team's
 * own are repeated and moved a little, so nothing that it decides means anything.
 */
import { Random } from "../src/base/random.ts";
import { elementCount } from "../src/base/tensor.ts";
import type { ParameterLayout } from "./parameters.ts";
import { actorParameters, type RowOfAgent, type Sharing } from "./policy.ts";
import type { Team, TeamAgent } from "./team.ts";

/** Spread of what tells a repeated agent's numbers from those that they repeat. */
const SPREAD = 0.01;

/**
 * The first agents of a team, or its agents over and over until there are enough. Agent ids widen the encoded
 * observation: the layers that read it repeat the rows of the ids that there were.
 * @param agents from 1.
 */
export function resizeTeam(team: Team, agents: number, seed: number): Team {
  const known = team.agents.length;
  if (agents === known) return team;
  const random = new Random(seed);
  const actor = { ...team.actor, encoder: { ...team.actor.encoder, agents } };
  const sharing = resizedSharing(team.sharing, agents);
  const parameters = actorParameters(actor, sharing);
  const resize = (from: ParameterLayout, flat: Float32Array, to: ParameterLayout): Float32Array =>
    resizeFlat(from, flat, to, known, random);
  return {
    ...team,
    agents: Array.from({ length: agents }, (_, index) => repeatedAgent(team.agents, index)),
    actor,
    sharing,
    parameters,
    backbone: resize(team.parameters.backbone, team.backbone, parameters.backbone),
    ...(team.adapters && {
      adapters: resize(team.parameters.adapters!, team.adapters, parameters.adapters!),
    }),
  };
}

/** Agents beyond the team's own are of the clusters and types of those that they repeat. */
function resizedSharing(sharing: Sharing, agents: number): Sharing {
  const resized = (rowOf: RowOfAgent): RowOfAgent =>
    Array.from({ length: agents }, (_, index) => rowOf[index % rowOf.length]!);
  if (sharing.kind === "clustered") return { ...sharing, clusterOf: resized(sharing.clusterOf) };
  if (sharing.kind !== "low-rank") return sharing;
  const { clusterOf, adapterOf } = sharing;
  return {
    ...sharing,
    ...(clusterOf && { clusterOf: resized(clusterOf) }),
    ...(adapterOf && { adapterOf: resized(adapterOf) }),
  };
}

function repeatedAgent(agents: readonly TeamAgent[], index: number): TeamAgent {
  const agent = agents[index % agents.length]!;
  return index < agents.length ? agent : { ...agent, name: `synthetic_${index}` };
}

function resizeFlat(
  from: ParameterLayout,
  flat: Float32Array,
  to: ParameterLayout,
  known: number,
  random: Random,
): Float32Array {
  const result = new Float32Array(to.owners * to.size);
  for (let owner = 0; owner < to.owners; owner++) {
    for (const { name, copies = 1 } of to.specs) {
      const there = from.spec(name).copies ?? 1;
      for (let copy = 0; copy < copies; copy++) {
        const source = from.view(flat, name, owner % from.owners, copy % there);
        const target = to.view(result, name, owner, copy);
        copyWrapped(source, target, known);
        if (owner < from.owners && copy < there) continue;
        for (let k = 0; k < target.data.length; k++) target.data[k]! += SPREAD * random.normal();
      }
    }
  }
  return result;
}

interface Matrix {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

/** Fills a vector or matrix from one whose axes may be shorter or longer. */
function copyWrapped(source: Matrix, target: Matrix, known: number): void {
  const columns = target.dims.at(-1)!;
  const sourceColumns = source.dims.at(-1)!;
  const sourceRows = elementCount(source.dims) / sourceColumns;
  for (let k = 0; k < target.data.length; k++) {
    const row = wrapped(Math.floor(k / columns), sourceRows, known);
    target.data[k] = source.data[row * sourceColumns + wrapped(k % columns, sourceColumns, known)]!;
  }
}

/** The only axes that change are the encoded observation, whose last places are the ids, and a rank that it caps. */
function wrapped(index: number, size: number, known: number): number {
  return index < size ? index : size - known + ((index - size) % known);
}
