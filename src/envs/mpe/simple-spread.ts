/**
 * simple_spread: N agents cover N landmarks without running into one another.
 * @source MPE2:mpe2/simple_spread/simple_spread.py, full observation, local ratio 0.5.
 */
import type { Scene } from "./scene.ts";
import { type ParticleTask, scatter, writeBearings, writePair } from "./task.ts";

/** Symbols that each other agent could say; they are silent, and its observation shows zeros. */
const SILENT_SYMBOLS = 2;
/** Weight of an agent's own reward; the rest is that of the shared one. */
const LOCAL_RATIO = 0.5;

/**
 * Observation: own velocity 2, own position 2, landmarks 2 N, other agents 2 (N − 1), zeros 2 (N − 1): O = 6 N.
 * Reward of an agent: ½ · −Σ over landmarks of the nearest agent's distance, ½ · −1 for each agent that it overlaps.
 */
export function simpleSpread(agents: number): ParticleTask {
  const others = agents - 1;
  return {
    agents: Array.from({ length: agents }, (_, index) => `agent_${index}`),
    scene: {
      movers: Array.from({ length: agents }, () => ({
        radius: 0.15,
        collides: true,
        strength: 5,
        maxSpeed: Number.POSITIVE_INFINITY,
      })),
      landmarks: Array.from({ length: agents }, () => ({ radius: 0.05, collides: false })),
      symbols: 0,
    },
    figures: [],
    observationSize: 4 + 2 * agents + (2 + SILENT_SYMBOLS) * others,
    start: (scene, random) => scatter(scene, random, 0, 2 * agents),
    score(scene, rewards) {
      const shared = -uncovered(scene, agents);
      for (let agent = 0; agent < agents; agent++) {
        rewards[agent] = shared * (1 - LOCAL_RATIO) - overlaps(scene, agents, agent) * LOCAL_RATIO;
      }
    },
    observe(scene, agent, observation) {
      let at = writePair(observation, 0, scene.velocities, agent);
      at = writePair(observation, at, scene.positions, agent);
      at = writeBearings(observation, at, scene, { viewer: agent, from: agents, end: 2 * agents });
      at = writeBearings(observation, at, scene, { viewer: agent, from: 0, end: agents });
      observation.fill(0, at);
    },
  };
}

/** Σ over landmarks of the distance to the nearest agent. */
function uncovered(scene: Scene, agents: number): number {
  let sum = 0;
  for (let landmark = agents; landmark < 2 * agents; landmark++) {
    let nearest = Number.POSITIVE_INFINITY;
    for (let agent = 0; agent < agents; agent++) {
      nearest = Math.min(nearest, scene.distance(agent, landmark));
    }
    sum += nearest;
  }
  return sum;
}

/** Agents that one overlaps. */
function overlaps(scene: Scene, agents: number, agent: number): number {
  let count = 0;
  for (let other = 0; other < agents; other++) if (other !== agent && scene.overlap(other, agent)) count++;
  return count;
}
