/**
 * What a multi-agent environment is to the rest of lorasa: its spaces and its step. Not how it is
 * simulated, and not how several are run at once (`vector.ts`).
 *
 * Letters: N agents, O longest observation, S state, K longest action.
 */

/** Continuous actions inside a box, or one choice among `count` with an availability mask. */
export type ActionSpace =
  | { readonly kind: "continuous"; readonly size: number; readonly low: number; readonly high: number }
  | { readonly kind: "discrete"; readonly count: number };

/** One agent of the team. */
export interface AgentSpec {
  /** Unique within the team: letters, digits, `.`, `_`, `-`. */
  readonly name: string;
  /** Length of this agent's own raw observation; the buffers pad it with zeros to `observationSize`. */
  readonly observationSize: number;
  /** Length of this agent's own action (continuous), or its number of choices (discrete). */
  readonly actionSize: number;
  /** What kind of agent it is, such as a unit's type, where agents of a kind may share an adapter. */
  readonly type?: string;
}

/** Everything a network needs to know of a task. Constant over the life of an environment. */
export interface EnvSpec {
  /** Full name with options, such as `mujoco/HalfCheetah-2x3`. */
  readonly name: string;
  readonly agents: readonly AgentSpec[];
  /** O: the longest raw observation of any agent, without agent id. */
  readonly observationSize: number;
  /** S: length of the raw state that the critic sees. */
  readonly stateSize: number;
  /** Whether every agent has a state of its own, `[N, S]`, instead of one for the team, `[S]`. */
  readonly statePerAgent: boolean;
  /** Shared by all agents; `size` or `count` is the longest of any agent. */
  readonly actionSpace: ActionSpace;
  /** Steps after which an episode is truncated. */
  readonly episodeLimit: number;
  /** Seconds of simulated time in a step. */
  readonly stepSeconds: number;
  /** Figures that every episode's last step gives in `info`, such as `won`. */
  readonly episodeFigures: readonly string[];
}

/**
 * Where an environment writes what it produces: views that the caller owns, filled in place.
 * Padding beyond an agent's own sizes is zero.
 */
export interface EnvBuffers {
  /** float32 [N, O]: raw observations. */
  readonly observations: Float32Array;
  /** float32 [S], or [N, S] where every agent has a state of its own: raw state. */
  readonly state: Float32Array;
  /** uint8 [N, K] for discrete actions, 1 where the choice is available; length 0 for continuous ones. */
  readonly actionMask: Uint8Array;
  /** uint8 [N]: 1 for an agent that is alive. */
  readonly active: Uint8Array;
}

/** What a step gave. `terminated` is an end inside the task; `truncated` is the time limit. */
export interface StepResult {
  /** One reward for the whole team. */
  readonly reward: number;
  readonly terminated: boolean;
  readonly truncated: boolean;
  /** Figures of the finished episode, only on its last step: those of `episodeFigures`, and others such as `diverged`. */
  readonly info?: Readonly<Record<string, number>>;
}

/** A simulator of one team. `step` after an end is an error until `reset`. */
export interface Env {
  readonly spec: EnvSpec;
  /** Starts an episode. The same seed gives the same episode; without one the stream goes on. */
  reset(buffers: EnvBuffers, seed?: number): void;
  /**
   * Applies actions float32 [N, K] (as the simulator takes them: scaled; discrete: the index in column 0)
   * and writes what follows, also on the last step: the final observation is never lost.
   * A simulation that diverges ends the episode: `terminated`, reward 0, the last sound observation, `info.diverged` 1.
   * @throws LORASA_NOT_FINITE for an action that is NaN or infinite, LORASA_SIMULATOR for a simulator that failed.
   */
  step(actions: Float32Array, buffers: EnvBuffers): StepResult;
  /**
   * All that decides what follows, random numbers included: after `restore` the future is the same bit for bit.
   * Of one length over the life of an environment.
   */
  save(): Float64Array;
  /** Goes back to a saved moment and writes what the agents see there. */
  restore(saved: Float64Array, buffers: EnvBuffers): void;
  close(): void;
}

/** Options that any task may read; a task refuses one that it does not know. */
export type EnvOptions = Readonly<Record<string, string | number | boolean>>;
