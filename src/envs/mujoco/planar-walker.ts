/**
 * The body that Hopper and Walker2d share: an upright torso in the plane of x and z on one leg or two of thigh, leg
 * and foot. Geometry by heights above the ground; what is asked of the robots is in their own files.
 */
import { type Body, type Joint, type Quaternion, radians, type Vector3 } from "./robot.ts";

/** Metres above the ground when the robot stands. */
const HEIGHT = { top: 1.45, torso: 1.25, hip: 1.05, knee: 0.6, ankle: 0.1 } as const;
const BACKWARDS: Vector3 = [0, -1, 0];
/** A capsule along z laid along x. */
const LAID_DOWN: Quaternion = [Math.SQRT1_2, 0, -Math.SQRT1_2, 0];
const SLIDING_FRICTION = 0.9;

/** A leg and how its foot is made; `suffix` ends the names of its joints. */
interface Leg {
  readonly suffix: string;
  /** Of the foot's frame, in metres before the ankle. */
  readonly footPlace: number;
  readonly footHalfLength: number;
  readonly footFriction: number;
}

/** Rotor inertia and damping of every joint of the legs. */
interface Drive {
  readonly armature: number;
  readonly damping: number;
}

/** The torso on its legs; joints rootx, rootz, rooty, then thigh, leg, foot of each leg with its suffix. */
export function planarWalker(legs: readonly Leg[], drive: Drive): Body {
  const ground: Vector3 = [0, 0, -HEIGHT.torso];
  const still = { stiffness: 0, damping: 0, armature: 0 };
  const halfLength = (HEIGHT.top - HEIGHT.hip) / 2;
  return {
    name: "torso",
    position: [0, 0, HEIGHT.torso],
    joints: [
      { name: "rootx", type: "slide", axis: [1, 0, 0], anchor: ground, ...still },
      { name: "rootz", type: "slide", axis: [0, 0, 1], anchor: ground, reference: HEIGHT.torso, ...still },
      { name: "rooty", type: "hinge", axis: [0, 1, 0], ...still },
    ],
    shapes: [upright("torso", 0.05, 0, halfLength)],
    children: legs.map((leg) => thigh(leg, drive)),
  };
}

function thigh(leg: Leg, drive: Drive): Body {
  const name = `thigh${leg.suffix}`;
  const centre = (HEIGHT.hip + HEIGHT.knee) / 2 - HEIGHT.hip;
  return {
    name,
    position: [0, 0, HEIGHT.hip - HEIGHT.torso],
    joints: [hinge(name, [0, 0, 0], [-150, 0], drive)],
    shapes: [upright(name, 0.05, centre, (HEIGHT.hip - HEIGHT.knee) / 2)],
    children: [shin(leg, drive)],
  };
}

function shin(leg: Leg, drive: Drive): Body {
  const name = `leg${leg.suffix}`;
  const middle = (HEIGHT.knee + HEIGHT.ankle) / 2;
  return {
    name,
    position: [0, 0, middle - HEIGHT.hip],
    joints: [hinge(name, [0, 0, HEIGHT.knee - middle], [-150, 0], drive)],
    shapes: [upright(name, 0.04, 0, (HEIGHT.knee - HEIGHT.ankle) / 2)],
    children: [foot(leg, drive, middle)],
  };
}

function foot({ suffix, footPlace, footHalfLength, footFriction }: Leg, drive: Drive, above: number): Body {
  const name = `foot${suffix}`;
  const centre: Vector3 = [-footPlace / 2, 0, HEIGHT.ankle];
  return {
    name,
    position: [footPlace, 0, -above],
    joints: [hinge(name, [-footPlace, 0, HEIGHT.ankle], [-45, 45], drive)],
    shapes: [
      { name, radius: 0.06, friction: footFriction, centre, turn: LAID_DOWN, halfLength: footHalfLength },
    ],
    children: [],
  };
}

function upright(name: string, radius: number, height: number, halfLength: number) {
  return {
    name,
    radius,
    friction: SLIDING_FRICTION,
    centre: [0, 0, height],
    turnAboutY: 0,
    halfLength,
  } as const;
}

function hinge(name: string, anchor: Vector3, degrees: readonly [number, number], drive: Drive): Joint {
  return { name, type: "hinge", axis: BACKWARDS, anchor, range: radians(...degrees), stiffness: 0, ...drive };
}
