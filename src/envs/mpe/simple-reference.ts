/**
 * simple_reference: two agents, each told by the other alone which of three landmarks to go to.
 * @source MPE2:mpe2/simple_reference/simple_reference.py, local ratio 0.5.
 */
import type { Scene } from "./scene.ts";
import { type ParticleTask, scatter, writeBearings, writePair } from "./task.ts";

const AGENTS = 2;
const LANDMARKS = 3;
const SYMBOLS = 10;
/** Each landmark's red, green and blue: how an agent sees which one the other must reach. */
const COLORS: readonly (readonly number[])[] = [
  [0.75, 0.25, 0.25],
  [0.25, 0.75, 0.25],
  [0.25, 0.25, 0.75],
];

/**
 * Observation: own velocity 2, landmarks 6, colour of the other's goal 3, what the other said 10: O = 21.
 * Reward of an agent: ½ · −distance of the other to its goal, ½ · the mean of both such rewards.
 */
export function simpleReference(): ParticleTask {
  const mover = { radius: 0.05, collides: false, strength: 5, maxSpeed: Number.POSITIVE_INFINITY };
  return {
    agents: ["agent_0", "agent_1"],
    scene: {
      movers: [mover, mover],
      landmarks: Array.from({ length: LANDMARKS }, () => ({ radius: 0.05, collides: false })),
      symbols: SYMBOLS,
    },
    figures: [],
    observationSize: 2 + 2 * LANDMARKS + 3 + SYMBOLS,
    start(scene, random) {
      for (let agent = 0; agent < AGENTS; agent++) scene.goals[agent] = random.integer(LANDMARKS);
      scatter(scene, random, 0, AGENTS + LANDMARKS);
    },
    score(scene, rewards) {
      const shared = (missed(scene, 0) + missed(scene, 1)) / AGENTS;
      for (let agent = 0; agent < AGENTS; agent++) rewards[agent] = -(shared + missed(scene, agent)) / 2;
    },
    observe(scene, agent, observation) {
      const other = 1 - agent;
      const sights = { viewer: agent, from: AGENTS, end: AGENTS + LANDMARKS };
      let at = writePair(observation, 0, scene.velocities, agent);
      at = writeBearings(observation, at, scene, sights);
      const color = COLORS[scene.goals[agent]!]!;
      for (let i = 0; i < color.length; i++) observation[at++] = color[i]!;
      for (let i = 0; i < SYMBOLS; i++) observation[at++] = scene.said[other * SYMBOLS + i]!;
    },
  };
}

/** How far the other agent is from the goal that this one knows. */
function missed(scene: Scene, agent: number): number {
  return scene.distance(1 - agent, AGENTS + scene.goals[agent]!);
}
