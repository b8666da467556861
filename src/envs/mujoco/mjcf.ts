/** Writes a robot as MJCF, the XML that MuJoCo compiles. Only what decides the physics: no lights, no colours. */
import type { Body, Joint, Robot, Shape } from "./robot.ts";

type Attribute = string | number | readonly number[] | undefined;

/** Two shapes can touch where a bit of one's contype is in the other's conaffinity. */
const BITS = {
  nothing: { robot: { contype: 0, conaffinity: 0 }, ground: { contype: 0, conaffinity: 0 } },
  ground: { robot: { contype: 1, conaffinity: 0 }, ground: { contype: 1, conaffinity: 1 } },
  everything: { robot: { contype: 1, conaffinity: 1 }, ground: { contype: 1, conaffinity: 1 } },
} as const;

/** The whole model as text; the same robot gives the same text. */
export function toMjcf(robot: Robot): string {
  const { jointLimits, controlRange, totalMass } = robot;
  return element("mujoco", { model: robot.name }, [
    element("compiler", { angle: "radian", inertiafromgeom: "true", settotalmass: totalMass }),
    element("size", { memory: `${robot.scratchMebibytes}M` }),
    optionElement(robot),
    element("default", {}, [
      element("joint", { solreflimit: jointLimits.solref, solimplimit: jointLimits.solimp }),
      shapeDefaults(robot),
      element("motor", { ctrllimited: "true", ctrlrange: controlRange }),
    ]),
    element("worldbody", {}, [groundElement(robot), bodyElement(robot.root)]),
    element(
      "actuator",
      {},
      robot.motors.map(({ joint, gear }) => element("motor", { name: joint, joint, gear })),
    ),
  ]);
}

function optionElement({ timestep, integrator, sweeps, medium }: Robot): string {
  const solver = sweeps === undefined ? {} : { solver: "PGS", iterations: sweeps };
  return element("option", { timestep, gravity: [0, 0, -9.81], integrator, ...solver, ...medium });
}

function shapeDefaults({ contacts, density }: Robot): string {
  const { meet, dimensions, margin, friction, solref, solimp } = contacts;
  return element("geom", {
    ...BITS[meet].robot,
    condim: dimensions,
    margin,
    density,
    friction,
    solref,
    solimp,
  });
}

function groundElement({ contacts, ground }: Robot): string {
  const { height, size, friction } = ground;
  return element("geom", {
    name: "ground",
    type: "plane",
    pos: [0, 0, height],
    size,
    ...BITS[contacts.meet].ground,
    condim: 3,
    friction,
  });
}

function bodyElement(body: Body): string {
  return element("body", { name: body.name, pos: body.position, quat: body.turn }, [
    ...body.joints.map(jointElement),
    ...body.shapes.map(shapeElement),
    ...body.children.map(bodyElement),
  ]);
}

function jointElement(joint: Joint): string {
  const { name, type, axis, anchor, reference, range, stiffness, damping, armature } = joint;
  const limits = range === undefined ? { limited: "false" } : { limited: "true", range };
  const place = { axis, pos: anchor, ref: reference };
  return element("joint", { name, type, ...place, ...limits, stiffness, damping, armature });
}

function shapeElement(shape: Shape): string {
  const { name, radius, friction } = shape;
  if ("ball" in shape) {
    return element("geom", { name, type: "sphere", pos: shape.ball, size: radius, friction });
  }
  if ("from" in shape) {
    const fromto = [...shape.from, ...shape.to];
    return element("geom", { name, type: "capsule", fromto, size: radius, friction });
  }
  const turn = "turn" in shape ? { quat: shape.turn } : { axisangle: [0, 1, 0, shape.turnAboutY] };
  const size = [radius, shape.halfLength];
  return element("geom", { name, type: "capsule", pos: shape.centre, ...turn, size, friction });
}

/** Numbers are written in full, so that MuJoCo reads back the same doubles; what is left out is MuJoCo's own. */
function element(
  name: string,
  attributes: Readonly<Record<string, Attribute>>,
  children: readonly string[] = [],
): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${Array.isArray(value) ? value.join(" ") : value}"`)
    .join("");
  return children.length === 0 ? `<${name}${written}/>` : `<${name}${written}>${children.join("")}</${name}>`;
}
