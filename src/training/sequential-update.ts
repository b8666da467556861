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
import type { ActorFigures, ActorTrainer } from "./actor-trainer.ts";
import type { AdvantageEstimator } from "./advantage-estimator.ts";
import { AgentBatches } from "./agent-batches.ts";
import type { AsyncLearner } from "./async-learner.ts";
import type { TrainConfig } from "./config.ts";
import { picksHeads } from "./critic-trainer.ts";
import type { UpdateRates, UpdateResult } from "./learner.ts";
import type { RatioSession } from "./ratio-session.ts";
import type { RolloutBuffer } from "./rollout-buffer.ts";
import {
  advantageScores,
  blocksOf,
  clipRangeByOrder,
  clipRangesByRatio,
  updateOrder,
} from "./sequential-order.ts";

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
  readonly #scores: readonly number[];
  /** float32 [R] for each agent whose policy has moved since the rollout: how much likelier its stored actions are now. */
  readonly #ratios = new Map<number, Float32Array>();
  readonly #figures: ActorFigures[] = [];
  readonly #critic: UpdateResult[] = [];

  constructor(options: SequentialUpdateOptions) {
    const { buffer, estimator, block } = options;
    this.#options = options;
    this.#batches = new AgentBatches(buffer, estimator, block);
    estimator.normalise();
    const { agents, heads } = buffer.shape;
    this.#scores = advantageScores(estimator.advantages, buffer.values, agents, heads);
  }

  /** One estimate for all; the ratio of those before weighs each agent's loss; the critic learns once. */
  async happo(): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
    const { critic, rates, config } = this.#options;
    const learnt = critic.update(this.#batches.critic(), {
      learningRate: rates.critic,
      clipRange: config.clipRange,
    });
    for (const agent of this.#order()) {
      this.#learn([agent], { clipRange: config.clipRange });
      this.#ratios.set(agent, this.#ratioOf(agent));
    }
    this.#critic.push(await learnt);
    return this.#result();
  }

  async a2po(): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
    const { epochs, criticEpochs, twoStage, updateLoop } = this.#options.config;
    const ofAgent = { actor: epochs, critic: criticEpochs };
    const rounds =
      updateLoop === "agent" ? [ofAgent] : Array.from({ length: epochs }, () => ({ actor: 1, critic: 1 }));
    for (const [round, passes] of rounds.entries()) {
      const ahead = twoStage && round === 0 ? 1 : 0;
      const turns = this.#turns();
      for (const [place, turn] of turns.entries()) {
        await this.#turn(turn, { ...passes, critic: passes.critic + ahead });
        const isLast = round === rounds.length - 1 && place === turns.length - 1;
        if (!isLast) this.#refreshRatios(turn.members);
      }
    }
    return this.#result();
  }

  /** One block's turn: corrected advantages and returns, then the actor's and the critic's epochs, side by side. */
  async #turn(
    { members, clipRange }: Turn,
    epochs: { readonly actor: number; readonly critic: number },
  ): Promise<void> {
    const { estimator } = this.#options;
    if (this.#ratios.size > 0) {
      estimator.estimate(this.#product());
      estimator.normalise();
    }
    const learnt = this.#learnValues(members, epochs.critic);
    this.#learn(members, { clipRange, epochs: epochs.actor });
    this.#critic.push(...(await Promise.all(learnt)));
  }

  #learn(members: readonly number[], rates: Pick<UpdateRates, "clipRange" | "epochs">): void {
    const { actor, config, rates: learning } = this.#options;
    const range = config.algo === "a2po" ? config.othersClipRange : 0;
    const others = members.map((member) => clipped(this.#product(member), range));
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
      const parts = separate ? { parts: [head] } : {};
      return critic.update(this.#batches.critic(head), { ...common, ...parts, feeds: { pick } });
    });
  }

  #order(): readonly number[] {
    const { config, random } = this.#options;
    return updateOrder(config.updateOrder, this.#scores, random);
  }

  /** Blocks in the order of their turn. */
  #turns(): readonly Turn[] {
    const { updateBlocks, cumulativeBlocks } = this.#options.config;
    const blocks = blocksOf(this.#order(), updateBlocks, cumulativeBlocks);
    const ranges = this.#clipRanges(blocks);
    return blocks.map((members, place) => ({ members, clipRange: ranges[place]! }));
  }

  #clipRanges(blocks: readonly (readonly number[])[]): readonly number[] {
    const { clipRange, adaptiveClip, adaptiveClipWeight } = this.#options.config;
    if (adaptiveClip === "off") return blocks.map(() => clipRange);
    if (adaptiveClip === "order")
      return blocks.map((_, place) => clipRangeByOrder(clipRange, adaptiveClipWeight, place, blocks.length));
    return clipRangesByRatio(
      clipRange,
      blocks.map((members) => members.flatMap((agent) => this.#ratios.get(agent) ?? [])),
    );
  }

  /** float32 [R]: the ratio of all agents that have moved, but for one's own. */
  #product(own?: number): Float32Array {
    const product = new Float32Array(this.#options.buffer.rows).fill(1);
    for (const [agent, ratio] of this.#ratios) {
      if (agent !== own) for (let row = 0; row < product.length; row++) product[row]! *= ratio[row]!;
    }
    return product;
  }

  /** After a turn: of all agents whose policy it changed, whether or not their own turn has come. */
  #refreshRatios(members: readonly number[]): void {
    const { actor, buffer } = this.#options;
    for (let agent = 0; agent < buffer.shape.agents; agent++) {
      if (members.some((member) => actor.sharesWith(agent, member)))
        this.#ratios.set(agent, this.#ratioOf(agent));
    }
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

interface Turn {
  readonly members: readonly number[];
  readonly clipRange: number;
}

/** In place: ratios within 1 ± range; a range of 0 clips nothing. */
function clipped(ratios: Float32Array, range: number): Float32Array {
  if (range > 0)
    for (let k = 0; k < ratios.length; k++) ratios[k] = Math.min(Math.max(ratios[k]!, 1 - range), 1 + range);
  return ratios;
}
