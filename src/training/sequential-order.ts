/** In which order agents are updated one after another, and how wide each one's clip range is. */
import type { Random } from "../base/random.ts";
import { mean } from "../base/statistics.ts";
import type { TrainConfig } from "./config.ts";

type Order = TrainConfig["updateOrder"];

/**
 * An order of agents. `semi-greedy`: the agent with the highest score, then a random one of the rest, then the highest of
 * the rest, and so on; `greedy`: by score; `reverse-…`: the lowest in place of the highest; `cyclic`: as numbered;
 * `random`: all alike.
 * @param scores how much each agent has to learn, see {@link advantageScores}.
 * @source Wang et al., arXiv 2302.06205, section 3.4 (semi-greedy agent selection), and its released code.
 */
export function updateOrder(kind: Order, scores: readonly number[], random: Random): number[] {
  if (kind === "cyclic") return [...scores.keys()];
  if (kind === "random") return [...random.permutation(scores.length)];
  const ranked = kind.startsWith("reverse-") ? scores.map((score) => -score) : scores;
  return pickInTurn(ranked, kind.endsWith("semi-greedy"), random);
}

/**
 * An order cut into blocks of agents that are updated together: as many as asked for and as alike in size as can be,
 * larger ones first.
 * @param count 0, or one as large as the order: each agent by itself.
 * @param cumulative whether a block holds those before it too.
 */
export function blocksOf(order: readonly number[], count: number, cumulative: boolean): number[][] {
  const agents = order.length;
  const blocks = Math.min(count || agents, agents);
  const larger = agents % blocks;
  const endOf = (place: number): number => place * Math.floor(agents / blocks) + Math.min(place, larger);
  return Array.from({ length: blocks }, (_, place) =>
    order.slice(cumulative ? 0 : endOf(place), endOf(place + 1)),
  );
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
 * ε of each turn by how far agents have moved since the rollout: the mean over rows of Π 1 / (1 + |1 − ρ|) over the agents
 * of this turn and of those after it, scaled so that the widest is ε.
 * @param moved for each turn float32 [R] of each of its agents that has moved: π / π_old.
 * @source A2PO's released code, `clip_param_weight_rp`, which goes by agents' numbers instead of their turns.
 */
export function clipRangesByRatio(
  clipRange: number,
  moved: readonly (readonly Float32Array[])[],
): readonly number[] {
  const rows = moved.flat()[0]?.length ?? 0;
  if (rows === 0) return moved.map(() => clipRange);
  const still = new Float64Array(rows).fill(1);
  const weights = moved.toReversed().map((ratios) => {
    for (const ratio of ratios)
      for (let row = 0; row < rows; row++) still[row]! /= 1 + Math.abs(1 - ratio[row]!);
    return mean(still);
  });
  const widest = Math.max(...weights);
  return weights.reverse().map((weight) => (clipRange * weight) / widest);
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
