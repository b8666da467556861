/**
 * Humanoid: a figure with arms and legs, 17 motors, free in space; numbers only, its body is `humanoid-body.ts`.
 * The original's two tendons are left out: they hold nothing and only measure.
 *
 * @source Gymnasium, Humanoid-v5 (numbers of its model and reward); Gymnasium-Robotics, MaMuJoCo (partitions).
 */
import { humanoidBody } from "./humanoid-body.ts";
import { STANDARD } from "./robot.ts";
import type { RobotTask } from "./task.ts";

const ABDOMEN = ["abdomen_x", "abdomen_y", "abdomen_z"];
const hips = (side: string): string[] => ["x", "y", "z"].map((axis) => `${side}_hip_${axis}`);
const leg = (side: string): string[] => [...hips(side), `${side}_knee`];
const shoulders = (side: string): string[] => [`${side}_shoulder1`, `${side}_shoulder2`];
const arm = (side: string): string[] => [...shoulders(side), `${side}_elbow`];

const GEARS: readonly (readonly [string, number])[] = [
  ["abdomen_y", 100],
  ["abdomen_z", 100],
  ["abdomen_x", 100],
  ...["right", "left"].flatMap((side): [string, number][] => [
    [`${side}_hip_x`, 100],
    [`${side}_hip_z`, 100],
    [`${side}_hip_y`, 300],
    [`${side}_knee`, 200],
  ]),
  ...[...arm("right"), ...arm("left")].map((joint): [string, number] => [joint, 25]),
];

/** Bodies seen with each joint of a side. */
function sidesBodies(side: string): [string, { bodies: string[] }][] {
  const arms = ["torso", `${side}_upper_arm`, `${side}_lower_arm`];
  return [
    ...hips(side).map((joint): [string, { bodies: string[] }] => [
      joint,
      { bodies: [`${side}_thigh`, `${side}_shin`] },
    ]),
    [`${side}_knee`, { bodies: [`${side}_shin`, `${side}_foot`] }],
    ...shoulders(side).map((joint): [string, { bodies: string[] }] => [joint, { bodies: arms }]),
    [`${side}_elbow`, { bodies: [`${side}_lower_arm`] }],
  ];
}

const TRUNK = ["torso", "lower_waist", "pelvis"];

export const humanoid: RobotTask = {
  name: "Humanoid",
  robot: {
    name: "humanoid",
    timestep: 0.003,
    integrator: "RK4",
    sweeps: 50,
    density: 1000,
    scratchMebibytes: 2,
    jointLimits: STANDARD,
    contacts: {
      ...STANDARD,
      meet: "everything",
      dimensions: 1,
      margin: 0.001,
      friction: [1, 0.005, 0.0001],
    },
    ground: { height: 0, size: [20, 20, 0.125], friction: [1, 0.1, 0.1] },
    root: humanoidBody,
    controlRange: [-0.4, 0.4],
    motors: GEARS.map(([joint, gear]) => ({ joint, gear })),
  },
  frameSkip: 5,
  episodeLimit: 1000,
  hiddenPositions: 2,
  derived: ["inertia", "bodyVelocity", "actuatorForce", "contactForce"],
  resetNoise: { positions: 0.01, velocities: 0.01, kind: "uniform" },
  reward: { forward: 1.25, of: "mass", control: 0.1, alive: 5, contact: { weight: 5e-7, most: 10 } },
  healthy: { positions: [{ index: 2, low: 1, high: 2 }] },
  rootJoints: ["root"],
  neighbours: [
    ABDOMEN,
    ...["right", "left"].flatMap((side) => [
      hips(side),
      arm(side),
      leg(side),
      [...shoulders(side), ...ABDOMEN],
      [...ABDOMEN, ...hips(side)],
    ]),
  ],
  sight: Object.fromEntries([
    // As MaMuJoCo has it: these two stand for one another in what is seen, though each drives its own motor.
    ["abdomen_y", { bodies: TRUNK, shows: "abdomen_z" }],
    ["abdomen_z", { bodies: TRUNK, shows: "abdomen_y" }],
    ["abdomen_x", { bodies: ["pelvis", "right_thigh", "left_thigh"] }],
    ...sidesBodies("right"),
    ...sidesBodies("left"),
  ]),
  categories: {
    new: {
      own: ["position", "velocity", "inertia", "bodyVelocity", "actuatorForce", "contactForce"],
      farther: ["position"],
    },
    old: { own: ["position", "velocity", "actuatorForce"], farther: ["position"] },
  },
  factorizations: {
    "9|8": [
      [...ABDOMEN, ...arm("right"), ...arm("left")],
      [...leg("right"), ...leg("left")],
    ],
    "17x1": [
      ...shoulders("left"),
      ...ABDOMEN,
      ...arm("right"),
      "left_elbow",
      ...hips("left"),
      ...leg("right"),
      "left_knee",
    ].map((joint) => [joint]),
  },
};
