/**
 * Updates agents one after another from one rollout: A2PO with its correction for agents that were updated before, and
 * HAPPO. What one agent learns in a step is `actor-step.ts`; in which order they come is `sequential-order.ts`.
 *
 * Letters: N agents, b agents of a block, V value heads, R rows.
 *
 * @source Wang et al., arXiv 2302.06205 (A2PO), algorithm 1; Kuba et al., arXiv 2109.11251 (HAPPO), algorithm 4.
 */
import type { Random } from "../base/random.ts";
import { mean } from "../base/statistics.ts";
import { type FloatTensor, floatTensor } from "../base/tensor.ts";
import { type ActorFigures, type ActorTrainer, agentsAtATime } from "./actor-trainer.ts";
import type { AdvantageEstimator } from "./advantage-estimator.ts";
import { AgentBatches } from "./agent-batches.ts";
import type { AsyncLearner } from "./async-learner.ts";
import type { TrainConfig } from "./config.ts";
import { picksHeads } from "./critic-trainer.ts";
import type { UpdateRates, UpdateResult } from "./learner.ts";
import type { RatioSession } from "./ratio-session.ts";
import type { RolloutBuffer } from "./rollout-buffer.ts";
import { advantageScores, clipRangeByOrder, clipRangeByRatio, updateOrder } from "./sequential-order.ts";

export interface SequentialUpdateOptions {
  readonly config: TrainConfig;
  readonly buffer: RolloutBuffer;
  readonly estimator: AdvantageEstimator;
  readonly actor: ActorTrainer;
  readonly critic: AsyncLearner;
  readonly ratios: RatioSession;
  /** Agents of a block. */
  readonly block: number;
  /** Draws the order. */
  readonly random: Random;
  /** Iterations before this one. */
  readonly iteration: number;
  readonly rates: { readonly actor: number; readonly critic: number };
}

/** Learns from the rollout once, whose plain advantages are estimated. @returns means over the steps of all agents. */
export async function updateSequentially(
  options: SequentialUpdateOptions,
): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
  const update = new SequentialUpdate(options);
  return options.config.algo === "happo" ? update.happo() : update.a2po();
}

class SequentialUpdate {
  readonly #options: SequentialUpdateOptions;
  readonly #batches: AgentBatches;
  readonly #order: readonly number[];
  /** float32 [R] for each agent that was updated: how much likelier it makes its stored actions now. */
  readonly #ratios = new Map<number, Float32Array>();
  readonly #figures: ActorFigures[] = [];
  readonly #critic: UpdateResult[] = [];

  constructor(options: SequentialUpdateOptions) {
    const { config, buffer, estimator, block, random, iteration } = options;
    this.#options = options;
    this.#batches = new AgentBatches(buffer, estimator, block);
    estimator.normalise();
    const { agents, heads } = buffer.shape;
    const scores = advantageScores(estimator.advantages, buffer.values, agents, heads);
    this.#order = updateOrder(config.updateOrder, scores, iteration, random);
  }

  /** One estimate for all; the ratio of those before weighs each agent's loss; the critic learns once. */
  async happo(): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
    const { critic, rates, config } = this.#options;
    const learnt = critic.update(this.#batches.critic(), {
      learningRate: rates.critic,
      clipRange: config.clipRange,
    });
    for (const [place, agent] of this.#order.entries()) {
      const others = this.#product(this.#order.slice(0, place));
      this.#learn([agent], others, { clipRange: config.clipRange });
      this.#ratios.set(agent, this.#ratioOf(agent));
    }
    this.#critic.push(await learnt);
    return this.#result();
  }

  async a2po(): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
    const { config } = this.#options;
    const agentLoop = config.updateLoop === "agent";
    const rounds = agentLoop ? 1 : config.epochs;
    for (let round = 0; round < rounds; round++) {
      for (const [place, block] of this.#blocks().entries())
        await this.#turn(block, place, agentLoop ? undefined : round);
    }
    return this.#result();
  }

  /** One block's turn: corrected advantages and returns, then the actor's and the critic's epochs, side by side. */
  async #turn({ members, before }: Block, place: number, round: number | undefined): Promise<void> {
    const { config, estimator } = this.#options;
    // A cumulative block holds those before.
    const moved = [...new Set([...before, ...members])];
    if (place > 0 || (round ?? 0) > 0) {
      estimator.estimate(this.#product(moved));
      estimator.normalise();
    }
    const others = clipped(
      this.#product(before.filter((agent) => !members.includes(agent))),
      config.othersClipRange,
    );
    const first = config.twoStage && (round ?? 0) === 0 ? 1 : 0;
    const learnt = this.#learnValues(members, first + (round === undefined ? config.criticEpochs : 1));
    this.#learn(members, others, {
      clipRange: this.#clipRange(place, before),
      ...(round !== undefined && { epochs: 1 }),
    });
    this.#critic.push(...(await Promise.all(learnt)));
    this.#refreshRatios(moved, members);
  }

  #learn(
    members: readonly number[],
    others: Float32Array,
    rates: Pick<UpdateRates, "clipRange" | "epochs">,
  ): void {
    const { actor, rates: learning } = this.#options;
    const { batch, padded, pick } = this.#batches.actor(members, others);
    const feeds: Record<string, FloatTensor> = { pick };
    this.#figures.push(actor.update(batch, { ...rates, learningRate: learning.actor, feeds }, padded));
  }

  /** The critic learns the value of the team, or of each member by itself. */
  #learnValues(members: readonly number[], epochs: number): Promise<UpdateResult>[] {
    const { critic, rates, config, buffer } = this.#options;
    const common = { learningRate: rates.critic, clipRange: config.clipRange, epochs };
    if (!picksHeads(config, buffer.shape.heads)) return [critic.update(this.#batches.critic(), common)];
    const separate = critic.parameters.dims[0]! > 1;
    return members.map((head) => {
      const pick = floatTensor([1, buffer.shape.heads]);
      pick.data[head] = 1;
      const owners = separate ? { owners: [head] } : {};
      return critic.update(this.#batches.critic(head), { ...common, ...owners, feeds: { pick } });
    });
  }

  /** Blocks in the order of their turn, with the agents that had one before. */
  #blocks(): Block[] {
    const { config, buffer } = this.#options;
    const { agents } = buffer.shape;
    const step = agentsAtATime(config.updateBlocks, agents);
    return Array.from({ length: Math.ceil(agents / step) }, (_, place) => {
      const before = this.#order.slice(0, place * step);
      const fresh = this.#order.slice(place * step, (place + 1) * step);
      return { before, members: config.cumulativeBlocks ? [...before, ...fresh] : fresh };
    });
  }

  #clipRange(place: number, before: readonly number[]): number {
    const { config } = this.#options;
    const { clipRange, adaptiveClip, adaptiveClipWeight } = config;
    if (adaptiveClip === "off") return clipRange;
    if (adaptiveClip === "order")
      return clipRangeByOrder(clipRange, adaptiveClipWeight, place, this.#blocks().length);
    return clipRangeByRatio(
      clipRange,
      before.map((agent) => distance(this.#ratios.get(agent))),
    );
  }

  /** float32 [R]: 1 where nobody has moved. */
  #product(agents: readonly number[]): Float32Array {
    const product = new Float32Array(this.#options.buffer.rows).fill(1);
    for (const agent of agents) {
      const ratio = this.#ratios.get(agent);
      if (ratio) for (let row = 0; row < product.length; row++) product[row]! *= ratio[row]!;
    }
    return product;
  }

  /** Ratios of agents whose policy the last turn changed: all before, where they share what it trained. */
  #refreshRatios(moved: readonly number[], members: readonly number[]): void {
    const { actor } = this.#options;
    const changed = moved.filter((agent) => members.some((member) => actor.sharesWith(agent, member)));
    for (const agent of changed) this.#ratios.set(agent, this.#ratioOf(agent));
  }

  #ratioOf(agent: number): Float32Array {
    const { ratios, actor } = this.#options;
    return ratios.run(this.#batches.forward(agent), actor);
  }

  #result(): { figures: ActorFigures; critic: UpdateResult } {
    const names = Object.keys(this.#figures[0]!) as (keyof ActorFigures)[];
    const figures = names.map((name) => [name, mean(this.#figures.map((one) => one[name]))]);
    const average = (of: (result: UpdateResult) => readonly number[]): number[] =>
      of(this.#critic[0]!).map((_, k) => mean(this.#critic.map((one) => of(one)[k]!)));
    return {
      figures: Object.fromEntries(figures) as ActorFigures,
      critic: { metrics: average((one) => one.metrics), gradientNorms: average((one) => one.gradientNorms) },
    };
  }
}

interface Block {
  readonly members: readonly number[];
  /** Agents that were updated before, in order. */
  readonly before: readonly number[];
}

/** In place: ratios within 1 ± range; a range of 0 clips nothing. */
function clipped(ratios: Float32Array, range: number): Float32Array {
  if (range > 0)
    for (let k = 0; k < ratios.length; k++) ratios[k] = Math.min(Math.max(ratios[k]!, 1 - range), 1 + range);
  return ratios;
}

/** Mean |1 − ratio|. */
function distance(ratio: Float32Array | undefined): number {
  return ratio ? mean(ratio.map((one) => Math.abs(1 - one))) : 0;
}
