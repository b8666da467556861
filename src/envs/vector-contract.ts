/**
 * What the trainer sees of several environments stepped at once: groups (halves) in shared memory, so that one
 * group simulates while the policy infers for the other. Not how they are hosted (`vector.ts`).
 *
 * Letters: N agents, G environments of a group, O observation, S state, K action, F figures of an episode.
 */
import type { EnvSpec } from "./contract.ts";

/**
 * One group's memory, shared with the threads that simulate. After `finishStep`, an environment that ended has
 * already been reset: `observations` and `state` are the first of its new episode, `final…` the last of the old.
 */
export interface EnvGroup {
  /** Index of this group's first environment among all. */
  readonly firstEnv: number;
  /** G. */
  readonly envs: number;
  /** float32 [N, G, O]. */
  readonly observations: Float32Array;
  /** float32 [1, G, S], or [N, G, S] where every agent has a state of its own. */
  readonly state: Float32Array;
  /** float32 [N, G, K] (1 = available) for discrete actions, else length 0. */
  readonly actionMask: Float32Array;
  /** float32 [N, G]: 1 for an agent alive at this observation. */
  readonly active: Float32Array;
  /** float32 [N, G, K] (discrete: [N, G, 1]): written by the caller before `startStep`. */
  readonly actions: Float32Array;
  /** float32 [G]. */
  readonly rewards: Float32Array;
  /** uint8 [G]: the episode ended inside the task at this step. */
  readonly terminated: Uint8Array;
  /** uint8 [G]: the episode ended by the time limit at this step. */
  readonly truncated: Uint8Array;
  /** float32 [N, G, O] and as `state`: valid where `terminated` or `truncated`. */
  readonly finalObservations: Float32Array;
  readonly finalState: Float32Array;
  /** float32 [G]: return of the episode so far, and its length in steps; at an end, of the whole finished episode. */
  readonly episodeReturn: Float32Array;
  readonly episodeLength: Float32Array;
  /** float32 [G, F] in the order of the spec's `episodeFigures`: valid where an episode ended at this step. */
  readonly figures: Float32Array;
}

export interface VectorEnv {
  readonly spec: EnvSpec;
  /** All environments, over all groups. */
  readonly envs: number;
  readonly groups: readonly EnvGroup[];
  /** Starts an episode in every environment; environment e draws from stream e of the seed. */
  reset(seed: number): void;
  /** Hands the group's `actions` to the simulating threads and returns at once. */
  startStep(group: number): void;
  /**
   * Blocks until the group's step is done.
   * @throws LORASA_SIMULATOR when a simulator failed or its thread ended, or the environment's own error (such as
   * LORASA_NOT_FINITE) naming the environment. Then only `reset`, `restore` and `close` go on.
   */
  finishStep(group: number): void;
  /**
   * For environments that may take long: nothing when `finishStep` has nothing left to wait for, else resolves when it has
   * not. A caller that waits here keeps its event loop.
   * @throws LORASA_CANCELLED where the environments were made with a signal that fired.
   */
  stepped?(group: number): Promise<void> | undefined;
  /** Nanoseconds that the simulating threads spent stepping, summed over threads, since the last call. */
  takeSimulationNanoseconds(): number;
  /** State of every environment in order, for exact resume. Not while a step is under way. */
  save(): Float64Array[];
  restore(saved: readonly Float64Array[]): void;
  close(): Promise<void>;
}
