/** Every operator gives ONNX Runtime's numbers, shapes and types; also where they are delicate. */
import assert from "node:assert/strict";
import type { HostTensor } from "../../src/base/tensor.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import { OPS, type OpName } from "../../src/graph/ops.ts";
import type { Value } from "../../src/graph/value.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { OPERATOR_CASES, type OperatorCases, runnableCase } from "../helpers/operator-cases.ts";
import { buildGraph, type Tensors } from "../helpers/run-graph.ts";
import type { ExecutorSuite } from "./executor.ts";

export function testOperators({ test, operators }: ExecutorSuite): void {
  for (const op of Object.keys(OPS) as OpName[]) {
    const { good }: OperatorCases = OPERATOR_CASES[op];
    for (const [index, [types, build, ...results]] of good.entries()) {
      test(`${op} ${index + 1}, ${results.join(", ")}`, (runtime) => {
        const { model, feeds } = runnableCase(types, build);
        assertSame(runtime, model, feeds, operators);
      });
    }
  }
  for (const [what, data, build] of DELICATE) {
    test(what, (runtime) => {
      const feeds = { x: floatTensor([data.length / 4, 4], data) };
      assertSame(
        runtime,
        buildGraph(feeds, (g, { x }) => ({ y: build(g, x!) })),
        feeds,
        operators,
      );
    });
  }
}

/** Both signs, zero, and numbers that a function must not lose or overflow on. */
const WIDE = [-30, -1.5, -1e-6, 0, 1e-6, 0.5, 1.5, 30];
const POSITIVE = [1e-30, 1e-6, 0.5, 1, 1.5, 30, 1e6, 1e30];

/** Rows of four. */
const DELICATE: readonly (readonly [string, readonly number[], (g: GraphBuilder, x: Value) => Value])[] = [
  ...(["Abs", "Exp", "Neg", "Relu", "Sigmoid", "Sign", "Softplus", "Tanh"] as const).map(
    (op) => [`${op} of wide numbers`, WIDE, (g: GraphBuilder, x: Value) => g.apply(op, [x])] as const,
  ),
  ...(["Log", "Reciprocal", "Sqrt"] as const).map(
    (op) =>
      [`${op} of wide positive numbers`, POSITIVE, (g: GraphBuilder, x: Value) => g.apply(op, [x])] as const,
  ),
  ...(["Softmax", "LogSoftmax"] as const).map(
    (op) =>
      [
        `${op} of choices that are masked out and far apart`,
        [-1e10, 0, 1, -1e10, 90, -90, 0, 89],
        (g: GraphBuilder, x: Value) => g.apply(op, [x], { axis: -1 }),
      ] as const,
  ),
  ["ArgMax takes the first of equals", [1, 3, 3, 0, 2, 2, 2, 2], (g, x) => g.argMax(x)],
  [
    "Where passes on nothing of the side not taken",
    [-1, 4, -9, 16],
    (g, x) => g.where(g.greater(x, 0), g.sqrt(x), 0),
  ],
  ["Cast to int64 cuts off towards zero", [-1.9, -0.5, 0.5, 2.9], (g, x) => g.cast(x, "int64")],
  ["Clip between bounds that a number meets", [-2, -1, 1, 2], (g, x) => g.clip(x, -1, 1)],
];

/** Dims and types before numbers; integers and bools are the same bits. */
function assertSame(runtime: Runtime, model: OnnxModel, feeds: Tensors, tolerance: Tolerance): void {
  const bytes = encodeModel(model);
  const expected = run(createRuntime(), bytes, feeds);
  const actual = run(runtime, bytes, feeds);
  for (const { name, dtype } of model.outputs) {
    const [ours, theirs] = [actual[name]!, expected[name]!];
    assert.deepEqual([ours.dtype, ours.dims], [dtype, theirs.dims], name);
    if (dtype === "float32")
      assertClose(ours.data as Float32Array, theirs.data as Float32Array, tolerance, name);
    else assert.deepEqual(ours.data, theirs.data, name);
  }
}

function run(runtime: Runtime, bytes: Uint8Array, feeds: Tensors): Record<string, HostTensor> {
  const session = runtime.createSession(bytes);
  try {
    // No fetch is resident, so every result is the host's.
    return session.run(feeds) as Record<string, HostTensor>;
  } finally {
    session.dispose();
  }
}
