/** How wide each part of observations and states is, by options; not what is written there. */

import type { SmacOptions } from "./options.ts";
import { placeUnits } from "./placement.ts";
import type { Scenario } from "./scenarios.ts";
import { UNITS } from "./units.ts";
import { FIRST_TARGET, HEIGHTS_SIZE, PATHING_SIZE } from "./view.ts";

const MOVES = 4;
/** Map width and height, their playable parts, and the sight range. */
export const INFO_SIZE = 5;

/** What an observation shows, part by part. */
export interface ObservationLayout {
  readonly allyFirst: boolean;
  readonly allHealth: boolean;
  readonly ownHealth: boolean;
  readonly allyShields: boolean;
  readonly enemyShields: boolean;
  readonly typeBits: number;
  readonly allyActions: boolean;
  /** Numbers before an agent's own health: on-policy's visible, distance, x and y. */
  readonly ownHeader: number;
  readonly ownActions: boolean;
  readonly pathing: boolean;
  readonly heights: boolean;
  readonly timestep: boolean;
  /** Of one ally, one enemy, the moves, the agent itself. */
  readonly ally: number;
  readonly enemy: number;
  readonly moves: number;
  readonly own: number;
  /** O of one frame. */
  readonly size: number;
}

/** What a state shows, part by part; `[S]` of the team or `[N, S]`. */
export interface StateLayout {
  readonly perAgent: boolean;
  readonly allHealth: boolean;
  readonly ownHealth: boolean;
  readonly allyShields: boolean;
  readonly enemyShields: boolean;
  readonly typeBits: number;
  readonly centre: boolean;
  /** Each ally's last action beside it, or all of them at the end, or none. */
  readonly lastActions: "beside" | "end" | "none";
  readonly mustAlive: boolean;
  readonly moves: boolean;
  readonly pathing: boolean;
  readonly heights: boolean;
  readonly timestep: boolean;
  readonly info: boolean;
  readonly ally: number;
  readonly enemy: number;
  readonly move: number;
  readonly own: number;
  /** S of one frame. */
  readonly size: number;
}

/** Sizes of a scenario that both layouts need. */
function counts(scenario: Scenario) {
  const { allies, enemies } = placeUnits(scenario);
  const agents = allies.length;
  const foes = enemies.length;
  return {
    agents,
    foes,
    actions: FIRST_TARGET + foes,
    allyShields: allies.some(({ name }) => UNITS[name].shield > 0),
    enemyShields: enemies.some(({ name }) => UNITS[name].shield > 0),
    typeBits: scenario.bits?.allies.length ?? 0,
  };
}

export function observationLayout(scenario: Scenario, options: SmacOptions): ObservationLayout {
  const { agents, foes, actions, allyShields, enemyShields, typeBits } = counts(scenario);
  const onPolicy = options.layout === "on-policy";
  const allHealth = on(options.obsAllHealth);
  const shows = {
    allyFirst: onPolicy,
    allHealth,
    ownHealth: allHealth || on(options.obsOwnHealth),
    allyShields,
    enemyShields,
    typeBits,
    allyActions: on(options.obsLastAction),
    ownHeader: onPolicy ? 4 : 0,
    ownActions: onPolicy && on(options.obsLastAction),
    pathing: on(options.obsPathing),
    heights: on(options.obsTerrain),
    timestep: on(options.obsTimestep),
  };
  const ally = 4 + when(allHealth, 1 + when(allyShields)) + typeBits + when(shows.allyActions, actions);
  const enemy = 4 + when(allHealth, 1 + when(enemyShields)) + typeBits;
  const moves = MOVES + when(shows.pathing, PATHING_SIZE) + when(shows.heights, HEIGHTS_SIZE);
  const health = when(shows.ownHealth, 1 + when(allyShields));
  const own = shows.ownHeader + health + typeBits + when(shows.ownActions, actions);
  const size = (agents - 1) * ally + foes * enemy + moves + own + when(shows.timestep);
  return { ...shows, ally, enemy, moves, own, size };
}

export function stateLayout(scenario: Scenario, options: SmacOptions): StateLayout {
  const { agents, foes, actions, allyShields, enemyShields, typeBits } = counts(scenario);
  const smac = options.layout === "smac";
  const perAgent = options.state === "agent";
  const allHealth = !perAgent || on(options.obsAllHealth);
  const shows = {
    perAgent,
    allHealth,
    ownHealth: allHealth || on(options.obsOwnHealth),
    allyShields,
    enemyShields,
    typeBits,
    centre: on(options.stateCentre),
    lastActions: on(options.stateLastAction)
      ? smac
        ? ("end" as const)
        : ("beside" as const)
      : ("none" as const),
    mustAlive: on(options.mustAlive),
    moves: perAgent || on(options.stateMoves),
    pathing: on(options.statePathing),
    heights: on(options.stateTerrain),
    timestep: on(options.stateTimestep),
    info: on(options.stateInfo),
  };
  const beside = when(shows.lastActions === "beside", actions);
  const allyHealth = when(allHealth, 1 + when(allyShields));
  const enemyHealth = when(allHealth, 1 + when(enemyShields));
  const centre = when(shows.centre, 2);
  // An agent's own view adds visibility, distance, x and y of each unit to the team's.
  const ally = when(perAgent, 4) + 1 + allyHealth + centre + typeBits + beside;
  const enemy = when(perAgent, 5) + enemyHealth + centre + typeBits;
  const around = when(shows.pathing, PATHING_SIZE) + when(shows.heights, HEIGHTS_SIZE);
  const move = perAgent ? MOVES : when(shows.moves, actions + around);
  const own = 4 + when(shows.ownHealth, 1 + when(allyShields)) + centre + typeBits + beside;
  const end = when(shows.timestep) + when(shows.info, INFO_SIZE);
  const size = perAgent
    ? (agents - 1) * ally + foes * enemy + move + own + end
    : agents * (ally + move) + foes * enemy + when(shows.lastActions === "end", agents * actions) + end;
  return { ...shows, ally, enemy, move, own, size };
}

function on(flag: "true" | "false"): boolean {
  return flag === "true";
}

function when(shown: boolean, size = 1): number {
  return shown ? size : 0;
}
