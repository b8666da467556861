/** One team among particles: reset, step, observations, saving. Which task it is comes as data. */
import { LorasaError } from "../../base/errors.ts";
import { Random } from "../../base/random.ts";
import { actionWidth } from "../buffers.ts";
import type { Env, EnvBuffers, EnvSpec, StepResult } from "../contract.ts";
import { closedError, endedError, notFiniteError, requireSavedSize } from "../refusals.ts";
import { Scene } from "./scene.ts";
import { MOVES, type ParticleTask } from "./task.ts";
import type { ParticleTeam } from "./tasks.ts";

/** Numbers that `save` puts before the scene's own. No task draws normal deviates, so none is held. */
const SAVED = { words: 0, steps: 4, ended: 5, scene: 6 } as const;

/**
 * The numbers of MPE2 for the same positions, velocities and actions. The state is the team's observations, one
 * after another. Continuous actions beyond 0 to 1 act as if at these bounds.
 */
export class ParticleEnv implements Env {
  readonly spec: EnvSpec;
  readonly #task: ParticleTask;
  readonly #scene: Scene;
  readonly #rewardScale: number;
  /** float64 [N]: every agent's own reward of the last step. */
  readonly #rewards: Float64Array;
  /** float32 [N, O], and a view of each row. */
  readonly #observations: Float32Array;
  readonly #rows: readonly Float32Array[];
  #random = new Random(0);
  #steps = 0;
  #ended = true;
  #closed = false;

  constructor({ task, spec, rewardScale }: ParticleTeam) {
    const { observationSize, stateSize, agents } = spec;
    this.spec = spec;
    this.#task = task;
    this.#rewardScale = rewardScale;
    this.#scene = new Scene({ ...task.scene, figures: task.figures.length });
    this.#rewards = new Float64Array(agents.length);
    this.#observations = new Float32Array(stateSize);
    this.#rows = agents.map((_, agent) =>
      this.#observations.subarray(agent * observationSize, (agent + 1) * observationSize),
    );
  }

  reset(buffers: EnvBuffers, seed?: number): void {
    this.#refuseClosed("reset");
    if (seed !== undefined) this.#random = new Random(seed);
    this.#scene.values.fill(0);
    this.#task.start(this.#scene, this.#random);
    this.#steps = 0;
    this.#ended = false;
    this.#show(buffers);
  }

  step(actions: Float32Array, buffers: EnvBuffers): StepResult {
    this.#refuseClosed("step");
    if (this.#ended) {
      throw endedError(this.spec.name);
    }
    this.#refuseUnsound(actions);
    if (this.spec.actionSpace.kind === "discrete") this.#driveByChoices(actions);
    else this.#driveByNumbers(actions);
    this.#task.script?.(this.#scene, this.#random);
    this.#scene.move();
    const reward = this.#score();
    this.#steps++;
    this.#ended = this.#steps >= this.spec.episodeLimit;
    this.#show(buffers);
    if (!this.#ended) return { reward, terminated: false, truncated: false };
    return { reward, terminated: false, truncated: true, info: this.#figures() };
  }

  save(): Float64Array {
    this.#refuseClosed("save");
    const saved = new Float64Array(SAVED.scene + this.#scene.values.length);
    saved.set(this.#random.state().words, SAVED.words);
    saved[SAVED.steps] = this.#steps;
    saved[SAVED.ended] = this.#ended ? 1 : 0;
    saved.set(this.#scene.values, SAVED.scene);
    return saved;
  }

  /** @throws LORASA_SHAPE for a state of another task, LORASA_NOT_FINITE for one that is damaged. */
  restore(saved: Float64Array, buffers: EnvBuffers): void {
    this.#refuseClosed("restore");
    requireSavedSize(this.spec.name, saved, SAVED.scene + this.#scene.values.length);
    if (!saved.every(Number.isFinite)) {
      throw notFiniteError(`saved state of ${this.spec.name}`, "NaN or an infinity");
    }
    const [a = 0, b = 0, c = 0, d = 0] = saved.subarray(SAVED.words, SAVED.words + 4);
    this.#random = Random.restore({ words: [a, b, c, d], spare: null });
    this.#steps = saved[SAVED.steps]!;
    this.#ended = saved[SAVED.ended] === 1;
    this.#scene.values.set(saved.subarray(SAVED.scene));
    this.#show(buffers);
  }

  close(): void {
    this.#closed = true;
  }

  /** Before anything moves. */
  #refuseUnsound(actions: Float32Array): void {
    const { actionSpace, agents } = this.spec;
    const width = actionWidth(this.spec);
    for (let i = 0; i < agents.length * width; i++) {
      const action = actions[i]!;
      if (!Number.isFinite(action)) throw notFiniteError(this.#placeName(i, width), String(action));
      if (actionSpace.kind === "continuous") continue;
      if (Number.isInteger(action) && action >= 0 && action < actionSpace.count) continue;
      throw new LorasaError("LORASA_RANGE", {
        asked: this.#placeName(i, width),
        expected: `a whole number from 0 to ${actionSpace.count - 1}`,
        received: String(action),
      });
    }
  }

  #driveByChoices(actions: Float32Array): void {
    const { forces, said, movers } = this.#scene;
    const { symbols } = this.#task.scene;
    said.fill(0);
    for (let agent = 0; agent < this.spec.agents.length; agent++) {
      const choice = actions[agent]!;
      const move = choice % MOVES.length;
      const { strength } = movers[agent]!;
      forces[2 * agent] = strength * MOVES[move]![0];
      forces[2 * agent + 1] = strength * MOVES[move]![1];
      if (symbols > 0) said[agent * symbols + (choice - move) / MOVES.length] = 1;
    }
  }

  /** Along each axis the difference of two numbers; the first of the five does nothing. */
  #driveByNumbers(actions: Float32Array): void {
    const { forces, said, movers } = this.#scene;
    const { symbols } = this.#task.scene;
    const width = MOVES.length + symbols;
    for (let agent = 0; agent < this.spec.agents.length; agent++) {
      const at = agent * width;
      const { strength } = movers[agent]!;
      // The difference is rounded to float32, as MPE2 has it.
      forces[2 * agent] = strength * Math.fround(bounded(actions[at + 2]!) - bounded(actions[at + 1]!));
      forces[2 * agent + 1] = strength * Math.fround(bounded(actions[at + 4]!) - bounded(actions[at + 3]!));
      for (let i = 0; i < symbols; i++) {
        said[agent * symbols + i] = bounded(actions[at + MOVES.length + i]!);
      }
    }
  }

  /** Of the whole team. */
  #score(): number {
    this.#task.score(this.#scene, this.#rewards);
    let sum = 0;
    for (let agent = 0; agent < this.#rewards.length; agent++) sum += this.#rewards[agent]!;
    return sum * this.#rewardScale;
  }

  #figures(): Record<string, number> {
    return Object.fromEntries(this.#task.figures.map((name, i) => [name, this.#scene.figures[i]!]));
  }

  #show({ observations, state, actionMask, active }: EnvBuffers): void {
    for (let agent = 0; agent < this.#rows.length; agent++) {
      this.#task.observe(this.#scene, agent, this.#rows[agent]!);
    }
    observations.set(this.#observations);
    state.set(this.#observations);
    actionMask.fill(1);
    active.fill(1);
  }

  #placeName(place: number, width: number): string {
    const name = `action of ${this.spec.agents[Math.floor(place / width)]!.name}`;
    return width === 1 ? name : `${name}, index ${place % width}`;
  }

  #refuseClosed(asked: string): void {
    if (!this.#closed) return;
    throw closedError(asked, this.spec.name);
  }
}

function bounded(action: number): number {
  return Math.min(Math.max(action, 0), 1);
}
