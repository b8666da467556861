/** Writes a robot as MJCF, the XML that MuJoCo compiles. Only what decides the physics: no lights, no colours. */
import type { Body, Capsule, Joint, Robot } from "./robot.ts";

/** The whole model as text; the same robot gives the same text. */
export function toMjcf(robot: Robot): string {
  const { jointLimits, contacts, controlRange } = robot;
  return element("mujoco", { model: robot.name }, [
    element("compiler", { angle: "radian", inertiafromgeom: "true", settotalmass: robot.totalMass }),
    element("size", { memory: `${robot.scratchMebibytes}M` }),
    element("option", { timestep: robot.timestep, gravity: [0, 0, -9.81] }),
    element("default", {}, [
      element("joint", { solreflimit: jointLimits.solref, solimplimit: jointLimits.solimp }),
      // Bits: parts of the robot meet the ground and never one another.
      element("geom", {
        contype: 1,
        conaffinity: 0,
        condim: 3,
        friction: contacts.friction,
        solref: contacts.solref,
        solimp: contacts.solimp,
      }),
      element("motor", { ctrllimited: "true", ctrlrange: controlRange }),
    ]),
    element("worldbody", {}, [
      element("geom", { name: "ground", type: "plane", size: [40, 40, 40], conaffinity: 1 }),
      bodyElement(robot.root),
    ]),
    element(
      "actuator",
      {},
      robot.motors.map(({ joint, gear }) => element("motor", { name: joint, joint, gear })),
    ),
  ]);
}

function bodyElement(body: Body): string {
  return element("body", { name: body.name, pos: body.position }, [
    ...body.joints.map(jointElement),
    ...body.capsules.map(capsuleElement),
    ...body.children.map(bodyElement),
  ]);
}

function jointElement(joint: Joint): string {
  const { name, type, axis, range, stiffness, damping, armature } = joint;
  const limits = range === undefined ? { limited: "false" } : { limited: "true", range };
  return element("joint", { name, type, axis, ...limits, stiffness, damping, armature });
}

function capsuleElement(capsule: Capsule): string {
  const { name, radius } = capsule;
  if ("from" in capsule) {
    const fromto = [...capsule.from, ...capsule.to];
    return element("geom", { name, type: "capsule", fromto, size: radius });
  }
  const { centre, turnAboutY, halfLength } = capsule;
  const axisangle = [0, 1, 0, turnAboutY];
  return element("geom", { name, type: "capsule", pos: centre, axisangle, size: [radius, halfLength] });
}

/** Numbers are written in full, so that MuJoCo reads back the same doubles. */
function element(
  name: string,
  attributes: Readonly<Record<string, string | number | readonly number[]>>,
  children: readonly string[] = [],
): string {
  const written = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${Array.isArray(value) ? value.join(" ") : value}"`)
    .join("");
  return children.length === 0 ? `<${name}${written}/>` : `<${name}${written}>${children.join("")}</${name}>`;
}
