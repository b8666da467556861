/** Teams that follow a rule instead of a network, reading what environments write: yardsticks of a battle's difficulty. */
import type { Random } from "../../src/base/random.ts";
import type { EnvBuffers } from "../../src/envs/contract.ts";
import type { SmacTask } from "../../src/envs/smac/tasks.ts";

/** Fills one action an agent from what the buffers show. */
type Act = (actions: Float32Array) => void;
type Team = (task: SmacTask, buffers: EnvBuffers, random: Random) => Act;

const [NOTHING, STOP, NORTH, SOUTH, EAST, WEST, FIRST_TARGET] = [0, 1, 2, 3, 4, 5, 6];

/**
 * `still`: never moves nor attacks. `random`: any available action. `nearest` and `weakest` attack the closest or the
 * most wounded enemy in range and walk to the closest while none is; `kite` is `nearest` that retreats from who is
 * near while its weapon cools down. Of `layout=on-policy&state=team` alone.
 */
export const TEAMS = {
  still:
    (_, { active }) =>
    (actions) => {
      for (let agent = 0; agent < actions.length; agent++)
        actions[agent] = active[agent] === 1 ? STOP : NOTHING;
    },
  random: ({ spec }, { actionMask }, random) => {
    const choices = spec.agents[0]!.actionSize;
    return (actions) => {
      for (let agent = 0; agent < actions.length; agent++) {
        actions[agent] = anyOf(actionMask, agent * choices, choices, random);
      }
    };
  },
  nearest,
  weakest: (task, buffers) => byLeast(task, buffers, (distance, points) => points + distance / 1000),
  kite: (task, buffers) => withRetreat(task, buffers, nearest(task, buffers)),
} as const satisfies Record<string, Team>;

export type TeamName = keyof typeof TEAMS;

function nearest(task: SmacTask, buffers: EnvBuffers): Act {
  return byLeast(task, buffers, (distance) => distance);
}

function anyOf(mask: Uint8Array, row: number, choices: number, random: Random): number {
  let available = 0;
  for (let k = 0; k < choices; k++) available += mask[row + k]!;
  let left = random.integer(available);
  for (let k = 0; k < choices; k++) if (mask[row + k] === 1 && left-- === 0) return k;
  return NOTHING;
}

type Score = (distance: number, points: number) => number;

/** Attacks the enemy in range with the least score of distance and of health and shield left; a healer heals the first in range. */
function byLeast(
  { spec, state }: SmacTask,
  { state: seen, actionMask, active }: EnvBuffers,
  score: Score,
): Act {
  const agents = spec.agents.length;
  const choices = spec.agents[0]!.actionSize;
  const enemyAt = (enemy: number): number => agents * state.ally + enemy * state.enemy;
  return (actions) => {
    for (let agent = 0; agent < agents; agent++)
      actions[agent] = active[agent] === 1 ? choose(agent) : NOTHING;
  };

  function choose(agent: number): number {
    const row = agent * choices;
    const heals = spec.agents[agent]!.type === "medivac";
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    let [closest, eastward, northward] = [Number.POSITIVE_INFINITY, 0, 0];
    for (let enemy = 0; enemy < choices - FIRST_TARGET; enemy++) {
      const k = row + FIRST_TARGET + enemy;
      if (heals && actionMask[k] === 1) return k - row;
      const at = enemyAt(enemy);
      if (seen[at] === 0) continue;
      const dx = seen[at + 1]! - seen[agent * state.ally + 2]!;
      const dy = seen[at + 2]! - seen[agent * state.ally + 3]!;
      const distance = Math.hypot(dx, dy);
      if (distance < closest) [closest, eastward, northward] = [distance, dx, dy];
      const points = seen[at]! + (state.enemyShields ? seen[at + 3]! : 0);
      if (heals || actionMask[k] === 0 || score(distance, points) >= least) continue;
      best = k - row;
      least = score(distance, points);
    }
    if (best >= 0) return best;
    const across = eastward > 0 ? EAST : WEST;
    const along = northward > 0 ? NORTH : SOUTH;
    const [first, second] = Math.abs(eastward) > Math.abs(northward) ? [across, along] : [along, across];
    if (actionMask[row + first] === 1) return first;
    return actionMask[row + second] === 1 ? second : STOP;
  }
}

/** Nearer than this, in shares of the map, an enemy is fled from. */
const FLEE_FROM = 6 / 32;
const MOVES = [
  [NORTH, 0, 1],
  [SOUTH, 0, -1],
  [EAST, 1, 0],
  [WEST, -1, 0],
] as const;

/** Attacks with a ready weapon; else moves to where the enemies, and the edges of the map, are least near. */
function withRetreat(
  { spec, state }: SmacTask,
  { state: seen, actionMask, active }: EnvBuffers,
  attack: Act,
): Act {
  const agents = spec.agents.length;
  const choices = spec.agents[0]!.actionSize;
  const enemies = choices - FIRST_TARGET;
  return (actions) => {
    attack(actions);
    for (let agent = 0; agent < agents; agent++) {
      if (active[agent] === 0 || seen[agent * state.ally + 1] === 0) continue;
      const x = seen[agent * state.ally + 2]!;
      const y = seen[agent * state.ally + 3]!;
      if (danger(x, y).closest > FLEE_FROM) continue;
      let least = Number.POSITIVE_INFINITY;
      for (const [action, dx, dy] of MOVES) {
        if (actionMask[agent * choices + action] === 0) continue;
        const { sum } = danger(x + dx / 24, y + dy / 24);
        if (sum < least) [least, actions[agent]] = [sum, action];
      }
    }
  };

  function danger(x: number, y: number): { sum: number; closest: number } {
    let sum = 0.3 * ((0.5 - Math.abs(x)) ** -2 + (0.5 - Math.abs(y)) ** -2);
    let closest = Number.POSITIVE_INFINITY;
    for (let enemy = 0; enemy < enemies; enemy++) {
      const at = agents * state.ally + enemy * state.enemy;
      if (seen[at] === 0) continue;
      const distance = Math.hypot(seen[at + 1]! - x, seen[at + 2]! - y);
      sum += 1 / (distance * distance + 1e-4);
      closest = Math.min(closest, distance);
    }
    return { sum, closest };
  }
}
