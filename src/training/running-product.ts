/**
 * The correction of A2PO's released `speedup_trace`: the product of ratios along a trace is itself capped at 1, so that
 * a ratio above 1 can make up for one below before it. Each step has a trace of its own: quadratic in an episode's length.
 */
import type { GaeInput, GaeOutput } from "./gae.ts";

/**
 * A_t = δ_t + Σ_{m≥1} (γλ)^m·C_m·δ_{t+m} with C_m = min(1, C_{m−1}·ρ_{t+m}) and C_0 = 1, up to the episode's end.
 * @param ratio float32 [T·E]: ρ, the same for all value heads.
 * @source A2PO's released code. The formula of its paper, arXiv 2302.06205, is `generalisedAdvantages` with trace weights.
 */
export function runningProductAdvantages(input: GaeInput, ratio: Float32Array, into: GaeOutput): void {
  const { heads, steps, envs, rowOffset, gamma, gaeLambda, values } = input;
  const rows = Int32Array.from({ length: steps }, (_, t) => rowOffset(t));
  const delta = new Float64Array(steps);
  const decay = gamma * gaeLambda;
  for (let head = 0; head < heads; head++) {
    for (let e = 0; e < envs; e++) {
      const base = head * steps * envs + e;
      for (let t = 0; t < steps; t++) delta[t] = temporalDifference(input, rows, head, e, t);
      for (let t = 0; t < steps; t++) {
        let advantage = delta[t]!;
        let product = 1;
        let discount = 1;
        for (let s = t; s + 1 < steps && !ends(input, rows[s]! + e); s++) {
          product = Math.min(1, product * ratio[rows[s + 1]! + e]!);
          discount *= decay;
          advantage += discount * product * delta[s + 1]!;
        }
        into.advantages[base + rows[t]!] = advantage;
        into.returns[base + rows[t]!] = advantage + values[base + rows[t]!]!;
      }
    }
  }
}

function ends({ terminated, truncated }: GaeInput, row: number): boolean {
  return terminated[row] === 1 || truncated[row] === 1;
}

/** δ_t = r_t + γ·V_{t+1} − V_t, with what follows an episode's end as `generalisedAdvantages` has it. */
function temporalDifference(input: GaeInput, rows: Int32Array, head: number, e: number, t: number): number {
  const { steps, envs, rewards, values, bootstrapValues, finalValues, terminated, truncated, gamma } = input;
  const row = rows[t]! + e;
  const base = head * steps * envs;
  const own = rewards[row]! - values[base + row]!;
  if (truncated[row] === 1 && input.timeLimit === "zero-advantage") return 0;
  if (terminated[row] === 1) return own;
  if (truncated[row] === 1) return own + gamma * finalValues![base + row]!;
  const next = t + 1 < steps ? values[base + rows[t + 1]! + e]! : bootstrapValues[head * envs + e]!;
  return own + gamma * next;
}
