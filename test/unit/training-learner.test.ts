/** A learner's epochs and minibatches against the same arithmetic by hand, and that a thread changes no number. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ParameterLayout } from "../../models/parameters.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { type AsyncLearner, localLearner, threadLearner } from "../../src/training/async-learner.ts";
import type { LearnerOptions } from "../../src/training/learner.ts";
import type { LearnerBatch } from "../../src/training/minibatches.ts";
import { optimizerInputs, trainStep } from "../../src/training/step-graph.ts";
import { assertClose } from "../helpers/close.ts";

const SIZE = 3;
const CHUNKS = 6;
const CHUNK_LENGTH = 2;
const OWNERS = 2;
const LAYOUT = new ParameterLayout(
  [{ name: "w", owner: "agent", shape: [SIZE], initializer: { kind: "constant", value: 0 } }],
  OWNERS,
);
const RATES = { learningRate: 0.05, clipRange: 0.5 };
const SEED = 4;

/**
 * For each of two owners, the mean over rows of (x·w − y + s)², where s is a state of the row's chunk, plus the clip
 * range times the sum of w; and a carried number that counts steps.
 */
function regression(chunks: number): OnnxModel {
  const g = new GraphBuilder();
  const optimizer = optimizerInputs(g, LAYOUT);
  const rows = chunks * CHUNK_LENGTH;
  const x = g.input("x", "float32", [OWNERS, rows, SIZE]);
  const y = g.input("y", "float32", [1, rows, 1]);
  const start = g.input("start", "float32", [OWNERS, chunks, 1]);
  const count = g.input("count", "float32", [1]);
  const range = g.input("clip_range", "float32", []);
  const predicted = g.matMul(x, g.unsqueeze(optimizer.parameters, [2]));
  const states = g.concat(Array(CHUNK_LENGTH).fill(start), 1);
  const error = g.square(g.add(g.sub(predicted, y), states));
  const fit = g.mul(g.reduceSum(error), 1 / rows);
  trainStep(
    g,
    optimizer,
    g.add(fit, g.mul(range, g.reduceSum(optimizer.parameters))),
    { maxGradientNorm: 1e6, partial: true },
    [fit],
  );
  g.output("count_out", g.add(count, 1));
  return finishGraph(g, "regression");
}

function batch(): LearnerBatch {
  const random = new Random(11);
  const data = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal());
  const rows = CHUNKS * CHUNK_LENGTH;
  return {
    chunks: CHUNKS,
    inputs: {
      x: { data: data(OWNERS * rows * SIZE), width: SIZE, chunkLength: CHUNK_LENGTH },
      y: { data: data(rows), width: 1, chunkLength: CHUNK_LENGTH },
      start: { data: data(OWNERS * CHUNKS), width: 1, chunkLength: 1 },
    },
  };
}

function optionsOf(epochs: number, minibatches: number): LearnerOptions {
  return {
    runtime: createRuntime(),
    model: regression(CHUNKS / minibatches),
    dims: [OWNERS, SIZE],
    parameters: Float32Array.of(0.1, -0.2, 0.3, 0.4, 0.5, -0.6),
    epochs,
    minibatches,
    threads: 1,
    seed: SEED,
    carried: { count: floatTensor([1]) },
  };
}

function parametersOf(learner: AsyncLearner): Float32Array {
  // Parameters are float32.
  return learner.parameters.download().data as Float32Array;
}

/** The same in double precision, row by row. */
function byHand(epochs: number, minibatches: number): { weights: number[]; loss: number; norms: number[] } {
  const { inputs } = batch();
  const weights = [...optionsOf(1, 1).parameters];
  const first = weights.map(() => 0);
  const second = weights.map(() => 0);
  const random = new Random(SEED);
  const norms = [0, 0];
  let loss = 0;
  let step = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = minibatches > 1 ? [...random.permutation(CHUNKS)] : [0, 1, 2, 3, 4, 5];
    for (let part = 0; part < minibatches; part++) {
      const chunks = order.slice((part * CHUNKS) / minibatches, ((part + 1) * CHUNKS) / minibatches);
      const gradient = weights.map(() => RATES.clipRange);
      const rows = chunks.length * CHUNK_LENGTH;
      for (let owner = 0; owner < OWNERS; owner++) {
        for (let t = 0; t < CHUNK_LENGTH; t++) {
          for (const chunk of chunks) {
            const row = t * CHUNKS + chunk;
            const at = (owner * CHUNKS * CHUNK_LENGTH + row) * SIZE;
            const features = [...inputs["x"]!.data.subarray(at, at + SIZE)];
            const predicted = features.reduce((sum, value, k) => sum + value * weights[owner * SIZE + k]!, 0);
            const error =
              predicted - inputs["y"]!.data[row]! + inputs["start"]!.data[owner * CHUNKS + chunk]!;
            loss += error ** 2 / rows / (epochs * minibatches);
            for (const [k, value] of features.entries())
              gradient[owner * SIZE + k]! += (2 * error * value) / rows;
          }
        }
        const norm = Math.hypot(...gradient.slice(owner * SIZE, (owner + 1) * SIZE));
        norms[owner]! += norm / (epochs * minibatches);
      }
      step += 1;
      for (const [k, slope] of gradient.entries()) {
        first[k] = 0.9 * first[k]! + 0.1 * slope;
        second[k] = 0.999 * second[k]! + 0.001 * slope ** 2;
        const root = Math.sqrt(second[k]! / (1 - 0.999 ** step)) + 1e-5;
        weights[k]! -= (RATES.learningRate * first[k]!) / (1 - 0.9 ** step) / root;
      }
    }
  }
  return { weights, loss, norms };
}

for (const minibatches of [1, 2, 3]) {
  test(`epochs over ${minibatches} minibatches step as by hand`, async () => {
    const learner = localLearner(optionsOf(4, minibatches));
    const result = await learner.update(batch(), RATES);
    const expected = byHand(4, minibatches);
    assertClose(parametersOf(learner), expected.weights, { atol: 2e-6 }, "parameters");
    assertClose(result.metrics, [expected.loss], { rtol: 1e-5 }, "mean loss over the steps");
    assertClose(result.gradientNorms, expected.norms, { rtol: 1e-5 }, "gradient norms");
    assert.deepEqual([...learner.carried("count")], [4 * minibatches]);
    assert.deepEqual((await learner.state()).updates, [4 * minibatches, 4 * minibatches]);
    await learner.close();
  });
}

test("owners that have no part in an update keep their numbers, momentum and count of steps", async () => {
  const apart = localLearner(optionsOf(2, 1));
  const together = localLearner(optionsOf(2, 1));
  const row = (data: Float32Array, owner: number): number[] => [
    ...data.subarray(owner * SIZE, (owner + 1) * SIZE),
  ];
  await apart.update(batch(), { ...RATES, parts: [0] });
  assert.deepEqual(row(parametersOf(apart), 1), row(optionsOf(1, 1).parameters, 1));
  await together.update(batch(), RATES);
  const first = await together.state();
  await apart.update(batch(), { ...RATES, parts: [1] });
  await apart.update(batch(), { ...RATES, parts: [0] });
  await together.update(batch(), RATES);
  const [state, second] = [await apart.state(), await together.state()];
  assert.deepEqual(state.updates, [4, 2]);
  for (const name of ["parameters", "firstMoment", "secondMoment"] as const) {
    // One has learnt twice as often as the other, each as if it were alone.
    assert.deepEqual(row(state[name], 0), row(second[name], 0), name);
    assert.deepEqual(row(state[name], 1), row(first[name], 1), name);
  }
  await apart.close();
  await together.close();
});

test("another batch is read, and not the first one again", async () => {
  const learner = localLearner(optionsOf(1, 1));
  const other = localLearner(optionsOf(1, 1));
  await learner.update(batch(), RATES);
  await other.restore(await learner.state());
  const second = batch();
  for (const { data } of Object.values(second.inputs)) data.reverse();
  await learner.update(second, RATES);
  await other.update(second, RATES);
  assert.deepEqual(parametersOf(learner), parametersOf(other));
  await learner.close();
  await other.close();
});

test("a learner reads a batch's memory anew at each update", async () => {
  const learner = localLearner(optionsOf(1, 1));
  const rollout = batch();
  await learner.update(rollout, RATES);
  const other = localLearner(optionsOf(1, 1));
  await other.restore(await learner.state());
  for (const { data } of Object.values(rollout.inputs)) data.reverse();
  await learner.update(rollout, RATES);
  await other.update(rollout, RATES);
  assert.deepEqual(parametersOf(learner), parametersOf(other));
  await learner.close();
  await other.close();
});

test("a learner's thread gives the same bits, and goes on from a restored state", async () => {
  const options = optionsOf(3, 2);
  const local = localLearner(options);
  const thread = threadLearner(options);
  const { parameters } = thread;
  try {
    for (let update = 0; update < 2; update++) {
      assert.deepEqual(await thread.update(batch(), RATES), await local.update(batch(), RATES));
      assert.deepEqual(parametersOf(thread), parametersOf(local));
      assert.deepEqual([...thread.carried("count")], [...local.carried("count")]);
    }
    assert.equal(thread.parameters, parameters, "the same memory throughout");
    const saved = await thread.state();
    assert.deepEqual(saved, await local.state());
    await thread.update(batch(), RATES);
    const after = parametersOf(thread);
    await thread.restore(saved);
    assert.deepEqual(parametersOf(thread), saved.parameters);
    await thread.update(batch(), RATES);
    assert.deepEqual(parametersOf(thread), after);
  } finally {
    await local.close();
    await thread.close();
  }
});

test("a learner's thread names what is wrong with a batch and goes on; closed, it refuses", async () => {
  const thread = threadLearner(optionsOf(1, 1));
  const { x, ...rest } = batch().inputs;
  await assert.rejects(thread.update({ chunks: CHUNKS, inputs: rest }, RATES), {
    code: "LORASA_GRAPH",
    message: /input x/,
  });
  assert.ok(x);
  await thread.update(batch(), RATES);
  await thread.close();
  await thread.close();
  await assert.rejects(thread.update(batch(), RATES), { code: "LORASA_DISPOSED" });
});

test("an update under way is refused, not left waiting, when its thread is closed", async () => {
  const thread = threadLearner(optionsOf(1000, 1));
  const update = assert.rejects(thread.update(batch(), RATES), { code: "LORASA_DISPOSED" });
  await thread.close();
  await update;
});
