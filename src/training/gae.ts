/**
 * Generalised advantage estimation over one rollout; not how values are predicted or normalised: they come
 * in the rewards' own units.
 *
 * Letters: N value heads (one an agent, or one for the team), T time, E environments. Arrays [N, T·E] hold one
 * head after another, and step t of environment e at index `rowOffset(t) + e` of a head, so that a buffer cut
 * into chunks is read where it lies.
 */
import { LorasaError } from "../base/errors.ts";

/**
 * What a step cut off by the time limit is worth. `zero-advantage`: nothing is learnt from it, its return is its
 * own value (the reference implementations). `bootstrap`: the episode would have gone on, so the value of its
 * final observation follows, and the trace is cut.
 */
export type TimeLimitTreatment = "zero-advantage" | "bootstrap";

export interface GaeInput {
  /** N, T and E. */
  readonly heads: number;
  readonly steps: number;
  readonly envs: number;
  /** Index, within a head, of step t of environment 0; the environments of a step are neighbours. */
  readonly rowOffset: (t: number) => number;
  /** float32 [T·E]: shared by all heads. */
  readonly rewards: Float32Array;
  /** float32 [N, T·E]: V of the observation that the step started from. */
  readonly values: Float32Array;
  /** float32 [N, E]: V of the observations after the last step. */
  readonly bootstrapValues: Float32Array;
  /** float32 [N, T·E]: V of final observations, read only at truncated steps under `bootstrap`. */
  readonly finalValues?: Float32Array;
  /** uint8 [T·E]: 1 where the episode ended inside the task, or by the time limit. */
  readonly terminated: Uint8Array;
  readonly truncated: Uint8Array;
  readonly timeLimit: TimeLimitTreatment;
  /** Both in [0, 1]. */
  readonly gamma: number;
  readonly gaeLambda: number;
  /**
   * float32 [N, T·E]: factor on the trace that arrives from this step at earlier ones, such as A2PO's
   * min(1, ρ); 1 everywhere when absent.
   */
  readonly traceWeights?: Float32Array;
}

/** float32 [N, T·E] each; returns = advantages + values. */
export interface GaeOutput {
  readonly advantages: Float32Array;
  readonly returns: Float32Array;
}

/**
 * δ_t = r_t + γ·V_{t+1} − V_t and A_t = δ_t + γ·λ·c_{t+1}·A_{t+1}, where V_{t+1} and A_{t+1} are 0 after a
 * terminated step, and c is the trace weight. A step that is both terminated and truncated counts as truncated
 * under `zero-advantage` (as the reference does) and as terminated under `bootstrap` (nothing could follow).
 * Accumulates in float64. `into` is overwritten and returned, or new arrays are made.
 * @throws LORASA_SHAPE when an array does not hold what T, E and N say.
 * @source Schulman et al., High-dimensional continuous control using generalized advantage estimation, eq. 16;
 * time limits: Pardo et al., Time limits in reinforcement learning.
 */
export function generalisedAdvantages(input: GaeInput, into?: GaeOutput): GaeOutput {
  const total = input.heads * input.steps * input.envs;
  const output = into ?? { advantages: new Float32Array(total), returns: new Float32Array(total) };
  checkLengths(input, output);
  const offsets = Int32Array.from({ length: input.steps }, (_, t) => input.rowOffset(t));
  for (let head = 0; head < input.heads; head++) walkBack(input, head, offsets, output);
  return output;
}

/** One head, from the last step to the first, all environments abreast. */
function walkBack(input: GaeInput, head: number, offsets: Int32Array, output: GaeOutput): void {
  const { steps, envs, rewards, values, finalValues, terminated, truncated, traceWeights, gamma } = input;
  const { advantages, returns } = output;
  const zeroAtLimit = input.timeLimit === "zero-advantage";
  const decay = gamma * input.gaeLambda;
  const base = head * steps * envs;
  const nextValue = Float64Array.from(input.bootstrapValues.subarray(head * envs, (head + 1) * envs));
  const trace = new Float64Array(envs);
  for (let t = steps - 1; t >= 0; t--) {
    for (let e = 0; e < envs; e++) {
      const row = offsets[t]! + e;
      const at = base + row;
      const value = values[at]!;
      let advantage = 0;
      if (truncated[row] !== 1 || (!zeroAtLimit && terminated[row] === 1)) {
        const lives = terminated[row] === 1 ? 0 : 1;
        advantage = rewards[row]! + lives * (gamma * nextValue[e]! + decay * trace[e]!) - value;
      } else if (!zeroAtLimit) {
        advantage = rewards[row]! + gamma * finalValues![at]! - value;
      }
      advantages[at] = advantage;
      returns[at] = advantage + value;
      trace[e] = traceWeights === undefined ? advantage : traceWeights[at]! * advantage;
      nextValue[e] = value;
    }
  }
}

function checkLengths(input: GaeInput, output: GaeOutput): void {
  const rows = input.steps * input.envs;
  const all = input.heads * rows;
  const needed: readonly (readonly [string, ArrayLike<number> | undefined, number])[] = [
    ["rewards", input.rewards, rows],
    ["terminated", input.terminated, rows],
    ["truncated", input.truncated, rows],
    ["values", input.values, all],
    ["bootstrapValues", input.bootstrapValues, input.heads * input.envs],
    ["traceWeights", input.traceWeights, input.traceWeights === undefined ? 0 : all],
    [
      "finalValues",
      input.finalValues,
      input.timeLimit === "bootstrap" ? all : (input.finalValues?.length ?? 0),
    ],
    ["advantages", output.advantages, all],
    ["returns", output.returns, all],
  ];
  for (const [name, array, length] of needed) {
    if ((array?.length ?? 0) === length) continue;
    throw new LorasaError("LORASA_SHAPE", {
      asked: `${name} of a rollout with N=${input.heads}, T=${input.steps}, E=${input.envs}`,
      expected: `${length} values`,
      received: array === undefined ? "none" : String(array.length),
    });
  }
}
