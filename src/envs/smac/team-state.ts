/** Writes the state that the whole team shares, in HARL's composition or SMAC's. The state of one agent is `agent-state.ts`. */
import { type Battle, STRIKE } from "./battle.ts";
import { INFO_SIZE, type StateLayout } from "./layout.ts";
import type { Seen } from "./observation.ts";
import { MAP_SIZE } from "./terrain.ts";
import { LOOPS_PER_SECOND } from "./units.ts";
import { HEIGHTS_SIZE, PATHING_SIZE, SIGHT_RANGE, writeHeights, writePathing } from "./view.ts";

/**
 * float32 [S]: every ally (health, cooldown or energy, x, y, shield, type, last action), every enemy (health, x, y,
 * shield, type), then HARL: every ally's available actions, pathing (8) and heights (9), the elapsed share of the
 * time limit, and five constants (map width and height, playable width and height, sight range); SMAC: all last
 * actions. Places are relative to the map's centre, as shares of its size. The dead are zero, but for their available
 * actions, pathing and heights.
 */
export function writeTeamState(seen: Seen, layout: StateLayout, out: Float32Array): void {
  const { battle } = seen;
  out.fill(0, 0, layout.size);
  for (let v = 0; v < battle.allies; v++) if (battle.health[v]! > 0) writeAlly(seen, layout, v, out);
  let at = battle.allies * layout.ally;
  for (let v = battle.allies; v < battle.units; v++) {
    if (battle.health[v]! > 0) writeEnemy(seen, layout, v, out, at);
    at += layout.enemy;
  }
  if (layout.moves) at = writeMoves(seen, layout, out, at);
  if (layout.lastActions === "end") at = writeLastActions(seen, out, at);
  if (layout.timestep) out[at++] = seen.elapsed;
  if (layout.info) {
    out.fill(MAP_SIZE, at, at + INFO_SIZE - 1);
    out[at + INFO_SIZE - 1] = SIGHT_RANGE;
  }
}

/** A fighter's cooldown in SMAC's measure, or a healer's share of energy. */
export function readiness(b: Battle, u: number, cooldownLoops: Float64Array): number {
  if (b.strike[u] === STRIKE.heal) return b.energy[u]! / cooldownLoops[u]!;
  return b.cooldown[u]! > 0 ? (b.cooldown[u]! * LOOPS_PER_SECOND) / cooldownLoops[u]! : 0;
}

/** A place relative to the map's centre, as a share of the map. */
export function fromCentre(place: number): number {
  return (place - MAP_SIZE / 2) / MAP_SIZE;
}

function writeAlly(
  { battle, view, typeBit, cooldownLoops }: Seen,
  layout: StateLayout,
  v: number,
  out: Float32Array,
) {
  let at = v * layout.ally;
  out[at++] = view.healthShare[v]!;
  out[at++] = readiness(battle, v, cooldownLoops);
  if (layout.centre) {
    out[at++] = fromCentre(battle.x[v]!);
    out[at++] = fromCentre(battle.y[v]!);
  }
  if (layout.allyShields) out[at++] = view.shieldShare[v]!;
  if (layout.typeBits > 0) out[at + typeBit[v]!] = 1;
  const last = view.lastActions[v]!;
  if (layout.lastActions === "beside" && last >= 0) out[at + layout.typeBits + last] = 1;
}

function writeEnemy(
  { battle, view, typeBit }: Seen,
  layout: StateLayout,
  v: number,
  out: Float32Array,
  first: number,
) {
  let at = first;
  out[at++] = view.healthShare[v]!;
  if (layout.centre) {
    out[at++] = fromCentre(battle.x[v]!);
    out[at++] = fromCentre(battle.y[v]!);
  }
  if (layout.enemyShields) out[at++] = view.shieldShare[v]!;
  if (layout.typeBits > 0) out[at + typeBit[v]!] = 1;
}

function writeMoves({ battle, view }: Seen, layout: StateLayout, out: Float32Array, first: number): number {
  const { mask, actions } = view;
  let at = first;
  for (let v = 0; v < battle.allies; v++) {
    for (let action = 0; action < actions; action++) out[at++] = mask[v * actions + action]!;
    if (layout.pathing) {
      writePathing(battle, v, out, at);
      at += PATHING_SIZE;
    }
    if (layout.heights) {
      writeHeights(battle, v, out, at);
      at += HEIGHTS_SIZE;
    }
  }
  return at;
}

function writeLastActions({ battle, view }: Seen, out: Float32Array, first: number): number {
  for (let v = 0; v < battle.allies; v++) {
    const last = view.lastActions[v]!;
    if (last >= 0) out[first + v * view.actions + last] = 1;
  }
  return first + battle.allies * view.actions;
}
