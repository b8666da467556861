/** Environments for a caller that infers for one group while the other is simulated: how many threads simulate. */
import { coresOfProcess } from "../base/cores.ts";
import { actionWidth, createBuffers, maskWidth } from "./buffers.ts";
import type { Env, EnvBuffers, EnvOptions } from "./contract.ts";
import { makeEnv } from "./registry.ts";
import { createVectorEnv, type VectorEnvOptions } from "./vector.ts";
import type { VectorEnv } from "./vector-contract.ts";

/** Steps that are timed, after as many that are not. */
const STEPS = 20;
/** A caller's turn is some tenths of a millisecond: beyond this it mostly waits, and its core can simulate. */
const LONG_STEP_MS = 1;

const GROUPS = 2;

/**
 * Two groups, simulated in as many threads as serve a caller that infers between. The numbers do not depend on how many.
 * @throws what `createVectorEnv` throws.
 */
export async function createVectorEnvBeside(
  asked: Pick<VectorEnvOptions, "name" | "options" | "envs">,
): Promise<VectorEnv> {
  const { name, options = {}, envs } = asked;
  const threads = await threadsBeside(name, options, envs / GROUPS);
  return createVectorEnv({ ...asked, groups: GROUPS, threads });
}

/**
 * A core is left to the caller, unless a step of a group takes so long that the caller would idle there. On two cores
 * HalfCheetah trains 1.2 times as fast with one thread as with two, Ant 1.6 times as fast with two.
 */
async function threadsBeside(name: string, options: EnvOptions, groupEnvs: number): Promise<number> {
  const cores = coresOfProcess();
  // One thread that takes turns with itself wastes nothing on waking others.
  if (cores === 1) return 0;
  const long = (await stepMs(name, options)) * groupEnvs > LONG_STEP_MS;
  return long ? cores : cores - 1;
}

/** Milliseconds of one environment's step. */
async function stepMs(name: string, options: EnvOptions): Promise<number> {
  const env = await makeEnv(name, options);
  try {
    const buffers = createBuffers(env.spec);
    env.reset(buffers, 0);
    idle(env, buffers);
    const started = performance.now();
    idle(env, buffers);
    return (performance.now() - started) / STEPS;
  } finally {
    env.close();
  }
}

/** Every agent does as little as it may. */
function idle(env: Env, buffers: EnvBuffers): void {
  const width = maskWidth(env.spec);
  const actions = new Float32Array(env.spec.agents.length * actionWidth(env.spec));
  for (let step = 0; step < STEPS; step++) {
    for (let agent = 0; width > 0 && agent < actions.length; agent++)
      actions[agent] = buffers.actionMask.indexOf(1, agent * width) - agent * width;
    const { terminated, truncated } = env.step(actions, buffers);
    if (terminated || truncated) env.reset(buffers);
  }
}
