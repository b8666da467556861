/** What the registry needs of the SMAC family. */
import type { Env, EnvOptions, EnvSpec } from "../contract.ts";
import { SmacEnv } from "./smac-env.ts";
import { smacTask, smacTaskNames } from "./tasks.ts";

/** `smac/<scenario>`: battles of two small armies, one of them a team of agents. */
export const smacFamily = {
  about: "battles of small armies against a scripted enemy, after StarCraft's micromanagement benchmark",
  taskNames: smacTaskNames,
  spec: (task: string, options: EnvOptions): EnvSpec => smacTask(task, options).spec,
  make: async (task: string, options: EnvOptions): Promise<Env> => new SmacEnv(smacTask(task, options)),
};
