/**
 * Where each joint's and body's numbers lie in MuJoCo's arrays and in the vector of all that can be seen of a robot.
 * Index arithmetic alone; `sensing.ts` fills the vector.
 */
import { bodiesOf, type Joint, jointsOf } from "./robot.ts";
import type { Derived, RobotTask } from "./task.ts";

/** A stretch of one of MuJoCo's arrays, and where it goes. */
export interface Section {
  readonly quantity: Derived;
  /** First number taken: what belongs to the world, or to the root's own motion, is left out. */
  readonly from: number;
  readonly size: number;
  /** In the vector. */
  readonly at: number;
}

/** Vector [V]: visible positions, velocities, derived quantities; then, where agents see other ones, raw velocities. */
export interface Layout {
  /** S: length of the state, with which the vector begins. */
  readonly stateSize: number;
  /** V ≥ S. */
  readonly size: number;
  readonly velocitiesAt: number;
  readonly sections: readonly Section[];
  /** Where unclipped velocities begin; S where there are none. */
  readonly rawVelocitiesAt: number;
  /** Places in the vector: none for positions that are hidden. */
  readonly positionsOf: (joint: string) => number[];
  /** As agents see them: clipped or raw. */
  readonly velocitiesOf: (joint: string) => number[];
  /** Of a joint's motor. */
  readonly forcesOf: (joint: string) => number[];
  readonly bodysOwn: (quantity: Derived, body: string) => number[];
}

/** Numbers a body has of a quantity. */
const WIDTHS = { inertia: 10, bodyVelocity: 6, contactForce: 6 } as const;

/** The layout of a task's vector. */
export function layoutOf(task: RobotTask): Layout {
  const places = jointPlaces(jointsOf(task.robot.root));
  const bodies = bodiesOf(task.robot.root).map(({ name }) => name);
  const hidden = task.hiddenPositions;
  const velocitiesAt = places.positions - hidden;
  const rootMotion = task.robot.root.joints.reduce((sum, joint) => sum + widthOf(joint).velocities, 0);
  const { sections, end: stateSize } = sectionsOf(task, velocitiesAt + places.velocities, {
    bodies: bodies.length,
    velocities: places.velocities,
    rootMotion,
  });
  const raw = task.velocityLimit?.agents === false;
  const seenVelocitiesAt = raw ? stateSize : velocitiesAt;
  const section = (quantity: Derived): Section => sections.find((each) => each.quantity === quantity)!;
  return {
    stateSize,
    size: stateSize + (raw ? places.velocities : 0),
    velocitiesAt,
    sections,
    rawVelocitiesAt: stateSize,
    positionsOf: (joint) => {
      const { position, widths } = places.of(joint);
      return range(position - hidden, widths.positions).filter((index) => index >= 0);
    },
    velocitiesOf: (joint) => {
      const { velocity, widths } = places.of(joint);
      return range(seenVelocitiesAt + velocity, widths.velocities);
    },
    forcesOf: (joint) => {
      const { at, from } = section("actuatorForce");
      return range(at + places.of(joint).velocity - from, 1);
    },
    bodysOwn: (quantity, body) => {
      if (quantity === "actuatorForce") return [];
      return range(section(quantity).at + bodies.indexOf(body) * WIDTHS[quantity], WIDTHS[quantity]);
    },
  };
}

/** Derived quantities one after another from `start` on. */
function sectionsOf(
  { derived }: RobotTask,
  start: number,
  count: { readonly bodies: number; readonly velocities: number; readonly rootMotion: number },
): { sections: Section[]; end: number } {
  let end = start;
  const sections = derived.map((quantity): Section => {
    const motors = quantity === "actuatorForce";
    const from = motors ? count.rootMotion : WIDTHS[quantity];
    const size = motors ? count.velocities - count.rootMotion : count.bodies * WIDTHS[quantity];
    const at = end;
    end += size;
    return { quantity, from, size, at };
  });
  return { sections, end };
}

/** First position and velocity of each joint, as MuJoCo numbers them, and how many there are in all. */
function jointPlaces(joints: readonly Joint[]) {
  let [positions, velocities] = [0, 0];
  const places = new Map(
    joints.map((joint) => {
      const widths = widthOf(joint);
      const place = { position: positions, velocity: velocities, widths };
      positions += widths.positions;
      velocities += widths.velocities;
      return [joint.name, place];
    }),
  );
  return { positions, velocities, of: (joint: string) => places.get(joint)! };
}

/** A free joint has a place and a quaternion, and velocities along and about three axes. */
function widthOf({ type }: Joint): { positions: number; velocities: number } {
  return type === "free" ? { positions: 7, velocities: 6 } : { positions: 1, velocities: 1 };
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
