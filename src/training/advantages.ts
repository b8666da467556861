/** Normalisation of advantages before a policy update; not their estimation (`gae.ts`). */

/** Added to the standard deviation, outside the root. */
const EPSILON = 1e-5;

/**
 * A ← (A − mean) / (std + 1e-5), in place. `advantages` float32 [N, rows] is cut into `groups` equal runs with
 * statistics of their own: 1 takes all agents jointly, N takes each agent by itself. Mean and population std are
 * over entries whose `active` float32 [N, rows] is not 0 (all, when absent); inactive entries are shifted and
 * scaled alike. A group without active entries is left as it is.
 */
export function normaliseAdvantages(advantages: Float32Array, groups: number, active?: Float32Array): void {
  const size = advantages.length / groups;
  for (let group = 0; group < groups; group++) {
    const from = group * size;
    normaliseRun(advantages, from, from + size, active);
  }
}

function normaliseRun(advantages: Float32Array, from: number, to: number, active?: Float32Array): void {
  let count = 0;
  let sum = 0;
  for (let i = from; i < to; i++) {
    if (active !== undefined && active[i] === 0) continue;
    count++;
    sum += advantages[i]!;
  }
  if (count === 0) return;
  const centre = sum / count;
  let squares = 0;
  for (let i = from; i < to; i++) {
    // Two passes: the mean of squares less the square of the mean would cancel where the mean is large.
    if (active === undefined || active[i] !== 0) squares += (advantages[i]! - centre) ** 2;
  }
  const scale = Math.sqrt(squares / count) + EPSILON;
  for (let i = from; i < to; i++) advantages[i] = (advantages[i]! - centre) / scale;
}
