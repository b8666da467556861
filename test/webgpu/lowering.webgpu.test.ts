/** What is rewritten for WebGPU gives the CPU's numbers and leaves no node to the CPU, in every operator set of exports. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { mergedGraph, OPSETS } from "../../exporters/graphs.ts";
import { Random } from "../../src/base/random.ts";
import { elementCount, type FloatTensor, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel, OnnxNode } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Device } from "../../src/runtime/session.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { randomTeam } from "../helpers/team.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
const EXACT = { atol: 0, rtol: 0 };
/** float32's own precision over sums of a few numbers. */
const CLOSE = { atol: 1e-5, rtol: 1e-5 };

type Results = Readonly<Record<string, FloatTensor>>;

/** One node over `x`; every other input a constant. Sizes of the outputs are left open. */
function nodeModel(
  opset: number,
  x: FloatTensor,
  node: Omit<OnnxNode, "name">,
  constants: Record<string, HostTensor> = {},
): OnnxModel {
  const { dims } = x;
  const shape = dims.map((_, axis) => `axis_${axis}`);
  return {
    irVersion: 8,
    opset,
    name: "lowered",
    inputs: [{ name: "x", dtype: "float32", shape }],
    outputs: node.outputs
      .filter((name) => name !== "")
      .map((name) => ({ name, dtype: "float32", shape: dims.map(() => `${name}_?`) })),
    initializers: new Map(Object.entries(constants)),
    nodes: [{ ...node, name: "node" }],
    metadata: {},
  };
}

function run(device: Device, model: OnnxModel, feeds: Record<string, HostTensor>): Results {
  const session = createRuntime(device).createSession(encodeModel(model));
  try {
    assert.deepEqual(session.cpuNodes, []);
    // No fetch is resident, so every result is the host's; all outputs here are float32.
    return session.run(feeds) as Results;
  } finally {
    session.dispose();
  }
}

function assertSame(
  model: OnnxModel,
  feeds: Record<string, HostTensor>,
  tolerance: Tolerance,
  what: string,
): void {
  const [actual, expected] = [run("webgpu", model, feeds), run("cpu", model, feeds)];
  assert.deepEqual(Object.keys(actual), Object.keys(expected), what);
  for (const [name, { dims, data }] of Object.entries(expected)) {
    assert.deepEqual(actual[name]!.dims, dims, `${what}: ${name}`);
    assertClose(actual[name]!.data, data, tolerance, `${what}: ${name}`);
  }
}

function randomTensor(dims: readonly number[], draw: (random: Random) => number): FloatTensor {
  const random = new Random(11);
  return floatTensor(
    dims,
    Float32Array.from({ length: elementCount(dims) }, () => draw(random)),
  );
}

/** Sizes of the parts: a few, as many as a shader binds everywhere, more, and far more; equal and not. */
const PARTS: readonly (readonly number[])[] = [
  [2, 3],
  [1, 1, 1, 1, 1, 1, 1],
  [1, 2, 3, 1, 2, 3, 1, 2],
  [5, 1, 1, 1, 1, 1, 1, 1, 1],
  Array.from({ length: 40 }, (_, at) => 1 + (at % 3)),
];

for (const opset of OPSETS) {
  test(`a Split of any number of parts is the CPU's, opset ${opset}`, { skip }, () => {
    for (const sizes of PARTS) {
      const total = sizes.reduce((sum, size) => sum + size, 0);
      for (const [axis, dims] of [
        [0, [total, 3]],
        [1, [2, total, 2]],
        [-1, [2, 3, total]],
      ] as const) {
        const x = randomTensor(dims, (random) => random.normal());
        const split: HostTensor = {
          dtype: "int64",
          dims: [sizes.length],
          data: BigInt64Array.from(sizes, BigInt),
        };
        const outputs = sizes.map((_, at) => `part_${at}`);
        const node = { op: "Split", inputs: ["x", "sizes"], outputs, attributes: { axis: { int: axis } } };
        const model = nodeModel(opset, x, node, { sizes: split });
        assertSame(model, { x }, EXACT, `${sizes.length} parts along axis ${axis}`);
      }
    }
  });

  test(`LogSoftmax of logits far apart and of choices masked out is the CPU's, opset ${opset}`, {
    skip,
  }, () => {
    const rows: Readonly<Record<string, (random: Random) => number>> = {
      "a few apart": (random) => random.normal(),
      "1e4 apart": (random) => 1e4 * random.normal(),
      "mostly masked": (random) => (random.uniform() < 0.7 ? -1e10 : random.normal()),
      "all alike": () => 7,
      "all masked": () => -1e10,
    };
    for (const [what, draw] of Object.entries(rows)) {
      for (const [axis, dims] of [
        [-1, [4, 5]],
        [0, [5, 3]],
        [1, [2, 6, 3]],
      ] as const) {
        const x = randomTensor(dims, draw);
        const node = { op: "LogSoftmax", inputs: ["x"], outputs: ["y"], attributes: { axis: { int: axis } } };
        assertSame(nodeModel(opset, x, node), { x }, CLOSE, `${what}, axis ${axis}`);
      }
    }
  });
}

test("LogSoftmax without an axis is along the last one", { skip }, () => {
  const x = randomTensor([3, 4, 2], (random) => random.normal());
  const node = { op: "LogSoftmax", inputs: ["x"], outputs: ["y"], attributes: {} };
  assertSame(nodeModel(15, x, node), { x }, CLOSE, "no axis");
});

test("Sign is the CPU's on both sides of zero and on it", { skip }, () => {
  const x = floatTensor([8], [-Infinity, -1e30, -1e-30, -0, 0, 1e-30, 7, Infinity]);
  assertSame(
    nodeModel(15, x, { op: "Sign", inputs: ["x"], outputs: ["y"], attributes: {} }),
    { x },
    EXACT,
    "sign",
  );
});

/** Of rows whose numbers are 1 apart and lie around 100; the CPU's own kernel is off by 4e-6. */
const OFFSET = { atol: 5e-5, rtol: 0 };

test("LayerNormalization of rows far from zero keeps their spread, with the mean and deviation that were asked for", {
  skip,
}, () => {
  const x = randomTensor([4, 16], (random) => 100 + random.normal());
  const scale = randomTensor([16], (random) => 1 + 0.1 * random.normal());
  const bias = randomTensor([16], (random) => 0.1 * random.normal());
  for (const outputs of [["y"], ["y", "mean", "deviation"], ["y", "", "deviation"]]) {
    const node = { op: "LayerNormalization", inputs: ["x", "scale", "bias"], outputs, attributes: {} };
    assertSame(nodeModel(17, x, node, { scale, bias }), { x }, OFFSET, `outputs ${outputs}`);
  }
});

test("a policy of opset 17 acts alike on raw observations far from zero", { skip }, () => {
  const team = randomTeam({ observationSizes: [16, 16], agentId: false });
  const obs = randomTensor([4, 16], (random) => 100 + random.normal());
  assertSame(mergedGraph(team, 0, { opset: 17 }), { obs }, { atol: 2e-5 }, "the policy");
});
