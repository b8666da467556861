/** How units walk: they never walk into one another or off the ground, and go around what is in the way. */
import type { Battle } from "./battle.ts";
import { nextCell } from "./routes.ts";
import { isOpen, MAP_SIZE } from "./terrain.ts";

/** Directions tried, as turns from the straight way. */
const NOTCHES = 6;
const NOTCH_RADIANS = (25 * Math.PI) / 180;
const COSINES = Float64Array.from({ length: NOTCHES + 1 }, (_, notch) => Math.cos(notch * NOTCH_RADIANS));
const SINES = Float64Array.from({ length: NOTCHES + 1 }, (_, notch) => Math.sin(notch * NOTCH_RADIANS));
/** How much closer than touching counts as free: rounding, not overlap that anyone could see. */
const SLACK = 1e-9;

/** A step of at most `stride` from `u` towards a point, around walls and units. */
export function walk(b: Battle, u: number, goalX: number, goalY: number, stride: number): void {
  const straight = b.flying[u] === 1 || b.climbs[u] === 1;
  const next = straight ? -1 : nextCell(b, u, goalX, goalY);
  if (next < 0) {
    approach(b, u, goalX, goalY, stride);
    return;
  }
  const column = next % MAP_SIZE;
  approach(b, u, column + 0.5, (next - column) / MAP_SIZE + 0.5, stride);
}

/**
 * Takes a step of at most `stride` from `u` towards a point. A unit in the air goes straight. One on the ground whose
 * way is blocked turns aside by notches, keeps to the side it chose and turns back notch by notch, so that it walks
 * along what blocks it until it is past; a swarm so surrounds what it attacks.
 */
function approach(b: Battle, u: number, goalX: number, goalY: number, stride: number): void {
  const fromX = b.x[u]!;
  const fromY = b.y[u]!;
  const dx = goalX - fromX;
  const dy = goalY - fromY;
  const distance = Math.sqrt(dx * dx + dy * dy);
  if (distance < SLACK || stride <= 0) return;
  const step = stride < distance ? stride : distance;
  const stepX = (dx / distance) * step;
  const stepY = (dy / distance) * step;
  if (b.flying[u] === 1) {
    b.x[u] = inMap(fromX + stepX);
    b.y[u] = inMap(fromY + stepY);
    return;
  }
  const count = neighbours(b, u, step);
  const turn = b.turn[u]!;
  if (turn === 0) {
    if (tryStep(b, u, count, stepX, stepY)) return;
    aside(b, u, count, stepX, stepY);
    return;
  }
  const side = turn < 0 ? -1 : 1;
  for (let notch = Math.abs(turn) - 1; notch <= NOTCHES; notch++) {
    if (turned(b, u, count, stepX, stepY, side * notch)) return;
  }
  b.turn[u] = 0;
}

/** The least turn to either side that is free; the unit's own number says which side comes first. */
function aside(b: Battle, u: number, count: number, stepX: number, stepY: number): void {
  const first = (u & 1) === 0 ? 1 : -1;
  for (let notch = 1; notch <= NOTCHES; notch++) {
    if (turned(b, u, count, stepX, stepY, first * notch)) return;
    if (turned(b, u, count, stepX, stepY, -first * notch)) return;
  }
}

/** Steps aside by `turn` notches if that is free, and remembers them. */
function turned(b: Battle, u: number, count: number, stepX: number, stepY: number, turn: number): boolean {
  const cosine = COSINES[turn < 0 ? -turn : turn]!;
  const sine = turn < 0 ? -SINES[-turn]! : SINES[turn]!;
  if (!tryStep(b, u, count, stepX * cosine - stepY * sine, stepX * sine + stepY * cosine)) return false;
  b.turn[u] = turn;
  return true;
}

/** Units on the ground near enough to be walked into, listed in `near`; gives how many. */
function neighbours(b: Battle, u: number, step: number): number {
  const { x, y, health, radius, flying, near, units } = b;
  const fromX = x[u]!;
  const fromY = y[u]!;
  const reach = radius[u]! + step;
  let count = 0;
  for (let v = 0; v < units; v++) {
    const dx = x[v]! - fromX;
    const sum = reach + radius[v]!;
    // Most units are far away, and this one comparison says so of most of them.
    if (dx >= sum || dx <= -sum) continue;
    const dy = y[v]! - fromY;
    if (dx * dx + dy * dy >= sum * sum || v === u || health[v]! <= 0 || flying[v] === 1) continue;
    near[count++] = v;
  }
  return count;
}

/** Moves `u` unless the place is not ground or it would come closer to a unit that it touches. */
function tryStep(b: Battle, u: number, count: number, stepX: number, stepY: number): boolean {
  const { x, y, radius, near } = b;
  const fromX = x[u]!;
  const fromY = y[u]!;
  const toX = fromX + stepX;
  const toY = fromY + stepY;
  if (isOpen(b.climbs[u] === 1 ? b.terrain.climbable : b.terrain.ground, toX, toY) === 0) return false;
  for (let i = 0; i < count; i++) {
    const v = near[i]!;
    const dx = x[v]! - toX;
    const dy = y[v]! - toY;
    const squared = dx * dx + dy * dy;
    const touching = radius[u]! + radius[v]!;
    if (squared >= touching * touching - SLACK) continue;
    const beforeX = x[v]! - fromX;
    const beforeY = y[v]! - fromY;
    // Whoever stands too close, as units may at the start, is free to leave.
    if (squared <= beforeX * beforeX + beforeY * beforeY) return false;
  }
  x[u] = toX;
  y[u] = toY;
  return true;
}

function inMap(place: number): number {
  return place < 0 ? 0 : place >= MAP_SIZE ? MAP_SIZE - SLACK : place;
}
