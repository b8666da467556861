import { test } from "node:test";
import fc from "fast-check";
import { Random } from "../../src/base/random.ts";
import { type GaeInput, type GaeOutput, generalisedAdvantages } from "../../src/training/gae.ts";
import { assertClose } from "../helpers/close.ts";

/** In twentieths: doubles drawn from 0 to 1 are nearly all too small to matter. */
const fraction = fc.integer({ min: 0, max: 20 }).map((part) => part / 20);

const rollouts = fc.record({
  heads: fc.integer({ min: 1, max: 3 }),
  chunk: fc.integer({ min: 1, max: 4 }),
  chunks: fc.integer({ min: 1, max: 4 }),
  envs: fc.integer({ min: 1, max: 3 }),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  endings: fc.constantFrom(0, 0.15, 0.5),
  gamma: fraction,
  gaeLambda: fraction,
  timeLimit: fc.constantFrom("zero-advantage" as const, "bootstrap" as const),
});
type Rollout = typeof rollouts extends fc.Arbitrary<infer R> ? R : never;

/** A random rollout whose steps lie in scattered order, each with its environments side by side. */
function randomInput(shape: Rollout): GaeInput {
  const random = new Random(shape.seed);
  const steps = shape.chunk * shape.chunks;
  const rows = steps * shape.envs;
  const order = random.permutation(steps);
  const floats = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal());
  const flags = (): Uint8Array =>
    Uint8Array.from({ length: rows }, () => +(random.uniform() < shape.endings));
  return {
    ...shape,
    steps,
    rowOffset: (t) => order[t]! * shape.envs,
    rewards: floats(rows),
    values: floats(shape.heads * rows),
    bootstrapValues: floats(shape.heads * shape.envs),
    finalValues: floats(shape.heads * rows),
    terminated: flags(),
    truncated: flags(),
  };
}

/** A_t = Σ_m (γλ)^m δ_{t+m}, written out as a sum that stops at the first ending: O(T²), no recursion. */
function naive(input: GaeInput): GaeOutput {
  const { heads, steps, envs, rowOffset, rewards, values, gamma, gaeLambda } = input;
  const advantages = new Float32Array(values.length);
  const returns = new Float32Array(values.length);
  for (let n = 0; n < heads; n++) {
    for (let e = 0; e < envs; e++) {
      const row = (t: number): number => rowOffset(t) + e;
      const at = (t: number): number => n * steps * envs + row(t);
      const follows = (t: number): number => {
        if (input.terminated[row(t)] === 1) return 0;
        if (input.truncated[row(t)] === 1) return input.finalValues![at(t)]!;
        return t + 1 < steps ? values[at(t + 1)]! : input.bootstrapValues[n * envs + e]!;
      };
      for (let t = 0; t < steps; t++) {
        let sum = 0;
        for (let m = t; m < steps; m++) {
          const limit = input.truncated[row(m)] === 1;
          if (limit && input.timeLimit === "zero-advantage") break;
          sum += (gamma * gaeLambda) ** (m - t) * (rewards[row(m)]! + gamma * follows(m) - values[at(m)]!);
          if (limit || input.terminated[row(m)] === 1) break;
        }
        advantages[at(t)] = sum;
        returns[at(t)] = sum + values[at(t)]!;
      }
    }
  }
  return { advantages, returns };
}

test("the recursion equals the sum written out, for any layout, endings and treatment", () => {
  fc.assert(
    fc.property(rollouts, (shape) => {
      const input = randomInput(shape);
      const expected = naive(input);
      const actual = generalisedAdvantages(input);
      assertClose(actual.advantages, expected.advantages, {}, "advantages");
      assertClose(actual.returns, expected.returns, {}, "returns");
    }),
  );
});

test("λ = 0 is the temporal-difference error, λ = 1 the discounted returns less the value", () => {
  fc.assert(
    fc.property(rollouts, (shape) => {
      const whole = { ...randomInput({ ...shape, endings: 0 }) };
      const rows = whole.steps * whole.envs;
      const difference = new Float32Array(whole.values.length);
      const discounted = new Float32Array(whole.values.length);
      for (let i = 0; i < whole.heads * whole.envs; i++) {
        const [head, e] = [Math.floor(i / whole.envs), i % whole.envs];
        let next = whole.bootstrapValues[i]!;
        let tail = next;
        for (let t = whole.steps - 1; t >= 0; t--) {
          const row = whole.rowOffset(t) + e;
          const at = head * rows + row;
          tail = whole.rewards[row]! + shape.gamma * tail;
          difference[at] = whole.rewards[row]! + shape.gamma * next - whole.values[at]!;
          discounted[at] = tail - whole.values[at]!;
          next = whole.values[at]!;
        }
      }
      assertClose(generalisedAdvantages({ ...whole, gaeLambda: 0 }).advantages, difference);
      const monteCarlo = generalisedAdvantages({ ...whole, gaeLambda: 1 });
      assertClose(monteCarlo.advantages, discounted, { atol: 1e-5 });
    }),
  );
});
