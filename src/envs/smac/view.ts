/** What is worked out once of a moment and read by every observation: distances, availability, shares. Not their layout. */
import { type Battle, ORDER, STRIKE } from "./battle.ts";
import { isOpen, MAP_SIZE } from "./terrain.ts";

export const SIGHT_RANGE = 9;
/** Distance of centres up to which an attack may be ordered, for every unit: one with a shorter reach walks up. */
const ORDER_RANGE = 6;
/** How far a move goes; it is available if the ground half as far is open. */
const MOVE_AMOUNT = 2;
const MOVES = [
  { x: 0, y: 1 },
  { x: 0, y: -1 },
  { x: 1, y: 0 },
  { x: -1, y: 0 },
] as const;
/** Actions: 0 nothing (the dead), 1 stop, 2 to 5 moves to the north, south, east and west, then one a target. */
const NO_OPERATION = 0;
const STOP = 1;
export const FIRST_MOVE = 2;
export const FIRST_TARGET = 6;

/** N agents, U units, K actions. */
export interface View {
  /** K: as many targets as there are enemies; a healer's targets are the allies instead. */
  readonly actions: number;
  /** float64 [N, U]: from each agent to every unit. */
  readonly distances: Float64Array;
  /** uint8 [N, K]. */
  readonly mask: Uint8Array;
  /** Of the most that a unit has; 0 where it can have none. */
  readonly healthShare: Float64Array;
  readonly shieldShare: Float64Array;
  /** int32 [N]: what each agent did last, −1 at the start. */
  readonly lastActions: Int32Array;
}

export function createView(b: Battle): View {
  const actions = FIRST_TARGET + b.units - b.allies;
  return {
    actions,
    distances: new Float64Array(b.allies * b.units),
    mask: new Uint8Array(b.allies * actions),
    healthShare: new Float64Array(b.units),
    shieldShare: new Float64Array(b.units),
    lastActions: new Int32Array(b.allies).fill(-1),
  };
}

/** Brings everything but the last actions up to the battle's moment. */
export function look(b: Battle, view: View): void {
  const { healthShare, shieldShare, distances } = view;
  const { units, allies, x, y } = b;
  for (let u = 0; u < units; u++) {
    healthShare[u] = b.health[u]! / b.maxHealth[u]!;
    shieldShare[u] = b.maxShield[u]! > 0 ? b.shield[u]! / b.maxShield[u]! : 0;
  }
  for (let a = 0; a < allies; a++) {
    const row = a * units;
    for (let u = 0; u < a; u++) distances[row + u] = distances[u * units + a]!;
    for (let u = a; u < units; u++) {
      const dx = x[u]! - x[a]!;
      const dy = y[u]! - y[a]!;
      distances[row + u] = Math.sqrt(dx * dx + dy * dy);
    }
  }
  view.mask.fill(0);
  for (let a = 0; a < allies; a++) allow(b, view, a);
}

/** Tells an agent's unit what to do for the coming step; the action is available. */
export function giveOrder(b: Battle, view: View, agent: number, action: number): void {
  if (view.lastActions[agent] !== action) b.turn[agent] = 0;
  view.lastActions[agent] = action;
  b.target[agent] = -1;
  b.order[agent] = ORDER.hold;
  if (action <= STOP) return;
  if (action >= FIRST_TARGET) {
    b.order[agent] = ORDER.engage;
    b.target[agent] = action - FIRST_TARGET + (b.strike[agent] === STRIKE.heal ? 0 : b.allies);
    return;
  }
  const { x, y } = MOVES[action - FIRST_MOVE]!;
  b.order[agent] = ORDER.move;
  b.goalX[agent] = b.x[agent]! + MOVE_AMOUNT * x;
  b.goalY[agent] = b.y[agent]! + MOVE_AMOUNT * y;
}

/** Numbers that {@link writePathing} and {@link writeHeights} write. */
export const PATHING_SIZE = 8;
export const HEIGHTS_SIZE = 9;

/** Where SMAC looks around a unit, in cells; heights are also read at the unit's own. */
const AROUND = [
  [0, 4],
  [0, -4],
  [4, 0],
  [-4, 0],
  [2, 2],
  [-2, -2],
  [2, -2],
  [-2, 2],
  [0, 0],
] as const;

/** Eight cells around the unit: 1 where the ground is open, and beyond the map. */
export function writePathing(b: Battle, u: number, out: Float32Array, at: number): void {
  for (let i = 0; i < PATHING_SIZE; i++) out[at + i] = openAround(b, u, i);
}

/** Heights of nine cells: our ground is flat and half as high as what surrounds it. */
export function writeHeights(b: Battle, u: number, out: Float32Array, at: number): void {
  for (let i = 0; i < HEIGHTS_SIZE; i++) {
    out[at + i] = outside(b, u, i) || openAround(b, u, i) === 0 ? 1 : 0.5;
  }
}

function openAround(b: Battle, u: number, place: number): number {
  if (outside(b, u, place)) return 1;
  const [dx, dy] = AROUND[place]!;
  return isOpen(b.terrain.ground, Math.floor(b.x[u]!) + dx, Math.floor(b.y[u]!) + dy);
}

function outside(b: Battle, u: number, place: number): boolean {
  const x = Math.floor(b.x[u]!) + AROUND[place]![0];
  const y = Math.floor(b.y[u]!) + AROUND[place]![1];
  return x < 0 || y < 0 || x >= MAP_SIZE || y >= MAP_SIZE;
}

function allow(b: Battle, view: View, agent: number): void {
  const { mask, actions, distances } = view;
  const { allies, units, health } = b;
  const at = agent * actions;
  if (health[agent]! <= 0) {
    mask[at + NO_OPERATION] = 1;
    return;
  }
  mask[at + STOP] = 1;
  for (let move = 0; move < MOVES.length; move++) {
    const toX = b.x[agent]! + (MOVE_AMOUNT / 2) * MOVES[move]!.x;
    const toY = b.y[agent]! + (MOVE_AMOUNT / 2) * MOVES[move]!.y;
    // SMAC asks its map of the ground for colossi too, though they walk over cliffs.
    mask[at + FIRST_MOVE + move] = isOpen(b.terrain.ground, toX, toY);
  }
  const heals = b.strike[agent] === STRIKE.heal;
  const first = heals ? 0 : allies;
  const end = heals ? allies : units;
  for (let v = first; v < end; v++) {
    // SMAC asks a healer only whether the other flies, and a fighter nothing.
    if (health[v]! <= 0 || distances[agent * units + v]! > ORDER_RANGE) continue;
    if (heals && b.flying[v] === 1) continue;
    mask[at + FIRST_TARGET + v - first] = 1;
  }
}
