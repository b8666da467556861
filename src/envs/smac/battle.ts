/** One battle as arrays: every unit's numbers and what each can do to each. Not its rules (`combat.ts`, `movement.ts`, `script.ts`). */
import type { Random } from "../../base/random.ts";
import { placeUnits } from "./placement.ts";
import { type Routes, routesOf } from "./routes.ts";
import type { Scenario } from "./scenarios.ts";
import { makeTerrain, type Terrain } from "./terrain.ts";
import {
  LOOPS_PER_SECOND,
  SCAN_RANGE,
  SHIELD_DELAY_SECONDS,
  UNITS,
  type UnitName,
  type UnitType,
} from "./units.ts";

/** What a unit was told. An enemy marches at all times and engages its target meanwhile. */
export const ORDER = { hold: 0, move: 1, engage: 2, march: 3 } as const;
/** How a unit's blow lands. */
export const STRIKE = { single: 0, beam: 1, burst: 2, heal: 3 } as const;

/** Numbers of every unit that change; all of them together are the battle's state. */
const CHANGING = [
  "x",
  "y",
  "health",
  "shield",
  "energy",
  /** Seconds until the next blow; below 0 by less than a loop, so that blows keep their average rate. */
  "cooldown",
  /** Seconds until the shield regenerates. */
  "shieldDelay",
  "order",
  /** Unit to engage, −1 for none. */
  "target",
  "goalX",
  "goalY",
  /** How far a unit turns aside from its way, in notches; negative to the right. */
  "turn",
] as const;

type Changing = { readonly [Name in (typeof CHANGING)[number]]: Float64Array };

/** U units: the allies first, then the enemies; index `u` is a unit in every array, `u · U + v` a pair. */
export interface Battle extends Changing {
  readonly names: readonly UnitName[];
  readonly units: number;
  readonly allies: number;
  readonly terrain: Terrain;
  /** Ways around walls, where the terrain has any inside of it. */
  readonly routes: Routes | undefined;
  readonly attackX: number;
  readonly attackY: number;
  /** All changing numbers, field after field: the arrays above are views of it. */
  readonly moments: Float64Array;
  readonly start: Float64Array;

  readonly maxHealth: Float64Array;
  readonly maxShield: Float64Array;
  readonly maxEnergy: Float64Array;
  readonly armour: Float64Array;
  readonly regeneration: Float64Array;
  readonly period: Float64Array;
  readonly stride: Float64Array;
  readonly radius: Float64Array;
  readonly scan: Float64Array;
  readonly hits: Uint8Array;
  readonly strike: Uint8Array;
  readonly flying: Uint8Array;
  readonly climbs: Uint8Array;
  /** Damage of one hit of `u` on `v`, bonus included, armour not. */
  readonly damage: Float64Array;
  /** Whether `u` can attack, or heal, `v`. */
  readonly mayStrike: Uint8Array;
  /** Squared distance of centres at which `u` reaches `v`. */
  readonly reachSquared: Float64Array;
  readonly alliedHealers: boolean;

  /** Scratch: living units in the order in which they act, and neighbours of the one that moves. */
  readonly queue: Int32Array;
  readonly near: Int32Array;
}

export function createBattle(scenario: Scenario): Battle {
  const { allies, enemies } = placeUnits(scenario);
  const recruits = [...allies, ...enemies];
  const types: readonly UnitType[] = recruits.map(({ name }) => UNITS[name]);
  const units = recruits.length;
  const numbers = (of: (type: UnitType) => number): Float64Array => Float64Array.from(types, of);
  const flags = (of: (type: UnitType) => boolean): Uint8Array =>
    Uint8Array.from(types, (type) => (of(type) ? 1 : 0));
  const pairs = (of: (u: number, v: number) => number): Float64Array =>
    Float64Array.from({ length: units * units }, (_, pair) => of(Math.floor(pair / units), pair % units));
  const [attackX, attackY] = scenario.attackPoint ?? scenario.allies[0]!.at;
  const moments = new Float64Array(CHANGING.length * units);
  const isAlly = (u: number): boolean => u < allies.length;
  const battle: Battle = {
    ...views(moments, units),
    names: recruits.map(({ name }) => name),
    units,
    allies: allies.length,
    terrain: makeTerrain(scenario.terrain),
    routes: routesOf(scenario.terrain),
    attackX,
    attackY,
    moments,
    start: new Float64Array(moments.length),
    maxHealth: numbers(({ health }) => health),
    maxShield: numbers(({ shield }) => shield),
    maxEnergy: numbers(({ energy }) => energy?.limit ?? 0),
    armour: numbers(({ armour }) => armour),
    regeneration: numbers(({ regeneration = 0 }) => regeneration / LOOPS_PER_SECOND),
    period: numbers(({ cooldown }) => cooldown),
    stride: numbers(({ speed }) => speed / LOOPS_PER_SECOND),
    radius: numbers(({ radius }) => radius),
    scan: numbers(({ scan = SCAN_RANGE, range, radius }) => Math.max(scan, range + radius)),
    hits: Uint8Array.from(types, ({ hits }) => hits),
    strike: Uint8Array.from(types, ({ strike }) => STRIKE[strike]),
    flying: flags(({ flying = false }) => flying),
    climbs: flags(({ climbs = false }) => climbs),
    damage: pairs((u, v) => damageOf(types[u]!, types[v]!)),
    mayStrike: Uint8Array.from(
      pairs((u, v) => (u !== v && canStrike(types[u]!, types[v]!, isAlly(u) === isAlly(v)) ? 1 : 0)),
    ),
    reachSquared: pairs((u, v) => (types[u]!.range + types[u]!.radius + types[v]!.radius) ** 2),
    alliedHealers: allies.some(({ name }) => UNITS[name].strike === "heal"),
    queue: new Int32Array(units),
    near: new Int32Array(units),
  };
  for (const [u, { x, y }] of recruits.entries()) {
    battle.x[u] = x;
    battle.y[u] = y;
    battle.health[u] = types[u]!.health;
    battle.shield[u] = types[u]!.shield;
    battle.energy[u] = types[u]!.energy?.start ?? 0;
    battle.target[u] = -1;
    battle.order[u] = isAlly(u) ? ORDER.hold : ORDER.march;
  }
  battle.start.set(moments);
  return battle;
}

/** Lists the living units in a random order; gives how many there are. */
export function shuffleLiving({ queue, health, units }: Battle, random: Random): number {
  let count = 0;
  for (let u = 0; u < units; u++) if (health[u]! > 0) queue[count++] = u;
  for (let i = count - 1; i > 0; i--) {
    // Scaled instead of drawn without bias: 66 of 2³² is nothing, and no draw is made twice.
    const j = Math.floor((random.nextUint32() * (i + 1)) / 4294967296);
    const held = queue[i]!;
    queue[i] = queue[j]!;
    queue[j] = held;
  }
  return count;
}

/** Squared distance of two units' centres. */
export function distanceSquared({ x, y }: Battle, u: number, v: number): number {
  const dx = x[v]! - x[u]!;
  const dy = y[v]! - y[u]!;
  return dx * dx + dy * dy;
}

/** One hit on `v`: the shield takes what it can, armour lessens the rest. */
export function takeHit(b: Battle, v: number, damage: number): void {
  const health = b.health[v]!;
  if (health <= 0) return;
  const shield = b.shield[v]!;
  if (b.maxShield[v]! > 0) b.shieldDelay[v] = SHIELD_DELAY_SECONDS;
  const absorbed = damage < shield ? damage : shield;
  b.shield[v] = shield - absorbed;
  const rest = damage - absorbed - b.armour[v]!;
  if (rest > 0) b.health[v] = rest < health ? health - rest : 0;
}

function views(moments: Float64Array, units: number): Changing {
  const entries = CHANGING.map((name, i) => [name, moments.subarray(i * units, (i + 1) * units)]);
  // A view was made for each name.
  return Object.fromEntries(entries) as Changing;
}

function damageOf(attacker: UnitType, victim: UnitType): number {
  const { damage, bonus } = attacker;
  return bonus !== undefined && victim.attributes.includes(bonus.against) ? damage + bonus.damage : damage;
}

/** Healers tend the living flesh of their own side, which here stands on the ground. */
function canStrike(striker: UnitType, other: UnitType, sameSide: boolean): boolean {
  if (striker.strike === "heal") {
    return sameSide && other.attributes.includes("biological");
  }
  return !sameSide && (other.flying !== true || striker.hitsAir === true);
}
