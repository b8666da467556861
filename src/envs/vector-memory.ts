/** Shared memory of a vector environment: its layout and the views on it. Who writes what when is not here. */
import { actionWidth, maskWidth, stateRows } from "./buffers.ts";
import type { EnvSpec } from "./contract.ts";
import type { EnvGroup } from "./vector-contract.ts";

/** One group's memory as it is passed between threads. */
export interface GroupMemory {
  readonly firstEnv: number;
  readonly envs: number;
  readonly shared: SharedArrayBuffer;
}

/** Memory for `groups` groups of `envs` environments each, zeroed. */
export function allocateGroups(spec: EnvSpec, groups: number, envs: number): GroupMemory[] {
  return Array.from({ length: groups }, (_, group) => allocateGroup(spec, group * envs, envs));
}

/** The group's arrays over its memory: the same memory in every thread. */
export function groupViews(spec: EnvSpec, { firstEnv, envs, shared }: GroupMemory): EnvGroup {
  const sizes = groupSizes(spec, envs);
  let offset = 0;
  const [
    observations,
    state,
    actionMask,
    active,
    actions,
    rewards,
    finalObservations,
    finalState,
    ...figures
  ] = sizes.floats.map((size) => {
    const view = new Float32Array(shared, offset, size);
    offset += view.byteLength;
    return view;
  });
  const [terminated, truncated] = sizes.bytes.map((size) => {
    const view = new Uint8Array(shared, offset, size);
    offset += view.byteLength;
    return view;
  });
  return {
    firstEnv,
    envs,
    observations: observations!,
    state: state!,
    actionMask: actionMask!,
    active: active!,
    actions: actions!,
    rewards: rewards!,
    finalObservations: finalObservations!,
    finalState: finalState!,
    episodeReturn: figures[0]!,
    episodeLength: figures[1]!,
    figures: figures[2]!,
    terminated: terminated!,
    truncated: truncated!,
  };
}

function allocateGroup(spec: EnvSpec, firstEnv: number, envs: number): GroupMemory {
  const { floats, bytes } = groupSizes(spec, envs);
  const length = 4 * floats.reduce((sum, size) => sum + size, 0) + bytes.reduce((sum, size) => sum + size, 0);
  return { firstEnv, envs, shared: new SharedArrayBuffer(length) };
}

/** Lengths in the order in which {@link groupViews} hands them out: float32 first, for alignment. */
function groupSizes(spec: EnvSpec, envs: number): { floats: number[]; bytes: number[] } {
  const rows = spec.agents.length * envs;
  const observations = rows * spec.observationSize;
  const state = stateRows(spec) * envs * spec.stateSize;
  const figures = envs * spec.episodeFigures.length;
  const mask = rows * maskWidth(spec);
  const actions = rows * actionWidth(spec);
  return {
    floats: [observations, state, mask, rows, actions, envs, observations, state, envs, envs, figures],
    bytes: [envs, envs],
  };
}
