/**
 * Parts of a rollout that belong to some of its agents, as step graphs of a block read them. One agent's part lies in one
 * piece and is not copied.
 *
 * Letters: N agents, b agents of a block, V value heads, R rows.
 */
import { type FloatTensor, floatTensor } from "../base/tensor.ts";
import { actorBatch, forwardInputs } from "./actor-trainer.ts";
import type { AdvantageEstimator } from "./advantage-estimator.ts";
import { criticBatch } from "./critic-trainer.ts";
import type { BatchInput, LearnerBatch } from "./minibatches.ts";
import type { RolloutBuffer } from "./rollout-buffer.ts";

/** The same for all agents. */
const COMMON = ["mask"];

export class AgentBatches {
  readonly #buffer: RolloutBuffer;
  readonly #estimator: AdvantageEstimator;
  readonly #block: number;

  /** @param block b: agents of a batch. */
  constructor(buffer: RolloutBuffer, estimator: AdvantageEstimator, block: number) {
    this.#buffer = buffer;
    this.#estimator = estimator;
    this.#block = block;
  }

  /**
   * What the actor's step reads of some agents; places beyond them are filled with the first, never active.
   * @param others float32 [R] for each member: the ratio of other agents that have moved.
   */
  actor(
    members: readonly number[],
    others: readonly Float32Array[],
  ): { batch: LearnerBatch; padded: readonly number[]; pick: FloatTensor } {
    const { agents, heads, chunkLength } = this.#buffer.shape;
    const padded = Array.from({ length: this.#block }, (_, place) => members[place] ?? members[0]!);
    const { chunks, inputs } = actorBatch(this.#buffer, this.#estimator.advantages);
    const { advantage, active, ...rest } = inputs as typeof inputs &
      Record<"advantage" | "active", BatchInput>;
    const own = {
      ...partsOf(rest, padded, agents),
      active: withoutPadding(partOf(active, padded, agents), members.length, padded.length),
      advantage: heads === 1 ? advantage : partOf(advantage, padded, agents),
      others: { data: joined(padded.map((_, place) => others[place] ?? others[0]!)), width: 1, chunkLength },
    };
    return { batch: { chunks, inputs: own }, padded, pick: picks(padded, agents) };
  }

  /** What the forward pass of one agent reads, and which agent it is. */
  forward(agent: number): { inputs: Readonly<Record<string, BatchInput>>; pick: FloatTensor } {
    const { agents } = this.#buffer.shape;
    return { inputs: partsOf(forwardInputs(this.#buffer), [agent], agents), pick: picks([agent], agents) };
  }

  /** What the critic's step reads: of all value heads, or of one. */
  critic(head?: number): LearnerBatch {
    const batch = criticBatch(this.#buffer, this.#estimator.returns);
    if (head === undefined) return batch;
    const { heads, stateRows } = this.#buffer.shape;
    const { state, ...rest } = batch.inputs as typeof batch.inputs & Record<"state", BatchInput>;
    const own = stateRows === 1 ? state : partOf(state, [head], heads);
    return { chunks: batch.chunks, inputs: { ...partsOf(rest, [head], heads), state: own } };
  }
}

/** float32 [b, N]: rows of an identity. */
function picks(members: readonly number[], agents: number): FloatTensor {
  const data = new Float32Array(members.length * agents);
  for (const [row, agent] of members.entries()) data[row * agents + agent] = 1;
  return floatTensor([members.length, agents], data);
}

function partsOf(
  inputs: Readonly<Record<string, BatchInput>>,
  members: readonly number[],
  agents: number,
): Record<string, BatchInput> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, input]) => [
      name,
      COMMON.includes(name) ? input : partOf(input, members, agents),
    ]),
  );
}

/** Members' runs of an input [N, …]: a view for one, else copies one after another. */
function partOf(input: BatchInput, members: readonly number[], agents: number): BatchInput {
  const size = input.data.length / agents;
  const run = (agent: number): Float32Array => input.data.subarray(agent * size, (agent + 1) * size);
  if (members.length === 1) return { ...input, data: run(members[0]!) };
  const data = new Float32Array(members.length * size);
  for (const [place, agent] of members.entries()) data.set(run(agent), place * size);
  return { ...input, data };
}

/** One after another; the first itself where there is no other. */
function joined(parts: readonly Float32Array[]): Float32Array {
  const [first] = parts as [Float32Array];
  if (parts.length === 1) return first;
  const all = new Float32Array(parts.length * first.length);
  for (const [place, part] of parts.entries()) all.set(part, place * first.length);
  return all;
}

function withoutPadding(active: BatchInput, members: number, block: number): BatchInput {
  // Copied already where a block has more than one place.
  if (members < block) active.data.fill(0, (members * active.data.length) / block);
  return active;
}
