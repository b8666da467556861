/** What is asked of a robot, and how it is shared among agents, in plain data; not the simulation of it. */
import type { Robot } from "./robot.ts";

/** What MuJoCo computes of a body, or of the forces of motors, beside positions and velocities. */
export type Derived = "inertia" | "bodyVelocity" | "actuatorForce" | "contactForce";

/** A kind of number that an agent may see of a joint, or of the bodies beside it. */
export type Category = "position" | "velocity" | Derived;

/** What is seen of the nearest joints, and of all that are farther away. */
export interface Categories {
  readonly own: readonly Category[];
  readonly farther: readonly Category[];
}

/** What the new lineage's graph shows of a joint where that is not simply the joint's own. */
interface JointSight {
  /** Bodies whose numbers come with the joint. */
  readonly bodies?: readonly string[];
  /** The joint whose numbers are shown as this one's. */
  readonly shows?: string;
  /** Joints whose velocities are shown as this one's. */
  readonly velocitiesOf?: readonly string[];
}

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
  /** Velocities in the state are clipped to ± this; left out, never. `agents`: in local observations too. */
  readonly velocityLimit?: { readonly bound: number; readonly agents: boolean };
  /** What follows positions and velocities in the state. */
  readonly derived: readonly Derived[];
  /** Start of an episode: positions uniform in ± `positions`, velocities as `kind` says: uniform, or the deviation. */
  readonly resetNoise: {
    readonly positions: number;
    readonly velocities: number;
    readonly kind: "normal" | "uniform";
  };
  readonly reward: Reward;
  /** The episode terminates when the robot leaves these; left out, never. */
  readonly healthy?: Health;
  /** Joints of the root, which no agent drives and `globals=root` shows to all. */
  readonly rootJoints: readonly string[];
  /** Sets of joints that neighbour one another, for observations within k hops. */
  readonly neighbours: readonly (readonly string[])[];
  /** By joint. */
  readonly sight?: Readonly<Record<string, JointSight>>;
  /** What agents see of joints: as the maintained library has it (`new`), and as the one before it had. */
  readonly categories: { readonly new: Categories; readonly old: Categories };
  /** Named ways to share the motors: joints of each agent, in the order of its action. */
  readonly factorizations: Readonly<Record<string, readonly (readonly string[])[]>>;
}

/** reward = forward · dx/dt + alive (while healthy) − control · Σ action² − contact cost. */
export interface Reward {
  readonly forward: number;
  /** Whose x: the root joint's position, or of the torso or of all mass where the last physics step began. */
  readonly of: "root" | "torso" | "mass";
  readonly control: number;
  readonly alive: number;
  /** min(most, weight · Σ force²) over all bodies, forces clipped to ± `contactForceLimit`. */
  readonly contact?: { readonly weight: number; readonly most: number };
  /** Bound of contact forces in cost and state; left out, none. */
  readonly contactForceLimit?: number;
}

/** Where an episode may go on. */
export interface Health {
  /** Bounds on single positions, open unless `closed`. */
  readonly positions: readonly {
    readonly index: number;
    readonly low: number;
    readonly high: number;
    readonly closed?: boolean;
  }[];
  /** Every other number: positions from the third on and all velocities lie inside ± this. */
  readonly others?: number;
}

/** What most robots show: an agent's own joints with their velocities, and where farther ones are. */
export const JOINTS_ALONE: Categories = { own: ["position", "velocity"], farther: ["position"] };
