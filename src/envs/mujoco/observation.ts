/**
 * What the team and each agent see of a robot: places in the vector that holds all visible positions and
 * velocities. Index arithmetic alone; `mujoco-env.ts` reads the numbers.
 *
 * @source Gymnasium-Robotics, MaMuJoCo: observations by distance in the graph of joints.
 */
import { jointsOf } from "./robot.ts";
import type { RobotTask } from "./task.ts";

/** How an agent's observation is put together. */
export interface ObservationChoice {
  /** `full`: all that is visible, for every agent; `khop`: own joints and those near. */
  readonly observe: "khop" | "full";
  /** How far an agent sees along neighbouring joints: 0 is its own only. */
  readonly hops: number;
  /** `root`: also the positions and velocities of the root. */
  readonly globals: "none" | "root";
}

/** Length of the state: visible positions, then all velocities. */
export function stateSize(task: RobotTask): number {
  return 2 * jointsOf(task.robot.root).length - task.hiddenPositions;
}

/**
 * Indices into the state that make the observation of an agent driving `own` joints. With `khop`: position and
 * velocity of its own joints, then positions of joints one hop away, two, …, by name within a distance; then,
 * with `globals`, visible positions and velocities of the root.
 */
export function observedIndices(
  task: RobotTask,
  own: readonly string[],
  { observe, hops, globals }: ObservationChoice,
): number[] {
  if (observe === "full") return Array.from({ length: stateSize(task) }, (_, i) => i);
  const names = jointsOf(task.robot.root).map(({ name }) => name);
  const position = (joint: string): number => names.indexOf(joint) - task.hiddenPositions;
  const velocity = (joint: string): number => names.length - task.hiddenPositions + names.indexOf(joint);
  const [nearest = [], ...farther] = jointsByDistance(own, task.neighbours, hops);
  const root = globals === "root" ? task.rootJoints : [];
  return [
    ...nearest.flatMap((joint) => [position(joint), velocity(joint)]),
    ...farther.flat().map(position),
    ...root.map(position).filter((index) => index >= 0),
    ...root.map(velocity),
  ];
}

/** Joints at distance 0, 1, … `hops` from any of `own`, sorted by name within each: breadth first. */
export function jointsByDistance(
  own: readonly string[],
  neighbours: readonly (readonly string[])[],
  hops: number,
): string[][] {
  const levels = [[...own].sort()];
  const seen = new Set(own);
  for (let hop = 1; hop <= hops; hop++) {
    const edge = levels[hop - 1]!;
    const reached = neighbours.filter((set) => set.some((joint) => edge.includes(joint))).flat();
    const fresh = [...new Set(reached)].filter((joint) => !seen.has(joint)).sort();
    for (const joint of fresh) seen.add(joint);
    levels.push(fresh);
  }
  return levels;
}
