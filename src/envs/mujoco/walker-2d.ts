/**
 * Walker2d: a torso on two legs in the plane of x and z; numbers only, its body is `planar-walker.ts`.
 *
 * @source Gymnasium, Walker2d-v5 (numbers of its model and reward); Gymnasium-Robotics, MaMuJoCo (partitions).
 */
import { planarWalker } from "./planar-walker.ts";
import { STANDARD } from "./robot.ts";
import { JOINTS_ALONE, type RobotTask } from "./task.ts";

const FOOT = { footPlace: 0.2, footHalfLength: 0.1, footFriction: 1.9 } as const;
const MOTORS = ["thigh", "leg", "foot", "thigh_left", "leg_left", "foot_left"];

export const walker2d: RobotTask = {
  name: "Walker2d",
  robot: {
    name: "walker-2d",
    timestep: 0.002,
    integrator: "RK4",
    density: 1000,
    scratchMebibytes: 1,
    jointLimits: STANDARD,
    contacts: { ...STANDARD, meet: "ground", dimensions: 3, margin: 0, friction: [0.7, 0.1, 0.1] },
    ground: { height: 0, size: [40, 40, 40] },
    root: planarWalker(
      [
        { suffix: "", ...FOOT },
        { suffix: "_left", ...FOOT },
      ],
      { armature: 0.01, damping: 0.1 },
    ),
    controlRange: [-1, 1],
    motors: MOTORS.map((joint) => ({ joint, gear: 100 })),
  },
  frameSkip: 4,
  episodeLimit: 1000,
  hiddenPositions: 1,
  // The state alone: agents of MaMuJoCo see this robot's joints unclipped.
  velocityLimit: { bound: 10, agents: false },
  derived: [],
  resetNoise: { positions: 0.005, velocities: 0.005, kind: "uniform" },
  reward: { forward: 1, of: "root", control: 0.001, alive: 1 },
  healthy: {
    positions: [
      { index: 1, low: 0.8, high: 2 },
      { index: 2, low: -1, high: 1 },
    ],
  },
  rootJoints: ["rootx", "rootz", "rooty"],
  neighbours: [
    ["foot", "leg"],
    ["leg", "thigh"],
    ["foot_left", "leg_left"],
    ["leg_left", "thigh_left"],
    ["thigh", "thigh_left"],
  ],
  categories: { new: JOINTS_ALONE, old: JOINTS_ALONE },
  factorizations: {
    "2x3": [
      ["foot", "leg", "thigh"],
      ["foot_left", "leg_left", "thigh_left"],
    ],
    "3x2": [
      ["foot", "leg"],
      ["thigh", "foot_left"],
      ["leg_left", "thigh_left"],
    ],
    "6x1": [["foot"], ["leg"], ["thigh"], ["foot_left"], ["leg_left"], ["thigh_left"]],
  },
};
