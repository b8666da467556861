/**
 * Swimmer: a chain of three rods in a thick fluid, moving in the plane of x and y; numbers only.
 *
 * @source Gymnasium, Swimmer-v5 (numbers of its model and reward); Gymnasium-Robotics, MaMuJoCo (partitions).
 */
import { type Body, type Joint, radians, STANDARD, type Vector3 } from "./robot.ts";
import { JOINTS_ALONE, type RobotTask } from "./task.ts";

const LOOSE = { stiffness: 0, damping: 0, armature: 0.1 } as const;
const UPWARDS: Vector3 = [0, 0, 1];

export const swimmer: RobotTask = {
  name: "Swimmer",
  robot: {
    name: "swimmer",
    timestep: 0.01,
    integrator: "RK4",
    medium: { density: 4000, viscosity: 0.1 },
    density: 1000,
    scratchMebibytes: 1,
    jointLimits: STANDARD,
    contacts: { ...STANDARD, meet: "nothing", dimensions: 1, margin: 0, friction: [1, 0.005, 0.0001] },
    ground: { height: -0.1, size: [40, 40, 0.1] },
    root: {
      name: "front",
      position: [0, 0, 0],
      joints: [
        { name: "slider1", type: "slide", axis: [1, 0, 0], ...LOOSE },
        { name: "slider2", type: "slide", axis: [0, 1, 0], ...LOOSE },
        { name: "free_body_rot", type: "hinge", axis: UPWARDS, ...LOOSE },
      ],
      shapes: [{ name: "front", radius: 0.1, from: [1.5, 0, 0], to: [0.5, 0, 0] }],
      children: [rod("middle", "rot2", 0.5, [rod("back", "rot3", -1, [])])],
    },
    controlRange: [-1, 1],
    motors: ["rot2", "rot3"].map((joint) => ({ joint, gear: 150 })),
  },
  frameSkip: 4,
  episodeLimit: 1000,
  hiddenPositions: 2,
  derived: [],
  resetNoise: { positions: 0.1, velocities: 0.1, kind: "uniform" },
  reward: { forward: 1, of: "root", control: 0.0001, alive: 0 },
  rootJoints: ["free_body_rot"],
  neighbours: [["rot2", "rot3"]],
  // As MaMuJoCo has it: each agent also sees one velocity of the front tip.
  sight: { rot2: { velocitiesOf: ["slider1", "rot2"] }, rot3: { velocitiesOf: ["slider2", "rot3"] } },
  categories: { new: JOINTS_ALONE, old: JOINTS_ALONE },
  factorizations: { "2x1": [["rot2"], ["rot3"]] },
};

/** A rod of one metre behind its joint. */
function rod(name: string, joint: string, x: number, children: readonly Body[]): Body {
  const hinge: Joint = { name: joint, type: "hinge", axis: UPWARDS, range: radians(-100, 100), ...LOOSE };
  const capsule = { name, radius: 0.1, from: [0, 0, 0], to: [-1, 0, 0] } as const;
  return { name, position: [x, 0, 0], joints: [hinge], shapes: [capsule], children };
}
