/** What a benchmark must reach, and whether it does. Not how it is measured. */

export interface Floor {
  readonly what: string;
  readonly value: number;
  readonly least?: number;
  readonly most?: number;
  readonly holds: boolean;
}

/** @param bound one of `least` and `most`. */
export function floor(what: string, value: number, bound: { least: number } | { most: number }): Floor {
  const holds = "least" in bound ? value >= bound.least : value <= bound.most;
  return { what, value, ...bound, holds };
}

/** A line a floor. */
export function formatFloors(floors: readonly Floor[]): string[] {
  return floors.map(({ what, value, least, most, holds }) => {
    const bound = least === undefined ? `at most ${most}` : `at least ${least}`;
    return `${holds ? "holds" : "FAILS"}  ${what}: ${Number(value.toPrecision(3))}, ${bound}`;
  });
}

/** Columns as wide as their longest entry; the first to the left, numbers to the right. */
export function formatColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((text, column) => (column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!)))
      .join("  "),
  );
}
