/** Environments by name: `<family>/<task>`, with options after `?` or beside it. */
import { LorasaError, suggestion } from "../base/errors.ts";
import type { Env, EnvOptions, EnvSpec } from "./contract.ts";
import { ParticleEnv } from "./mpe/particle-env.ts";
import { particleTaskNames, particleTeam } from "./mpe/tasks.ts";
import { MujocoEnv } from "./mujoco/mujoco-env.ts";
import { mujocoTaskNames, mujocoTeam } from "./mujoco/tasks.ts";
import { splitName } from "./options.ts";
import { smacFamily } from "./smac/family.ts";

interface Family {
  readonly about: string;
  readonly taskNames: () => string[];
  readonly spec: (task: string, options: EnvOptions) => EnvSpec;
  readonly make: (task: string, options: EnvOptions) => Promise<Env>;
}

const MUJOCO: Family = {
  about: "MuJoCo robots whose joints are shared among agents",
  taskNames: mujocoTaskNames,
  spec: (task, options) => mujocoTeam(task, options).spec,
  make: (task, options) => MujocoEnv.create(mujocoTeam(task, options)),
};

const PARTICLES: Family = {
  about: "particles on a plane: cover landmarks, tell one another where to go, hunt",
  taskNames: particleTaskNames,
  spec: (task, options) => particleTeam(task, options).spec,
  make: async (task, options) => new ParticleEnv(particleTeam(task, options)),
};

const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ["mujoco", MUJOCO],
  ["mpe", PARTICLES],
  ["smac", smacFamily],
]);

/**
 * Makes an environment such as `mujoco/HalfCheetah-2x3`, or with options in its name:
 * `mujoco/HalfCheetah-2x3?hops=0&globals=root`.
 * @throws LORASA_UNKNOWN_TASK with near names, LORASA_CONFIG for an option, LORASA_SIMULATOR when it cannot start.
 */
export async function makeEnv(name: string, options: EnvOptions = {}): Promise<Env> {
  const asked = splitName(name, options);
  return family(asked.task).make(asked.task, asked.options);
}

/**
 * The spec that {@link makeEnv} would give, without starting a simulator. Its name, given back, is the same task.
 * @throws LORASA_UNKNOWN_TASK, LORASA_CONFIG.
 */
export function envSpec(name: string, options: EnvOptions = {}): EnvSpec {
  const asked = splitName(name, options);
  return family(asked.task).spec(asked.task, asked.options);
}

/** Every named task with what it is, for help. */
export function listTasks(): { name: string; about: string }[] {
  return [...FAMILIES.values()].flatMap(({ taskNames, about }) =>
    taskNames().map((name) => ({ name, about })),
  );
}

function family(task: string): Family {
  const found = FAMILIES.get(task.split("/", 1)[0]!);
  if (found !== undefined) return found;
  const names = listTasks().map(({ name }) => name);
  if (task === "remote" || task.startsWith("remote/")) {
    throw new LorasaError("LORASA_UNKNOWN_TASK", {
      asked: `environment ${task}`,
      expected: "a simulator in this process",
      received: "one that connects from outside",
      mend: "train with --env remote --listen HOST:PORT; to run its policy, export and serve it",
    });
  }
  throw new LorasaError("LORASA_UNKNOWN_TASK", {
    asked: `environment ${task}`,
    mend: suggestion(task, names),
  });
}
