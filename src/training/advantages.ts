/** Normalisation of advantages before a policy update; not their estimation (`gae.ts`). */

/** Added to the standard deviation, outside the root. */
const EPSILON = 1e-5;

/**
 * A ← (A − mean) / (std + 1e-5), in place. `advantages` float32 [N, rows] is cut into `groups` equal runs with
 * statistics of their own: 1 takes all agents jointly, N takes each agent by itself. Mean and population std weigh
 * entries by `weights` float32 [N, rows]: 1 and 0 for agents that are active or not, or how many agents an entry
 * stands for (all alike, when absent); entries of weight 0 are shifted and scaled alike. A group of weight 0 is left as
 * it is.
 */
export function normaliseAdvantages(advantages: Float32Array, groups: number, weights?: Float32Array): void {
  const size = advantages.length / groups;
  for (let group = 0; group < groups; group++) {
    const from = group * size;
    normaliseRun(advantages, from, from + size, weights);
  }
}

function normaliseRun(advantages: Float32Array, from: number, to: number, weights?: Float32Array): void {
  let count = 0;
  let sum = 0;
  for (let i = from; i < to; i++) {
    const weight = weights === undefined ? 1 : weights[i]!;
    count += weight;
    sum += weight * advantages[i]!;
  }
  if (count === 0) return;
  const centre = sum / count;
  let squares = 0;
  for (let i = from; i < to; i++) {
    const weight = weights === undefined ? 1 : weights[i]!;
    // Two passes: the mean of squares less the square of the mean would cancel where the mean is large.
    squares += weight * (advantages[i]! - centre) ** 2;
  }
  const scale = Math.sqrt(squares / count) + EPSILON;
  for (let i = from; i < to; i++) advantages[i] = (advantages[i]! - centre) / scale;
}
