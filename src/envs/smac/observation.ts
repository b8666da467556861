/** Writes what each agent sees, in on-policy's layout or SMAC's. What is to be seen comes from `view.ts`. */
import type { Battle } from "./battle.ts";
import type { ObservationLayout } from "./layout.ts";
import {
  FIRST_MOVE,
  FIRST_TARGET,
  HEIGHTS_SIZE,
  PATHING_SIZE,
  SIGHT_RANGE,
  type View,
  writeHeights,
  writePathing,
} from "./view.ts";

/** Everything that observations and states are written from. */
export interface Seen {
  readonly battle: Battle;
  readonly view: View;
  /** int8 [U]: which bit tells the type of a unit. */
  readonly typeBit: Int8Array;
  /** float64 [U]: what cooldowns are divided by, in game loops. */
  readonly cooldownLoops: Float64Array;
  /** Share of the time limit that is over. */
  elapsed: number;
}

/**
 * float32 [N, O] from `out[0]`. One agent's row is, on-policy: allies, enemies, moves, own; SMAC: moves, enemies,
 * allies, own. An ally: visible, distance, x, y, health, shield, type, last action. An enemy: attackable, distance,
 * x, y, health, shield, type. Own: (on-policy only: 1, 0, 0, 0), health, shield, type, (on-policy) last action.
 * Distances are shares of the sight range. Zero for who is dead or out of sight, and all zero for a dead agent but the
 * share of the time that is over, last where it is told: SMAC appends it for the dead too. The agent's number is left out:
 * networks append it themselves.
 */
export function writeObservations(seen: Seen, layout: ObservationLayout, out: Float32Array): void {
  const { battle } = seen;
  out.fill(0, 0, battle.allies * layout.size);
  const allies = (battle.allies - 1) * layout.ally;
  const enemies = (battle.units - battle.allies) * layout.enemy;
  for (let agent = 0; agent < battle.allies; agent++) {
    const at = agent * layout.size;
    if (layout.timestep) out[at + layout.size - 1] = seen.elapsed;
    if (battle.health[agent]! <= 0) continue;
    if (layout.allyFirst) {
      writeAllies(seen, layout, agent, out, at);
      writeEnemies(seen, layout, agent, out, at + allies);
      writeMoves(seen, layout, agent, out, at + allies + enemies);
    } else {
      writeMoves(seen, layout, agent, out, at);
      writeEnemies(seen, layout, agent, out, at + layout.moves);
      writeAllies(seen, layout, agent, out, at + layout.moves + enemies);
    }
    writeOwn(seen, layout, agent, out, at + allies + enemies + layout.moves);
  }
}

function writeAllies(
  seen: Seen,
  layout: ObservationLayout,
  agent: number,
  out: Float32Array,
  first: number,
): void {
  const { battle, view, typeBit } = seen;
  const { x, y, health, allies, units } = battle;
  const { distances, healthShare, shieldShare, lastActions } = view;
  let row = first;
  for (let v = 0; v < allies; v++) {
    if (v === agent) continue;
    const distance = distances[agent * units + v]!;
    if (distance < SIGHT_RANGE && health[v]! > 0) {
      out[row] = 1;
      out[row + 1] = distance / SIGHT_RANGE;
      out[row + 2] = (x[v]! - x[agent]!) / SIGHT_RANGE;
      out[row + 3] = (y[v]! - y[agent]!) / SIGHT_RANGE;
      let at = row + 4;
      if (layout.allHealth) {
        out[at++] = healthShare[v]!;
        if (layout.allyShields) out[at++] = shieldShare[v]!;
      }
      if (layout.typeBits > 0) out[at + typeBit[v]!] = 1;
      if (layout.allyActions && lastActions[v]! >= 0) out[at + layout.typeBits + lastActions[v]!] = 1;
    }
    row += layout.ally;
  }
}

function writeEnemies(
  seen: Seen,
  layout: ObservationLayout,
  agent: number,
  out: Float32Array,
  first: number,
): void {
  const { battle, view, typeBit } = seen;
  const { x, y, health, allies, units } = battle;
  const { distances, healthShare, shieldShare, mask, actions } = view;
  const attackable = agent * actions + FIRST_TARGET - allies;
  let row = first;
  for (let v = allies; v < units; v++) {
    const distance = distances[agent * units + v]!;
    if (distance < SIGHT_RANGE && health[v]! > 0) {
      out[row] = mask[attackable + v]!;
      out[row + 1] = distance / SIGHT_RANGE;
      out[row + 2] = (x[v]! - x[agent]!) / SIGHT_RANGE;
      out[row + 3] = (y[v]! - y[agent]!) / SIGHT_RANGE;
      let at = row + 4;
      if (layout.allHealth) {
        out[at++] = healthShare[v]!;
        if (layout.enemyShields) out[at++] = shieldShare[v]!;
      }
      if (layout.typeBits > 0) out[at + typeBit[v]!] = 1;
    }
    row += layout.enemy;
  }
}

function writeMoves(
  { battle, view }: Seen,
  layout: ObservationLayout,
  agent: number,
  out: Float32Array,
  first: number,
) {
  const available = agent * view.actions + FIRST_MOVE;
  let at = first;
  for (let move = 0; move < 4; move++) out[at++] = view.mask[available + move]!;
  if (layout.pathing) {
    writePathing(battle, agent, out, at);
    at += PATHING_SIZE;
  }
  if (layout.heights) {
    writeHeights(battle, agent, out, at);
    at += HEIGHTS_SIZE;
  }
}

function writeOwn(
  { view, typeBit }: Seen,
  layout: ObservationLayout,
  agent: number,
  out: Float32Array,
  first: number,
) {
  if (layout.ownHeader > 0) out[first] = 1;
  let at = first + layout.ownHeader;
  if (layout.ownHealth) {
    out[at++] = view.healthShare[agent]!;
    if (layout.allyShields) out[at++] = view.shieldShare[agent]!;
  }
  if (layout.typeBits > 0) out[at + typeBit[agent]!] = 1;
  const last = view.lastActions[agent]!;
  if (layout.ownActions && last >= 0) out[at + layout.typeBits + last] = 1;
}
