/** The scripted enemy: marches to where the allies started, and engages whom it finds or who attacks it. */
import { type Battle, distanceSquared, ORDER, STRIKE } from "./battle.ts";

/** Healers are attacked before fighters: added to a fighter's distance when targets are compared. */
const FIGHTER_RANK = 1000;

/** Chooses the target of enemy `u` for the coming game loop, −1 for none. */
export function chooseTarget(b: Battle, u: number): void {
  b.target[u] = b.strike[u] === STRIKE.heal ? chooseWounded(b, u) : chooseFoe(b, u);
}

/**
 * A target in reach is kept, unless a healer is about. Else the nearest foe in scanning range is taken; one out of it
 * only when it attacks `u`. A foe that attacks `u` is pursued until another is in reach.
 */
function chooseFoe(b: Battle, u: number): number {
  const { units, health, strike, target, mayStrike, radius, reachSquared } = b;
  const held = target[u]! | 0;
  const living = held >= 0 && health[held]! > 0;
  if (living && (!b.alliedHealers || strike[held] === STRIKE.heal) && inReach(b, u, held)) return held;
  let best = -1;
  let bestRank = Number.POSITIVE_INFINITY;
  for (let a = 0; a < b.allies; a++) {
    if (health[a]! <= 0 || mayStrike[u * units + a] === 0) continue;
    const squared = distanceSquared(b, u, a);
    const scan = b.scan[u]! + radius[a]!;
    if (squared > scan * scan && !attacks(b, a, u)) continue;
    const rank = Math.sqrt(squared) - radius[a]! + (strike[a] === STRIKE.heal ? 0 : FIGHTER_RANK);
    if (rank >= bestRank) continue;
    best = a;
    bestRank = rank;
  }
  if (!living || best < 0 || best === held || strike[best] === STRIKE.heal) return best;
  if (inReach(b, u, held)) return held;
  const bestReached = distanceSquared(b, u, best) <= reachSquared[u * units + best]!;
  return attacks(b, held, u) && !bestReached ? held : best;
}

/** The friend with the least health of those in scanning range that are wounded or fight; else the nearest that fights. */
function chooseWounded(b: Battle, u: number): number {
  const { units, allies, health, maxHealth, target, mayStrike, radius } = b;
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  let nearest = -1;
  let nearestSquared = Number.POSITIVE_INFINITY;
  for (let v = allies; v < units; v++) {
    if (health[v]! <= 0 || mayStrike[u * units + v] === 0) continue;
    const wounded = health[v]! < maxHealth[v]!;
    if (!wounded && target[v]! < 0) continue;
    const squared = distanceSquared(b, u, v);
    const scan = b.scan[u]! + radius[v]!;
    if (squared <= scan * scan && health[v]! < least) {
      best = v;
      least = health[v]!;
    }
    if (squared < nearestSquared) {
      nearest = v;
      nearestSquared = squared;
    }
  }
  return best >= 0 ? best : nearest;
}

/** Distance a healer marches in a game loop: not faster than the slowest friend, so that it never comes first. */
export function marchStride(b: Battle, u: number): number {
  let stride = b.stride[u]!;
  if (b.strike[u] !== STRIKE.heal) return stride;
  for (let v = b.allies; v < b.units; v++) {
    if (b.health[v]! > 0 && b.stride[v]! < stride) stride = b.stride[v]!;
  }
  return stride;
}

export function inReach(b: Battle, u: number, v: number): boolean {
  return distanceSquared(b, u, v) <= b.reachSquared[u * b.units + v]!;
}

function attacks(b: Battle, ally: number, enemy: number): boolean {
  return b.order[ally] === ORDER.engage && b.target[ally] === enemy;
}
