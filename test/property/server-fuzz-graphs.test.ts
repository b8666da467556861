/** Graphs with bytes changed, cut, added: refused with one of lorasa's errors or loaded, and the process lives. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LorasaError } from "../../src/base/errors.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { bytes } from "../helpers/hostile-headers.ts";

const CASES = 1500;
const SEED = Number(process.env["LORASA_FUZZ_SEED"] ?? 20261122);

/** Varints of every length, lengths beyond the file, a group that never ends. */
const VARINTS = ["ffffffffffffffffff01", "ffffffff0f", "8080808000", "0b", "7f"].map((hex) =>
  Buffer.from(hex, "hex"),
);

const edit = fc.record({
  at: fc.nat(500),
  removed: fc.nat(6),
  inserted: fc.oneof(bytes(6), fc.constantFrom(...VARINTS)),
});

test(`a graph with changed bytes is loaded or refused, seed ${SEED}`, { timeout: 60_000 }, () => {
  const runtime = createRuntime();
  const graph = Buffer.from(soundGraph());
  let loaded = 0;
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const changed = edits.reduce((whole, { at, removed, inserted }) => {
        const start = at % whole.length;
        return Buffer.concat([whole.subarray(0, start), inserted, whole.subarray(start + removed)]);
      }, graph);
      try {
        runtime.createSession(changed, { untrusted: true }).dispose();
        loaded += 1;
      } catch (error) {
        assert.ok(error instanceof LorasaError, String(error));
        assert.ok(error.message.length < 4096, "the whole file is told");
      }
    }),
    { numRuns: CASES, seed: SEED },
  );
  assert.ok(loaded > CASES / 500, `only ${loaded} reached the runtime`);
});

function soundGraph(): Uint8Array {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", ["B", 4]);
  const weight = g.constant("weight", floatTensor([4, 3]));
  g.output("y", g.tanh(g.add(g.matMul(x, weight), g.constant("bias", floatTensor([3])))));
  return encodeModel(finishGraph(g, "sound"));
}
