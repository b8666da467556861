/** Minibatches: which rows of a rollout a step reads, and that memory is neither copied in vain nor kept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { TensorInfo } from "../../src/runtime/session.ts";
import { type LearnerBatch, Minibatches } from "../../src/training/minibatches.ts";

const HEADS = 2;
const CHUNK_LENGTH = 2;
const CHUNKS = 6;

/** Head, step and chunk are the digits of each number; two numbers a row, and a state a chunk. */
function digits(): LearnerBatch {
  const rows = Array.from({ length: HEADS * CHUNK_LENGTH * CHUNKS }, (_, at) => {
    const [head, step] = [Math.floor(at / (CHUNK_LENGTH * CHUNKS)), Math.floor(at / CHUNKS) % CHUNK_LENGTH];
    return 100 * head + 10 * step + (at % CHUNKS);
  });
  const states = rows.filter((digit) => Math.floor(digit / 10) % 10 === 0);
  return {
    chunks: CHUNKS,
    inputs: {
      rows: {
        data: Float32Array.from(rows.flatMap((digit) => [digit, -digit])),
        width: 2,
        chunkLength: CHUNK_LENGTH,
      },
      states: { data: Float32Array.from(states), width: 1, chunkLength: 1 },
    },
  };
}

/** A step that also reads an input which is no part of a rollout. */
function stepInputs(count: number): TensorInfo[] {
  const chunks = CHUNKS / count;
  return [
    { name: "rows", dtype: "float32", shape: [HEADS, CHUNK_LENGTH * chunks, 2] },
    { name: "states", dtype: "float32", shape: [HEADS, chunks, 1] },
    { name: "clip_range", dtype: "float32", shape: [] },
  ];
}

test("chunks are gathered whole, in the order asked for, for every head and step", () => {
  const minibatches = new Minibatches(createRuntime(), stepInputs(3), 3);
  const parts = minibatches.load(digits());
  const values = (name: string): number[] => Array.from(parts[name]!.download().data as Float32Array);
  assert.deepEqual(Object.keys(parts), ["rows", "states"]);
  minibatches.select(Int32Array.of(5, 0));
  assert.deepEqual(parts["rows"]!.dims, [HEADS, 4, 2]);
  assert.deepEqual(
    values("rows"),
    [5, 0, 15, 10, 105, 100, 115, 110].flatMap((digit) => [digit, -digit]),
  );
  assert.deepEqual(values("states"), [5, 0, 105, 100]);
  minibatches.select(Int32Array.of(2, 2));
  assert.deepEqual(values("states"), [2, 2, 102, 102]);
  minibatches.dispose();
});

test("the next rollout is gathered from, not the one before it", () => {
  const minibatches = new Minibatches(createRuntime(), stepInputs(2), 2);
  minibatches.load(digits());
  minibatches.select(Int32Array.of(0, 1, 2));
  minibatches.release();
  const second = digits();
  second.inputs["states"]!.data.fill(7);
  const parts = minibatches.load(second);
  minibatches.select(Int32Array.of(3, 4, 5));
  assert.deepEqual([...(parts["states"]!.download().data as Float32Array)], [7, 7, 7, 7, 7, 7]);
  minibatches.dispose();
});

for (const chunk of [-1, CHUNKS]) {
  test(`chunk ${chunk} of ${CHUNKS} is refused before a kernel reads it`, () => {
    const minibatches = new Minibatches(createRuntime(), stepInputs(3), 3);
    minibatches.load(digits());
    assert.throws(() => minibatches.select(Int32Array.of(0, chunk)), {
      code: "LORASA_RANGE",
      message: new RegExp(`0 to ${CHUNKS - 1}, received ${chunk}`),
    });
    minibatches.dispose();
  });
}

test("one minibatch is the rollout itself, on the CPU in its own memory", () => {
  const minibatches = new Minibatches(createRuntime(), stepInputs(1), 1);
  const rollout = digits();
  const { states } = minibatches.load(rollout);
  rollout.inputs["states"]!.data[3] = 42;
  assert.equal((states!.download().data as Float32Array)[3], 42);
  minibatches.dispose();
});

test("a rollout of another size is refused", () => {
  const minibatches = new Minibatches(createRuntime(), stepInputs(1), 1);
  const { chunks, inputs } = digits();
  const states = { ...inputs["states"]!, data: new Float32Array(3) };
  assert.throws(() => minibatches.load({ chunks, inputs: { ...inputs, states } }), { code: "LORASA_SHAPE" });
  minibatches.dispose();
});

test("a rollout is freed by release, a minibatch's memory by dispose, twice without harm", () => {
  const whole = new Minibatches(createRuntime(), stepInputs(1), 1);
  const { rows } = whole.load(digits());
  whole.release();
  assert.throws(() => rows!.download(), { code: "LORASA_DISPOSED" });
  whole.release();
  const parts = new Minibatches(createRuntime(), stepInputs(2), 2);
  const { states } = parts.load(digits());
  parts.release();
  assert.equal(states!.download().data.length, HEADS * (CHUNKS / 2));
  parts.dispose();
  parts.dispose();
  assert.throws(() => states!.download(), { code: "LORASA_DISPOSED" });
});
