/** What is asked of a robot, and how it is shared among agents, in plain data; not the simulation of it. */
import type { Robot } from "./robot.ts";

/** A robot, its reward and its team. */
export interface RobotTask {
  /** As in a task's name: `HalfCheetah`. */
  readonly name: string;
  readonly robot: Robot;
  /** Physics steps for one action. */
  readonly frameSkip: number;
  /** Steps after which an episode is truncated, unless an option says otherwise. */
  readonly episodeLimit: number;
  /** Leading positions left out of every observation: where the robot is on the ground. */
  readonly hiddenPositions: number;
  /** Start of an episode: positions uniform in ± `positions`, velocities normal with deviation `velocities`. */
  readonly resetNoise: { readonly positions: number; readonly velocities: number };
  /** reward = forward · dx/dt − control · Σ action². */
  readonly reward: { readonly forward: number; readonly control: number };
  /** Joints of the root, which no agent drives and `globals=root` shows to all. */
  readonly rootJoints: readonly string[];
  /** Sets of joints that neighbour one another, for observations within k hops. */
  readonly neighbours: readonly (readonly string[])[];
  /** Named ways to share the motors: joints of each agent, in the order of its action. */
  readonly factorizations: Readonly<Record<string, readonly (readonly string[])[]>>;
}
