/**
 * Hopper: a torso on one leg in the plane of x and z; numbers only, its body is `planar-walker.ts`.
 *
 * @source Gymnasium, Hopper-v5 (numbers of its model and reward); Gymnasium-Robotics, MaMuJoCo (partitions).
 */
import { planarWalker } from "./planar-walker.ts";
import { STANDARD } from "./robot.ts";
import { JOINTS_ALONE, type RobotTask } from "./task.ts";

export const hopper: RobotTask = {
  name: "Hopper",
  robot: {
    name: "hopper",
    timestep: 0.002,
    integrator: "RK4",
    density: 1000,
    scratchMebibytes: 1,
    jointLimits: STANDARD,
    contacts: {
      meet: "everything",
      dimensions: 1,
      margin: 0.001,
      solref: [0.02, 1],
      solimp: [0.8, 0.8, 0.01],
      friction: [1, 0.005, 0.0001],
    },
    ground: { height: 0, size: [20, 20, 0.125] },
    root: planarWalker([{ suffix: "", footPlace: 0.13, footHalfLength: 0.195, footFriction: 2 }], {
      armature: 1,
      damping: 1,
    }),
    controlRange: [-1, 1],
    motors: ["thigh", "leg", "foot"].map((joint) => ({ joint, gear: 200 })),
  },
  frameSkip: 4,
  episodeLimit: 1000,
  hiddenPositions: 1,
  velocityLimit: { bound: 10, agents: true },
  derived: [],
  resetNoise: { positions: 0.005, velocities: 0.005, kind: "uniform" },
  reward: { forward: 1, of: "root", control: 0.001, alive: 1 },
  healthy: {
    positions: [
      { index: 1, low: 0.7, high: Number.POSITIVE_INFINITY },
      { index: 2, low: -0.2, high: 0.2 },
    ],
    others: 100,
  },
  rootJoints: ["rootx", "rootz", "rooty"],
  neighbours: [
    ["foot", "leg"],
    ["leg", "thigh"],
  ],
  categories: { new: JOINTS_ALONE, old: JOINTS_ALONE },
  factorizations: { "3x1": [["thigh"], ["leg"], ["foot"]] },
};
