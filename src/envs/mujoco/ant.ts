/**
 * Ant: a ball on four legs of two joints each, free in space; numbers only, no code that runs it.
 *
 * @source Gymnasium, Ant-v5 (numbers of its model and reward); Gymnasium-Robotics, MaMuJoCo (partitions).
 */
import { type Body, type Joint, radians, STANDARD, type Vector3 } from "./robot.ts";
import type { Categories, RobotTask } from "./task.ts";

/** Leg by number: which way it points along x and y, and the ankle's axis and limits in degrees. */
interface Leg {
  readonly number: number;
  readonly x: number;
  readonly y: number;
  readonly ankleAxis: Vector3;
  readonly ankleDegrees: readonly [number, number];
}

/** Front left, front right, back left, back right. */
const LEGS: readonly Leg[] = [
  { number: 1, x: 1, y: 1, ankleAxis: [-1, 1, 0], ankleDegrees: [30, 70] },
  { number: 2, x: -1, y: 1, ankleAxis: [1, 1, 0], ankleDegrees: [-70, -30] },
  { number: 3, x: -1, y: -1, ankleAxis: [-1, 1, 0], ankleDegrees: [-70, -30] },
  { number: 4, x: 1, y: -1, ankleAxis: [1, 1, 0], ankleDegrees: [30, 70] },
];

const CONTACTS_TOO: Categories = { own: ["position", "velocity", "contactForce"], farther: ["position"] };

export const ant: RobotTask = {
  name: "Ant",
  robot: {
    name: "ant",
    timestep: 0.01,
    integrator: "RK4",
    density: 5,
    scratchMebibytes: 1,
    jointLimits: STANDARD,
    contacts: { ...STANDARD, meet: "ground", dimensions: 3, margin: 0.01, friction: [1, 0.5, 0.5] },
    ground: { height: 0, size: [40, 40, 40] },
    root: {
      name: "torso",
      position: [0, 0, 0.75],
      joints: [{ name: "root", type: "free", stiffness: 0, damping: 0, armature: 0 }],
      shapes: [{ name: "torso", radius: 0.25, ball: [0, 0, 0] }],
      children: LEGS.map(leg),
    },
    controlRange: [-1, 1],
    motors: [4, 1, 2, 3].flatMap((number) => [
      { joint: `hip${number}`, gear: 150 },
      { joint: `ankle${number}`, gear: 150 },
    ]),
  },
  frameSkip: 5,
  episodeLimit: 1000,
  hiddenPositions: 2,
  derived: ["contactForce"],
  resetNoise: { positions: 0.1, velocities: 0.1, kind: "normal" },
  reward: {
    forward: 1,
    of: "torso",
    control: 0.5,
    alive: 1,
    contact: { weight: 5e-4, most: Number.POSITIVE_INFINITY },
    contactForceLimit: 1,
  },
  healthy: { positions: [{ index: 2, low: 0.2, high: 1, closed: true }] },
  rootJoints: ["root"],
  neighbours: [
    ...LEGS.map(({ number }) => [`hip${number}`, `ankle${number}`]),
    LEGS.map(({ number }) => `hip${number}`),
  ],
  sight: Object.fromEntries(
    LEGS.flatMap(({ number }) => [
      [`hip${number}`, { bodies: ["torso", `leg${number}`] }],
      [`ankle${number}`, { bodies: [`leg${number}`, `hip${number}`, `ankle${number}`] }],
    ]),
  ),
  categories: { new: CONTACTS_TOO, old: CONTACTS_TOO },
  factorizations: {
    "4x2": [legs(1), legs(2), legs(3), legs(4)],
    "2x4": [legs(1, 2), legs(3, 4)],
    "2x4d": [legs(1, 4), legs(2, 3)],
    "8x1": legs(1, 2, 3, 4).map((joint) => [joint]),
  },
};

/** Hip and ankle of each leg, in this order. */
function legs(...numbers: readonly number[]): string[] {
  return numbers.flatMap((number) => [`hip${number}`, `ankle${number}`]);
}

/** A stub that is part of the torso, and two links that move. */
function leg({ number, x, y, ankleAxis, ankleDegrees }: Leg): Body {
  const along = (length: number): Vector3 => [x * length, y * length, 0];
  const capsule = (name: string, length: number) => [
    { name, radius: 0.08, from: [0, 0, 0], to: along(length) } as const,
  ];
  const [hip, ankle] = [`hip${number}`, `ankle${number}`];
  const foot: Body = {
    name: ankle,
    position: along(0.2),
    joints: [hinge(ankle, ankleAxis, ankleDegrees)],
    shapes: capsule(ankle, 0.4),
    children: [],
  };
  const thigh: Body = {
    name: hip,
    position: along(0.2),
    joints: [hinge(hip, [0, 0, 1], [-30, 30])],
    shapes: capsule(hip, 0.2),
    children: [foot],
  };
  const name = `leg${number}`;
  return { name, position: [0, 0, 0], joints: [], shapes: capsule(name, 0.2), children: [thigh] };
}

function hinge(name: string, axis: Vector3, degrees: readonly [number, number]): Joint {
  return {
    name,
    type: "hinge",
    axis,
    range: radians(...degrees),
    stiffness: 0,
    damping: 1,
    armature: 1,
  };
}
