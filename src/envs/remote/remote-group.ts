/**
 * One group's memory as answers of simulators fill it: which environments still owe the command under way, what a step
 * gave, and where an episode was cut off because its simulator is gone. Not who simulates what.
 *
 * Letters: N agents, G environments of the group.
 */
import { Random } from "../../base/random.ts";
import type { EnvGroup } from "../vector-contract.ts";
import { type AnswerArrays, ended } from "./answer.ts";
import type { Layout, Rows } from "./layout.ts";

/** What the trainer waits for. */
type UnderWay = "step" | "reset";

export class RemoteGroup {
  readonly #layout: Layout;
  readonly #group: EnvGroup;
  readonly #complete: () => void;
  #underWay: UnderWay | undefined;
  /** Environments that owe the command under way. */
  readonly #owing = new Set<number>();
  /** In double: the group's figures are rounded from it. */
  readonly #returns: Float64Array;
  /** 1 where the next step is an episode's first. */
  readonly #begins: Uint8Array;
  #streams: Random[] = [];

  /** @param complete called when the command under way is done. */
  constructor(layout: Layout, group: EnvGroup, complete: () => void) {
    this.#layout = layout;
    this.#group = group;
    this.#complete = complete;
    this.#returns = new Float64Array(group.envs);
    this.#begins = new Uint8Array(group.envs);
  }

  get underWay(): UnderWay | undefined {
    return this.#underWay;
  }

  /** Whether episodes may begin: the trainer has given a seed. */
  get seeded(): boolean {
    return this.#streams.length > 0;
  }

  /** Every environment owes the command. */
  begin(command: UnderWay): void {
    this.#underWay = command;
    for (let e = 0; e < this.#group.envs; e++) this.#owing.add(e);
  }

  /** Environment e draws from stream e of the seed, as environments in this process do. */
  seed(seed: number): void {
    const { envs, firstEnv } = this.#group;
    this.#streams = Array.from({ length: envs }, (_, e) => new Random(seed).fork(firstEnv + e));
  }

  /** The seed of environment `e`'s next simulator or episode. */
  nextSeed(e: number): number {
    return this.#streams[e]!.nextUint32();
  }

  /** The actions of environments `own`, float32 [E, total], copied. */
  takeActions(own: readonly number[]): Float32Array {
    const { actions: rows } = this.#layout;
    const taken = new Float32Array(own.length * rows.total);
    for (const [i, e] of own.entries()) {
      let to = i * rows.total;
      for (const [agent, size] of rows.sizes.entries()) {
        const from = (agent * this.#group.envs + e) * rows.width;
        for (let k = 0; k < size; k++) taken[to++] = this.#group.actions[from + k]!;
      }
    }
    return taken;
  }

  /** Writes the result of a step of environments `own`. */
  step(own: readonly number[], answer: AnswerArrays): void {
    for (const [i, e] of own.entries()) {
      const group = this.#group;
      const reward = answer.rewards![i]!;
      const begins = this.#begins[e] === 1;
      this.#returns[e] = reward + (begins ? 0 : this.#returns[e]!);
      group.rewards[e] = reward;
      group.episodeReturn[e] = this.#returns[e]!;
      group.episodeLength[e] = 1 + (begins ? 0 : group.episodeLength[e]!);
      group.terminated[e] = answer.terminated![i]!;
      group.truncated[e] = answer.truncated![i]!;
      this.#begins[e] = ended(answer, i) ? 1 : 0;
      if (this.#begins[e] === 1) this.#putFinal(answer, i, e);
      this.#put(answer, i, e);
      this.#settle(e);
    }
    this.#finish();
  }

  /**
   * Shows first observations. Where the trainer waits for a step, that step's simulator is gone: the episode ends as by
   * a time limit at the last observation that was seen, with reward 0 and length 0, so that nothing is learnt from it.
   * A step that was answered before stays as it is.
   * @returns whether all were shown; otherwise all are to be shown again with the next step.
   */
  show(own: readonly number[], answer: AnswerArrays): boolean {
    const cuts = this.#underWay === "step";
    const owing = own.filter((e) => !cuts || this.#owing.has(e));
    for (const e of owing) {
      if (cuts) this.#keepAsFinal(e);
      const { rewards, terminated, truncated, episodeReturn, episodeLength, figures } = this.#group;
      rewards[e] = 0;
      terminated[e] = 0;
      truncated[e] = cuts ? 1 : 0;
      episodeReturn[e] = 0;
      episodeLength[e] = 0;
      const width = this.#layout.spec.episodeFigures.length;
      figures.fill(0, e * width, (e + 1) * width);
      this.#begins[e] = 1;
      this.#put(answer, own.indexOf(e), e);
      this.#settle(e);
    }
    this.#finish();
    return owing.length === own.length;
  }

  #settle(e: number): void {
    this.#owing.delete(e);
  }

  #finish(): void {
    if (this.#underWay === undefined || this.#owing.size > 0) return;
    this.#underWay = undefined;
    this.#complete();
  }

  #put(answer: AnswerArrays, i: number, e: number): void {
    const { observations, state, actionMask, active } = this.#layout;
    this.#scatter(answer.observations!, i, observations, this.#group.observations, e);
    this.#scatterState(answer.state, answer.observations!, i, state, this.#group.state, e);
    this.#scatter(answer.action_mask, i, actionMask, this.#group.actionMask, e);
    this.#scatter(answer.active, i, active, this.#group.active, e);
  }

  #putFinal(answer: AnswerArrays, i: number, e: number): void {
    const { observations, state, spec } = this.#layout;
    const last = answer.final_observations!;
    this.#scatter(last, i, observations, this.#group.finalObservations, e);
    this.#scatterState(answer.final_state, last, i, state, this.#group.finalState, e);
    const width = spec.episodeFigures.length;
    for (let k = 0; k < width; k++) this.#group.figures[e * width + k] = answer.figures![i * width + k]!;
  }

  /** Environment `i` of an answer into rows [N, G, width] at `e`; ones where the answer has none. */
  #scatter(
    from: ArrayLike<number> | undefined,
    i: number,
    { sizes, width, total }: Rows,
    into: Float32Array,
    e: number,
  ): void {
    let at = i * total;
    for (const [row, size] of sizes.entries()) {
      const to = (row * this.#group.envs + e) * width;
      for (let k = 0; k < size; k++) into[to + k] = from === undefined ? 1 : from[at++]!;
    }
  }

  /** The state as it was sent, or all observations one after another. */
  #scatterState(
    sent: ArrayLike<number> | undefined,
    observations: ArrayLike<number>,
    i: number,
    rows: Rows,
    into: Float32Array,
    e: number,
  ): void {
    const { concatenates, observations: all } = this.#layout;
    if (!concatenates) this.#scatter(sent, i, rows, into, e);
    else for (let k = 0; k < all.total; k++) into[e * all.total + k] = observations[i * all.total + k]!;
  }

  #keepAsFinal(e: number): void {
    const { observations, finalObservations, state, finalState, envs } = this.#group;
    const { spec } = this.#layout;
    copyRows(observations, finalObservations, spec.observationSize, e, envs);
    copyRows(state, finalState, spec.stateSize, e, envs);
  }
}

/** Environment `e` of rows [.., G, width]. */
function copyRows(from: Float32Array, into: Float32Array, width: number, e: number, envs: number): void {
  for (let at = e * width; at < from.length; at += envs * width)
    for (let k = at; k < at + width; k++) into[k] = from[k]!;
}
