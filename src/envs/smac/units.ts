/** What each unit can do: numbers of the Legacy of the Void era at "Faster" seconds. Not how a battle uses them. */

type Attribute = "light" | "armored" | "biological" | "mechanical" | "massive" | "structure";

/** How a blow lands: on one unit, on a line across the shot, all around the attacker that dies of it, or as healing. */
type Strike = "single" | "beam" | "burst" | "heal";

export interface UnitType {
  readonly health: number;
  readonly shield: number;
  /** Taken off every hit that reaches health. */
  readonly armour: number;
  /** Of one hit; a healer has none. */
  readonly damage: number;
  /** Hits of one blow; armour is taken off each. */
  readonly hits: number;
  readonly bonus?: { readonly against: Attribute; readonly damage: number };
  readonly strike: Strike;
  /** Seconds between blows. */
  readonly cooldown: number;
  /** From edge to edge. */
  readonly range: number;
  /** Distance to which a scripted unit looks for targets; {@link SCAN_RANGE} unless given. */
  readonly scan?: number;
  /** Distance a second. */
  readonly speed: number;
  readonly radius: number;
  readonly attributes: readonly Attribute[];
  readonly flying?: true;
  readonly hitsAir?: true;
  /** Crosses cliffs. */
  readonly climbs?: true;
  /** Health a second. */
  readonly regeneration?: number;
  readonly energy?: { readonly start: number; readonly limit: number };
  /** SMAC's divisor of the cooldown in states, in game loops. */
  readonly cooldownLoops: number;
}

/** Game loops a second, and in a step of the environment. */
export const LOOPS_PER_SECOND = 22.4;
export const LOOPS_PER_STEP = 8;

export const SCAN_RANGE = 5;
/** Shield a second, once a unit was not hit for so many seconds. */
export const SHIELD_REGENERATION = 2;
export const SHIELD_DELAY_SECONDS = 10;
export const ENERGY_REGENERATION = 0.5625;
export const HEALING_PER_SECOND = 9;
export const HEALING_PER_ENERGY = 3;
/** A beam's length across the shot and its thickness along it. */
export const BEAM = { length: 2.8, thickness: 0.3 } as const;
export const BURST_RADIUS = 2.2;

const MELEE_RANGE = 0.1;

/**
 * @source the unit table of SMAClite, after Liquipedia; the hydralisk from SMAX. The baneling's 20 (+15 against light)
 * is its damage to units in the game's versions 4.6 to 4.10: 80 is what it does to buildings only.
 */
export const UNITS = {
  marine: {
    health: 45,
    shield: 0,
    armour: 0,
    damage: 6,
    hits: 1,
    strike: "single",
    cooldown: 0.61,
    range: 5,
    speed: 3.15,
    radius: 0.375,
    attributes: ["light", "biological"],
    hitsAir: true,
    cooldownLoops: 15,
  },
  marauder: {
    health: 125,
    shield: 0,
    armour: 1,
    damage: 10,
    hits: 1,
    bonus: { against: "armored", damage: 10 },
    strike: "single",
    cooldown: 1.07,
    range: 6,
    speed: 3.15,
    radius: 0.5625,
    attributes: ["armored", "biological"],
    cooldownLoops: 25,
  },
  medivac: {
    health: 150,
    shield: 0,
    armour: 1,
    damage: 0,
    hits: 0,
    strike: "heal",
    cooldown: 0,
    range: 4,
    speed: 3.5,
    radius: 0.75,
    attributes: ["armored", "mechanical"],
    flying: true,
    energy: { start: 50, limit: 200 },
    cooldownLoops: 200,
  },
  stalker: {
    health: 80,
    shield: 80,
    armour: 1,
    damage: 13,
    hits: 1,
    bonus: { against: "armored", damage: 5 },
    strike: "single",
    cooldown: 1.34,
    range: 6,
    speed: 4.13,
    radius: 0.625,
    attributes: ["armored", "mechanical"],
    hitsAir: true,
    cooldownLoops: 35,
  },
  zealot: {
    health: 100,
    shield: 50,
    armour: 1,
    damage: 8,
    hits: 2,
    strike: "single",
    cooldown: 0.86,
    range: MELEE_RANGE,
    speed: 3.15,
    radius: 0.5,
    attributes: ["light", "biological"],
    cooldownLoops: 22,
  },
  colossus: {
    health: 200,
    shield: 150,
    armour: 1,
    damage: 10,
    hits: 2,
    bonus: { against: "light", damage: 5 },
    strike: "beam",
    cooldown: 1.07,
    range: 7,
    speed: 3.15,
    radius: 1,
    attributes: ["armored", "mechanical", "massive"],
    climbs: true,
    cooldownLoops: 24,
  },
  hydralisk: {
    health: 80,
    shield: 0,
    armour: 0,
    damage: 12,
    hits: 1,
    strike: "single",
    cooldown: 0.59,
    range: 5,
    speed: 3.15,
    radius: 0.625,
    attributes: ["light", "biological"],
    hitsAir: true,
    regeneration: 0.38,
    cooldownLoops: 10,
  },
  zergling: {
    health: 35,
    shield: 0,
    armour: 0,
    damage: 5,
    hits: 1,
    strike: "single",
    cooldown: 0.497,
    range: MELEE_RANGE,
    speed: 4.13,
    radius: 0.375,
    attributes: ["light", "biological"],
    regeneration: 0.38,
    cooldownLoops: 11,
  },
  baneling: {
    health: 30,
    shield: 0,
    armour: 0,
    damage: 20,
    hits: 1,
    bonus: { against: "light", damage: 15 },
    strike: "burst",
    cooldown: 1,
    range: 0.25,
    speed: 3.15,
    radius: 0.375,
    attributes: ["biological"],
    regeneration: 0.38,
    cooldownLoops: 1,
  },
  spineCrawler: {
    health: 300,
    shield: 0,
    armour: 2,
    damage: 25,
    hits: 1,
    bonus: { against: "armored", damage: 5 },
    strike: "single",
    cooldown: 1.32,
    range: 7,
    scan: 10,
    speed: 0,
    radius: 0.5,
    attributes: ["armored", "biological", "structure"],
    regeneration: 0.38,
    cooldownLoops: 15,
  },
} as const satisfies Record<string, UnitType>;

export type UnitName = keyof typeof UNITS;
