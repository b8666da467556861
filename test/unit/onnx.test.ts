/** ONNX bytes: golden ones, every field that values can come in, and one refusal for each cause. */
import assert from "node:assert/strict";
import { test } from "node:test";
import onnxProto from "onnx-proto";
import { sha256 } from "../../src/base/files.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { checkModel } from "../../src/onnx/check.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel, OnnxNode } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertFails } from "../helpers/fails.ts";

const { onnx } = onnxProto;
const { TensorProto, AttributeProto } = onnx;
const KINDS = AttributeProto.AttributeType;

const TINY: OnnxModel = {
  irVersion: 8,
  opset: 17,
  name: "tiny",
  inputs: [{ name: "x", dtype: "float32", shape: ["rows", 2] }],
  outputs: [{ name: "y", dtype: "float32", shape: ["rows", 2] }],
  initializers: new Map([["weight", floatTensor([2], [1, -2])]]),
  nodes: [{ name: "product", op: "Mul", inputs: ["x", "weight"], outputs: ["y"], attributes: {} }],
  metadata: { "lorasa.b": "2", "lorasa.a": "1" },
};

const node = (changes: Partial<OnnxNode>): OnnxNode => ({ ...TINY.nodes[0]!, ...changes });

/** The tiny model as a protobuf object, changed and encoded again. */
function altered(
  change: (model: onnxProto.onnx.ModelProto, graph: onnxProto.onnx.IGraphProto) => void,
): Uint8Array {
  const proto = onnx.ModelProto.decode(encodeModel(TINY));
  change(proto, proto.graph!);
  return onnx.ModelProto.encode(proto).finish();
}

test("the bytes of a model are fixed", () => {
  const bytes = encodeModel(TINY);
  assert.equal(bytes.length, 159);
  assert.equal(sha256(bytes), "146259566de25ee74a13f69ba062a006e56efc52694b79b0ed2ea0253e52d8ba");
  const otherOrder = { ...TINY, metadata: { "lorasa.a": "1", "lorasa.b": "2" } };
  assert.deepEqual(encodeModel(otherOrder), bytes);
});

test("a tensor that is part of a larger buffer is written alone", () => {
  const data = Float32Array.of(9, 1, -2, 9).subarray(1, 3);
  const initializers = new Map([["weight", floatTensor([2], data)]]);
  assert.deepEqual(encodeModel({ ...TINY, initializers }), encodeModel(TINY));
});

test("ONNX Runtime loads them and computes", () => {
  const session = createRuntime().createSession(encodeModel(TINY));
  assert.deepEqual(session.inputs, TINY.inputs);
  const { y } = session.run({ x: floatTensor([2, 2], [1, 2, 3, 4]) });
  assert.deepEqual(y, floatTensor([2, 2], [1, -4, 3, -8]));
  session.dispose();
});

test("values come from the field of their type as well as from raw bytes", () => {
  const types = TensorProto.DataType;
  const tensors: onnxProto.onnx.ITensorProto[] = [
    { name: "float32", dataType: types.FLOAT, dims: [2], floatData: [1.5, -2] },
    { name: "float64", dataType: types.DOUBLE, dims: [1, 1], doubleData: [Math.PI] },
    { name: "int32", dataType: types.INT32, dims: [2], int32Data: [-7, 8] },
    { name: "int64", dataType: types.INT64, dims: [2], int64Data: [-7, 2 ** 53 - 1] },
    { name: "uint8", dataType: types.UINT8, dims: [1], int32Data: [255] },
    { name: "bool", dataType: types.BOOL, dims: [2], int32Data: [1, 0] },
    { name: "float16", dataType: types.FLOAT16, dims: [1], int32Data: [0x3c00] },
    { name: "empty", dataType: types.FLOAT, dims: [0, 3] },
    { name: "scalar", dataType: types.FLOAT, rawData: Uint8Array.of(0, 0, 128, 63) },
  ];
  const { initializers } = decodeModel(
    altered((_, graph) => {
      graph.initializer = tensors;
    }),
    "m",
  );
  assert.deepEqual(Object.fromEntries(initializers), {
    float32: floatTensor([2], [1.5, -2]),
    float64: { dtype: "float64", dims: [1, 1], data: Float64Array.of(Math.PI) },
    int32: { dtype: "int32", dims: [2], data: Int32Array.of(-7, 8) },
    int64: { dtype: "int64", dims: [2], data: BigInt64Array.of(-7n, 2n ** 53n - 1n) },
    uint8: { dtype: "uint8", dims: [1], data: Uint8Array.of(255) },
    bool: { dtype: "bool", dims: [2], data: Uint8Array.of(1, 0) },
    float16: { dtype: "float16", dims: [1], data: Uint16Array.of(0x3c00) },
    empty: floatTensor([0, 3]),
    scalar: floatTensor([], [1]),
  });
});

test("a size without value or name is `?`, and a node without name gets one", () => {
  const decoded = decodeModel(
    altered((_, graph) => {
      graph.input![0]!.type!.tensorType!.shape!.dim![0] = {};
      graph.node![0]!.name = "";
      graph.node![0]!.domain = "ai.onnx";
    }),
    "m",
  );
  assert.deepEqual(decoded.inputs[0]!.shape, ["?", 2]);
  assert.equal(decoded.nodes[0]!.name, "Mul_0");
});

type Alteration = (model: onnxProto.onnx.ModelProto, graph: onnxProto.onnx.IGraphProto) => void;

const addAttribute =
  (attribute: onnxProto.onnx.IAttributeProto): Alteration =>
  (_, graph) => {
    graph.node![0]!.attribute = [{ name: "extra", ...attribute }];
  };

const changeWeight =
  (tensor: onnxProto.onnx.ITensorProto): Alteration =>
  (_, graph) => {
    graph.initializer![0] = { name: "weight", dataType: TensorProto.DataType.FLOAT, dims: [2], ...tensor };
  };

const REFUSED: readonly (readonly [string, Alteration, string])[] = [
  [
    "external location",
    changeWeight({ dataLocation: TensorProto.DataLocation.EXTERNAL, rawData: new Uint8Array(8) }),
    "m: initializer weight: expected its values inside the file, received a reference to external data",
  ],
  [
    "external entries without a location",
    changeWeight({ externalData: [{ key: "location", value: "../secret" }], floatData: [1, 2] }),
    "m: initializer weight: expected its values inside the file, received a reference to external data",
  ],
  [
    "external attribute",
    addAttribute({
      type: KINDS.TENSOR,
      t: { dataType: 1, dims: [1], externalData: [{ key: "location", value: "w.bin" }] },
    }),
    "m: attribute extra of node product: expected its values inside the file, received a reference to external data",
  ],
  [
    "sparse initializer",
    (_, graph) => {
      graph.sparseInitializer = [{ values: { name: "thin" } }];
    },
    "m: initializer thin: expected a dense tensor, received sparse",
  ],
  [
    "subgraph",
    addAttribute({ type: KINDS.GRAPH, g: { name: "body" } }),
    "m: attribute extra of node product: expected a number, a list of numbers, a text or a tensor, received GRAPH",
  ],
  [
    "attribute without a kind",
    addAttribute({ i: 1 }),
    "m: attribute extra of node product: expected a number, a list of numbers, a text or a tensor, received no kind",
  ],
  [
    "function",
    (model) => {
      model.functions = [{ name: "Gelu" }];
    },
    "m: function Gelu: expected no model-local functions, received one",
  ],
  [
    "too few bytes",
    changeWeight({ rawData: new Uint8Array(7) }),
    "m: initializer weight: expected values for float32 [2], received 7 bytes",
  ],
  [
    "too many values",
    changeWeight({ floatData: [1, 2, 3] }),
    "m: initializer weight: expected values for float32 [2], received 3 values",
  ],
  [
    "sizes whose product overflows",
    changeWeight({ dims: [2 ** 40, 2 ** 40], rawData: new Uint8Array(8) }),
    "m: initializer weight: expected sizes of a product below 2^53, received [1099511627776, 1099511627776]",
  ],
  [
    "text tensor",
    changeWeight({ dataType: TensorProto.DataType.STRING }),
    "m: initializer weight: expected a type of float32, float64, int32, int64, bool, uint8, float16, received ONNX type 8",
  ],
  [
    "two initializers of a name",
    (_, graph) => {
      graph.initializer!.push(graph.initializer![0]!);
    },
    "m: initializer weight: expected one, received two of that name",
  ],
  [
    "an operator of another set",
    (_, graph) => {
      graph.node![0]!.domain = "com.microsoft";
    },
    "m: node product: expected an operator of ai.onnx, received one of com.microsoft",
  ],
  [
    "two versions of ai.onnx",
    (model) => {
      model.opsetImport.push({ domain: "ai.onnx", version: 13 });
    },
    "m: operator sets: expected one version of ai.onnx, received 2",
  ],
  [
    "no ai.onnx",
    (model) => {
      model.opsetImport = [{ domain: "com.microsoft", version: 1 }];
    },
    "m: operator sets: expected one version of ai.onnx, received 0",
  ],
  [
    "a sequence",
    (_, graph) => {
      graph.input![0]!.type = { sequenceType: {} };
    },
    "m: value x: expected a tensor, received another kind of value",
  ],
  [
    "an input without shape",
    (_, graph) => {
      graph.input![0]!.type = { tensorType: { elemType: 1 } };
    },
    "m: value x: expected a shape, received none",
  ],
  [
    "a Split that leaves a part unnamed, which the library would write to all the same",
    (_, graph) => {
      graph.node![0] = { name: "cut", opType: "Split", input: ["x"], output: ["first", ""] };
    },
    "m: outputs of node cut: expected a name for each part of a Split, received one without",
  ],
  [
    "a name of several lines",
    (_, graph) => {
      graph.initializer![0] = { name: "a\nb", dataType: 8, dims: [1] };
    },
    "m: initializer a\u{fffd}b: expected a type of float32, float64, int32, int64, bool, uint8, float16, received ONNX type 8",
  ],
];

for (const [name, change, message] of REFUSED) {
  test(`decoding refuses: ${name}`, () => {
    assert.throws(() => decodeModel(altered(change), "m"), { code: "LORASA_FILE", message });
  });
}

test("bytes that are not a model are refused", () => {
  for (const bytes of [
    new Uint8Array(),
    Buffer.from('{"format": "json"}'),
    encodeModel(TINY).subarray(0, 80),
  ]) {
    assertFails(
      () => decodeModel(bytes, "a.onnx"),
      "LORASA_FILE",
      /^a\.onnx: expected an ONNX model, received ./,
    );
  }
});

const UNSOUND: readonly (readonly [string, Partial<OnnxModel>, string])[] = [
  ["operator set", { opset: 0 }, "operator set of ai.onnx: expected a version from 1, received 0"],
  [
    "initializer named as an input",
    { inputs: [...TINY.inputs, { name: "weight", dtype: "float32", shape: [2] }] },
    "initializer weight: expected a name of its own, received one that is taken",
  ],
  [
    "two inputs of a name",
    { inputs: [...TINY.inputs, ...TINY.inputs] },
    "input x: expected a name of its own, received one that is taken",
  ],
  [
    "two nodes of a name",
    { nodes: [node({}), node({ outputs: ["z"] })] },
    "node product: expected a name of its own, received one that is taken",
  ],
  [
    "a value with two definitions",
    { nodes: [node({}), node({ name: "again" })] },
    "node again, output y: expected a name of its own, received one that is taken",
  ],
  [
    "a value read before it is defined",
    { nodes: [node({ inputs: ["x", "z"] }), node({ name: "later", outputs: ["z"] })] },
    "node product: expected input z to be defined before it, received no such value",
  ],
  [
    "an operator without name",
    { nodes: [node({ op: "" })] },
    "node product: expected an operator, received none",
  ],
  [
    "an output that nothing computes",
    { outputs: [...TINY.outputs, { name: "z", dtype: "float32", shape: [] }] },
    "output z: expected a value of the graph, received no such value",
  ],
  [
    "two outputs of a name",
    { outputs: [...TINY.outputs, ...TINY.outputs] },
    "output y: expected one, received two of that name",
  ],
  ["no output", { outputs: [] }, "graph tiny: expected at least one output, received none"],
  [
    "an input without name",
    { inputs: [{ name: "", dtype: "float32", shape: [] }] },
    "input: expected a name, received none",
  ],
  [
    "an initializer of another size",
    { initializers: new Map([["weight", { dtype: "float32", dims: [3], data: Float32Array.of(1, 2) }]]) },
    "initializer weight: expected 3 values for [3], received 2",
  ],
  [
    "an initializer of another type",
    { initializers: new Map([["weight", { dtype: "int64", dims: [2], data: Float32Array.of(1, 2) }]]) },
    "initializer weight: expected BigInt64Array for int64, received Float32Array",
  ],
  [
    "an attribute of another size",
    {
      nodes: [
        node({ attributes: { value: { tensor: { dtype: "bool", dims: [2], data: Uint8Array.of(1) } } } }),
      ],
    },
    "node product, attribute value: expected 2 values for [2], received 1",
  ],
];

for (const [name, change, message] of UNSOUND) {
  test(`checking refuses: ${name}`, () => {
    assert.throws(() => checkModel({ ...TINY, ...change }), { code: "LORASA_GRAPH", message });
  });
}

test("a sound model passes, inputs left out included", () => {
  checkModel(TINY);
  checkModel({ ...TINY, nodes: [node({ op: "Clip", inputs: ["x", "", "weight"], outputs: ["y", ""] })] });
});
