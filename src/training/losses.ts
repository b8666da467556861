/** MAPPO's losses as graph nodes; the steps that train with them are in `actor-step.ts` and `critic-step.ts`. */
import { floatTensor } from "../base/tensor.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";

/**
 * How the ratio of a row with several action dimensions is clipped. `product`: one ratio, the product over dimensions
 * (HARL, on-policy). `per-dimension`: each dimension's ratio by itself, the clipped terms summed (the released
 * LoRASA code).
 */
export type RatioKind = "product" | "per-dimension";

/**
 * How the ratio M of other agents that have moved counts. `inside`: M·ratio is clipped as one (A2PO). `outside`: M
 * multiplies what is clipped without it (HAPPO).
 */
export type OthersPlace = "inside" | "outside";

/** For each agent the group that it is averaged in, or the same as float32 [G, N] of ones and zeros. */
export type LossGroups = readonly number[] | Value;

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
  /** float32 [N or 1, R, 1]: M, not differentiated, and its place. */
  readonly others?: Value;
  readonly place?: OthersPlace;
}

/**
 * −mean of active · Σ_dims min(ratio·A, clip(ratio, 1−ε, 1+ε)·A), and figures to watch.
 * @returns `loss`; `ratio` the mean ratio; `clipFraction` the share of ratios outside the range; `approxKl` the mean
 * of (ratio − 1) − ln ratio; all float32 scalars.
 * @source Schulman et al., arXiv 1707.06347, eq. 7; Wang et al., arXiv 2302.06205 (A2PO); Kuba et al., arXiv 2109.11251
 * (HAPPO); the released code of LoRASA.
 */
export function clippedSurrogate(
  g: GraphBuilder,
  { logProb, oldLogProb, advantage, active, clipRange, others, place }: SurrogateInputs,
  kind: RatioKind,
  groups?: LossGroups,
): { loss: Value; ratio: Value; clipFraction: Value; approxKl: Value } {
  return g.scope("surrogate", () => {
    const difference = g.sub(logProb, oldLogProb);
    const logRatio = kind === "product" ? g.reduceSum(difference, [2], true) : difference;
    const own = g.exp(logRatio);
    const ratio = others && place === "inside" ? g.mul(own, others) : own;
    const clipped = g.max(g.min(ratio, g.add(1, clipRange)), g.sub(1, clipRange));
    const least = g.reduceSum(g.min(g.mul(ratio, advantage), g.mul(clipped, advantage)), [2], true);
    const terms = others && place === "outside" ? g.mul(least, others) : least;
    const loss = g.neg(activeMean(g, terms, active, groups));
    const outside = g.cast(g.greater(g.abs(g.sub(ratio, 1)), clipRange), "float32");
    return {
      loss,
      ratio: g.reduceMean(own),
      clipFraction: g.reduceMean(outside),
      approxKl: g.reduceMean(g.sub(g.sub(own, 1), logRatio)),
    };
  });
}

/**
 * Mean of rows float32 [N, R, 1] weighted by `active`.
 * @param groups the means of which are added; one for all if left out.
 */
export function activeMean(g: GraphBuilder, rows: Value, active: Value, groups?: LossGroups): Value {
  // Repeated first, so that the weights add up to the number of rows that they weigh.
  const weights = g.expand(active, rows.shape);
  const weighted = g.mul(rows, weights);
  if (!groups || (isList(groups) && Math.max(...groups) === 0))
    return g.div(g.reduceSum(weighted), g.max(g.reduceSum(weights), 1));
  const each = (x: Value): Value => summedByGroup(g, g.reduceSum(x, [1, 2]), groups);
  // A group that was never active divides by 1 instead of 0, and its sum is 0.
  return g.reduceSum(g.div(each(weighted), g.max(each(weights), 1)));
}

/** float32 [G, N]: 1 where an agent is of a group. */
export function groupMembers(g: GraphBuilder, groups: readonly number[]): Value {
  const agents = groups.length;
  const count = Math.max(...groups) + 1;
  const members = Float32Array.from({ length: count * agents }, (_, k) =>
    groups[k % agents] === Math.floor(k / agents) ? 1 : 0,
  );
  return g.constant("group_members", floatTensor([count, agents], members));
}

/** float32 [N] → [G]. */
function summedByGroup(g: GraphBuilder, sums: Value, groups: LossGroups): Value {
  if (isList(groups) && groups.every((group, agent) => group === agent)) return sums;
  const members = isList(groups) ? groupMembers(g, groups) : groups;
  const [count, agents] = members.shape as readonly [number, number];
  return g.reshape(g.matMul(members, g.reshape(sums, [agents, 1])), [count]);
}

function isList(groups: LossGroups): groups is readonly number[] {
  return Array.isArray(groups);
}

/**
 * Clipped value loss: mean of max(huber(target − v), huber(target − (v_old + clip(v − v_old, ±ε)))).
 * @param value, oldValue, target float32 [N, R, 1], normalised.
 * @param critics of which each is trained by itself: the mean of each is taken, and the means are added.
 * @source HARL v_critic.py; the Huber loss is e²/2 inside δ and δ(|e| − δ/2) outside.
 */
export function clippedValueLoss(
  g: GraphBuilder,
  { value, oldValue, target, clipRange }: { value: Value; oldValue: Value; target: Value; clipRange: Value },
  huberDelta: number,
  critics = 1,
): Value {
  return g.scope("value_loss", () => {
    const moved = g.max(g.min(g.sub(value, oldValue), clipRange), g.neg(clipRange));
    const plain = huber(g, g.sub(target, value), huberDelta);
    const clipped = huber(g, g.sub(target, g.add(oldValue, moved)), huberDelta);
    const loss = g.reduceMean(g.max(plain, clipped));
    return critics === 1 ? loss : g.mul(loss, critics);
  });
}

/** With q = min(|e|, δ): q·(|e| − q/2) is both branches at once. */
function huber(g: GraphBuilder, error: Value, delta: number): Value {
  const size = g.abs(error);
  const quadratic = g.min(size, delta);
  return g.mul(quadratic, g.sub(size, g.mul(quadratic, 0.5)));
}
