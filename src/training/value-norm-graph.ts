/** ValueNorm inside a training graph: the same formulas as the host's `value-norm.ts`. */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";
import { VALUE_NORM_BETA, VALUE_NORM_EPSILON, VALUE_NORM_MIN_VARIANCE } from "./value-norm.ts";

/** float32 [G] each: G is 1, or N for a normaliser an agent. */
export interface ValueNormValues {
  readonly runningMean: Value;
  readonly runningMeanSquare: Value;
  readonly debias: Value;
}

/** Takes in returns float32 [N, R, 1]: jointly when G is 1, else an agent each. */
export function updateValueNormGraph(
  g: GraphBuilder,
  state: ValueNormValues,
  returns: Value,
): ValueNormValues {
  return g.scope("value_norm", () => {
    const joint = state.debias.shape[0] === 1;
    const batchMean = (x: Value): Value =>
      joint ? g.reshape(g.reduceMean(x), [1]) : g.reduceMean(x, [1, 2]);
    const blend = (old: Value, now: Value | number): Value =>
      g.add(g.mul(old, VALUE_NORM_BETA), g.mul(now, 1 - VALUE_NORM_BETA));
    return {
      runningMean: blend(state.runningMean, batchMean(returns)),
      runningMeanSquare: blend(state.runningMeanSquare, batchMean(g.square(returns))),
      debias: g.add(g.mul(state.debias, VALUE_NORM_BETA), 1 - VALUE_NORM_BETA),
    };
  });
}

/** (x − mean)/std with the debiased statistics, for x float32 [N, R, 1]. */
export function normaliseGraph(g: GraphBuilder, state: ValueNormValues, x: Value): Value {
  return g.scope("value_norm", () => {
    const debias = g.max(state.debias, VALUE_NORM_EPSILON);
    const mean = g.div(state.runningMean, debias);
    const variance = g.max(
      g.sub(g.div(state.runningMeanSquare, debias), g.square(mean)),
      VALUE_NORM_MIN_VARIANCE,
    );
    const column = (value: Value): Value => g.reshape(value, [state.debias.shape[0]!, 1, 1]);
    return g.div(g.sub(x, column(mean)), column(g.sqrt(variance)));
  });
}
