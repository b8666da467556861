/** SMAC's scenarios as data: who fights whom, where and for how long. Not how they fight. */
import type { TerrainName } from "./terrain.ts";
import type { UnitName } from "./units.ts";

/** Units that start side by side around a point. */
export interface Group {
  readonly at: readonly [x: number, y: number];
  readonly units: Partial<Record<UnitName, number>>;
}

export interface Scenario {
  readonly allies: readonly Group[];
  readonly enemies: readonly Group[];
  /** Steps of an episode. */
  readonly limit: number;
  readonly terrain: TerrainName;
  /** Where the enemies march; the first allies' place unless given. */
  readonly attackPoint?: readonly [x: number, y: number];
  /** Unit types in the order of their bits, where observations tell types apart. */
  readonly bits?: { readonly allies: readonly UnitName[]; readonly enemies: readonly UnitName[] };
}

/** Bits of the enemies follow the game's type numbers, those of the allies SMAC's own: zealots and stalkers change places. */
const STALKERS_AND_ZEALOTS = { allies: ["stalker", "zealot"], enemies: ["zealot", "stalker"] } as const;
const WITH_COLOSSI = {
  allies: ["colossus", "stalker", "zealot"],
  enemies: ["colossus", "stalker", "zealot"],
} as const;
const MARAUDERS_MARINES_MEDIVACS = {
  allies: ["marauder", "marine", "medivac"],
  enemies: ["marauder", "marine", "medivac"],
} as const;
const BANELINGS_AND_ZERGLINGS = {
  allies: ["baneling", "zergling"],
  enemies: ["baneling", "zergling"],
} as const;

type Units = Group["units"];

/** Two groups on the road, 14 apart: most scenarios. */
function onTheRoad(allies: Units, enemies: Units, limit: number, bits?: Scenario["bits"]): Scenario {
  return {
    allies: [{ at: [9, 16], units: allies }],
    enemies: [{ at: [23, 16], units: enemies }],
    limit,
    terrain: "road",
    ...(bits !== undefined && { bits }),
  };
}

function onThePlain(allies: Units, enemies: Units, limit: number): Scenario {
  return { ...onTheRoad(allies, enemies, limit), terrain: "plain" };
}

/**
 * Scenarios that SMAClite has no map for start where its common maps start theirs.
 * @source SMAC: smac_maps.py for units and limits; SMAClite's map files for places.
 */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "3m": onTheRoad({ marine: 3 }, { marine: 3 }, 60),
  "8m": onTheRoad({ marine: 8 }, { marine: 8 }, 120),
  "25m": onTheRoad({ marine: 25 }, { marine: 25 }, 150),
  "5m_vs_6m": onTheRoad({ marine: 5 }, { marine: 6 }, 70),
  "8m_vs_9m": onTheRoad({ marine: 8 }, { marine: 9 }, 120),
  "10m_vs_11m": onTheRoad({ marine: 10 }, { marine: 11 }, 150),
  "27m_vs_30m": onTheRoad({ marine: 27 }, { marine: 30 }, 180),
  MMM: onTheRoad(
    { marauder: 2, marine: 7, medivac: 1 },
    { marauder: 2, marine: 7, medivac: 1 },
    150,
    MARAUDERS_MARINES_MEDIVACS,
  ),
  MMM2: onTheRoad(
    { marauder: 2, marine: 7, medivac: 1 },
    { marauder: 3, marine: 8, medivac: 1 },
    180,
    MARAUDERS_MARINES_MEDIVACS,
  ),
  "2s3z": onTheRoad({ stalker: 2, zealot: 3 }, { stalker: 2, zealot: 3 }, 120, STALKERS_AND_ZEALOTS),
  "3s5z": onTheRoad({ stalker: 3, zealot: 5 }, { stalker: 3, zealot: 5 }, 150, STALKERS_AND_ZEALOTS),
  "3s5z_vs_3s6z": onTheRoad({ stalker: 3, zealot: 5 }, { stalker: 3, zealot: 6 }, 170, STALKERS_AND_ZEALOTS),
  "1c3s5z": onTheRoad(
    { colossus: 1, stalker: 3, zealot: 5 },
    { colossus: 1, stalker: 3, zealot: 5 },
    180,
    WITH_COLOSSI,
  ),
  "3s_vs_3z": onThePlain({ stalker: 3 }, { zealot: 3 }, 150),
  "3s_vs_4z": onThePlain({ stalker: 3 }, { zealot: 4 }, 200),
  "3s_vs_5z": onThePlain({ stalker: 3 }, { zealot: 5 }, 250),
  "2m_vs_1z": onTheRoad({ marine: 2 }, { zealot: 1 }, 150),
  "6h_vs_8z": onTheRoad({ hydralisk: 6 }, { zealot: 8 }, 150),
  so_many_baneling: onTheRoad({ zealot: 7 }, { baneling: 32 }, 100),
  corridor: {
    allies: [{ at: [19.04, 19.12], units: { zealot: 6 } }],
    enemies: [{ at: [27.91, 28.24], units: { zergling: 24 } }],
    limit: 400,
    terrain: "corridor",
    attackPoint: [4.47, 4.33],
  },
  "2s_vs_1sc": {
    allies: [
      { at: [11.12, 10.34], units: { stalker: 1 } },
      { at: [16.98, 10.37], units: { stalker: 1 } },
    ],
    enemies: [{ at: [13.92, 20.04], units: { spineCrawler: 1 } }],
    limit: 300,
    terrain: "arena",
  },
  bane_vs_bane: {
    allies: [
      { at: [16, 8], units: { baneling: 4 } },
      { at: [16, 11], units: { zergling: 20 } },
    ],
    enemies: [
      { at: [16, 24], units: { baneling: 4 } },
      { at: [16, 21], units: { zergling: 20 } },
    ],
    limit: 200,
    terrain: "arena",
    bits: BANELINGS_AND_ZERGLINGS,
  },
  "2c_vs_64zg": {
    allies: [{ at: [16, 16], units: { colossus: 2 } }],
    enemies: [{ at: [16, 9], units: { zergling: 64 } }],
    limit: 400,
    terrain: "ravine",
  },
};
