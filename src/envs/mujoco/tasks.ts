/** The MuJoCo family: names, options and the spec of each task; the simulation is `mujoco-env.ts`. */
import { LorasaError, suggestion } from "../../base/errors.ts";
import type { EnvOptions, EnvSpec } from "../contract.ts";
import { fullName, parseOptions } from "../options.ts";
import { ant } from "./ant.ts";
import { type Factorization, factorizationText, parseFactorization } from "./factorization.ts";
import { halfCheetah } from "./half-cheetah.ts";
import { hopper } from "./hopper.ts";
import { humanoid } from "./humanoid.ts";
import { observedIndices, stateSize } from "./observation.ts";
import { swimmer } from "./swimmer.ts";
import type { RobotTask } from "./task.ts";
import { walker2d } from "./walker-2d.ts";

const TASKS: readonly RobotTask[] = [halfCheetah, walker2d, ant, hopper, swimmer, humanoid];

/** Options of every MuJoCo task; the initial values are those of the LoRASA experiments. */
function optionRules(task: RobotTask) {
  return {
    factorization: { kind: "text", initial: "" },
    observe: { kind: "choice", choices: ["khop", "full"], initial: "khop" },
    hops: { kind: "whole", low: 0, high: task.robot.motors.length, initial: 1 },
    globals: { kind: "choice", choices: ["none", "root"], initial: "none" },
    categories: { kind: "choice", choices: ["new", "old"], initial: "new" },
    episodeLimit: { kind: "whole", low: 1, high: 1_000_000, initial: task.episodeLimit },
  } as const;
}

/** A task made definite: all that `MujocoEnv` needs. */
export interface TeamTask {
  readonly task: RobotTask;
  readonly spec: EnvSpec;
  readonly factorization: Factorization;
  /** For each agent, which numbers of its layout's vector it observes. */
  readonly observed: readonly (readonly number[])[];
}

/** `mujoco/HalfCheetah-2x3` and so on. */
export function mujocoTaskNames(): string[] {
  return TASKS.flatMap((task) =>
    Object.keys(task.factorizations).map((factorization) => `mujoco/${task.name}-${factorization}`),
  );
}

/**
 * @param name `mujoco/<robot>-<factorisation>`, or `mujoco/<robot>` with the option `factorization`.
 * @throws LORASA_UNKNOWN_TASK or LORASA_CONFIG, saying what is known.
 */
export function mujocoTeam(name: string, options: EnvOptions): TeamTask {
  const task = TASKS.find(
    (each) => name === `mujoco/${each.name}` || name.startsWith(`mujoco/${each.name}-`),
  );
  if (task === undefined) throw unknownTask(name);
  const rules = optionRules(task);
  const choice = parseOptions(name, rules, options);
  const factorization = chosenFactorization(name, task, choice.factorization);
  const observed = factorization.map((own) => observedIndices(task, own, choice));
  const text = factorizationText(factorization, task);
  const named = Object.hasOwn(task.factorizations, text);
  const local = choice.observe === "khop";
  const spec: EnvSpec = {
    name: fullName(`mujoco/${task.name}${named ? `-${text}` : ""}`, rules, {
      ...choice,
      factorization: named ? "" : text,
      hops: local ? choice.hops : rules.hops.initial,
      globals: local ? choice.globals : rules.globals.initial,
      categories: local ? choice.categories : rules.categories.initial,
    }),
    agents: factorization.map((joints, index) => ({
      name: `agent_${index}`,
      observationSize: observed[index]!.length,
      actionSize: joints.length,
    })),
    observationSize: Math.max(...observed.map((indices) => indices.length)),
    stateSize: stateSize(task),
    statePerAgent: false,
    actionSpace: {
      kind: "continuous",
      size: Math.max(...factorization.map((joints) => joints.length)),
      low: task.robot.controlRange[0],
      high: task.robot.controlRange[1],
    },
    episodeLimit: choice.episodeLimit,
    stepSeconds: task.robot.timestep * task.frameSkip,
    episodeFigures: [],
  };
  return { task, spec, factorization, observed };
}

/** From the name's ending or from the option; one of them, or both if they agree. */
function chosenFactorization(name: string, task: RobotTask, option: string): Factorization {
  const ending = name.slice(`mujoco/${task.name}-`.length);
  if (ending !== "" && !Object.hasOwn(task.factorizations, ending)) throw unknownTask(name);
  if (ending !== "" && option !== "" && ending !== option) {
    throw new LorasaError("LORASA_CONFIG", {
      asked: `option factorization of ${name}`,
      expected: ending,
      received: option,
      mend: "give it once",
    });
  }
  if (ending === "" && option === "") {
    throw new LorasaError("LORASA_CONFIG", {
      asked: name,
      expected: `a factorization: ${Object.keys(task.factorizations).join(", ")}, or joints as in a,b|c,d`,
      mend: `ask for ${mujocoTaskNames()[0]}, or give the option factorization`,
    });
  }
  return parseFactorization(ending || option, task);
}

function unknownTask(name: string): LorasaError {
  return new LorasaError("LORASA_UNKNOWN_TASK", {
    asked: `environment ${name}`,
    mend: suggestion(name, mujocoTaskNames()),
  });
}
