/**
 * simple_tag: the team hunts one faster prey around obstacles. The prey is scripted, for a team has one reward:
 * what the scripts do is ours, all else is MPE2's.
 * @source MPE2:mpe2/simple_tag/simple_tag.py, full observation.
 */
import type { Random } from "../../base/random.ts";
import type { Scene } from "./scene.ts";
import { MOVES, type ParticleTask, scatter, writeBearings, writePair } from "./task.ts";

const OBSTACLES = 2;
/** What each hunter gets for every hunter that touches the prey. */
const CATCH_REWARD = 10;
/** Nearest that a wall is felt, so that its push stays finite at the wall and turns the prey back beyond it. */
const NEAREST_WALL = 0.01;

/** How the prey is scripted. */
type Prey = "flee" | "random";

/**
 * Observation: own velocity 2, own position 2, obstacles 4, other hunters and the prey 2 N, the prey's velocity 2:
 * O = 10 + 2 N. Reward of a hunter: 10 for each hunter, itself or another, that overlaps the prey.
 * The figure `catches` counts these overlaps over the steps of the episode.
 */
export function simpleTag(hunters: number, prey: Prey): ParticleTask {
  const bodies = hunters + 1 + OBSTACLES;
  const hunter = { radius: 0.075, collides: true, strength: 3, maxSpeed: 1 };
  return {
    agents: Array.from({ length: hunters }, (_, index) => `adversary_${index}`),
    scene: {
      movers: [
        ...Array.from({ length: hunters }, () => hunter),
        { radius: 0.05, collides: true, strength: 4, maxSpeed: 1.3 },
      ],
      landmarks: Array.from({ length: OBSTACLES }, () => ({ radius: 0.2, collides: true })),
      symbols: 0,
    },
    figures: ["catches"],
    observationSize: 6 + 2 * OBSTACLES + 2 * hunters,
    start(scene, random) {
      scatter(scene, random, 0, hunters + 1);
      scatter(scene, random, hunters + 1, bodies, 0.9);
    },
    script(scene, random) {
      const move = MOVES[PREY[prey](scene, random)]!;
      for (let axis = 0; axis < 2; axis++) {
        scene.forces[2 * hunters + axis] = scene.movers[hunters]!.strength * move[axis]!;
      }
    },
    score(scene, rewards) {
      let catches = 0;
      for (let agent = 0; agent < hunters; agent++) if (scene.overlap(agent, hunters)) catches++;
      scene.figures[0]! += catches;
      rewards.fill(CATCH_REWARD * catches);
    },
    observe(scene, agent, observation) {
      let at = writePair(observation, 0, scene.velocities, agent);
      at = writePair(observation, at, scene.positions, agent);
      at = writeBearings(observation, at, scene, { viewer: agent, from: hunters + 1, end: bodies });
      at = writeBearings(observation, at, scene, { viewer: agent, from: 0, end: hunters + 1 });
      writePair(observation, at, scene.velocities, hunters);
    },
  };
}

/** Which of the five moves the prey makes. */
const PREY = {
  random: (_scene, random) => random.integer(MOVES.length),
  flee: (scene) => {
    const x = pressure(scene, 0);
    const y = pressure(scene, 1);
    if (x === 0 && y === 0) return 0;
    if (Math.abs(x) >= Math.abs(y)) return x < 0 ? 1 : 2;
    return y < 0 ? 3 : 4;
  },
} as const satisfies Record<Prey, (scene: Scene, random: Random) => number>;

/**
 * What drives the prey along an axis: each hunter repels it by 1 / distance, each wall at ±1 likewise. It moves
 * along the axis where the sum is larger. Obstacles are left to its luck.
 */
function pressure(scene: Scene, axis: number): number {
  const { positions, movers } = scene;
  const prey = movers.length - 1;
  const place = positions[2 * prey + axis]!;
  let sum = 1 / Math.max(1 + place, NEAREST_WALL) - 1 / Math.max(1 - place, NEAREST_WALL);
  for (let hunter = 0; hunter < prey; hunter++) {
    const distance = scene.distance(hunter, prey);
    if (distance > 0) sum += (place - positions[2 * hunter + axis]!) / (distance * distance);
  }
  return sum;
}
