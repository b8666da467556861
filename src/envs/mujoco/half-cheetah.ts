/**
 * HalfCheetah: a planar runner with a back and a front leg of three joints each; numbers only, no code that runs it.
 *
 * @source Gymnasium, HalfCheetah-v5 (numbers of its model and reward); Gymnasium-Robotics, MaMuJoCo (partitions).
 */
import type { Body, Joint, Vector3 } from "./robot.ts";
import { JOINTS_ALONE, type RobotTask } from "./task.ts";

const RADIUS = 0.046;
const ABOUT_Y: Vector3 = [0, 1, 0];

/** One part of a leg: its joint, and the capsule that hangs from it. */
interface Segment {
  readonly name: string;
  readonly position: Vector3;
  readonly range: readonly [number, number];
  readonly stiffness: number;
  readonly damping: number;
  readonly centre: Vector3;
  readonly turnAboutY: number;
  readonly halfLength: number;
}

const backLeg: readonly Segment[] = [
  {
    name: "bthigh",
    position: [-0.5, 0, 0],
    range: [-0.52, 1.05],
    stiffness: 240,
    damping: 6,
    centre: [0.1, 0, -0.13],
    turnAboutY: -3.8,
    halfLength: 0.145,
  },
  {
    name: "bshin",
    position: [0.16, 0, -0.25],
    range: [-0.785, 0.785],
    stiffness: 180,
    damping: 4.5,
    centre: [-0.14, 0, -0.07],
    turnAboutY: -2.03,
    halfLength: 0.15,
  },
  {
    name: "bfoot",
    position: [-0.28, 0, -0.14],
    range: [-0.4, 0.785],
    stiffness: 120,
    damping: 3,
    centre: [0.03, 0, -0.097],
    turnAboutY: -0.27,
    halfLength: 0.094,
  },
];

const frontLeg: readonly Segment[] = [
  {
    name: "fthigh",
    position: [0.5, 0, 0],
    range: [-1, 0.7],
    stiffness: 180,
    damping: 4.5,
    centre: [-0.07, 0, -0.12],
    turnAboutY: 0.52,
    halfLength: 0.133,
  },
  {
    name: "fshin",
    position: [-0.14, 0, -0.24],
    range: [-1.2, 0.87],
    stiffness: 120,
    damping: 3,
    centre: [0.065, 0, -0.09],
    turnAboutY: -0.6,
    halfLength: 0.106,
  },
  {
    name: "ffoot",
    position: [0.13, 0, -0.18],
    range: [-0.5, 0.5],
    stiffness: 60,
    damping: 1.5,
    centre: [0.045, 0, -0.07],
    turnAboutY: -0.6,
    halfLength: 0.07,
  },
];

export const halfCheetah: RobotTask = {
  name: "HalfCheetah",
  robot: {
    name: "half-cheetah",
    timestep: 0.01,
    integrator: "Euler",
    totalMass: 14,
    density: 1000,
    scratchMebibytes: 1,
    jointLimits: { solref: [0.02, 1], solimp: [0, 0.8, 0.03] },
    contacts: {
      meet: "ground",
      dimensions: 3,
      margin: 0,
      solref: [0.02, 1],
      solimp: [0, 0.8, 0.01],
      friction: [0.4, 0.1, 0.1],
    },
    ground: { height: 0, size: [40, 40, 40] },
    root: {
      name: "torso",
      position: [0, 0, 0.7],
      joints: [
        rootJoint("rootx", "slide", [1, 0, 0]),
        rootJoint("rootz", "slide", [0, 0, 1]),
        rootJoint("rooty", "hinge", ABOUT_Y),
      ],
      shapes: [
        { name: "torso", radius: RADIUS, from: [-0.5, 0, 0], to: [0.5, 0, 0] },
        { name: "head", radius: RADIUS, centre: [0.6, 0, 0.1], turnAboutY: 0.87, halfLength: 0.15 },
      ],
      children: [...leg(backLeg), ...leg(frontLeg)],
    },
    controlRange: [-1, 1],
    motors: [
      { joint: "bthigh", gear: 120 },
      { joint: "bshin", gear: 90 },
      { joint: "bfoot", gear: 60 },
      { joint: "fthigh", gear: 120 },
      { joint: "fshin", gear: 60 },
      { joint: "ffoot", gear: 30 },
    ],
  },
  frameSkip: 5,
  episodeLimit: 1000,
  hiddenPositions: 1,
  derived: [],
  resetNoise: { positions: 0.1, velocities: 0.1, kind: "normal" },
  reward: { forward: 1, of: "root", control: 0.1, alive: 0 },
  rootJoints: ["rootx", "rootz", "rooty"],
  neighbours: [
    ["bfoot", "bshin"],
    ["bshin", "bthigh"],
    ["bthigh", "fthigh"],
    ["fthigh", "fshin"],
    ["fshin", "ffoot"],
  ],
  categories: { new: JOINTS_ALONE, old: JOINTS_ALONE },
  factorizations: {
    "2x3": [
      ["bthigh", "bshin", "bfoot"],
      ["fthigh", "fshin", "ffoot"],
    ],
    "3x2": [
      ["bfoot", "bshin"],
      ["bthigh", "ffoot"],
      ["fshin", "fthigh"],
    ],
    "6x1": [["bthigh"], ["bshin"], ["bfoot"], ["fthigh"], ["fshin"], ["ffoot"]],
  },
};

/** The first segment with the rest hanging from it in turn; a list, so that a leg's end has no children. */
function leg(segments: readonly Segment[]): Body[] {
  const [segment, ...below] = segments;
  if (segment === undefined) return [];
  const { name, position, range, stiffness, damping, centre, turnAboutY, halfLength } = segment;
  const joint: Joint = { name, type: "hinge", axis: ABOUT_Y, range, stiffness, damping, armature: 0.1 };
  const capsule = { name, radius: RADIUS, centre, turnAboutY, halfLength };
  return [{ name, position, joints: [joint], shapes: [capsule], children: leg(below) }];
}

function rootJoint(name: string, type: Joint["type"], axis: Vector3): Joint {
  return { name, type, axis, stiffness: 0, damping: 0, armature: 0 };
}
