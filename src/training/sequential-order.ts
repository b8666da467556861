/** In which order agents are updated one after another, and how wide each one's clip range is. */
import type { Random } from "../base/random.ts";
import type { TrainConfig } from "./config.ts";

type Order = TrainConfig["updateOrder"];

/**
 * An order of agents. `semi-greedy`: the agent with the highest score, then a random one of the rest, then the highest of
 * the rest, and so on; `greedy`: by score; `reverse-…`: the same from the last to the first; `cyclic`: as numbered,
 * beginning one further each time; `random`: all alike.
 * @param scores how much each agent has to learn, see {@link advantageScores}.
 * @param iteration counted from 0.
 * @source Wang et al., arXiv 2302.06205, section 3.4 (semi-greedy agent selection).
 */
export function updateOrder(
  kind: Order,
  scores: readonly number[],
  iteration: number,
  random: Random,
): number[] {
  const agents = scores.length;
  if (kind === "cyclic") return Array.from({ length: agents }, (_, k) => (k + iteration) % agents);
  if (kind === "random") return [...random.permutation(agents)];
  const picked = pickInTurn(scores, kind.endsWith("semi-greedy"), random);
  return kind.startsWith("reverse-") ? picked.reverse() : picked;
}

/**
 * Mean over time of |A / V| for each agent: float32 [V, R] normalised advantages and values in the normaliser's units.
 * With one value for the team all agents score alike.
 */
export function advantageScores(
  advantages: Float32Array,
  values: Float32Array,
  agents: number,
  heads: number,
): number[] {
  const rows = advantages.length / heads;
  const ofHead = Array.from({ length: heads }, (_, head) => {
    let sum = 0;
    for (let k = head * rows; k < (head + 1) * rows; k++)
      sum += Math.abs(advantages[k]! / (Math.abs(values[k]!) + SMALLEST_VALUE));
    return sum / rows;
  });
  return Array.from({ length: agents }, (_, agent) => ofHead[heads === 1 ? 0 : agent]!);
}

/** Keeps the score of a value near zero finite. */
const SMALLEST_VALUE = 1e-5;

/**
 * ε of the agent at place k (from 0) of n: ε·(w·(k+1)/n + 1 − w), so that the last has all of it.
 * @source Wang et al., arXiv 2302.06205, section 3.3 (adaptive clipping).
 */
export function clipRangeByOrder(clipRange: number, weight: number, place: number, agents: number): number {
  return clipRange * ((weight * (place + 1)) / agents + 1 - weight);
}

/**
 * ε narrowed by how far the agents before have moved: ε / (1 + Σ mean|1 − ratio|), so that the first has all of it.
 * @param moved mean |1 − ratio| of each agent that was updated before.
 * @source A2PO's released code, `clip_param_weight_rp`.
 */
export function clipRangeByRatio(clipRange: number, moved: readonly number[]): number {
  return clipRange / (1 + moved.reduce((sum, one) => sum + one, 0));
}

function pickInTurn(scores: readonly number[], semi: boolean, random: Random): number[] {
  // Shuffled first, so that equal scores are in no order of their own.
  const left = [...random.permutation(scores.length)];
  const picked: number[] = [];
  while (left.length > 0) {
    const best = left.reduce((at, agent, index) => (scores[agent]! > scores[left[at]!]! ? index : at), 0);
    const drawn = semi && picked.length % 2 === 1 ? random.nextUint32() % left.length : best;
    picked.push(...left.splice(drawn, 1));
  }
  return picked;
}
