/** What a simulated robot is made of, in plain data; not the text MuJoCo reads (`mjcf.ts`) nor a task (`task.ts`). */

/** x, y, z. Lengths in metres; axes need not be of unit length. */
export type Vector3 = readonly [number, number, number];

/** One degree of freedom. Stiffness and damping per metre (slide) or radian (hinge). */
export interface Joint {
  readonly name: string;
  readonly type: "slide" | "hinge";
  readonly axis: Vector3;
  /** Limits in metres or radians; left out, the joint is free. */
  readonly range?: readonly [number, number];
  readonly stiffness: number;
  readonly damping: number;
  /** Rotor inertia added to the joint's diagonal in the mass matrix. */
  readonly armature: number;
}

/** A cylinder with round ends, placed by its two ends or by its centre, a turn about y and its half length. */
export type Capsule = { readonly name: string; readonly radius: number } & (
  | { readonly from: Vector3; readonly to: Vector3 }
  | { readonly centre: Vector3; readonly turnAboutY: number; readonly halfLength: number }
);

/** A rigid body: it moves against its parent by its joints, and masses come from its capsules. */
export interface Body {
  readonly name: string;
  /** Of this body's frame in its parent's. */
  readonly position: Vector3;
  readonly joints: readonly Joint[];
  readonly capsules: readonly Capsule[];
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

/** A robot on flat ground. */
export interface Robot {
  readonly name: string;
  /** Seconds of one physics step. */
  readonly timestep: number;
  /** Kilograms to which the masses of all bodies are scaled together. */
  readonly totalMass: number;
  /**
   * MiB of scratch memory of each simulation. MuJoCo drops contacts when it runs out, so many times what the robot is
   * seen to use; MuJoCo's own choice, over 10 MiB, would let few simulations fit into one thread.
   */
  readonly scratchMebibytes: number;
  readonly jointLimits: Softness;
  readonly contacts: Softness & {
    /** Sliding, torsional and rolling. */
    readonly friction: Vector3;
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
