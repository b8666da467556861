/** Ways around walls: from each cell the next one towards every other. Ways around units are found while walking. */
import { isOpen, MAP_SIZE, makeTerrain, type Terrain, type TerrainName } from "./terrain.ts";

const CELLS = MAP_SIZE * MAP_SIZE;
/** Distance between the places that are looked at along a line. */
const LOOK_EVERY = 0.4;
/** Straight neighbours first: among ways of one length the straighter is taken. */
const NEIGHBOURS = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
  [1, 1],
  [1, -1],
  [-1, 1],
  [-1, -1],
] as const;

/** int16 [goal cell, from cell]: the next cell on a shortest way, −1 where there is none. */
export type Routes = Int16Array;

/** Found once for all battles on a terrain: it takes some hundredths of a second. */
const found = new Map<TerrainName, Routes>();

/** Ways over the ground of a terrain; none where every straight line over its ground stays on it. */
export function routesOf(name: TerrainName): Routes | undefined {
  const { ground, convex } = makeTerrain(name);
  if (convex) return undefined;
  const known = found.get(name) ?? findRoutes(ground);
  found.set(name, known);
  return known;
}

function findRoutes(cells: Uint8Array): Routes {
  const routes = new Int16Array(CELLS * CELLS).fill(-1);
  const queue = new Int16Array(CELLS);
  for (let goal = 0; goal < CELLS; goal++) if (cells[goal] === 1) spread(cells, goal, routes, queue);
  return routes;
}

/** What finding a unit's way takes of a battle. */
interface Ways {
  readonly terrain: Terrain;
  readonly routes: Routes | undefined;
  readonly x: Float64Array;
  readonly y: Float64Array;
}

/** The next cell for unit `u` on its way to a place, or −1 when a straight line is free or no way is known. */
export function nextCell({ terrain, routes, x, y }: Ways, u: number, goalX: number, goalY: number): number {
  const fromX = x[u]!;
  const fromY = y[u]!;
  const { ground } = terrain;
  // A goal in a wall, or off the map as a move's may be, is walked to as far as it goes.
  if (routes === undefined || isOpen(ground, goalX, goalY) === 0) return -1;
  if (isClear(ground, fromX, fromY, goalX - fromX, goalY - fromY)) return -1;
  return routes[cellOf(goalX, goalY) * CELLS + cellOf(fromX, fromY)]!;
}

function cellOf(x: number, y: number): number {
  return (y | 0) * MAP_SIZE + (x | 0);
}

/** Breadth first from the goal, so that every cell learns where to go. */
function spread(cells: Uint8Array, goal: number, routes: Routes, queue: Int16Array): void {
  const row = goal * CELLS;
  routes[row + goal] = goal;
  queue[0] = goal;
  for (let read = 0, written = 1; read < written; read++) {
    const cell = queue[read]!;
    const x = cell % MAP_SIZE;
    const y = (cell - x) / MAP_SIZE;
    for (const [dx, dy] of NEIGHBOURS) {
      const next = cell + dy * MAP_SIZE + dx;
      if (isOpen(cells, x + dx, y + dy) === 0 || routes[row + next] !== -1) continue;
      // A diagonal step must not cut a corner.
      if (dx !== 0 && dy !== 0 && (isOpen(cells, x + dx, y) === 0 || isOpen(cells, x, y + dy) === 0))
        continue;
      routes[row + next] = cell;
      queue[written++] = next;
    }
  }
}

/** Whether the ground is open all along a line from a place. */
function isClear(cells: Uint8Array, fromX: number, fromY: number, dx: number, dy: number): boolean {
  const looks = Math.ceil(Math.sqrt(dx * dx + dy * dy) / LOOK_EVERY);
  for (let i = 1; i < looks; i++) {
    if (isOpen(cells, fromX + (dx * i) / looks, fromY + (dy * i) / looks) === 0) return false;
  }
  return true;
}
