/** What is TensorFlow.js's own in its runtime: which library starts, what it refuses, and that its memory is freed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { type DType, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { openRuntime } from "../../src/cli/backend.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import {
  LIBRARIES,
  type LibraryName,
  type Packages,
  startLibrary,
} from "../../src/runtime/tensorflow/load.ts";
import { createTensorflowRuntime } from "../../src/runtime/tensorflow/runtime.ts";
import { assertFails } from "../helpers/fails.ts";
import { buildGraph } from "../helpers/run-graph.ts";

const ALL = Object.keys(LIBRARIES) as LibraryName[];

/** A library's functions as far as starting it needs them. */
function fakeLibrary(backends: readonly string[], onGpu?: boolean): object {
  return {
    enableProdMode() {},
    setBackend: async (name: string) => backends.includes(name),
    backend: () => ({ isUsingGpuDevice: onGpu }),
    setWasmPaths() {},
    setThreadsCount() {},
  };
}

/** Installed packages; an error is thrown when it is loaded. */
function installed(modules: Readonly<Record<string, object | Error>>): Packages {
  return {
    find: (name) => (name in modules ? `/packages/${name}/index.js` : undefined),
    load(name) {
      const found = modules[name]!;
      if (found instanceof Error) throw found;
      return found;
    },
  };
}

const [GPU, NODE, PLAIN, WASM] = [
  "@tensorflow/tfjs-node-gpu",
  "@tensorflow/tfjs-node",
  "@tensorflow/tfjs",
  "@tensorflow/tfjs-backend-wasm",
] as const;

const native = fakeLibrary(["tensorflow"]);
const plain = fakeLibrary(["wasm", "cpu"]);

const PICKED: readonly (readonly [string, Packages, LibraryName, readonly RegExp[]])[] = [
  [
    "the GPU's where there is one",
    installed({ [GPU]: fakeLibrary(["tensorflow"], true), [NODE]: native, [PLAIN]: plain, [WASM]: plain }),
    "node-gpu",
    [],
  ],
  [
    "the native one where there is no GPU",
    installed({ [GPU]: fakeLibrary(["tensorflow"], false), [NODE]: native }),
    "node",
    [/^@tensorflow\/tfjs-node-gpu: no CUDA device/],
  ],
  [
    "WebAssembly where the native library was not fetched",
    installed({ [NODE]: new Error("no addon\nat /some/path"), [PLAIN]: plain, [WASM]: plain }),
    "wasm",
    [/^@tensorflow\/tfjs-node: no addon$/],
  ],
  [
    "plain JavaScript where WebAssembly does not start",
    installed({ [PLAIN]: fakeLibrary(["cpu"]), [WASM]: plain }),
    "cpu",
    [/^@tensorflow\/tfjs-backend-wasm: it does not start$/],
  ],
  ["plain JavaScript where nothing else is installed", installed({ [PLAIN]: plain }), "cpu", []],
];

for (const [what, packages, name, failures] of PICKED) {
  test(`of what is installed is picked: ${what}`, async () => {
    const started = await startLibrary(ALL, packages);
    assert.equal(started.name, name);
    assert.equal(started.device, name === "node-gpu" ? "cuda" : "cpu");
    assert.equal(started.failures.length, failures.length);
    for (const [index, failure] of failures.entries()) assert.match(started.failures[index]!, failure);
  });
}

test("where none is installed or starts, one line says what was looked for and what to install", async () => {
  await assert.rejects(startLibrary(ALL, installed({})), {
    code: "LORASA_DEVICE",
    message:
      /^backend tensorflow: expected @tensorflow\/tfjs-node-gpu, or [^\n]*, received nothing installed; npm install @tensorflow\/tfjs @tensorflow\/tfjs-backend-wasm, or [^\n]*$/,
  });
  await assert.rejects(startLibrary(["node"], installed({ [NODE]: new Error("no addon\nat /some/path") })), {
    code: "LORASA_DEVICE",
    message: /received @tensorflow\/tfjs-node: no addon; npm install @tensorflow\/tfjs-node, or [^\n]*$/,
  });
});

test("the flags pick a device's library, and say which it was", async () => {
  const notes: string[] = [];
  const open = (flags: Parameters<typeof openRuntime>[0]) =>
    openRuntime(flags, { what: "a step", measure: () => 1 }, (line) => void notes.push(line));
  assert.equal((await open({ backend: "onnxruntime" })).device, "cpu");
  assert.deepEqual(notes, []);
  const runtime = await open({ backend: "tensorflow", device: "cpu" });
  assert.deepEqual([runtime.backend, runtime.device, runtime.residentBytes], ["tensorflow", "cpu", 0]);
  assert.equal(notes.length, 1);
  assert.match(notes[0]!, /^backend tensorflow runs on @tensorflow\/tfjs-/);
  await assert.rejects(open({ backend: "tensorflow", device: "webgpu" }), {
    code: "LORASA_DEVICE",
    message:
      /^--backend tensorflow: expected --device cpu or cuda, received --device webgpu; .*ONNX Runtime's/,
  });
});

const REFUSED: readonly (readonly [string, (model: OnnxModel) => OnnxModel, string, RegExp])[] = [
  ["half precision", (model) => retyped(model, "float16"), "LORASA_DTYPE", /value x: .* received float16/],
  ["double precision", (model) => retyped(model, "float64"), "LORASA_DTYPE", /value x: .* received float64/],
  ["an unknown operator", (model) => changed(model, { op: "Relus" }), "LORASA_GRAPH", /did you mean Relu\?/],
  [
    "a value that no node makes",
    (model) => changed(model, { inputs: ["nothing"] }),
    "LORASA_GRAPH",
    /input nothing to be defined/,
  ],
  ["another operator set", (model) => ({ ...model, opset: 18 }), "LORASA_GRAPH", /operator set 13 to 17/],
  [
    "sizes that are computed",
    (model) => changed(model, { op: "Reshape", inputs: ["x", "x"] }),
    "LORASA_GRAPH",
    /a constant as input 1, received x/,
  ],
  [
    "a slice in steps",
    (model) => changed(model, { op: "Slice", inputs: ["x"] }),
    "LORASA_GRAPH",
    /starts, ends and axes/,
  ],
  [
    "padding with what is at the edge",
    (model) => changed(model, { op: "Pad", attributes: { mode: { string: "edge" } } }),
    "LORASA_GRAPH",
    /mode constant/,
  ],
  [
    "a cast to a type that it does not have",
    (model) => changed(model, { op: "Cast", attributes: { to: { int: 10 } } }),
    "LORASA_DTYPE",
    /node .*: .* received float16/,
  ],
];

for (const [what, change, code, message] of REFUSED) {
  test(`a graph is refused when it is loaded: ${what}`, async () => {
    const runtime = await createTensorflowRuntime(["wasm"]);
    const model = buildGraph({ x: floatTensor([2]) }, (g, { x }) => ({ y: g.relu(x!) }));
    const before = tf.memory().numTensors;
    assert.throws(() => runtime.createSession(encodeModel(change(model))), { code, message });
    assert.equal(tf.memory().numTensors, before);
  });
}

test("constants are checked when a graph is loaded, and none of them is left behind", async () => {
  const runtime = await createTensorflowRuntime(["wasm"]);
  const load = (dtype: DType, bits: HostTensor["data"]) => () => {
    const g = new GraphBuilder();
    const x = g.input("x", "float32", [1]);
    const wide = g.constant("wide", { dtype, dims: [1], data: bits });
    g.output("y", g.add(x, g.add(g.constant("fine", floatTensor([1], [1])), g.cast(wide, "float32"))));
    runtime.createSession(encodeModel(finishGraph(g, "constants")));
  };
  const before = tf.memory().numTensors;
  assertFails(load("float64", Float64Array.of(1)), "LORASA_DTYPE", /constant .*wide: .* received float64/);
  assertFails(load("int64", BigInt64Array.of(2n ** 40n)), "LORASA_RANGE", /fits 32 bits/);
  assert.equal(tf.memory().numTensors, before);
});

function changed(model: OnnxModel, change: Partial<OnnxModel["nodes"][number]>): OnnxModel {
  return { ...model, nodes: model.nodes.map((node) => ({ ...node, ...change })) };
}

function retyped(model: OnnxModel, dtype: DType): OnnxModel {
  const [inputs, outputs] = [model.inputs, model.outputs].map((infos) =>
    infos.map((info) => ({ ...info, dtype })),
  );
  return { ...model, inputs: inputs!, outputs: outputs! };
}

test("64-bit integers that 32 bits do not hold are refused, not cut", async () => {
  const runtime = await createTensorflowRuntime(["wasm"]);
  const wide: HostTensor = { dtype: "int64", dims: [1], data: BigInt64Array.of(2n ** 31n) };
  assertFails(() => runtime.upload(wide), "LORASA_RANGE", /received 2147483648$/);
  const session = runtime.createSession(
    encodeModel(buildGraph({ x: wide }, (g, { x }) => ({ y: g.add(x!, x!) }))),
  );
  assertFails(() => session.run({ x: wide }), "LORASA_RANGE", /fits 32 bits/);
  session.dispose();
});

test("only what the fetched outputs need is computed", async () => {
  const runtime = await createTensorflowRuntime(["wasm"]);
  const index: HostTensor = { dtype: "int64", dims: [1], data: BigInt64Array.of(7n) };
  const feeds = { x: floatTensor([2], [1, 2]), index };
  const graph = buildGraph(feeds, (g, { x, index: at }) => ({ bad: g.gather(x!, at!), good: g.neg(x!) }));
  const session = runtime.createSession(encodeModel(graph));
  assertFails(() => session.run(feeds), "LORASA_GRAPH", /^running a graph: /);
  assert.deepEqual(session.run(feeds, { good: null }), { good: floatTensor([2], [-1, -2]) });
  session.dispose();
});

for (const library of ["wasm", "cpu"] as const) {
  test(`runs, failures and residents leave no tensor behind: ${library}`, async () => {
    const runtime = await createTensorflowRuntime([library]);
    const start = tf.memory();
    const session = runtime.createSession(createModel());
    const constants = tf.memory().numTensors - start.numTensors;
    assert.ok(constants > 0 && constants <= 3, `${constants} constants are kept for all runs`);
    const index = (at: bigint): HostTensor => ({ dtype: "int64", dims: [1], data: BigInt64Array.of(at) });
    const x = (): HostTensor => floatTensor([3, 2], [1, 2, 3, 4, 5, 6]);
    const [state, moments] = [runtime.upload(x()), runtime.allocate("float32", [3, 1])];
    const held = tf.memory();
    const bound = session.bind({ x: state, index: index(1n) }, { next: state, mean: moments });
    for (let step = 0; step < 20; step++) {
      bound.run();
      session.run({ x: x(), index: index(2n) });
      session.run({ x: state.first(3), index: index(0n) }, { next: state.first(3), row: null });
      assert.throws(() => session.run({ x: state, index: index(9n) }, { row: null }), {
        code: "LORASA_GRAPH",
      });
      state.first(2).write(floatTensor([2, 2]));
      state.write(state.download() as HostTensor);
    }
    assert.deepEqual(tf.memory().numTensors, held.numTensors);
    assert.deepEqual(tf.memory().numBytes, held.numBytes);
    for (const tensor of [state, moments, session]) tensor.dispose();
    assert.equal(tf.memory().numTensors, start.numTensors);
    assert.equal(tf.memory().numBytes, start.numBytes);
  });
}

/** Nodes with several results, results that nobody reads, constants, and an index that may be wrong. */
function createModel(): Uint8Array {
  const g = new GraphBuilder(17);
  const x = g.input("x", "float32", [3, 2]);
  const gain = g.constant("gain", floatTensor([2], [1, 2]));
  const [normal, mean] = g.applyAll("LayerNormalization", [x, gain], { axis: -1, epsilon: 1e-5 });
  const [left, right] = g.split(normal!, [1, 1], 1);
  g.output("next", g.concat([g.mul(right!, 2), g.exp(left!)], 1));
  g.output("mean", mean!);
  g.output("row", g.gather(x, g.input("index", "int64", [1])));
  return encodeModel(finishGraph(g, "memory"));
}
