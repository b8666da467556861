/** Writes a state of its own for every agent: all units as seen from it. The state of the team is `team-state.ts`. */
import type { StateLayout } from "./layout.ts";
import type { Seen } from "./observation.ts";
import { fromCentre, readiness } from "./team-state.ts";
import { FIRST_MOVE, FIRST_TARGET, SIGHT_RANGE } from "./view.ts";

/**
 * float32 [N, S], on-policy's state with every unit that lives, in sight or not. A row is: the other allies (visible,
 * distance, x, y, cooldown or energy, health, shield, x and y from the map's centre, type, last action), the enemies
 * (attackable, distance, x, y, visible, health, shield, type, x and y from the centre), the available moves, and the
 * agent itself (1, 0, 0, 0, health, shield, x and y from the centre, type, last action), then the elapsed share of the
 * time limit if asked. A dead agent's row is zero; with `mustAlive` off it keeps what does not depend on its place.
 * The agent's number is left out: networks append it themselves.
 */
export function writeAgentStates(seen: Seen, layout: StateLayout, out: Float32Array): void {
  const { battle } = seen;
  out.fill(0, 0, battle.allies * layout.size);
  const allies = (battle.allies - 1) * layout.ally;
  const enemies = (battle.units - battle.allies) * layout.enemy;
  for (let agent = 0; agent < battle.allies; agent++) {
    const at = agent * layout.size;
    if (layout.timestep) out[at + layout.size - 1] = seen.elapsed;
    if (layout.mustAlive && battle.health[agent]! <= 0) continue;
    writeAllies(seen, layout, agent, out, at);
    writeEnemies(seen, layout, agent, out, at + allies);
    writeMoves(seen, agent, out, at + allies + enemies);
    writeOwn(seen, layout, agent, out, at + allies + enemies + layout.move);
  }
}

function writeAllies(seen: Seen, layout: StateLayout, agent: number, out: Float32Array, first: number): void {
  const { battle, view, typeBit, cooldownLoops } = seen;
  const { x, y, health, allies, units } = battle;
  const alive = health[agent]! > 0;
  let row = first;
  for (let v = 0; v < allies; v++) {
    if (v === agent) continue;
    if (health[v]! > 0) {
      if (alive) {
        const distance = view.distances[agent * units + v]!;
        if (distance < SIGHT_RANGE) out[row] = 1;
        out[row + 1] = distance / SIGHT_RANGE;
        out[row + 2] = (x[v]! - x[agent]!) / SIGHT_RANGE;
        out[row + 3] = (y[v]! - y[agent]!) / SIGHT_RANGE;
      }
      out[row + 4] = readiness(battle, v, cooldownLoops);
      let at = row + 5;
      if (layout.allHealth) {
        out[at++] = view.healthShare[v]!;
        if (layout.allyShields) out[at++] = view.shieldShare[v]!;
      }
      if (layout.centre) {
        out[at++] = fromCentre(x[v]!);
        out[at++] = fromCentre(y[v]!);
      }
      if (layout.typeBits > 0) out[at + typeBit[v]!] = 1;
      const last = view.lastActions[v]!;
      if (layout.lastActions === "beside" && last >= 0) out[at + layout.typeBits + last] = 1;
    }
    row += layout.ally;
  }
}

function writeEnemies(
  seen: Seen,
  layout: StateLayout,
  agent: number,
  out: Float32Array,
  first: number,
): void {
  const { battle, view, typeBit } = seen;
  const { x, y, health, allies, units } = battle;
  const alive = health[agent]! > 0;
  const attackable = agent * view.actions + FIRST_TARGET - allies;
  let row = first;
  for (let v = allies; v < units; v++) {
    if (health[v]! > 0) {
      if (alive) {
        const distance = view.distances[agent * units + v]!;
        out[row] = view.mask[attackable + v]!;
        out[row + 1] = distance / SIGHT_RANGE;
        out[row + 2] = (x[v]! - x[agent]!) / SIGHT_RANGE;
        out[row + 3] = (y[v]! - y[agent]!) / SIGHT_RANGE;
        if (distance < SIGHT_RANGE) out[row + 4] = 1;
      }
      let at = row + 5;
      if (layout.allHealth) {
        out[at++] = view.healthShare[v]!;
        if (layout.enemyShields) out[at++] = view.shieldShare[v]!;
      }
      if (layout.typeBits > 0) out[at + typeBit[v]!] = 1;
      at += layout.typeBits;
      if (layout.centre) {
        out[at] = fromCentre(x[v]!);
        out[at + 1] = fromCentre(y[v]!);
      }
    }
    row += layout.enemy;
  }
}

function writeMoves({ view }: Seen, agent: number, out: Float32Array, first: number): void {
  const available = agent * view.actions + FIRST_MOVE;
  for (let move = 0; move < 4; move++) out[first + move] = view.mask[available + move]!;
}

function writeOwn(
  { battle, view, typeBit }: Seen,
  layout: StateLayout,
  agent: number,
  out: Float32Array,
  first: number,
) {
  out[first] = 1;
  let at = first + 4;
  if (layout.ownHealth) {
    out[at++] = view.healthShare[agent]!;
    if (layout.allyShields) out[at++] = view.shieldShare[agent]!;
  }
  if (layout.centre) {
    out[at++] = fromCentre(battle.x[agent]!);
    out[at++] = fromCentre(battle.y[agent]!);
  }
  if (layout.typeBits > 0) out[at + typeBit[agent]!] = 1;
  const last = view.lastActions[agent]!;
  if (layout.lastActions === "beside" && last >= 0) out[at + layout.typeBits + last] = 1;
}
