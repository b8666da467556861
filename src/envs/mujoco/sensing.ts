/** Reads a robot after each action: what can be seen of it, how far it went, whether it may go on. */
import type { Simulation } from "./engine.ts";
import { type Layout, layoutOf } from "./layout.ts";
import type { RobotTask } from "./task.ts";

/**
 * What can be seen, with what MuJoCo computed on the way: derived quantities belong to where the last physics step
 * began, and cannot be had from positions and velocities again. So they are saved too.
 */
export class Sensing {
  readonly #task: RobotTask;
  readonly #simulation: Simulation;
  readonly #layout: Layout;
  /** Sum of masses, and each body's, the world's first. */
  readonly #masses: Float64Array;
  readonly #totalMass: number;
  /** float64 [V] twice: what holds, and where the next is put together. */
  #values: Float64Array;
  #next: Float64Array;
  #place = 0;

  constructor(task: RobotTask, simulation: Simulation) {
    this.#task = task;
    this.#simulation = simulation;
    this.#layout = layoutOf(task);
    this.#masses = simulation.masses;
    this.#totalMass = this.#masses.reduce((sum, mass) => sum + mass, 0);
    this.#values = new Float64Array(this.#layout.size);
    this.#next = new Float64Array(this.#layout.size);
  }

  /** float64 [V], before it is rounded to float32: the last sound reading. Another array after each reading. */
  get values(): Float64Array {
    return this.#values;
  }

  /** Metres along x, as the reward measures it. */
  get place(): number {
    return this.#place;
  }

  /** Reads everything; false, and the old reading kept, when a number is not finite. */
  read(): boolean {
    const next = this.#next;
    const { sections } = this.#layout;
    const place = this.#measuredPlace();
    let sum = this.#readMotion(next) + place;
    for (const { quantity, from, size, at } of sections) {
      const source = this.#simulation.view(quantity);
      const bound = quantity === "contactForce" ? this.#contactForceLimit : Number.POSITIVE_INFINITY;
      for (let i = 0; i < size; i++) sum += next[at + i] = clip(source[from + i]!, bound);
    }
    return this.#accept(sum, place);
  }

  /** Numbers that {@link save} writes. */
  get savedSize(): number {
    const { derived, reward } = this.#task;
    if (derived.length === 0 && reward.of === "root") return 0;
    return 1 + this.#layout.sections.reduce((sum, { size }) => sum + size, 0);
  }

  /** Writes what positions and velocities do not give again. */
  save(target: Float64Array, offset: number): void {
    if (this.savedSize === 0) return;
    target[offset] = this.#place;
    const { sections, stateSize } = this.#layout;
    target.set(this.#values.subarray(sections[0]?.at ?? stateSize, stateSize), offset + 1);
  }

  /** Reads as {@link read} does, but takes derived quantities as they were saved. */
  restore(source: Float64Array, offset: number): boolean {
    if (this.savedSize === 0) return this.read();
    const next = this.#next;
    let sum = this.#readMotion(next) + source[offset]!;
    const { sections, stateSize } = this.#layout;
    const from = sections[0]?.at ?? stateSize;
    for (let i = from; i < stateSize; i++) sum += next[i] = source[offset + 1 + i - from]!;
    return this.#accept(sum, source[offset]!);
  }

  /** Whether the robot is where an episode may go on. */
  healthy(): boolean {
    const { healthy } = this.#task;
    if (healthy === undefined) return true;
    const { positions, velocities } = this.#simulation;
    for (const { index, low, high, closed } of healthy.positions) {
      const at = positions[index]!;
      if (closed ? at < low || at > high : at <= low || at >= high) return false;
    }
    const bound = healthy.others ?? Number.POSITIVE_INFINITY;
    for (let i = 2; i < positions.length; i++) if (Math.abs(positions[i]!) >= bound) return false;
    for (let i = 0; i < velocities.length; i++) if (Math.abs(velocities[i]!) >= bound) return false;
    return true;
  }

  /** What contacts cost of the reward; 0 where the task has no such cost. */
  contactCost(): number {
    const { contact } = this.#task.reward;
    if (contact === undefined) return 0;
    const forces = this.#simulation.view("contactForce");
    const bound = this.#contactForceLimit;
    let sum = 0;
    for (let i = 0; i < forces.length; i++) sum += clip(forces[i]!, bound) ** 2;
    return Math.min(contact.weight * sum, contact.most);
  }

  get #contactForceLimit(): number {
    return this.#task.reward.contactForceLimit ?? Number.POSITIVE_INFINITY;
  }

  /** Positions and velocities; gives their sum, which shows any that is not finite, hidden ones too. */
  #readMotion(next: Float64Array): number {
    const { positions, velocities } = this.#simulation;
    const { velocitiesAt, rawVelocitiesAt, size, stateSize } = this.#layout;
    const hidden = this.#task.hiddenPositions;
    const bound = this.#task.velocityLimit?.bound ?? Number.POSITIVE_INFINITY;
    let sum = 0;
    for (let i = 0; i < positions.length; i++) {
      sum += positions[i]!;
      if (i >= hidden) next[i - hidden] = positions[i]!;
    }
    for (let i = 0; i < velocities.length; i++) {
      sum += velocities[i]!;
      next[velocitiesAt + i] = clip(velocities[i]!, bound);
    }
    if (size > stateSize) next.set(velocities, rawVelocitiesAt);
    return sum;
  }

  #measuredPlace(): number {
    const simulation = this.#simulation;
    const { of } = this.#task.reward;
    if (of === "root") return simulation.positions[0]!;
    // Three coordinates a body; the world is body 0 and the torso 1.
    if (of === "torso") return simulation.view("bodyPlace")[3]!;
    const centres = simulation.view("massCentre");
    const masses = this.#masses;
    let moment = 0;
    for (let i = 0; i < masses.length; i++) moment += masses[i]! * centres[3 * i]!;
    return moment / this.#totalMass;
  }

  #accept(sum: number, place: number): boolean {
    if (!Number.isFinite(sum)) return false;
    [this.#values, this.#next] = [this.#next, this.#values];
    this.#place = place;
    return true;
  }
}

function clip(value: number, bound: number): number {
  return value > bound ? bound : value < -bound ? -bound : value;
}
