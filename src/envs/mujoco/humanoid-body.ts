/** Humanoid's body: torso, waist, pelvis, two legs and two arms; numbers only. What is asked of it is `humanoid.ts`. */
import { type Body, type Joint, type Quaternion, radians, type Vector3 } from "./robot.ts";

/** A hinge that nothing holds back but damping. */
interface Hinge {
  readonly axis: Vector3;
  readonly degrees: readonly [number, number];
  readonly armature: number;
  readonly anchor?: Vector3;
  readonly stiffness?: number;
  readonly damping?: number;
}

/** Which half of the body; the model's two halves differ in a few numbers beyond mirroring. */
interface Side {
  readonly name: "right" | "left";
  /** −1 where y is negative. */
  readonly sign: 1 | -1;
  readonly hipArmature: number;
  readonly kneeStiffness: number;
  readonly shoulderDegrees: readonly [number, number];
}

const RIGHT: Side = {
  name: "right",
  sign: -1,
  hipArmature: 0.008,
  kneeStiffness: 0,
  shoulderDegrees: [-85, 60],
};
const LEFT: Side = {
  name: "left",
  sign: 1,
  hipArmature: 0.01,
  kneeStiffness: 1,
  shoulderDegrees: [-60, 85],
};

const BENT: Quaternion = [1, 0, -0.002, 0];
const WAIST = { armature: 0.02, damping: 5 } as const;

/** From the torso, which flies freely, downwards. */
export const humanoidBody: Body = {
  name: "torso",
  position: [0, 0, 1.4],
  joints: [{ name: "root", type: "free", stiffness: 0, damping: 0, armature: 0 }],
  shapes: [
    { name: "chest", radius: 0.07, from: [0, -0.07, 0], to: [0, 0.07, 0] },
    { name: "head", radius: 0.09, ball: [0, 0, 0.19] },
    { name: "upper_waist", radius: 0.06, from: [-0.01, -0.06, -0.12], to: [-0.01, 0.06, -0.12] },
  ],
  children: [
    {
      name: "lower_waist",
      position: [-0.01, 0, -0.26],
      turn: BENT,
      joints: [
        waist("abdomen_z", { axis: [0, 0, 1], degrees: [-45, 45], stiffness: 20, anchor: [0, 0, 0.065] }),
        waist("abdomen_y", { axis: [0, 1, 0], degrees: [-75, 30], stiffness: 10, anchor: [0, 0, 0.065] }),
      ],
      shapes: [{ name: "lower_waist", radius: 0.06, from: [0, -0.06, 0], to: [0, 0.06, 0] }],
      children: [
        {
          name: "pelvis",
          position: [0, 0, -0.165],
          turn: BENT,
          joints: [
            waist("abdomen_x", { axis: [1, 0, 0], degrees: [-35, 35], stiffness: 10, anchor: [0, 0, 0.1] }),
          ],
          shapes: [{ name: "pelvis", radius: 0.09, from: [-0.02, -0.07, 0], to: [-0.02, 0.07, 0] }],
          children: [thigh(RIGHT), thigh(LEFT)],
        },
      ],
    },
    upperArm(RIGHT),
    upperArm(LEFT),
  ],
};

function thigh(side: Side): Body {
  const { name, sign } = side;
  const hip = { damping: 5, armature: 0.01 } as const;
  return {
    name: `${name}_thigh`,
    position: [0, sign * 0.1, -0.04],
    joints: [
      hinge(`${name}_hip_x`, { ...hip, axis: [-sign, 0, 0], degrees: [-25, 5], stiffness: 10 }),
      hinge(`${name}_hip_z`, { ...hip, axis: [0, 0, -sign], degrees: [-60, 35], stiffness: 10 }),
      hinge(`${name}_hip_y`, {
        ...hip,
        axis: [0, 1, 0],
        degrees: [-110, 20],
        stiffness: 20,
        armature: side.hipArmature,
      }),
    ],
    shapes: [{ name: `${name}_thigh`, radius: 0.06, from: [0, 0, 0], to: [0, -sign * 0.01, -0.34] }],
    children: [shin(side)],
  };
}

function shin({ name, sign, kneeStiffness: stiffness }: Side): Body {
  const foot: Body = {
    name: `${name}_foot`,
    position: [0, 0, -0.45],
    joints: [],
    shapes: [{ name: `${name}_foot`, radius: 0.075, ball: [0, 0, 0.1] }],
    children: [],
  };
  const knee = { axis: [0, -1, 0], degrees: [-160, -2], anchor: [0, 0, 0.02] } as const;
  return {
    name: `${name}_shin`,
    position: [0, -sign * 0.01, -0.403],
    joints: [hinge(`${name}_knee`, { ...knee, armature: 0.006, stiffness })],
    shapes: [{ name: `${name}_shin`, radius: 0.049, from: [0, 0, 0], to: [0, 0, -0.3] }],
    children: [foot],
  };
}

function upperArm(side: Side): Body {
  const { name, sign, shoulderDegrees: degrees } = side;
  return {
    name: `${name}_upper_arm`,
    position: [0, sign * 0.17, 0.06],
    joints: [
      hinge(`${name}_shoulder1`, { axis: [2, -sign, 1], degrees, armature: 0.0068, stiffness: 1 }),
      hinge(`${name}_shoulder2`, { axis: [0, sign, 1], degrees, armature: 0.0051, stiffness: 1 }),
    ],
    shapes: [{ name: `${name}_upper_arm`, radius: 0.04, from: [0, 0, 0], to: [0.16, sign * 0.16, -0.16] }],
    children: [lowerArm(side)],
  };
}

function lowerArm({ name, sign }: Side): Body {
  const along = (length: number): Vector3 => [length, -sign * length, length];
  return {
    name: `${name}_lower_arm`,
    position: [0.18, sign * 0.18, -0.18],
    joints: [hinge(`${name}_elbow`, { axis: [0, -1, -sign], degrees: [-90, 50], armature: 0.0028 })],
    shapes: [
      { name: `${name}_lower_arm`, radius: 0.031, from: along(0.01), to: along(0.17) },
      { name: `${name}_hand`, radius: 0.04, ball: along(0.18) },
    ],
    children: [],
  };
}

function waist(name: string, about: Omit<Hinge, "armature" | "damping">): Joint {
  return hinge(name, { ...WAIST, ...about });
}

function hinge(name: string, { degrees, stiffness = 0, damping = 1, ...rest }: Hinge): Joint {
  return { name, type: "hinge", range: radians(...degrees), stiffness, damping, ...rest };
}
