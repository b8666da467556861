/** Encoding and decoding return the model that went in, whatever it holds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DTYPES, type DType, elementCount, type HostTensor } from "../../src/base/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxAttribute, OnnxModel, OnnxNode, OnnxValueInfo } from "../../src/onnx/model.ts";

const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });
const key = fc.string({ unit: fc.constantFrom(..."abcxyz._/"), minLength: 1, maxLength: 8 });
const dtype = fc.constantFrom(...(Object.keys(DTYPES) as DType[]));
const whole = fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
const float = fc.float({ noNaN: true });

const tensor: fc.Arbitrary<HostTensor> = fc
  .tuple(dtype, fc.array(fc.nat({ max: 4 }), { maxLength: 3 }))
  .chain(([type, dims]) => {
    const size = elementCount(dims) * DTYPES[type].bytes;
    return fc.uint8Array({ minLength: size, maxLength: size }).map(
      (bytes): HostTensor => ({
        dtype: type,
        dims,
        data: new DTYPES[type].array(Uint8Array.from(bytes).buffer),
      }),
    );
  });

const attribute: fc.Arbitrary<OnnxAttribute> = fc.oneof(
  whole.map((int) => ({ int })),
  fc.array(whole, { maxLength: 4 }).map((ints) => ({ ints })),
  float.map((value) => ({ float: value })),
  fc.array(float, { maxLength: 4 }).map((floats) => ({ floats })),
  fc.string({ unit: "grapheme" }).map((string) => ({ string })),
  tensor.map((value) => ({ tensor: value })),
);

const valueInfo: fc.Arbitrary<OnnxValueInfo> = fc.record(
  { name, dtype, shape: fc.array(fc.oneof(fc.nat({ max: 2 ** 40 }), name), { maxLength: 4 }) },
  { noNullPrototype: true },
);

const node: fc.Arbitrary<OnnxNode> = fc.record(
  {
    name,
    op: name,
    inputs: fc.array(fc.oneof(name, fc.constant("")), { maxLength: 3 }),
    outputs: fc.array(name, { maxLength: 3 }),
    attributes: fc.dictionary(key, attribute, { maxKeys: 4, noNullPrototype: true }),
  },
  { noNullPrototype: true },
);

const model: fc.Arbitrary<OnnxModel> = fc.record(
  {
    irVersion: fc.integer({ min: 3, max: 12 }),
    opset: fc.integer({ min: 1, max: 24 }),
    name,
    inputs: fc.array(valueInfo, { maxLength: 3 }),
    outputs: fc.array(valueInfo, { maxLength: 3 }),
    initializers: fc
      .uniqueArray(fc.tuple(name, tensor), { selector: ([text]) => text, maxLength: 4 })
      .map((entries) => new Map(entries)),
    nodes: fc.array(node, { maxLength: 4 }),
    metadata: fc.dictionary(key, fc.string({ unit: "grapheme" }), { maxKeys: 4, noNullPrototype: true }),
  },
  { noNullPrototype: true },
);

test("decoding what was encoded gives the same model, and the same bytes again", () => {
  fc.assert(
    fc.property(model, (original) => {
      const bytes = encodeModel(original);
      const decoded = decodeModel(bytes, "model");
      assert.deepStrictEqual(decoded, original);
      assert.deepStrictEqual(encodeModel(decoded), bytes);
    }),
    { numRuns: 300 },
  );
});

test("any bytes either decode or are refused by one LORASA_FILE line", () => {
  const whole = encodeModel({
    irVersion: 8,
    opset: 17,
    name: "tiny",
    inputs: [{ name: "x", dtype: "float32", shape: ["rows", 2] }],
    outputs: [{ name: "y", dtype: "float32", shape: ["rows", 2] }],
    initializers: new Map([["w", { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) }]]),
    nodes: [{ name: "mul", op: "Mul", inputs: ["x", "w"], outputs: ["y"], attributes: { axis: { int: 1 } } }],
    metadata: { "lorasa.a": "b" },
  });
  const damaged = fc
    .tuple(
      fc.nat({ max: whole.length }),
      fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat(255)), { maxLength: 3 }),
    )
    .map(([length, changes]) => {
      const bytes = Uint8Array.from(whole);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes.subarray(0, length);
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), damaged), (bytes) => {
      try {
        decodeModel(bytes, "upload");
      } catch (error) {
        assert.equal((error as { code?: string }).code, "LORASA_FILE", `${(error as Error).stack}`);
        assert.match((error as Error).message, /^upload[^\n]*$/);
      }
    }),
    { numRuns: 500 },
  );
});
