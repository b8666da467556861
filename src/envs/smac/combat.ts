/** Blows, healing and what time does to a unit. Not who chooses the target. */
import { type Battle, distanceSquared, STRIKE, takeHit } from "./battle.ts";
import {
  BEAM,
  BURST_RADIUS,
  ENERGY_REGENERATION,
  HEALING_PER_ENERGY,
  HEALING_PER_SECOND,
  LOOPS_PER_SECOND,
  SHIELD_REGENERATION,
} from "./units.ts";

const LOOP_SECONDS = 1 / LOOPS_PER_SECOND;

/** One game loop passes for `u`: cooldown, shield, energy, health. */
export function recover(b: Battle, u: number): void {
  const { cooldown, shield, shieldDelay, energy, health, maxShield, maxEnergy, maxHealth, regeneration } = b;
  if (cooldown[u]! > 0) cooldown[u]! -= LOOP_SECONDS;
  if (shieldDelay[u]! > 0) shieldDelay[u]! -= LOOP_SECONDS;
  else if (shield[u]! < maxShield[u]!) {
    shield[u] = Math.min(maxShield[u]!, shield[u]! + SHIELD_REGENERATION * LOOP_SECONDS);
  }
  if (energy[u]! < maxEnergy[u]!) {
    energy[u] = Math.min(maxEnergy[u]!, energy[u]! + ENERGY_REGENERATION * LOOP_SECONDS);
  }
  if (regeneration[u]! > 0 && health[u]! < maxHealth[u]!) {
    health[u] = Math.min(maxHealth[u]!, health[u]! + regeneration[u]!);
  }
}

/** `u` strikes or heals `t`, which is in reach, as soon as its cooldown allows. */
export function strike(b: Battle, u: number, t: number): void {
  const kind = b.strike[u]!;
  if (kind === STRIKE.heal) {
    heal(b, u, t);
    return;
  }
  if (b.cooldown[u]! > 0) return;
  b.cooldown[u]! += b.period[u]!;
  if (kind === STRIKE.single) hit(b, u, t);
  else if (kind === STRIKE.beam) beam(b, u, t);
  else burst(b, u);
}

function hit(b: Battle, u: number, t: number): void {
  const damage = b.damage[u * b.units + t]!;
  for (let left = b.hits[u]!; left > 0; left--) takeHit(b, t, damage);
}

/** Hits all whose disc touches a bar across the shot, centred on the target. */
function beam(b: Battle, u: number, t: number): void {
  const { x, y, radius, units, mayStrike } = b;
  const dx = x[t]! - x[u]!;
  const dy = y[t]! - y[u]!;
  const distance = Math.sqrt(dx * dx + dy * dy) || 1;
  const alongX = dx / distance;
  const alongY = dy / distance;
  // Read before anyone is hit: the shot's place does not change.
  const atX = x[t]!;
  const atY = y[t]!;
  for (let v = 0; v < units; v++) {
    if (mayStrike[u * units + v] === 0 || b.health[v]! <= 0) continue;
    const offX = x[v]! - atX;
    const offY = y[v]! - atY;
    const along = Math.max(0, Math.abs(offX * alongX + offY * alongY) - BEAM.thickness / 2);
    const across = Math.max(0, Math.abs(offY * alongX - offX * alongY) - BEAM.length / 2);
    if (along * along + across * across <= radius[v]! * radius[v]!) hit(b, u, v);
  }
}

/** The attacker dies, and all foes near it are hit. */
function burst(b: Battle, u: number): void {
  b.health[u] = 0;
  for (let v = 0; v < b.units; v++) {
    if (b.mayStrike[u * b.units + v] === 0) continue;
    const reach = BURST_RADIUS + b.radius[v]!;
    if (distanceSquared(b, u, v) <= reach * reach) hit(b, u, v);
  }
}

function heal(b: Battle, u: number, t: number): void {
  const missing = b.maxHealth[t]! - b.health[t]!;
  if (missing <= 0) return;
  const possible = Math.min(HEALING_PER_SECOND * LOOP_SECONDS, b.energy[u]! * HEALING_PER_ENERGY);
  const healed = Math.min(missing, possible);
  b.health[t]! += healed;
  b.energy[u] = Math.max(0, b.energy[u]! - healed / HEALING_PER_ENERGY);
}
