/**
 * A vector environment in the calling thread whose task is a few pure functions: what a team sees at a moment, and
 * what its actions give. No simulator, no threads.
 *
 * Letters: N agents, G environments of a group, O observation, S state, K action.
 */
import type { ActionSpace, EnvSpec } from "../../src/envs/contract.ts";
import type { EnvGroup, VectorEnv } from "../../src/envs/vector-contract.ts";

/** Where one environment stands. */
export interface Moment {
  readonly env: number;
  /** Counts from 0 at each reset; `step` counts from 0 in an episode. */
  readonly episode: number;
  readonly step: number;
  /** Of the last reset. */
  readonly seed: number;
  /** A number of the task's own, 0 at the start of an episode. */
  readonly memory: number;
}

export interface FakeTask {
  readonly agents: number;
  readonly observationSize: number;
  readonly stateSize: number;
  readonly actionSpace: ActionSpace;
  observation(moment: Moment, agent: number): readonly number[];
  /** Asked for each agent in turn where `statePerAgent`, else once. */
  state(moment: Moment, agent: number): readonly number[];
  readonly statePerAgent?: boolean;
  /** The type of each agent. */
  readonly types?: readonly string[];
  /** Names of what the last step of an episode tells besides. */
  readonly episodeFigures?: readonly string[];
  /** Discrete actions: 1 where a choice is available; all are without it. */
  actionMask?(moment: Moment, agent: number): readonly number[];
  active?(moment: Moment, agent: number): boolean;
  /** What the actions [N][K] (or [N][1] with the choice) at a moment give. */
  step(moment: Moment, actions: readonly (readonly number[])[]): FakeStep;
}

export interface FakeStep {
  readonly reward: number;
  readonly memory?: number;
  readonly terminated?: boolean;
  readonly truncated?: boolean;
  /** In the order of the task's `episodeFigures`; read where an episode ends. */
  readonly figures?: readonly number[];
}

export function fakeVectorEnv(
  task: FakeTask,
  { envs, groups = 2 }: { envs: number; groups?: number },
): VectorEnv {
  const perGroup = envs / groups;
  const parts = Array.from({ length: groups }, (_, index) => new FakeGroup(task, index * perGroup, perGroup));
  return {
    spec: specOf(task),
    envs,
    groups: parts,
    reset: (seed) => {
      for (const part of parts) part.reset(seed);
    },
    startStep: (index) => parts[index]!.start(),
    finishStep: (index) => parts[index]!.finish(),
    takeSimulationNanoseconds: () => 0,
    save: () => parts.flatMap((part) => part.save()),
    restore: (saved) => {
      for (const part of parts) part.restore(saved.slice(part.firstEnv, part.firstEnv + perGroup));
    },
    close: async () => {},
  };
}

function specOf(task: FakeTask): EnvSpec {
  const { agents, observationSize, stateSize, actionSpace, types, statePerAgent = false } = task;
  const actionSize = actionSpace.kind === "discrete" ? actionSpace.count : actionSpace.size;
  return {
    name: "test/Fake",
    agents: Array.from({ length: agents }, (_, index) => ({
      name: `agent_${index}`,
      observationSize,
      actionSize,
      ...(types && { type: types[index]! }),
    })),
    observationSize,
    stateSize,
    statePerAgent,
    actionSpace,
    episodeLimit: 1000,
    stepSeconds: 0.1,
    episodeFigures: task.episodeFigures ?? [],
  };
}

class FakeGroup implements EnvGroup {
  readonly firstEnv: number;
  readonly envs: number;
  readonly observations: Float32Array;
  readonly state: Float32Array;
  readonly actionMask: Float32Array;
  readonly active: Float32Array;
  readonly actions: Float32Array;
  readonly rewards: Float32Array;
  readonly terminated: Uint8Array;
  readonly truncated: Uint8Array;
  readonly finalObservations: Float32Array;
  readonly finalState: Float32Array;
  readonly episodeReturn: Float32Array;
  readonly episodeLength: Float32Array;
  readonly figures: Float32Array;
  readonly #task: FakeTask;
  readonly #moments: Moment[];
  /** A copy of `actions` while a step is under way: later writes must not reach it. */
  #underWay: Float32Array | undefined;

  constructor(task: FakeTask, firstEnv: number, envs: number) {
    const { agents, observationSize, stateSize, actionSpace } = task;
    const discrete = actionSpace.kind === "discrete";
    this.#task = task;
    this.firstEnv = firstEnv;
    this.envs = envs;
    this.observations = new Float32Array(agents * envs * observationSize);
    this.finalObservations = new Float32Array(this.observations.length);
    this.state = new Float32Array((task.statePerAgent ? agents : 1) * envs * stateSize);
    this.figures = new Float32Array(envs * (task.episodeFigures?.length ?? 0));
    this.finalState = new Float32Array(this.state.length);
    this.actionMask = new Float32Array(discrete ? agents * envs * actionSpace.count : 0);
    this.active = new Float32Array(agents * envs);
    this.actions = new Float32Array(agents * envs * (discrete ? 1 : actionSpace.size));
    this.rewards = new Float32Array(envs);
    this.terminated = new Uint8Array(envs);
    this.truncated = new Uint8Array(envs);
    this.episodeReturn = new Float32Array(envs);
    this.episodeLength = new Float32Array(envs);
    this.#moments = Array.from({ length: envs }, (_, e) => first(firstEnv + e, 0, 0));
  }

  reset(seed: number): void {
    for (let e = 0; e < this.envs; e++) this.#begin(e, first(this.firstEnv + e, 0, seed));
  }

  start(): void {
    if (this.#underWay) throw new Error("a step is under way");
    this.#underWay = this.actions.slice();
  }

  finish(): void {
    const actions = this.#underWay;
    if (!actions) throw new Error("no step is under way");
    this.#underWay = undefined;
    for (let e = 0; e < this.envs; e++) this.#step(e, actions);
  }

  save(): Float64Array[] {
    return this.#moments.map(({ episode, step, seed, memory }, e) =>
      Float64Array.of(episode, step, seed, memory, this.episodeReturn[e]!, this.episodeLength[e]!),
    );
  }

  restore(saved: readonly Float64Array[]): void {
    for (const [e, values] of saved.entries()) {
      const [episode, step, seed, memory, episodeReturn, length] = values as unknown as number[];
      const env = this.firstEnv + e;
      this.#begin(e, { env, episode: episode!, step: step!, seed: seed!, memory: memory! });
      this.episodeReturn[e] = episodeReturn!;
      this.episodeLength[e] = length!;
    }
  }

  #begin(e: number, moment: Moment): void {
    this.#moments[e] = moment;
    this.rewards[e] = 0;
    this.terminated[e] = 0;
    this.truncated[e] = 0;
    this.episodeReturn[e] = 0;
    this.episodeLength[e] = 0;
    this.#show(e, this.observations, this.state);
  }

  #step(e: number, actions: Float32Array): void {
    const moment = this.#moments[e]!;
    const width = actions.length / (this.#task.agents * this.envs);
    const own = Array.from({ length: this.#task.agents }, (_, agent) => {
      const start = (agent * this.envs + e) * width;
      return [...actions.subarray(start, start + width)];
    });
    const {
      reward,
      memory = 0,
      terminated = false,
      truncated = false,
      figures,
    } = this.#task.step(moment, own);
    if (figures && (terminated || truncated)) this.figures.set(figures, e * figures.length);
    const began = moment.step === 0;
    this.rewards[e] = reward;
    this.episodeReturn[e] = reward + (began ? 0 : this.episodeReturn[e]!);
    this.episodeLength[e] = 1 + (began ? 0 : this.episodeLength[e]!);
    this.terminated[e] = terminated ? 1 : 0;
    this.truncated[e] = truncated ? 1 : 0;
    this.#moments[e] = { ...moment, step: moment.step + 1, memory };
    if (terminated || truncated) {
      this.#show(e, this.finalObservations, this.finalState);
      this.#moments[e] = first(moment.env, moment.episode + 1, moment.seed);
    }
    this.#show(e, this.observations, this.state);
  }

  #show(e: number, observations: Float32Array, state: Float32Array): void {
    const task = this.#task;
    const moment = this.#moments[e]!;
    for (let agent = 0; agent < (task.statePerAgent ? task.agents : 1); agent++)
      state.set(task.state(moment, agent), (agent * this.envs + e) * task.stateSize);
    for (let agent = 0; agent < task.agents; agent++) {
      const row = agent * this.envs + e;
      observations.set(task.observation(moment, agent), row * task.observationSize);
      this.active[row] = (task.active?.(moment, agent) ?? true) ? 1 : 0;
      if (task.actionSpace.kind !== "discrete") continue;
      const { count } = task.actionSpace;
      const mask = task.actionMask?.(moment, agent) ?? Array<number>(count).fill(1);
      this.actionMask.set(mask, row * count);
    }
  }
}

function first(env: number, episode: number, seed: number): Moment {
  return { env, episode, step: 0, seed, memory: 0 };
}
