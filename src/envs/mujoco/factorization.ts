/** Which agent drives which joints: reading a factorisation's name or text. What agents see is `observation.ts`. */
import { LorasaError, suggestion } from "../../base/errors.ts";
import type { RobotTask } from "./task.ts";

/** Joints of each agent, in the order of its action. */
export type Factorization = readonly (readonly string[])[];

/**
 * A named factorisation (`2x3`), or a written one: joints split by `,` and agents by `|`, as in
 * `bthigh,bshin|bfoot,fthigh,fshin,ffoot`.
 * @throws LORASA_CONFIG unless every motor's joint is named exactly once.
 */
export function parseFactorization(text: string, task: RobotTask): Factorization {
  if (Object.hasOwn(task.factorizations, text)) return task.factorizations[text]!;
  const written = text.split("|").map((agent) => agent.split(",").map((joint) => joint.trim()));
  const motors = task.robot.motors.map(({ joint }) => joint);
  const joints = written.flat();
  for (const [index, joint] of joints.entries()) {
    if (!motors.includes(joint)) {
      const known = [...Object.keys(task.factorizations), ...motors];
      throw refused(text, task, `"${joint}"`, suggestion(joint, known));
    }
    if (joints.indexOf(joint) !== index) throw refused(text, task, `${joint} twice`, "name it once");
  }
  const missing = motors.filter((joint) => !joints.includes(joint));
  if (missing.length > 0) {
    throw refused(text, task, `no ${missing.join(", ")}`, "give each joint to an agent");
  }
  return written;
}

/** The text that {@link parseFactorization} reads as this factorisation: its name where it has one. */
export function factorizationText(factorization: Factorization, task: RobotTask): string {
  const text = factorization.map((joints) => joints.join(",")).join("|");
  const named = Object.entries(task.factorizations).find(
    ([, agents]) => agents.map((joints) => joints.join(",")).join("|") === text,
  );
  return named?.[0] ?? text;
}

function refused(text: string, task: RobotTask, received: string, mend: string): LorasaError {
  return new LorasaError("LORASA_CONFIG", {
    asked: `factorization "${text}" of ${task.name}`,
    expected: `${Object.keys(task.factorizations).join(", ")}, or every joint once, as in a,b|c,d`,
    received,
    mend,
  });
}
