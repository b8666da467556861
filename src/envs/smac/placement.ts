/** Where the units of a scenario start and in which order they are counted; not what they do next. */
import type { Group, Scenario } from "./scenarios.ts";
import { UNITS, type UnitName } from "./units.ts";

/** A unit before the battle. */
export interface Recruit {
  readonly name: UnitName;
  readonly x: number;
  readonly y: number;
}

/** Room between neighbours, from edge to edge. */
const GAP = 0.05;

/** Both sides, each sorted by unit type, then x, then y, as SMAC counts agents. */
export function placeUnits(scenario: Scenario): { allies: Recruit[]; enemies: Recruit[] } {
  const { allies, enemies, bits } = scenario;
  return {
    allies: sorted(
      allies.flatMap((group) => inSquare(group, 1)),
      bits?.allies,
    ),
    enemies: sorted(
      enemies.flatMap((group) => inSquare(group, -1)),
      bits?.enemies,
    ),
  };
}

/** Rows of a square, filled type by type; `mirror` −1 turns it by 180 degrees, so that equal sides start alike. */
function inSquare({ at: [centreX, centreY], units }: Group, mirror: 1 | -1): Recruit[] {
  // The keys of a literal whose type names them.
  const names = (Object.keys(units) as UnitName[]).flatMap((name) =>
    Array<UnitName>(units[name]!).fill(name),
  );
  const side = Math.ceil(Math.sqrt(names.length));
  const rows = Array.from({ length: Math.ceil(names.length / side) }, (_, row) =>
    names.slice(row * side, (row + 1) * side),
  );
  const heights = rows.map((row) => 2 * Math.max(...row.map((name) => UNITS[name].radius)));
  const width = Math.max(...rows.map((row) => length(row.map((name) => 2 * UNITS[name].radius))));
  const recruits: Recruit[] = [];
  let y = -length(heights) / 2;
  for (const [index, row] of rows.entries()) {
    let x = -width / 2;
    for (const name of row) {
      const { radius } = UNITS[name];
      recruits.push({
        name,
        x: centreX + mirror * (x + radius),
        y: centreY + mirror * (y + heights[index]! / 2),
      });
      x += 2 * radius + GAP;
    }
    y += heights[index]! + GAP;
  }
  return recruits;
}

function length(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0) + GAP * (sizes.length - 1);
}

function sorted(recruits: Recruit[], order: readonly UnitName[] = []): Recruit[] {
  const rank = ({ name }: Recruit): number => order.indexOf(name);
  return recruits.sort((a, b) => rank(a) - rank(b) || a.x - b.x || a.y - b.y);
}
