/**
 * One rollout of all environments, laid out as the training graphs read it: no copy is made for a single minibatch.
 *
 * Letters: N agents, V value heads, T time, E environments, L chunk length, C = (T/L)·E chunks, R = L·C rows,
 * O observation, S state, K action, H hidden. `rewards[t]` follows `actions[t]`.
 *
 * Step t of environment e is row `rowOffset(t) + e` with rowOffset(t) = (t mod L)·C + ⌊t/L⌋·E: rows of the same step
 * of all chunks are neighbours, so a recurrent network takes step after step. With L = 1 that is t·E + e.
 */
export interface RolloutShape {
  readonly agents: number;
  readonly heads: number;
  readonly steps: number;
  readonly envs: number;
  readonly chunkLength: number;
  readonly observationSize: number;
  readonly stateSize: number;
  /** Ns: 1 state a step for the team, or N. */
  readonly stateRows: number;
  /** K of stored draws: 1 for a categorical head. */
  readonly drawnSize: number;
  /** K of the action mask, 0 for continuous actions. */
  readonly maskSize: number;
  /** H of actor and critic, 0 without recurrence. */
  readonly actorHidden: number;
  readonly criticHidden: number;
  /** Whether values of final observations are kept (time limits that bootstrap). */
  readonly finalValues: boolean;
}

export interface RolloutBuffer {
  readonly shape: RolloutShape;
  readonly rows: number;
  readonly chunks: number;
  /** float32 [N, R, O], [Ns, R, S]. */
  readonly observations: Float32Array;
  readonly state: Float32Array;
  /** float32 [N, R, K]. */
  readonly drawn: Float32Array;
  readonly logProb: Float32Array;
  readonly actionMask: Float32Array;
  /** float32 [N, R]. */
  readonly active: Float32Array;
  /** float32 [V, R], in the value normaliser's units; and of final observations. */
  readonly values: Float32Array;
  readonly finalValues: Float32Array;
  /** float32 [V, E]: after the last step. */
  readonly bootstrapValues: Float32Array;
  /** float32 [R]: 0 where the episode began at this step. */
  readonly mask: Float32Array;
  /** float32 [R] and uint8 [R]. */
  readonly rewards: Float32Array;
  readonly terminated: Uint8Array;
  readonly truncated: Uint8Array;
  /** float32 [N, C, H] and [V, C, H]: states before each chunk. */
  readonly actorHidden: Float32Array;
  readonly criticHidden: Float32Array;
}

export function createRolloutBuffer(shape: RolloutShape): RolloutBuffer {
  const rows = shape.steps * shape.envs;
  const chunks = rows / shape.chunkLength;
  const { agents, heads } = shape;
  const floats = (count: number): Float32Array => new Float32Array(count);
  return {
    shape,
    rows,
    chunks,
    observations: floats(agents * rows * shape.observationSize),
    state: floats(shape.stateRows * rows * shape.stateSize),
    drawn: floats(agents * rows * shape.drawnSize),
    logProb: floats(agents * rows * shape.drawnSize),
    actionMask: floats(agents * rows * shape.maskSize),
    active: floats(agents * rows),
    values: floats(heads * rows),
    finalValues: floats(shape.finalValues ? heads * rows : 0),
    bootstrapValues: floats(heads * shape.envs),
    mask: floats(rows),
    rewards: floats(rows),
    terminated: new Uint8Array(rows),
    truncated: new Uint8Array(rows),
    actorHidden: floats(agents * chunks * shape.actorHidden),
    criticHidden: floats(heads * chunks * shape.criticHidden),
  };
}

/** Row of step t of environment 0. */
export function rowOffset({ steps, envs, chunkLength }: RolloutShape, t: number): number {
  const chunks = (steps / chunkLength) * envs;
  return (t % chunkLength) * chunks + Math.floor(t / chunkLength) * envs;
}

/** Chunk that step t of environment 0 lies in. */
export function chunkOffset({ envs, chunkLength }: RolloutShape, t: number): number {
  return Math.floor(t / chunkLength) * envs;
}

/**
 * Copies runs of neighbouring rows between two arrays of several heads: head h of `from` [heads, fromRows, width] at
 * `fromRow` to head h of `to` [heads, toRows, width] at `toRow`, `count` rows each.
 */
export function copyRows(
  from: { readonly data: Float32Array; readonly rows: number; readonly at: number },
  to: { readonly data: Float32Array; readonly rows: number; readonly at: number },
  count: number,
  width: number,
): void {
  if (width === 0) return;
  const heads = to.data.length / (to.rows * width);
  for (let head = 0; head < heads; head++) {
    const start = (head * from.rows + from.at) * width;
    to.data.set(from.data.subarray(start, start + count * width), (head * to.rows + to.at) * width);
  }
}
