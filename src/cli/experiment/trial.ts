/** What a run would take: a few rollouts of each of its phases, measured. Not the run. */

import { coresOfProcess } from "../../base/cores.ts";
import type { EnvSpec } from "../../envs/contract.ts";
import { createVectorEnvBeside } from "../../envs/vector-beside.ts";
import type { Runtime } from "../../runtime/session.ts";
import { phaseAt, switchStep, type TrainConfig } from "../../training/config.ts";
import { Trainer } from "../../training/trainer.ts";
import { type ParameterCounts, parameterCounts } from "./team-sizes.ts";

export interface Trial {
  /** Of a step of training before and after the adapters start; equal where there are none. */
  readonly secondsPerStep: readonly [shared: number, adapters: number];
  readonly parameters: ParameterCounts;
  /** That it could count on. */
  readonly cores: number;
}

/** Two rollouts of a phase: the first one also makes the sessions. */
const ROLLOUTS = 2;

/** Runs a configuration's first rollouts as if its phases were two rollouts long. */
export async function trial(runtime: Runtime, config: TrainConfig): Promise<Trial> {
  const rollout = config.envs * config.rolloutLength;
  const switches = switchStep(config) < config.steps;
  const short = { ...config, steps: rollout * ROLLOUTS * 2, switchAt: rollout * ROLLOUTS };
  const { env: name, envOptions: options, envs } = config;
  const vectorEnv = await createVectorEnvBeside({ name, options, envs });
  let trainer: Trainer | undefined;
  try {
    trainer = new Trainer({
      config: short,
      runtime,
      vectorEnv,
      clusterOf: assumedClusters(config, vectorEnv.spec),
    });
    const shared = await secondsOfLast(trainer);
    const adapters =
      switches && phaseAt(short, trainer.envSteps) === "adapters" ? await secondsOfLast(trainer) : shared;
    return {
      secondsPerStep: [shared / rollout, adapters / rollout],
      parameters: parameterCounts(trainer.team),
      cores: coresOfProcess(),
    };
  } finally {
    await trainer?.close();
    await vectorEnv.close();
  }
}

/** Seconds of a run between two steps. */
export function secondsBetween(
  { secondsPerStep: [shared, adapters] }: Trial,
  config: TrainConfig,
  from: number,
): number {
  const at = switchStep(config);
  return Math.max(0, at - from) * shared + (config.steps - Math.max(at, from)) * adapters;
}

/** Clusters are found by a run of its own; where their number is not given, two are assumed. */
function assumedClusters({ clusters }: TrainConfig, { agents }: EnvSpec): number[] {
  const count = Math.min(agents.length, clusters || 2);
  return agents.map((_, agent) => agent % count);
}

async function secondsOfLast(trainer: Trainer): Promise<number> {
  let seconds = 0;
  for (let i = 0; i < ROLLOUTS; i++) {
    const started = performance.now();
    await trainer.iterate();
    seconds = (performance.now() - started) / 1000;
  }
  return seconds;
}
