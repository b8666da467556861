/** Adam as graph nodes over flat parameters, and the numbers that each step feeds it. */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/value.ts";

export interface AdamConfig {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** The epsilon of MAPPO's implementations; PyTorch's default is 1e-8. */
export const ADAM: AdamConfig = { beta1: 0.9, beta2: 0.999, epsilon: 1e-5 };

/** Parameters, first and second moments: each float32 [G, P]. */
export interface AdamState {
  readonly parameters: Value;
  readonly firstMoment: Value;
  readonly secondMoment: Value;
}

/**
 * One step: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − lr·m̂ / (√v̂ + ε).
 * @param stepSize float32 [G, 1] or [1, P]: lr / (1 − β₁ᵗ); 0 leaves parameters as they are.
 * @param secondCorrection float32, the same shape: 1 / √(1 − β₂ᵗ). Both from {@link adamScalars}, in double precision there:
 * 1 − 0.999ᵗ in float32 would be off by 1e-5 at the first steps.
 * @source Kingma and Ba, arXiv 1412.6980, algorithm 1, with ε outside the root.
 */
export function adam(
  g: GraphBuilder,
  state: AdamState,
  gradient: Value,
  stepSize: Value,
  secondCorrection: Value,
  { beta1, beta2, epsilon }: AdamConfig = ADAM,
): AdamState {
  return g.scope("adam", () => {
    const firstMoment = g.add(g.mul(state.firstMoment, beta1), g.mul(gradient, 1 - beta1));
    const secondMoment = g.add(g.mul(state.secondMoment, beta2), g.mul(g.square(gradient), 1 - beta2));
    const denominator = g.add(g.mul(g.sqrt(secondMoment), secondCorrection), epsilon);
    const step = g.mul(g.div(firstMoment, denominator), stepSize);
    return { parameters: g.sub(state.parameters, step), firstMoment, secondMoment };
  });
}

/** What step `t` (from 1) feeds: `[stepSize, secondCorrection]`. */
export function adamScalars(
  t: number,
  learningRate: number,
  { beta1, beta2 }: AdamConfig = ADAM,
): [number, number] {
  return [learningRate / (1 - beta1 ** t), 1 / Math.sqrt(1 - beta2 ** t)];
}
