/** Random inputs of a whole team over some steps, episodes beginning anywhere: what exports are verified on. */
import type { Team } from "../models/team.ts";
import type { Random } from "../src/base/random.ts";

/** float32 [rows, width]; row n·E + e is agent n in environment e. */
export interface Matrix {
  readonly data: Float32Array;
  readonly width: number;
}

export interface StepInputs {
  /** By the exported graph's names, padded to the longest agent with zeros; those that it does not need are absent. */
  readonly tensors: Readonly<Record<string, Matrix>>;
  /** A row each: 1 where the episode begins at this step, so that the state starts at zero. */
  readonly began: Uint8Array;
}

/** Standard deviation of raw observations: enough to bend activations, not to saturate all of them. */
const OBSERVATION_SPREAD = 1.5;
const RESET_PROBABILITY = 0.15;
const AVAILABLE_PROBABILITY = 0.7;

/** @param envs E. */
export function randomStep(team: Team, envs: number, sampled: boolean, random: Random): StepInputs {
  const { encoder, head } = team.actor;
  const categorical = head.kind === "categorical";
  const observations = rows(team, envs, encoder.size, ({ observationSize }) =>
    fill(observationSize, () => OBSERVATION_SPREAD * random.normal()),
  );
  const noise = (): Matrix =>
    rows(team, envs, head.size, ({ actionSize }) =>
      fill(actionSize, () => (categorical ? random.gumbel() : random.normal())),
    );
  const mask = (): Matrix =>
    rows(team, envs, head.size, ({ actionSize }) => {
      const available = fill(actionSize, () => (random.uniform() < AVAILABLE_PROBABILITY ? 1 : 0));
      available[random.integer(actionSize)] = 1;
      return available;
    });
  return {
    tensors: {
      obs: observations,
      ...(categorical && { action_mask: mask() }),
      ...(sampled && { noise: noise() }),
    },
    began: Uint8Array.from({ length: team.agents.length * envs }, () =>
      random.uniform() < RESET_PROBABILITY ? 1 : 0,
    ),
  };
}

/** Rows of a state whose episode begins become zero. */
export function resetRows({ data, width }: Matrix, began: Uint8Array): void {
  for (let row = 0; row < began.length; row++) {
    if (began[row] === 1) data.fill(0, row * width, (row + 1) * width);
  }
}

function rows(
  team: Team,
  envs: number,
  width: number,
  own: (agent: Team["agents"][number]) => Float32Array,
): Matrix {
  const data = new Float32Array(team.agents.length * envs * width);
  for (const [index, agent] of team.agents.entries()) {
    for (let env = 0; env < envs; env++) data.set(own(agent), (index * envs + env) * width);
  }
  return { data, width };
}

function fill(length: number, draw: () => number): Float32Array {
  return Float32Array.from({ length }, draw);
}
