/** What a simulated robot is made of, in plain data; not the text MuJoCo reads (`mjcf.ts`) nor a task (`task.ts`). */

/** x, y, z. Lengths in metres; axes need not be of unit length. */
export type Vector3 = readonly [number, number, number];

/** Real part first; need not be of unit length. */
export type Quaternion = readonly [number, number, number, number];

/** One degree of freedom, or six of a body that flies freely. Stiffness and damping per metre (slide) or radian (hinge). */
export interface Joint {
  readonly name: string;
  readonly type: "slide" | "hinge" | "free";
  /** Left out of a free joint alone. */
  readonly axis?: Vector3;
  /** Where the joint sits in its body's frame; left out, at its origin. */
  readonly anchor?: Vector3;
  /** The joint's position where the robot is as described; left out, 0. */
  readonly reference?: number;
  /** Limits in metres or radians; left out, the joint is free. */
  readonly range?: readonly [number, number];
  readonly stiffness: number;
  readonly damping: number;
  /** Rotor inertia added to the joint's diagonal in the mass matrix. */
  readonly armature: number;
}

/** A ball, or a cylinder with round ends: between two points, or by its centre, a turn and its half length. */
export type Shape = {
  readonly name: string;
  readonly radius: number;
  /** Sliding friction; left out, that of all contacts. Torsional and rolling friction are always those. */
  readonly friction?: number;
} & (
  | { readonly ball: Vector3 }
  | { readonly from: Vector3; readonly to: Vector3 }
  | { readonly centre: Vector3; readonly turnAboutY: number; readonly halfLength: number }
  | { readonly centre: Vector3; readonly turn: Quaternion; readonly halfLength: number }
);

/** A rigid body: it moves against its parent by its joints, and masses come from its shapes. */
export interface Body {
  readonly name: string;
  /** Of this body's frame in its parent's. */
  readonly position: Vector3;
  readonly turn?: Quaternion;
  readonly joints: readonly Joint[];
  readonly shapes: readonly Shape[];
  readonly children: readonly Body[];
}

/** A torque or force on a joint: control times gear, the control clamped to the robot's `controlRange`. */
interface Motor {
  readonly joint: string;
  readonly gear: number;
}

/** How stiffly MuJoCo holds a constraint: `solref` (time constant in seconds, damping ratio) and `solimp`. */
interface Softness {
  readonly solref: readonly [number, number];
  readonly solimp: readonly [number, number, number];
}

/** What MuJoCo itself assumes of limits and contacts. */
export const STANDARD: Softness = { solref: [0.02, 1], solimp: [0.9, 0.95, 0.001] };

/** A robot on flat ground. */
export interface Robot {
  readonly name: string;
  /** Seconds of one physics step. */
  readonly timestep: number;
  /** Euler's method, or Runge and Kutta's of fourth order: four times the work, less damping. */
  readonly integrator: "Euler" | "RK4";
  /** Projected Gauss-Seidel with so many sweeps; left out, MuJoCo's own: Newton's method. */
  readonly sweeps?: number;
  /** What it swims in: kilograms per cubic metre, and viscosity in pascal seconds; left out, a vacuum. */
  readonly medium?: { readonly density: number; readonly viscosity: number };
  /** Kilograms to which the masses of all bodies are scaled together; left out, what their shapes weigh. */
  readonly totalMass?: number;
  /** Of all shapes, in kilograms per cubic metre. */
  readonly density: number;
  /**
   * MiB of scratch memory of each simulation. MuJoCo drops contacts when it runs out, so many times what the robot is
   * seen to use; MuJoCo's own choice, over 10 MiB, would let few simulations fit into one thread.
   */
  readonly scratchMebibytes: number;
  readonly jointLimits: Softness;
  readonly contacts: Softness & {
    /** What parts of the robot can touch: `everything` is the ground and one another. */
    readonly meet: "nothing" | "ground" | "everything";
    /** 3 with sliding friction, 1 without; against the ground always 3. */
    readonly dimensions: 1 | 3;
    /** Distance in metres from which on a contact counts. */
    readonly margin: number;
    /** Sliding, torsional and rolling. */
    readonly friction: Vector3;
  };
  readonly ground: {
    readonly height: number;
    readonly size: Vector3;
    /** Left out, that of all contacts. */
    readonly friction?: Vector3;
  };
  readonly root: Body;
  readonly controlRange: readonly [number, number];
  /** In actuator order: action i of the whole robot drives motor i. */
  readonly motors: readonly Motor[];
}

/** Every joint, in the order in which MuJoCo numbers them: a body before its children. */
export function jointsOf(body: Body): Joint[] {
  return [...body.joints, ...body.children.flatMap(jointsOf)];
}

/** Every body, in the order in which MuJoCo numbers them from 1 on; 0 is the world. */
export function bodiesOf(body: Body): Body[] {
  return [body, ...body.children.flatMap(bodiesOf)];
}

/** Degrees as radians. */
export function radians(low: number, high: number): readonly [number, number] {
  return [(low * Math.PI) / 180, (high * Math.PI) / 180];
}
