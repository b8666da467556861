/** Some environments of one group, stepped one after another in whichever thread holds them. */
import { LorasaError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import { actionWidth, createBuffers, maskWidth } from "./buffers.ts";
import type { Env, EnvBuffers, EnvSpec } from "./contract.ts";
import type { EnvGroup } from "./vector-contract.ts";

/** What the group is asked to do: a word in shared memory. */
export const COMMANDS = { step: 1, reset: 2, save: 3, restore: 4 } as const;
export type Command = keyof typeof COMMANDS;

/** Numbers that a saved environment carries before its own: return and length of the episode, and whether it ended. */
const OWN_NUMBERS = 3;

/** Length of one environment's saved state in a vector environment. */
export function savedSize(env: Env): number {
  return OWN_NUMBERS + env.save().length;
}

interface SliceParts {
  /** Those of the group from `first` on. */
  readonly envs: readonly Env[];
  readonly first: number;
  readonly group: EnvGroup;
  /** float64 [environments of all groups, savedSize]: where states are put and taken. */
  readonly saved: Float64Array;
  /** Called after every environment's step: shows that the thread is alive. */
  readonly progress: () => void;
}

/** Owns its environments: `close` closes them. */
export class EnvSlice {
  readonly #parts: SliceParts;
  readonly #spec: EnvSpec;
  readonly #buffers: EnvBuffers;
  readonly #actions: Float32Array;
  /** In double: the group's figures are rounded from it. */
  readonly #returns: Float64Array;
  /** 1 where the last step ended an episode, so that its figures stand until the next step. */
  readonly #ended: Uint8Array;
  readonly #savedSize: number;

  constructor(parts: SliceParts) {
    const spec = parts.envs[0]!.spec;
    this.#parts = parts;
    this.#spec = spec;
    this.#buffers = createBuffers(spec);
    this.#actions = new Float32Array(spec.agents.length * actionWidth(spec));
    this.#returns = new Float64Array(parts.envs.length);
    this.#ended = new Uint8Array(parts.envs.length);
    this.#savedSize = savedSize(parts.envs[0]!);
  }

  /**
   * Does what the command says for every environment of the slice.
   * @param seed of the whole vector environment, for `reset`.
   * @throws the environment's own error, or LORASA_SIMULATOR, naming the environment.
   */
  perform(command: Command, seed: number): void {
    const { envs, first, group, progress } = this.#parts;
    for (let i = 0; i < envs.length; i++) {
      try {
        if (command === "step") this.#step(envs[i]!, i);
        else if (command === "reset") this.#reset(envs[i]!, i, seed);
        else if (command === "save") this.#save(envs[i]!, i);
        else this.#restore(envs[i]!, i);
      } catch (cause) {
        const asked = `environment ${group.firstEnv + first + i}: ${(cause as Error).message}`;
        throw new LorasaError(cause instanceof LorasaError ? cause.code : "LORASA_SIMULATOR", {
          asked,
          cause,
        });
      }
      progress();
    }
  }

  close(): void {
    for (const env of this.#parts.envs) env.close();
  }

  #step(env: Env, i: number): void {
    const { group, first } = this.#parts;
    const e = first + i;
    takeRows(group.actions, this.#actions, actionWidth(this.#spec), e, group.envs);
    const { reward, terminated, truncated, info } = env.step(this.#actions, this.#buffers);
    const ongoing = this.#ended[i] === 0;
    this.#returns[i] = reward + (ongoing ? this.#returns[i]! : 0);
    group.rewards[e] = reward;
    group.episodeReturn[e] = this.#returns[i]!;
    group.episodeLength[e] = 1 + (ongoing ? group.episodeLength[e]! : 0);
    group.terminated[e] = terminated ? 1 : 0;
    group.truncated[e] = truncated ? 1 : 0;
    this.#ended[i] = terminated || truncated ? 1 : 0;
    if (this.#ended[i] === 1) {
      const { observations, state } = this.#buffers;
      putRows(observations, group.finalObservations, this.#spec.observationSize, e, group.envs);
      putRows(state, group.finalState, this.#spec.stateSize, e, group.envs);
      const names = this.#spec.episodeFigures;
      for (let k = 0; k < names.length; k++) group.figures[e * names.length + k] = info?.[names[k]!] ?? 0;
      env.reset(this.#buffers);
    }
    this.#show(e);
  }

  #reset(env: Env, i: number, seed: number): void {
    const { group, first } = this.#parts;
    env.reset(this.#buffers, streamSeed(seed, group.firstEnv + first + i));
    this.#begin(i, 0, 0, 0);
  }

  #save(env: Env, i: number): void {
    const { group, first } = this.#parts;
    const target = this.#savedOf(i);
    target.set([this.#returns[i]!, group.episodeLength[first + i]!, this.#ended[i]!]);
    target.set(env.save(), OWN_NUMBERS);
  }

  #restore(env: Env, i: number): void {
    const [episodeReturn = 0, length = 0, ended = 0] = this.#savedOf(i);
    env.restore(this.#savedOf(i).subarray(OWN_NUMBERS), this.#buffers);
    this.#begin(i, episodeReturn, length, ended);
  }

  /** Figures and views of a moment that no step led to. */
  #begin(i: number, episodeReturn: number, length: number, ended: number): void {
    const { group, first } = this.#parts;
    const e = first + i;
    this.#returns[i] = episodeReturn;
    this.#ended[i] = ended;
    group.episodeReturn[e] = episodeReturn;
    group.episodeLength[e] = length;
    group.rewards[e] = 0;
    group.terminated[e] = 0;
    group.truncated[e] = 0;
    this.#show(e);
  }

  #show(e: number): void {
    const { group } = this.#parts;
    const { observations, state, actionMask, active } = this.#buffers;
    putRows(observations, group.observations, this.#spec.observationSize, e, group.envs);
    putRows(actionMask, group.actionMask, maskWidth(this.#spec), e, group.envs);
    putRows(active, group.active, 1, e, group.envs);
    putRows(state, group.state, this.#spec.stateSize, e, group.envs);
  }

  #savedOf(i: number): Float64Array {
    const { group, first, saved } = this.#parts;
    const at = (group.firstEnv + first + i) * this.#savedSize;
    return saved.subarray(at, at + this.#savedSize);
  }
}

/** The seed of environment `index` under the vector environment's: streams do not depend on groups or threads. */
function streamSeed(seed: number, index: number): number {
  return new Random(seed).fork(index).nextUint32();
}

/** One environment's rows [N, width] into a group's [N, G, width]. */
function putRows(rows: ArrayLike<number>, group: Float32Array, width: number, e: number, envs: number): void {
  for (let from = 0, to = e * width; from < rows.length; from += width, to += envs * width) {
    for (let k = 0; k < width; k++) group[to + k] = rows[from + k]!;
  }
}

/** One environment's rows [N, width] out of a group's [N, G, width]. */
function takeRows(group: Float32Array, rows: Float32Array, width: number, e: number, envs: number): void {
  for (let to = 0, from = e * width; to < rows.length; to += width, from += envs * width) {
    for (let k = 0; k < width; k++) rows[to + k] = group[from + k]!;
  }
}
