/** What a particle task is to the environment that plays it, and what all of them write and draw alike. */
import type { Random } from "../../base/random.ts";
import type { Scene, SceneParts } from "./scene.ts";

/** The team's agents are the first movers of the scene; movers after them are driven by `script`. */
export interface ParticleTask {
  readonly agents: readonly string[];
  readonly scene: Omit<SceneParts, "figures">;
  /** Names of the figures that `score` adds to. */
  readonly figures: readonly string[];
  /** O, the same for every agent. */
  readonly observationSize: number;
  /** Places everything; velocities, symbols and figures are 0 already. */
  start(scene: Scene, random: Random): void;
  /** Sets the forces on movers that are not of the team, from what stands before the step. */
  script?(scene: Scene, random: Random): void;
  /** Writes every agent's own reward, float64 [N], for what stands after the step. */
  score(scene: Scene, rewards: Float64Array): void;
  /** Writes the agent's observation, float32 [O]. */
  observe(scene: Scene, agent: number, observation: Float32Array): void;
}

/** What a mover can do: nothing, left, right, down, up. The force along x and y, of a full action. */
export const MOVES: readonly (readonly [x: number, y: number])[] = [
  [0, 0],
  [-1, 0],
  [1, 0],
  [0, -1],
  [0, 1],
];

/** Puts bodies `from` to `end` anywhere within ±`reach` on both axes. */
export function scatter(scene: Scene, random: Random, from: number, end: number, reach = 1): void {
  for (let i = 2 * from; i < 2 * end; i++) scene.positions[i] = random.uniformIn(-reach, reach);
}

/** Writes a pair of numbers of `source` at `at`; gives the next place. */
export function writePair(target: Float32Array, at: number, source: Float64Array, pair: number): number {
  target[at] = source[2 * pair]!;
  target[at + 1] = source[2 * pair + 1]!;
  return at + 2;
}

/** Writes where bodies `from` to `end` lie as seen from one of them or another, itself left out; gives the next place. */
export function writeBearings(
  target: Float32Array,
  at: number,
  { positions }: Scene,
  { viewer, from, end }: { viewer: number; from: number; end: number },
): number {
  let next = at;
  for (let body = from; body < end; body++) {
    if (body === viewer) continue;
    target[next++] = positions[2 * body]! - positions[2 * viewer]!;
    target[next++] = positions[2 * body + 1]! - positions[2 * viewer + 1]!;
  }
  return next;
}
