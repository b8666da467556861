/** Memory of the right sizes for one environment; shared memory for several is `vector-memory.ts`. */
import type { EnvBuffers, EnvSpec } from "./contract.ts";

/** Zeroed buffers: observations [N, O], state [S] or [N, S], actionMask [N, K] (discrete only) and active [N]. */
export function createBuffers(spec: EnvSpec): EnvBuffers {
  const agents = spec.agents.length;
  return {
    observations: new Float32Array(agents * spec.observationSize),
    state: new Float32Array(stateRows(spec) * spec.stateSize),
    actionMask: new Uint8Array(agents * maskWidth(spec)),
    active: new Uint8Array(agents),
  };
}

/** Numbers an agent's action takes: its size, or one index for a discrete choice. */
export function actionWidth({ actionSpace }: EnvSpec): number {
  return actionSpace.kind === "continuous" ? actionSpace.size : 1;
}

/** Choices that a mask tells of; 0 for continuous actions, which have none. */
export function maskWidth({ actionSpace }: EnvSpec): number {
  return actionSpace.kind === "continuous" ? 0 : actionSpace.count;
}

/** States of a step: one for the team, or one an agent. */
export function stateRows({ agents, statePerAgent }: EnvSpec): number {
  return statePerAgent ? agents.length : 1;
}
