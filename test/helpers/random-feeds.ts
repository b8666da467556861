/** Feeds for the graphs that act and train, by what their inputs are called; no file and no team is needed. */
import { Random } from "../../src/base/random.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import type { OnnxValueInfo } from "../../src/onnx/model.ts";

type Draw = (random: Random, at: number, width: number) => number;

/** What is not normal. Moments and corrections are those of a step under way, where no division is by nearly 0. */
const DRAWS: Readonly<Record<string, Draw>> = {
  // The first choice is always available, and it is the one that was drawn.
  action_mask: (random, at, width) => (at % width === 0 ? 1 : random.integer(2)),
  drawn: (random, _, width) => (width === 1 ? 0 : 0.5 * random.normal()),
  old_log_prob: (random) => random.uniformIn(-1.5, 0),
  active: (random, at) => (at === 0 || random.uniform() < 0.7 ? 1 : 0),
  mask: (_, at) => (at % 5 === 4 ? 0 : 1),
  // Small enough that tanh does not saturate: its logarithm would tell the libraries' last bits apart.
  parameters: (random) => 0.3 * random.normal(),
  critic_parameters: (random) => 0.3 * random.normal(),
  noise: (random) => 0.5 * random.normal(),
  clip_range: () => 0.2,
  first_moment: (random) => 0.1 * random.normal(),
  second_moment: (random) => random.uniformIn(0.5, 1),
  step_size: () => 0.003,
  second_correction: () => 0.9,
  running_mean: () => 0.1,
  running_mean_square: () => 1.5,
  debias: () => 0.5,
};

/** One float32 tensor an input; every size must be known in numbers. Normal deviates unless the table says otherwise. */
export function randomFeeds(inputs: readonly OnnxValueInfo[], seed = 7): Record<string, FloatTensor> {
  const random = new Random(seed);
  return Object.fromEntries(
    inputs.map(({ name, shape }) => {
      const dims = shape.map(Number);
      const draw = DRAWS[name] ?? (() => random.normal());
      const tensor = floatTensor(dims);
      for (let at = 0; at < tensor.data.length; at++) tensor.data[at] = draw(random, at, dims.at(-1) ?? 1);
      return [name, tensor];
    }),
  );
}
