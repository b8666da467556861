/**
 * What the team and each agent see of a robot: places in the vector of all that can be seen. Index arithmetic alone;
 * `layout.ts` says what lies where and `mujoco-env.ts` reads the numbers.
 *
 * @source Gymnasium-Robotics, MaMuJoCo: observations by distance in the graph of joints.
 */
import { type Layout, layoutOf } from "./layout.ts";
import type { Category, RobotTask } from "./task.ts";

/** How an agent's observation is put together. */
export interface ObservationChoice {
  /** `full`: all that is visible, for every agent; `khop`: own joints and those near. */
  readonly observe: "khop" | "full";
  /** How far an agent sees along neighbouring joints: 0 is its own only. */
  readonly hops: number;
  /** `root`: also the positions and velocities of the root. */
  readonly globals: "none" | "root";
  /** What is seen of a joint: MaMuJoCo's lists, the initial choice, or those of the library before it. */
  readonly categories?: "new" | "old";
}

/** Length of the state: visible positions, all velocities, derived quantities. */
export function stateSize(task: RobotTask): number {
  return layoutOf(task).stateSize;
}

/**
 * Indices into the vector of a task's layout that make the observation of an agent driving `own` joints. With `khop`:
 * the task's categories of its own joints, then of joints one hop away, two, …, by name within a distance, a body's
 * numbers once; then, with `globals`, visible positions and velocities of the root.
 */
export function observedIndices(
  task: RobotTask,
  own: readonly string[],
  { observe, hops, globals, categories = "new" }: ObservationChoice,
): number[] {
  const layout = layoutOf(task);
  if (observe === "full") return Array.from({ length: layout.stateSize }, (_, i) => i);
  const lists = task.categories[categories];
  const root = globals === "root" ? task.rootJoints : [];
  const local = jointsByDistance(own, task.neighbours, hops).flatMap((joints, distance) =>
    joints.flatMap((joint) =>
      (distance === 0 ? lists.own : lists.farther).flatMap((category) =>
        shownOf(joint, category, task, layout, categories),
      ),
    ),
  );
  // A body beside two joints comes with the first; no joint comes twice.
  return [...new Set(local), ...root.flatMap(layout.positionsOf), ...root.flatMap(layout.velocitiesOf)];
}

/** Places of what a joint shows; the old lineage shows a joint's own numbers, whatever the new one puts there. */
function shownOf(
  joint: string,
  category: Category,
  task: RobotTask,
  layout: Layout,
  lineage: "new" | "old",
): number[] {
  const { bodies = [], ...other } = task.sight?.[joint] ?? {};
  const { shows = joint, velocitiesOf = [shows] }: typeof other = lineage === "new" ? other : {};
  if (category === "position") return layout.positionsOf(shows);
  if (category === "velocity") return velocitiesOf.flatMap(layout.velocitiesOf);
  if (category === "actuatorForce") return layout.forcesOf(shows);
  return bodies.flatMap((body) => layout.bodysOwn(category, body));
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
