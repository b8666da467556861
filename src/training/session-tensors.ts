/** The tensors that acting sessions are bound to: made for a graph's sizes, filled with noise, cleared at an episode's end. */
import type { Random } from "../base/random.ts";
import { type FloatTensor, floatTensor } from "../base/tensor.ts";
import type { TensorInfo } from "../runtime/session.ts";

/** A float32 tensor of zeros for each input or output of a graph whose sizes are all fixed. */
export function zeroTensors(infos: readonly TensorInfo[]): Record<string, FloatTensor> {
  // Graphs that train and act have no named size.
  return Object.fromEntries(infos.map(({ name, shape }) => [name, floatTensor(shape as number[])]));
}

/** Fresh deviates: Gumbel for choices, normal for continuous actions. */
export function fillNoise(noise: Float32Array, discrete: boolean, random: Random): void {
  for (let k = 0; k < noise.length; k++) noise[k] = discrete ? random.gumbel() : random.normal();
}

/** Zeroes environment `env` of a recurrent state float32 [heads, environments, H]; nothing where there is no state. */
export function clearState(state: FloatTensor | undefined, env: number): void {
  if (!state) return;
  const [heads, envs, width] = state.dims as readonly [number, number, number];
  for (let head = 0; head < heads; head++) {
    const start = (head * envs + env) * width;
    state.data.fill(0, start, start + width);
  }
}
