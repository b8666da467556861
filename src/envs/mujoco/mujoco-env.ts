/** One team on one MuJoCo robot: reset, step, reward, observations, saving. Which task it is comes as data. */
import { Random } from "../../base/random.ts";
import type { Env, EnvBuffers, EnvSpec, StepResult } from "../contract.ts";
import { closedError, endedError, notFiniteError, requireSavedSize } from "../refusals.ts";
import { Simulation } from "./engine.ts";
import { toMjcf } from "./mjcf.ts";
import { Sensing } from "./sensing.ts";
import type { RobotTask } from "./task.ts";
import type { TeamTask } from "./tasks.ts";

/** Numbers that `save` puts before the simulator's own; after those come what `Sensing` saves. */
const SAVED = { words: 0, hasSpare: 4, spare: 5, steps: 6, ended: 7, simulation: 8 } as const;

/**
 * As in Gymnasium, actions beyond the bounds act as if at the bounds but cost what they are.
 * Differs from it in one point: when the simulation diverges (MuJoCo then silently starts it again), the
 * episode ends as terminated with reward 0, the last sound observation and `info.diverged` 1.
 */
export class MujocoEnv implements Env {
  readonly spec: EnvSpec;
  readonly #task: RobotTask;
  readonly #simulation: Simulation;
  /** For each agent and place of its action, the motor it drives; −1 for padding. */
  readonly #motorOf: Int32Array;
  /** For each agent and place of its observation, the number of what can be seen; −1 for padding. */
  readonly #seenIndexOf: Int32Array;
  readonly #sensing: Sensing;
  /** Whether contact forces are seen or cost something. */
  readonly #feelsContacts: boolean;
  readonly #startPositions: Float64Array;
  #random = new Random(0);
  #steps = 0;
  #ended = true;

  /** @throws LORASA_SIMULATOR when MuJoCo cannot be loaded. */
  static async create(team: TeamTask): Promise<MujocoEnv> {
    return new MujocoEnv(team, await Simulation.create(toMjcf(team.task.robot)));
  }

  private constructor({ task, spec, factorization, observed }: TeamTask, simulation: Simulation) {
    this.spec = spec;
    this.#task = task;
    this.#simulation = simulation;
    this.#startPositions = Float64Array.from(simulation.positions);
    this.#sensing = new Sensing(task, simulation);
    this.#feelsContacts = task.derived.includes("contactForce") || task.reward.contact !== undefined;
    const motors = task.robot.motors.map(({ joint }) => joint);
    const actionSize = spec.actionSpace.kind === "continuous" ? spec.actionSpace.size : 1;
    this.#motorOf = padded(
      factorization.map((joints) => joints.map((joint) => motors.indexOf(joint))),
      actionSize,
    );
    this.#seenIndexOf = padded(observed, spec.observationSize);
  }

  reset(buffers: EnvBuffers, seed?: number): void {
    this.#refuseClosed("reset");
    if (seed !== undefined) this.#random = new Random(seed);
    const { positions: positionNoise, velocities: velocityNoise, kind } = this.#task.resetNoise;
    const random = this.#random;
    this.#simulation.reset();
    const { positions, velocities } = this.#simulation;
    for (let i = 0; i < positions.length; i++) {
      positions[i] = this.#startPositions[i]! + random.uniformIn(-positionNoise, positionNoise);
    }
    for (let i = 0; i < velocities.length; i++) {
      const normal = kind === "normal";
      velocities[i] = normal
        ? velocityNoise * random.normal()
        : random.uniformIn(-velocityNoise, velocityNoise);
    }
    this.#simulation.forward();
    this.#steps = 0;
    this.#ended = false;
    this.#sensing.read();
    this.#show(buffers);
  }

  step(actions: Float32Array, buffers: EnvBuffers): StepResult {
    this.#refuseClosed("step");
    if (this.#ended) {
      throw endedError(this.spec.name);
    }
    const effort = this.#drive(actions);
    const before = this.#sensing.place;
    const sound = this.#move();
    this.#steps++;
    const terminated = !sound || !this.#sensing.healthy();
    const truncated = !terminated && this.#steps >= this.spec.episodeLimit;
    this.#ended = terminated || truncated;
    this.#show(buffers);
    if (!sound) return { reward: 0, terminated, truncated, info: { diverged: 1 } };
    return { reward: this.#reward(before, effort, terminated), terminated, truncated };
  }

  save(): Float64Array {
    this.#refuseClosed("save");
    const saved = new Float64Array(this.#savedSize);
    const { words, spare } = this.#random.state();
    saved.set(words, SAVED.words);
    saved[SAVED.hasSpare] = spare === null ? 0 : 1;
    saved[SAVED.spare] = spare ?? 0;
    saved[SAVED.steps] = this.#steps;
    saved[SAVED.ended] = this.#ended ? 1 : 0;
    this.#simulation.save(saved, SAVED.simulation);
    this.#sensing.save(saved, this.#savedSize - this.#sensing.savedSize);
    return saved;
  }

  /** @throws LORASA_SHAPE for a state of another robot, LORASA_NOT_FINITE for one that is damaged. */
  restore(saved: Float64Array, buffers: EnvBuffers): void {
    this.#refuseClosed("restore");
    requireSavedSize(this.spec.name, saved, this.#savedSize);
    const [a = 0, b = 0, c = 0, d = 0] = saved.subarray(SAVED.words, SAVED.words + 4);
    const spare = saved[SAVED.hasSpare] === 1 ? saved[SAVED.spare]! : null;
    this.#random = Random.restore({ words: [a, b, c, d], spare });
    this.#steps = saved[SAVED.steps]!;
    this.#ended = saved[SAVED.ended] === 1;
    const sensed = this.#savedSize - this.#sensing.savedSize;
    this.#simulation.restore(saved.subarray(SAVED.simulation, sensed));
    if (!this.#sensing.restore(saved, sensed))
      throw notFiniteError(`saved state of ${this.spec.name}`, "NaN or an infinity");
    this.#show(buffers);
  }

  close(): void {
    this.#simulation.close();
  }

  /** Places each agent's numbers at their motors; gives Σ action². Nothing is changed when one is not finite. */
  #drive(actions: Float32Array): number {
    const motorOf = this.#motorOf;
    let effort = 0;
    for (let i = 0; i < motorOf.length; i++) {
      const action = motorOf[i]! < 0 ? 0 : actions[i]!;
      if (!Number.isFinite(action)) throw notFiniteError(this.#placeName(i), String(action));
      effort += action * action;
    }
    const { controls } = this.#simulation;
    for (let i = 0; i < motorOf.length; i++) if (motorOf[i]! >= 0) controls[motorOf[i]!] = actions[i]!;
    return effort;
  }

  /** The physics of one action; false when it diverged. */
  #move(): boolean {
    if (!this.#simulation.step(this.#task.frameSkip)) return false;
    if (this.#feelsContacts) this.#simulation.settleForces();
    return this.#sensing.read();
  }

  #reward(before: number, effort: number, terminated: boolean): number {
    const { forward, control, alive } = this.#task.reward;
    const velocity = (this.#sensing.place - before) / this.spec.stepSeconds;
    const gain = forward * velocity + (terminated ? 0 : alive);
    return gain - (control * effort + this.#sensing.contactCost());
  }

  get #savedSize(): number {
    return SAVED.simulation + this.#simulation.stateSize + this.#sensing.savedSize;
  }

  #show({ observations, state, active }: EnvBuffers): void {
    const { values } = this.#sensing;
    for (let i = 0; i < state.length; i++) state[i] = values[i]!;
    active.fill(1);
    const indexOf = this.#seenIndexOf;
    for (let i = 0; i < indexOf.length; i++) observations[i] = indexOf[i]! < 0 ? 0 : values[indexOf[i]!]!;
  }

  #placeName(place: number): string {
    const width = this.#motorOf.length / this.spec.agents.length;
    return `action of ${this.spec.agents[Math.floor(place / width)]!.name}, index ${place % width}`;
  }

  #refuseClosed(asked: string): void {
    if (!this.#simulation.closed) return;
    throw closedError(asked, this.spec.name);
  }
}

/** Rows of one width, row after row, −1 where a row is shorter. */
function padded(rows: readonly (readonly number[])[], width: number): Int32Array {
  const all = new Int32Array(rows.length * width).fill(-1);
  for (const [row, values] of rows.entries()) all.set(values, row * width);
  return all;
}
