/** Advantages corrected for agents that learnt before, against sums written out from the formulas; and their normalisation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Random } from "../../src/base/random.ts";
import { AdvantageEstimator } from "../../src/training/advantage-estimator.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { createRolloutBuffer, type RolloutBuffer, rowOffset } from "../../src/training/rollout-buffer.ts";
import { createValueNorm, updateValueNorm, valueNormMoments } from "../../src/training/value-norm.ts";
import { assertClose } from "../helpers/close.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const AGENTS = 3;
const SEED = 2302;

/** In twentieths: doubles drawn from 0 to 1 are nearly all too small to matter. */
const fraction = fc.integer({ min: 0, max: 20 }).map((part) => part / 20);

const rollouts = fc.record({
  heads: fc.constantFrom(1, AGENTS),
  critics: fc.boolean(),
  chunkLength: fc.integer({ min: 1, max: 4 }),
  chunks: fc.integer({ min: 1, max: 4 }),
  envs: fc.integer({ min: 1, max: 3 }),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  endings: fc.constantFrom(0, 0.15, 0.5),
  gamma: fraction,
  gaeLambda: fraction,
  timeLimit: fc.constantFrom("zero-advantage" as const, "bootstrap" as const),
  trace: fc.constantFrom(
    "off" as const,
    "formula" as const,
    "lambda-squared" as const,
    "running-product" as const,
  ),
});
type Rollout = typeof rollouts extends fc.Arbitrary<infer R> ? R : never;

function bufferOf({ heads, chunkLength, chunks, envs, seed, endings, timeLimit }: Rollout): RolloutBuffer {
  const buffer = createRolloutBuffer({
    agents: AGENTS,
    heads,
    steps: chunkLength * chunks,
    envs,
    chunkLength,
    observationSize: 1,
    stateSize: 1,
    stateRows: 1,
    drawnSize: 1,
    maskSize: 0,
    actorHidden: 0,
    criticHidden: 0,
    finalValues: timeLimit === "bootstrap",
  });
  const random = new Random(seed);
  for (const data of [buffer.rewards, buffer.values, buffer.bootstrapValues, buffer.finalValues])
    data.set(data.map(() => random.normal()));
  for (const data of [buffer.terminated, buffer.truncated])
    data.set(data.map(() => +(random.uniform() < endings)));
  buffer.active.set(buffer.active.map(() => +(random.uniform() < 0.7)));
  return buffer;
}

function ratiosOf({ rows }: RolloutBuffer, seed: number): Float32Array {
  const random = new Random(seed + 1);
  return Float32Array.from({ length: rows }, () => Math.exp(0.5 * random.normal()));
}

/** How much of δ_{t+m} reaches A_t, from the ratios of the m steps after t. */
const TRACES: Readonly<Record<TrainConfig["trace"], (rho: readonly number[], lambda: number) => number>> = {
  off: (rho, lambda) => lambda ** rho.length,
  formula: (rho, lambda) => rho.reduce((product, one) => product * lambda * Math.min(1, one), 1),
  "lambda-squared": (rho, lambda) =>
    rho.reduce((product, one) => product * lambda * lambda * Math.min(1, one), 1),
  "running-product": (rho, lambda) =>
    lambda ** rho.length * rho.reduce((product, one) => Math.min(1, product * one), 1),
};

/** A_t = Σ_m γ^m · trace(ρ_{t+1} … ρ_{t+m}) · δ_{t+m}, each sum from its beginning, up to the episode's end. */
function written(buffer: RolloutBuffer, rollout: Rollout, ratio: Float32Array, moments: Moments): number[] {
  const { shape, rewards, terminated, truncated } = buffer;
  const { gamma, gaeLambda, timeLimit, trace } = rollout;
  const advantages = new Array<number>(buffer.values.length).fill(0);
  for (let head = 0; head < shape.heads; head++) {
    const { mean, std } = moments(head);
    const value = (data: Float32Array, at: number): number => data[at]! * std + mean;
    for (let e = 0; e < shape.envs; e++) {
      const row = (t: number): number => rowOffset(shape, t) + e;
      const at = (t: number): number => head * buffer.rows + row(t);
      const follows = (t: number): number => {
        if (terminated[row(t)] === 1) return 0;
        if (truncated[row(t)] === 1) return value(buffer.finalValues, at(t));
        if (t + 1 < shape.steps) return value(buffer.values, at(t + 1));
        return value(buffer.bootstrapValues, head * shape.envs + e);
      };
      for (let t = 0; t < shape.steps; t++) {
        const rho: number[] = [];
        for (let s = t; s < shape.steps; s++) {
          if (s > t) rho.push(ratio[row(s)]!);
          const limit = truncated[row(s)] === 1;
          if (limit && timeLimit === "zero-advantage") break;
          const delta = rewards[row(s)]! + gamma * follows(s) - value(buffer.values, at(s));
          advantages[at(t)]! += gamma ** (s - t) * TRACES[trace](rho, gaeLambda) * delta;
          if (limit || terminated[row(s)] === 1) break;
        }
      }
    }
  }
  return advantages;
}

type Moments = (head: number) => { mean: number; std: number };

function normOf({ heads, critics, seed }: Rollout) {
  const groups = critics ? heads : 1;
  const norm = createValueNorm(groups);
  const random = new Random(seed + 2);
  updateValueNorm(
    norm,
    Float32Array.from({ length: 6 * groups }, (_, k) => 3 * k + random.normal()),
  );
  const moments: Moments = (head) => valueNormMoments(norm, groups === 1 ? 0 : head);
  return { norm, moments };
}

function estimatorOf(rollout: Rollout, change: Partial<TrainConfig> = {}) {
  const { gamma, gaeLambda, timeLimit, trace } = rollout;
  const config = tinyConfig({ gamma, gaeLambda, timeLimit, trace, ...change });
  const buffer = bufferOf(rollout);
  return { buffer, estimator: new AdvantageEstimator(config, buffer) };
}

test("corrected advantages and returns are the sums of the formulas, whatever ends and however rows lie", () => {
  fc.assert(
    fc.property(rollouts, (rollout) => {
      const { buffer, estimator } = estimatorOf(rollout);
      const { norm, moments } = normOf(rollout);
      estimator.begin(norm);
      const ratio = ratiosOf(buffer, rollout.seed);
      estimator.estimate(ratio);
      const expected = written(buffer, rollout, ratio, moments);
      assertClose(estimator.advantages, expected, { atol: 1e-4, rtol: 1e-4 }, "advantages");
      const values = Array.from(buffer.values, (one, k) => {
        const { mean, std } = moments(Math.floor(k / buffer.rows));
        return one * std + mean;
      });
      assertClose(estimator.values, values, { atol: 1e-5, rtol: 1e-5 }, "values");
      const returns = expected.map((one, k) => one + values[k]!);
      assertClose(estimator.returns, returns, { atol: 1e-4, rtol: 1e-4 }, "returns");
    }),
    { numRuns: 300, seed: SEED },
  );
});

test("without a ratio, and with ratios of 1 except for the squared λ, advantages are the plain ones", () => {
  fc.assert(
    fc.property(rollouts, (rollout) => {
      const { buffer, estimator } = estimatorOf(rollout);
      const { norm, moments } = normOf(rollout);
      estimator.begin(norm);
      const ones = new Float32Array(buffer.rows).fill(1);
      const plain = written(buffer, { ...rollout, trace: "off" }, ones, moments);
      estimator.estimate();
      assertClose(estimator.advantages, plain, { atol: 1e-4, rtol: 1e-4 });
      if (rollout.trace === "lambda-squared") return;
      estimator.estimate(ones);
      assertClose(estimator.advantages, plain, { atol: 1e-4, rtol: 1e-4 });
    }),
    { numRuns: 50, seed: SEED },
  );
});

/** Mean and population deviation of numbers that count so often. */
function spread(values: readonly number[], weights: readonly number[]): { mean: number; std: number } {
  const count = weights.reduce((sum, one) => sum + one, 0);
  const mean = values.reduce((sum, one, k) => sum + weights[k]! * one, 0) / count;
  const squares = values.reduce((sum, one, k) => sum + weights[k]! * (one - mean) ** 2, 0);
  return { mean, std: Math.sqrt(squares / count) };
}

const ROLLOUT: Rollout = {
  heads: 1,
  critics: false,
  chunkLength: 2,
  chunks: 6,
  envs: 3,
  seed: 11,
  endings: 0.15,
  gamma: 0.9,
  gaeLambda: 0.9,
  timeLimit: "bootstrap",
  trace: "off",
};

test("advantages of a team's one value are weighed by how many agents were active in a row", () => {
  const { buffer, estimator } = estimatorOf(ROLLOUT);
  estimator.begin(normOf(ROLLOUT).norm);
  estimator.estimate();
  const before = [...estimator.advantages];
  const present = before.map((_, row) =>
    [0, 1, 2].reduce((n, a) => n + buffer.active[a * buffer.rows + row]!, 0),
  );
  assert.ok(new Set(present).size > 2, "rows differ in how many were active");
  const { mean, std } = spread(before, present);
  estimator.normalise();
  assertClose(
    estimator.advantages,
    before.map((one) => (one - mean) / (std + 1e-5)),
    { atol: 1e-5 },
  );
});

for (const sharing of ["ps", "nps"] as const) {
  test(`advantages of a value an agent are normalised ${sharing === "ps" ? "jointly" : "each by itself"}, by active rows: ${sharing}`, () => {
    const rollout: Rollout = { ...ROLLOUT, heads: AGENTS };
    const { buffer, estimator } = estimatorOf(rollout, { sharing });
    estimator.begin(normOf(rollout).norm);
    estimator.estimate();
    const before = [...estimator.advantages];
    const active = [...buffer.active];
    const expected = before.map((one, k) => {
      const from = sharing === "ps" ? 0 : Math.floor(k / buffer.rows) * buffer.rows;
      const to = sharing === "ps" ? before.length : from + buffer.rows;
      const { mean, std } = spread(before.slice(from, to), active.slice(from, to));
      return (one - mean) / (std + 1e-5);
    });
    estimator.normalise();
    assertClose(estimator.advantages, expected, { atol: 1e-5 });
  });
}
