/** How much of the returns a critic predicts; a figure for the log, no part of the update. */

/**
 * 1 − Var(returns − values) / Var(returns), for float32 arrays of one length: 1 for a perfect critic, 0 for one
 * that predicts a constant, negative for a worse one; NaN where the returns do not vary.
 */
export function explainedVariance(values: Float32Array, returns: Float32Array): number {
  const total = variance(returns.length, (i) => returns[i]!);
  const left = variance(returns.length, (i) => returns[i]! - values[i]!);
  return total === 0 ? Number.NaN : 1 - left / total;
}

function variance(count: number, at: (index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += at(i);
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (at(i) - mean) ** 2;
  return squares / count;
}
