/** Where units may stand: a grid of cells for each terrain. Who stands there is the battle's. */

/** Cells of a terrain along each side; a cell is one unit of length. */
export const MAP_SIZE = 32;

/** Rows of cells, `y · MAP_SIZE + x`: 1 where a unit may stand. */
export interface Terrain {
  readonly ground: Uint8Array;
  /** For units that climb: cliffs besides the ground. */
  readonly climbable: Uint8Array;
  /** Whether every straight line between places on the ground stays on it. */
  readonly convex: boolean;
}

/** Open cells `[x0, y0, x1, y1)`, the upper ends excluded. */
type Area = readonly [number, number, number, number];

/** Shapes are ours, made after what each scenario is known for; the road's breadth is SMAClite's. */
const TERRAINS = {
  /** A broad road from west to east. */
  road: { open: [[0, 8, 32, 24]], cliffs: [] },
  /** All of the map. */
  plain: { open: [[0, 0, 32, 32]], cliffs: [] },
  arena: { open: [[5, 5, 27, 27]], cliffs: [] },
  /** A room below, a hall above, and a gap three cells wide between them. */
  corridor: {
    open: [
      [1, 2, 13, 11],
      [2, 11, 14, 12],
      [2, 12, 15, 13],
      [11, 13, 25, 14],
      [11, 14, 27, 15],
      [12, 15, 29, 17],
      [11, 17, 31, 22],
      [13, 22, 31, 25],
      [16, 25, 31, 28],
      [19, 28, 31, 31],
    ],
    cliffs: [],
  },
  /** Two roads with a cliff between them that can be passed at both ends. */
  ravine: {
    open: [
      [0, 5, 32, 12],
      [0, 13, 32, 20],
      [0, 12, 4, 13],
      [28, 12, 32, 13],
    ],
    cliffs: [[4, 12, 28, 13]],
  },
} as const satisfies Record<string, { open: readonly Area[]; cliffs: readonly Area[] }>;

export type TerrainName = keyof typeof TERRAINS;

export function makeTerrain(name: TerrainName): Terrain {
  const { open, cliffs } = TERRAINS[name];
  const ground = new Uint8Array(MAP_SIZE * MAP_SIZE);
  for (const area of open) fill(ground, area);
  const climbable = Uint8Array.from(ground);
  for (const area of cliffs) fill(climbable, area);
  return { ground, climbable, convex: open.length === 1 };
}

/** 1 where `(x, y)` lies on an open cell, 0 elsewhere and outside of the map. */
export function isOpen(cells: Uint8Array, x: number, y: number): 0 | 1 {
  if (x < 0 || y < 0 || x >= MAP_SIZE || y >= MAP_SIZE) return 0;
  return cells[(y | 0) * MAP_SIZE + (x | 0)] === 1 ? 1 : 0;
}

function fill(cells: Uint8Array, [x0, y0, x1, y1]: Area): void {
  for (let y = y0; y < y1; y++) cells.fill(1, y * MAP_SIZE + x0, y * MAP_SIZE + x1);
}
