/** The tensors that sessions are bound to: made for a graph's sizes, filled with noise, cleared at an episode's end. */
import type { Random } from "../base/random.ts";
import { type FloatTensor, floatTensor } from "../base/tensor.ts";
import type { TensorInfo } from "../runtime/session.ts";
import type { CarriedRun } from "./carried-run.ts";

/** A float32 tensor of zeros for each input or output of a graph whose sizes are all fixed. */
export function zeroTensors(infos: readonly TensorInfo[]): Record<string, FloatTensor> {
  // Graphs that train and act have no named size.
  return Object.fromEntries(infos.map(({ name, shape }) => [name, floatTensor(shape as number[])]));
}

/** Fresh deviates: Gumbel for choices, normal for continuous actions. */
export function fillNoise(noise: Float32Array, discrete: boolean, random: Random): void {
  for (let k = 0; k < noise.length; k++) noise[k] = discrete ? random.gumbel() : random.normal();
}

/** Zeroes environments `ended` in the recurrent states float32 [heads, environments, H] that a run carries, if any. */
export function clearStates(run: CarriedRun, ended: readonly number[]): void {
  if (ended.length === 0) return;
  for (const name of run.carried) {
    const { data, dims } = run.download(name);
    const [heads, envs, width] = dims as readonly [number, number, number];
    for (let head = 0; head < heads; head++) {
      for (const env of ended) {
        const start = (head * envs + env) * width;
        data.fill(0, start, start + width);
      }
    }
    run.write(name, data);
  }
}
