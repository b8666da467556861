/**
 * Shape inference of every operator: what it says for good inputs is what ONNX Runtime computes, and bad ones are
 * refused by a message that names the node.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OPS, type OpName } from "../../src/graph/ops.ts";
import { formatType } from "../../src/graph/value.ts";
import { checkModel } from "../../src/onnx/check.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertFails } from "../helpers/fails.ts";
import {
  OPERATOR_CASES,
  type OperatorCases,
  runnableCase,
  sized,
  startCase,
} from "../helpers/operator-cases.ts";

for (const op of Object.keys(OPS) as OpName[]) {
  const { good, bad }: OperatorCases = OPERATOR_CASES[op];

  test(`${op}: inferred types are those that ONNX Runtime computes`, () => {
    for (const [types, build, ...expected] of good) {
      const { model, feeds, results, g } = runnableCase(types, build);
      assert.deepEqual(results.map(formatType), expected);
      assert.ok(g.nodes.some((node) => node.op === op && node.name.startsWith(`layer/${op}`)));
      checkModel(model);
      const session = createRuntime().createSession(encodeModel(model));
      const outputs = session.run(feeds);
      for (const [index, { dtype, shape }] of results.entries()) {
        const { dtype: actualType, dims } = outputs[`y${index}`]!;
        assert.equal(actualType, dtype);
        assert.deepEqual(dims, sized(shape));
      }
      session.dispose();
    }
  });

  test(`${op}: what does not fit is refused by the node's name`, () => {
    for (const [types, build, message] of bad) {
      const escaped = message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const expected = new RegExp(`^layer/${op}(_\\d+)?: ${escaped}$`);
      assertFails(() => startCase(types, build), "LORASA_GRAPH", expected);
    }
  });
}
