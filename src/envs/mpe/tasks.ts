/** The particle family: names, options and the spec of each task; the playing is `particle-env.ts`. */
import { LorasaError, suggestion } from "../../base/errors.ts";
import type { ActionSpace, EnvOptions, EnvSpec } from "../contract.ts";
import { fullName, parseOptions } from "../options.ts";
import { STEP_SECONDS } from "./scene.ts";
import { simpleReference } from "./simple-reference.ts";
import { simpleSpread } from "./simple-spread.ts";
import { simpleTag } from "./simple-tag.ts";
import { MOVES, type ParticleTask } from "./task.ts";

/** Options of every task: MPE2's own values; `reward` says what of the agents' rewards the team's is. */
const COMMON = {
  actions: { kind: "choice", choices: ["discrete", "continuous"], initial: "discrete" },
  reward: { kind: "choice", choices: ["sum", "mean"], initial: "sum" },
  episodeLimit: { kind: "whole", low: 1, high: 1_000_000, initial: 25 },
} as const;
const COUNTED = { ...COMMON, agents: { kind: "whole", low: 1, high: 64, initial: 3 } } as const;
const HUNT = { ...COUNTED, prey: { kind: "choice", choices: ["flee", "random"], initial: "flee" } } as const;

/** A task made definite: all that `ParticleEnv` needs. */
export interface ParticleTeam {
  readonly task: ParticleTask;
  readonly spec: EnvSpec;
  /** Factor of the sum of the agents' rewards. */
  readonly rewardScale: number;
}

const TASKS: Readonly<Record<string, (name: string, options: EnvOptions) => ParticleTeam>> = {
  "mpe/simple_spread": (name, options) => {
    const choice = parseOptions(name, COUNTED, options);
    return team(fullName(name, COUNTED, choice), simpleSpread(choice.agents), choice);
  },
  "mpe/simple_reference": (name, options) => {
    const choice = parseOptions(name, COMMON, options);
    return team(fullName(name, COMMON, choice), simpleReference(), choice);
  },
  "mpe/simple_tag": (name, options) => {
    const choice = parseOptions(name, HUNT, options);
    return team(fullName(name, HUNT, choice), simpleTag(choice.agents, choice.prey), choice);
  },
};

/** `mpe/simple_spread` and so on. */
export function particleTaskNames(): string[] {
  return Object.keys(TASKS);
}

/** @throws LORASA_UNKNOWN_TASK or LORASA_CONFIG, saying what is known. */
export function particleTeam(name: string, options: EnvOptions): ParticleTeam {
  if (Object.hasOwn(TASKS, name)) return TASKS[name]!(name, options);
  throw new LorasaError("LORASA_UNKNOWN_TASK", {
    asked: `environment ${name}`,
    mend: suggestion(name, particleTaskNames()),
  });
}

function team(
  name: string,
  task: ParticleTask,
  choice: { actions: "discrete" | "continuous"; reward: "sum" | "mean"; episodeLimit: number },
): ParticleTeam {
  const { agents, observationSize, figures } = task;
  const actionSpace = ACTIONS[choice.actions](task.scene.symbols);
  const actionSize = actionSpace.kind === "discrete" ? actionSpace.count : actionSpace.size;
  const spec: EnvSpec = {
    name,
    agents: agents.map((agent) => ({ name: agent, observationSize, actionSize })),
    observationSize,
    stateSize: agents.length * observationSize,
    statePerAgent: false,
    actionSpace,
    episodeLimit: choice.episodeLimit,
    stepSeconds: STEP_SECONDS,
    episodeFigures: figures,
  };
  return { task, spec, rewardScale: choice.reward === "mean" ? 1 / agents.length : 1 };
}

/** A choice is a move and a symbol, symbol · 5 + move; a continuous action is the five moves, then the symbols. */
const ACTIONS: Readonly<Record<"discrete" | "continuous", (symbols: number) => ActionSpace>> = {
  discrete: (symbols) => ({ kind: "discrete", count: MOVES.length * Math.max(symbols, 1) }),
  continuous: (symbols) => ({ kind: "continuous", size: MOVES.length + symbols, low: 0, high: 1 }),
};
