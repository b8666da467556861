/**
 * How many numbers a simulator sends and receives for one environment, and where each agent's lie: on the wire every
 * agent has its own size, in the trainer's memory all are padded to the longest. Not how they are written.
 *
 * Letters: N agents, O longest observation, K longest action, S state.
 */
import { actionWidth, maskWidth, stateRows } from "../buffers.ts";
import type { EnvSpec } from "../contract.ts";
import type { Registration } from "./spaces.ts";

/** Rows of an agent each, on the wire `sizes[i]` long and one after another, in memory `width` apart. */
export interface Rows {
  readonly sizes: readonly number[];
  readonly width: number;
  /** Numbers of one environment on the wire. */
  readonly total: number;
}

/** Each array's rows in one environment. */
export interface Layout {
  readonly spec: EnvSpec;
  readonly observations: Rows;
  /** Empty on the wire where the state is the observations. */
  readonly state: Rows;
  readonly concatenates: boolean;
  readonly actionMask: Rows;
  readonly active: Rows;
  readonly actions: Rows;
}

export function layoutOf({ spec, concatenates }: Registration): Layout {
  const { agents, observationSize, stateSize } = spec;
  const discrete = spec.actionSpace.kind === "discrete";
  const one = agents.map(() => 1);
  return {
    spec,
    concatenates,
    observations: rows(
      agents.map((agent) => agent.observationSize),
      observationSize,
    ),
    state: rows(concatenates ? [] : Array<number>(stateRows(spec)).fill(stateSize), stateSize),
    actionMask: rows(discrete ? agents.map(({ actionSize }) => actionSize) : [], maskWidth(spec)),
    active: rows(one, 1),
    actions: rows(discrete ? one : agents.map(({ actionSize }) => actionSize), actionWidth(spec)),
  };
}

/** Most numbers that one environment sends in a step. */
export function numbersPerEnvironment({ observations, state, actionMask, active, spec }: Layout): number {
  const step = observations.total + state.total;
  return 2 * step + actionMask.total + active.total + 3 + spec.episodeFigures.length;
}

/** Numbers that the trainer's memory holds for one environment. */
export function numbersInMemory({ spec }: Layout): number {
  const rows = spec.agents.length * (2 * spec.observationSize + maskWidth(spec) + actionWidth(spec) + 1);
  return rows + 2 * stateRows(spec) * spec.stateSize + spec.episodeFigures.length + 5;
}

function rows(sizes: readonly number[], width: number): Rows {
  return { sizes, width, total: sizes.reduce((sum, size) => sum + size, 0) };
}
