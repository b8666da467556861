/** Every operator gives the same numbers on ONNX Runtime and on TensorFlow.js. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HostTensor } from "../../src/base/tensor.ts";
import { OPS, type OpName } from "../../src/graph/ops.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertClose } from "../helpers/close.ts";
import { OPERATOR_CASES, type OperatorCases, runnableCase } from "../helpers/operator-cases.ts";
import { runTfjs } from "../helpers/tfjs-executor.ts";

for (const op of Object.keys(OPS) as OpName[]) {
  test(`${op} on both executors`, () => {
    const { good }: OperatorCases = OPERATOR_CASES[op];
    for (const [types, build, ...expected] of good) {
      // TensorFlow.js has no half-precision type.
      if (expected.some((type) => type.startsWith("float16"))) continue;
      const { model, feeds } = runnableCase(types, build);
      const session = createRuntime().createSession(encodeModel(model));
      const outputs = session.run(feeds) as Record<string, HostTensor>;
      const others = runTfjs(model, feeds);
      for (const { name, dtype } of model.outputs) {
        const [actual, other] = [outputs[name]!, others[name]!];
        assert.deepEqual([actual.dtype, actual.dims], [dtype, other.dims]);
        assertClose(Array.from(actual.data, Number), Array.from(other.data, Number), {}, `${op} ${name}`);
      }
      session.dispose();
    }
  });
}
