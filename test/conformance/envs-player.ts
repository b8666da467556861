/** Plays any environment with random actions that are available, and notes what it gave. */
import { Random } from "../../src/base/random.ts";
import { actionWidth, createBuffers, maskWidth } from "../../src/envs/buffers.ts";
import type { Env, EnvBuffers, StepResult } from "../../src/envs/contract.ts";

/** One moment: what was seen, and what the step to it gave, nothing at an episode's start. */
export interface Moment {
  readonly observations: readonly number[];
  readonly state: readonly number[];
  readonly actionMask: readonly number[];
  readonly active: readonly number[];
  readonly result: StepResult | undefined;
}

export class Player {
  readonly env: Env;
  readonly buffers: EnvBuffers;
  /** float32 [N, K]: those of the last step. */
  readonly actions: Float32Array;
  readonly #padding: number;
  #random: Random;

  /**
   * @param seed of the actions.
   * @param padding what the numbers of an action beyond an agent's own size are.
   */
  constructor(env: Env, seed = 1, padding = 0) {
    this.env = env;
    this.buffers = createBuffers(env.spec);
    this.actions = new Float32Array(env.spec.agents.length * actionWidth(env.spec));
    this.#padding = padding;
    this.#random = new Random(seed);
  }

  reset(seed?: number): Moment {
    this.env.reset(this.buffers, seed);
    return this.look();
  }

  step(): Moment {
    this.choose();
    const result = this.env.step(this.actions, this.buffers);
    return { ...this.look(), result };
  }

  restore(saved: Float64Array): Moment {
    this.env.restore(saved, this.buffers);
    return this.look();
  }

  /** The next actions are drawn anew. */
  reseed(seed: number): void {
    this.#random = new Random(seed);
  }

  /** To the episode's end: at most one step more than its limit, which the last moment then shows. */
  finish(): Moment[] {
    const moments: Moment[] = [];
    for (let t = 0; t <= this.env.spec.episodeLimit; t++) {
      moments.push(this.step());
      if (ended(moments.at(-1)!)) break;
    }
    return moments;
  }

  /** So many steps, with a reset that goes on with the stream after each end. */
  play(steps: number): Moment[] {
    const moments: Moment[] = [];
    for (let t = 0; t < steps; t++) {
      moments.push(this.step());
      if (ended(moments.at(-1)!)) moments.push(this.reset());
    }
    return moments;
  }

  /** What the buffers show. */
  look(): Moment {
    const { observations, state, actionMask, active } = this.buffers;
    return {
      observations: Array.from(observations),
      state: Array.from(state),
      actionMask: Array.from(actionMask),
      active: Array.from(active),
      result: undefined,
    };
  }

  /** Fills `actions` for what the buffers show. */
  choose(): void {
    const { agents, actionSpace } = this.env.spec;
    const width = actionWidth(this.env.spec);
    for (const [agent, { actionSize }] of agents.entries()) {
      if (actionSpace.kind === "discrete") {
        this.actions[agent] = this.#choice(agent);
        continue;
      }
      const { low, high } = actionSpace;
      for (let k = 0; k < width; k++) {
        this.actions[agent * width + k] = k < actionSize ? this.#random.uniformIn(low, high) : this.#padding;
      }
    }
  }

  /** Of the available ones; 0 where none is, which no environment may show. */
  #choice(agent: number): number {
    const available = choices(this.env, this.buffers, agent, 1);
    return available[this.#random.integer(Math.max(available.length, 1))] ?? 0;
  }
}

export function ended({ result }: Moment): boolean {
  return result !== undefined && (result.terminated || result.truncated);
}

/** An agent's choices whose mask is `shown`. */
export function choices({ spec }: Env, { actionMask }: EnvBuffers, agent: number, shown: 0 | 1): number[] {
  const width = maskWidth(spec);
  return Array.from(actionMask.subarray(agent * width, (agent + 1) * width), (mask, k) =>
    mask === shown ? k : -1,
  ).filter((k) => k >= 0);
}
