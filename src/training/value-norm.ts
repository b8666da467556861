/**
 * ValueNorm: running mean and spread of returns, so that the critic learns numbers near one. This is the host's
 * view and the reference of the update; training itself updates the same numbers inside its graph.
 */

/** Weight of the old statistics in an update. */
export const VALUE_NORM_BETA = 0.99999;
/** Smallest divisor of the debiased statistics. */
export const VALUE_NORM_EPSILON = 1e-5;
/** Smallest variance: the standard deviation never falls below 0.1. */
export const VALUE_NORM_MIN_VARIANCE = 1e-2;

/** float32 [G] each, all 0 at first. G is 1 for one critic of the team, N for a normaliser an agent. */
export interface ValueNormState {
  readonly runningMean: Float32Array;
  readonly runningMeanSquare: Float32Array;
  /** How much of the running numbers is data rather than the initial zero: 1 − β^updates. */
  readonly debias: Float32Array;
}

export function createValueNorm(groups: number): ValueNormState {
  return {
    runningMean: new Float32Array(groups),
    runningMeanSquare: new Float32Array(groups),
    debias: new Float32Array(groups),
  };
}

/** Mean and standard deviation of one group; 0 and 0.1 before any update. */
export function valueNormMoments(state: ValueNormState, group: number): { mean: number; std: number } {
  const debias = Math.max(state.debias[group]!, VALUE_NORM_EPSILON);
  const mean = state.runningMean[group]! / debias;
  const variance = state.runningMeanSquare[group]! / debias - mean * mean;
  return { mean, std: Math.sqrt(Math.max(variance, VALUE_NORM_MIN_VARIANCE)) };
}

/**
 * Takes in a batch of returns float32 [G, n]: each statistic x becomes β·x + (1 − β)·batch statistic, rounded to
 * float32 as a graph would; in place.
 */
export function updateValueNorm(state: ValueNormState, returns: Float32Array): void {
  const groups = state.debias.length;
  const size = returns.length / groups;
  if (size === 0) return;
  const { runningMean, runningMeanSquare, debias } = state;
  for (let group = 0; group < groups; group++) {
    let sum = 0;
    let squares = 0;
    for (let i = group * size; i < (group + 1) * size; i++) {
      sum += returns[i]!;
      squares += returns[i]! ** 2;
    }
    runningMean[group] = blend(runningMean[group]!, sum / size);
    runningMeanSquare[group] = blend(runningMeanSquare[group]!, squares / size);
    debias[group] = blend(debias[group]!, 1);
  }
}

/** (values − mean) / std for float32 [G, n]; into `into`, which may be `values` itself. */
export function normaliseValues(
  state: ValueNormState,
  values: Float32Array,
  into: Float32Array = new Float32Array(values.length),
): Float32Array {
  return mapGroups(state, values, into, (mean, std) => ({ scale: 1 / std, shift: -mean / std }));
}

/** values · std + mean for float32 [G, n]; into `into`, which may be `values` itself. */
export function denormaliseValues(
  state: ValueNormState,
  values: Float32Array,
  into: Float32Array = new Float32Array(values.length),
): Float32Array {
  return mapGroups(state, values, into, (mean, std) => ({ scale: std, shift: mean }));
}

function blend(old: number, batch: number): number {
  return Math.fround(VALUE_NORM_BETA * old) + Math.fround((1 - VALUE_NORM_BETA) * batch);
}

function mapGroups(
  state: ValueNormState,
  values: Float32Array,
  into: Float32Array,
  affine: (mean: number, std: number) => { scale: number; shift: number },
): Float32Array {
  const groups = state.debias.length;
  const size = values.length / groups;
  for (let group = 0; group < groups; group++) {
    const { mean, std } = valueNormMoments(state, group);
    const { scale, shift } = affine(mean, std);
    for (let i = group * size; i < (group + 1) * size; i++) into[i] = values[i]! * scale + shift;
  }
  return into;
}
