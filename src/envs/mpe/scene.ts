/**
 * Particles on a plane: where they are, what pushes them, how they move. Not what a task rewards or shows.
 *
 * Letters: B bodies, of which the first M move, C symbols that a mover can say, F figures of the episode.
 */

/** A disc on the plane. */
interface Body {
  readonly radius: number;
  /** Whether it pushes, and is pushed by, others that do. */
  readonly collides: boolean;
}

/** A body that forces move. Its mass is 1. */
interface Mover extends Body {
  /** Force of a full action. */
  readonly strength: number;
  /** Infinity where there is none. */
  readonly maxSpeed: number;
}

/** Sizes and properties of a {@link Scene}. */
export interface SceneParts {
  readonly movers: readonly Mover[];
  readonly landmarks: readonly Body[];
  /** C: 0 where movers are silent. */
  readonly symbols: number;
  /** F. */
  readonly figures: number;
}

/** @source MPE2:mpe2/_mpe_utils/core.py, class World. */
const PHYSICS = { stepSeconds: 0.1, damping: 0.25, contactForce: 100, contactMargin: 1e-3 } as const;

/** Seconds of simulated time in a step. */
export const STEP_SECONDS = PHYSICS.stepSeconds;

/** exp of less is 0 in double: bodies this many margins apart do not push. */
const NO_CONTACT = 750;

/** Everything that a step changes lies in `values`, so that a moment is saved by copying one array. */
export class Scene {
  readonly values: Float64Array;
  /** [B, 2], movers before landmarks. */
  readonly positions: Float64Array;
  /** [M, 2]. */
  readonly velocities: Float64Array;
  /** [M, C]: what each said last. */
  readonly said: Float64Array;
  /** [M]: the landmark that each wants another to reach, where the task has goals. */
  readonly goals: Float64Array;
  /** [F]: sums over the episode. */
  readonly figures: Float64Array;
  /** [M, 2]: what drives each mover in the next step; used up by `move`. */
  readonly forces: Float64Array;
  readonly movers: readonly Mover[];
  readonly #bodies: readonly Body[];

  constructor({ movers, landmarks, symbols, figures }: SceneParts) {
    this.movers = movers;
    this.#bodies = [...movers, ...landmarks];
    const M = movers.length;
    const sizes = [2 * this.#bodies.length, 2 * M, M * symbols, M, figures];
    this.values = new Float64Array(sizes.reduce((sum, size) => sum + size));
    const ends = sizes.map((_, i) => sizes.slice(0, i + 1).reduce((sum, size) => sum + size));
    const part = (i: number): Float64Array => this.values.subarray(ends[i]! - sizes[i]!, ends[i]);
    this.positions = part(0);
    this.velocities = part(1);
    this.said = part(2);
    this.goals = part(3);
    this.figures = part(4);
    this.forces = new Float64Array(2 * M);
  }

  /** One step: positions follow the old velocities, then forces and contacts change those. */
  move(): void {
    this.#pushApart();
    const { positions, velocities, forces, movers } = this;
    const { stepSeconds, damping } = PHYSICS;
    for (let i = 0; i < 2 * movers.length; i++) {
      positions[i] = positions[i]! + velocities[i]! * stepSeconds;
      velocities[i] = velocities[i]! * (1 - damping) + forces[i]! * stepSeconds;
    }
    for (let body = 0; body < movers.length; body++) this.#limitSpeed(body);
  }

  /** Between the centres of two bodies. */
  distance(a: number, b: number): number {
    const dx = this.positions[2 * a]! - this.positions[2 * b]!;
    const dy = this.positions[2 * a + 1]! - this.positions[2 * b + 1]!;
    return Math.sqrt(dx * dx + dy * dy);
  }

  overlap(a: number, b: number): boolean {
    return this.distance(a, b) < this.#bodies[a]!.radius + this.#bodies[b]!.radius;
  }

  #pushApart(): void {
    const bodies = this.#bodies;
    for (let a = 0; a < this.movers.length; a++) {
      if (!bodies[a]!.collides) continue;
      for (let b = a + 1; b < bodies.length; b++) if (bodies[b]!.collides) this.#push(a, b);
    }
  }

  /** F = 100 · Δ/|Δ| · p with penetration p = margin · ln(1 + exp((radii − |Δ|) / margin)), on both if both move. */
  #push(a: number, b: number): void {
    const { positions, forces } = this;
    const { contactForce, contactMargin } = PHYSICS;
    const distance = this.distance(a, b);
    const depth = (this.#bodies[a]!.radius + this.#bodies[b]!.radius - distance) / contactMargin;
    // At distance 0 there is no direction to push in.
    if (depth < -NO_CONTACT || distance === 0) return;
    // The larger exponent is taken out, so that exp never overflows.
    const penetration = (Math.max(depth, 0) + Math.log1p(Math.exp(-Math.abs(depth)))) * contactMargin;
    for (let axis = 0; axis < 2; axis++) {
      const apart = positions[2 * a + axis]! - positions[2 * b + axis]!;
      const force = ((contactForce * apart) / distance) * penetration;
      forces[2 * a + axis]! += force;
      if (b < this.movers.length) forces[2 * b + axis]! -= force;
    }
  }

  #limitSpeed(body: number): void {
    const { velocities } = this;
    const { maxSpeed } = this.movers[body]!;
    const vx = velocities[2 * body]!;
    const vy = velocities[2 * body + 1]!;
    const speed = Math.sqrt(vx * vx + vy * vy);
    if (speed <= maxSpeed) return;
    velocities[2 * body] = (vx / speed) * maxSpeed;
    velocities[2 * body + 1] = (vy / speed) * maxSpeed;
  }
}
