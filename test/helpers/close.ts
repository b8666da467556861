/** Comparison of numbers with a tolerance, shapes before values. */
import assert from "node:assert/strict";

export interface Tolerance {
  readonly atol?: number;
  readonly rtol?: number;
}

/** Asserts |a−b| ≤ atol + rtol·|b| for every element (defaults 1e-6 and 1e-5), naming the worst one. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { atol = 1e-6, rtol = 1e-5 }: Tolerance = {},
  what = "values",
): void {
  assert.equal(actual.length, expected.length, `${what}: lengths differ`);
  let worst = -1;
  let excess = 0;
  for (let i = 0; i < actual.length; i++) {
    const over = Math.abs(actual[i]! - expected[i]!) - (atol + rtol * Math.abs(expected[i]!));
    if (over > excess || Number.isNaN(over)) {
      worst = i;
      excess = over;
      if (Number.isNaN(over)) break;
    }
  }
  assert.equal(
    worst,
    -1,
    `${what}[${worst}]: ${actual[worst]} is not ${expected[worst]} (atol ${atol}, rtol ${rtol})`,
  );
}
