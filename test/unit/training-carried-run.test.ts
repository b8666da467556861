/** Runs whose outputs are the next run's inputs: what each run reads, and what is left after it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { floatTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import { CarriedRun } from "../../src/training/carried-run.ts";
import { buildGraph } from "../helpers/run-graph.ts";

const runtime = createRuntime();

/** Fibonacci's numbers: a and b become b and a + b + x, and the sum is given too. */
function fibonacci(): Session {
  const feeds = { a: floatTensor([1]), b: floatTensor([1]), x: floatTensor([1]) };
  const model = buildGraph(feeds, (g, { a, b, x }) => {
    const sum = g.add(g.add(a!, b!), x!);
    return { a_out: g.add(b!, 0), b_out: sum, sum: g.mul(sum, 10) };
  });
  return runtime.createSession(encodeModel(model));
}

function started(): { run: CarriedRun; x: Float32Array; sum: Float32Array; session: Session } {
  const session = fibonacci();
  const run = new CarriedRun(runtime, session);
  const [x, sum] = [floatTensor([1]), floatTensor([1])];
  run.bind({ x }, { sum });
  return { run, session, x: x.data, sum: sum.data };
}

const values = (run: CarriedRun): number[] => ["a", "b"].map((name) => run.download(name).data[0]!);

test("each run reads what the one before left, however many there are", () => {
  const { run, session, sum } = started();
  assert.deepEqual(values(run), [0, 0], "zeros at first");
  run.write("b", Float32Array.of(1));
  const seen = Array.from({ length: 7 }, () => {
    run.run();
    return sum[0];
  });
  assert.deepEqual(seen, [10, 20, 30, 50, 80, 130, 210]);
  assert.deepEqual(values(run), [13, 21]);
  run.dispose();
  session.dispose();
});

test("a peek answers and carries nothing over, after an odd and an even number of runs", () => {
  const { run, session, x, sum } = started();
  run.write("b", Float32Array.of(1));
  for (const expected of [
    [1, 1],
    [1, 2],
  ]) {
    run.run();
    x[0] = 100;
    run.peek();
    assert.equal(sum[0], 10 * (expected[0]! + expected[1]! + 100));
    assert.deepEqual(values(run), expected);
    x[0] = 0;
  }
  run.run();
  assert.deepEqual(values(run), [2, 3]);
  run.dispose();
  session.dispose();
});

test("what is written is copied, and bound again the carried numbers stay", () => {
  const { run, session } = started();
  const given = Float32Array.of(4);
  run.write("a", given);
  run.run();
  assert.deepEqual([...given], [4]);
  const sum = floatTensor([1]);
  run.bind({ x: floatTensor([1], [1]) }, { sum });
  run.run();
  assert.deepEqual([sum.data[0], ...values(run)], [50, 4, 5]);
  run.dispose();
  session.dispose();
});

test("inputs and outputs that are not carried are told apart by their names", () => {
  const { run, session } = started();
  assert.deepEqual(run.carried, ["a", "b"]);
  assert.deepEqual(
    [run.inputs, run.outputs].map((infos) => infos.map(({ name }) => name)),
    [["x"], ["sum"]],
  );
  run.dispose();
  session.dispose();
});

test("disposed of, twice without harm, the carried tensors are gone", () => {
  const { run, session } = started();
  const tensor = run.current("a");
  run.dispose();
  run.dispose();
  assert.throws(() => tensor.download(), { code: "LORASA_DISPOSED" });
  session.dispose();
});
