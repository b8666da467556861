/** Gradient clipping as graph nodes. */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";

/** Keeps the quotient finite for a zero gradient; the value that PyTorch adds. */
const NORM_EPSILON = 1e-6;

/**
 * Scales each row so that its Euclidean norm is at most `maxNorm`: one row is one owner (all agents together, or one
 * agent each).
 * @param gradient float32 [G, P].
 * @returns `clipped` float32 [G, P] and `norm` float32 [G, 1] before clipping.
 * @source PyTorch `clip_grad_norm_`: coefficient min(1, maxNorm / (norm + 1e-6)).
 */
export function clipByGlobalNorm(
  g: GraphBuilder,
  gradient: Value,
  maxNorm: number,
): { clipped: Value; norm: Value } {
  return g.scope("clip", () => {
    const norm = g.sqrt(g.reduceSum(g.square(gradient), [1], true));
    const coefficient = g.min(1, g.div(maxNorm, g.add(norm, NORM_EPSILON)));
    return { clipped: g.mul(gradient, coefficient), norm };
  });
}
