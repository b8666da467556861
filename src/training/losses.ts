/** MAPPO's losses as graph nodes; the steps that train with them are in `actor-step.ts` and `critic-step.ts`. */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";

/**
 * How the ratio of a row with several action dimensions is clipped. `product`: one ratio, the product over dimensions
 * (HARL, on-policy). `per-dimension`: each dimension's ratio by itself, the clipped terms summed (the released
 * LoRASA code).
 */
export type RatioKind = "product" | "per-dimension";

/** Over whom the surrogate is averaged. `team`: one mean. `agents`: a mean an agent, summed: each trains its own. */
export type LossMean = "team" | "agents";

export interface SurrogateInputs {
  /** float32 [N, R, K]: log-probabilities of the stored draws now and when drawn. */
  readonly logProb: Value;
  readonly oldLogProb: Value;
  /** float32 [N or 1, R, 1], normalised. */
  readonly advantage: Value;
  /** float32 [N or 1, R, 1]: 1 where the agent was alive. */
  readonly active: Value;
  /** float32 scalar: ε. */
  readonly clipRange: Value;
}

/**
 * −mean of active · Σ_dims min(ratio·A, clip(ratio, 1−ε, 1+ε)·A), and figures to watch.
 * @returns `loss`; `ratio` the mean ratio; `clipFraction` the share of ratios outside the range; `approxKl` the mean
 * of (ratio − 1) − ln ratio; all float32 scalars.
 * @source Schulman et al., arXiv 1707.06347, eq. 7; HARL mappo.py; LoRASA code r_mappo.py.
 */
export function clippedSurrogate(
  g: GraphBuilder,
  { logProb, oldLogProb, advantage, active, clipRange }: SurrogateInputs,
  kind: RatioKind,
  mean: LossMean,
): { loss: Value; ratio: Value; clipFraction: Value; approxKl: Value } {
  return g.scope("surrogate", () => {
    const difference = g.sub(logProb, oldLogProb);
    const logRatio = kind === "product" ? g.reduceSum(difference, [2], true) : difference;
    const ratio = g.exp(logRatio);
    const clipped = g.max(g.min(ratio, g.add(1, clipRange)), g.sub(1, clipRange));
    const terms = g.reduceSum(g.min(g.mul(ratio, advantage), g.mul(clipped, advantage)), [2], true);
    const loss = g.neg(activeMean(g, terms, active, mean));
    const outside = g.cast(g.greater(g.abs(g.sub(ratio, 1)), clipRange), "float32");
    return {
      loss,
      ratio: g.reduceMean(ratio),
      clipFraction: g.reduceMean(outside),
      approxKl: g.reduceMean(g.sub(g.sub(ratio, 1), logRatio)),
    };
  });
}

/** Mean of rows float32 [N, R, 1] weighted by `active`: over all at once, or an agent each and then summed. */
export function activeMean(g: GraphBuilder, rows: Value, active: Value, mean: LossMean): Value {
  // Repeated first, so that the weights add up to the number of rows that they weigh.
  const weights = g.expand(active, rows.shape);
  const weighted = g.mul(rows, weights);
  if (mean === "team") return g.div(g.reduceSum(weighted), g.max(g.reduceSum(weights), 1));
  // An agent that was never active divides by 1 instead of 0, and its sum is 0.
  return g.reduceSum(g.div(g.reduceSum(weighted, [1, 2]), g.max(g.reduceSum(weights, [1, 2]), 1)));
}

/**
 * Clipped value loss: mean of max(huber(target − v), huber(target − (v_old + clip(v − v_old, ±ε)))).
 * @param value, oldValue, target float32 [N, R, 1], normalised.
 * @source HARL v_critic.py; the Huber loss is e²/2 inside δ and δ(|e| − δ/2) outside.
 */
export function clippedValueLoss(
  g: GraphBuilder,
  { value, oldValue, target, clipRange }: { value: Value; oldValue: Value; target: Value; clipRange: Value },
  huberDelta: number,
): Value {
  return g.scope("value_loss", () => {
    const moved = g.max(g.min(g.sub(value, oldValue), clipRange), g.neg(clipRange));
    const plain = huber(g, g.sub(target, value), huberDelta);
    const clipped = huber(g, g.sub(target, g.add(oldValue, moved)), huberDelta);
    return g.reduceMean(g.max(plain, clipped));
  });
}

/** With q = min(|e|, δ): q·(|e| − q/2) is both branches at once. */
function huber(g: GraphBuilder, error: Value, delta: number): Value {
  const size = g.abs(error);
  const quadratic = g.min(size, delta);
  return g.mul(quadratic, g.sub(size, g.mul(quadratic, 0.5)));
}
