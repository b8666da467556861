import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Builder } from "flatbuffers";
import type { ErrorCode } from "../../src/base/errors.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { adapterParameters } from "../../src/checkpoint/adapter.ts";
import { decodeOnnxAdapter, encodeOnnxAdapter } from "../../src/checkpoint/onnx-adapter.ts";
import { assertFails } from "../helpers/fails.ts";
import { sampleAdapter, sampleTensors } from "../helpers/format-samples.ts";

const FORMATS = "test/fixtures/formats";
const VERSIONS = { adapterVersion: 3, modelVersion: 7 };

test("the bytes are those that ONNX Runtime read and ran", () => {
  const bytes = encodeOnnxAdapter(adapterParameters(sampleAdapter()), VERSIONS);
  assert.deepEqual(Buffer.from(bytes), readFileSync(`${FORMATS}/ours/adapter.onnx_adapter`));
});

test("a file of ONNX Runtime is read", () => {
  const bytes = readFileSync(`${FORMATS}/theirs/adapter.onnx_adapter`);
  const { adapterVersion, modelVersion, parameters } = decodeOnnxAdapter(bytes, "theirs");
  assert.deepEqual([adapterVersion, modelVersion], [4, 9]);
  const expected: [string, HostTensor][] = [
    ["count", { dtype: "int64", dims: [2], data: BigInt64Array.of(2n ** 40n, -1n) }],
    ["head.lora_A.weight", floatTensor([3, 2], [0, 1, 2, 3, 4, 5])],
    ["head.lora_B.weight", floatTensor([2, 1], [0.5, -1])],
  ];
  assert.deepEqual([...parameters].sort(), expected);
});

test("every element type is read back bit for bit, in order, at any alignment of the file in memory", () => {
  const bytes = encodeOnnxAdapter(sampleTensors(), { adapterVersion: 0, modelVersion: -1 });
  const shifted = new Uint8Array(bytes.length + 3).subarray(3);
  shifted.set(bytes);
  const decoded = decodeOnnxAdapter(shifted, "sample");
  assert.deepEqual([...decoded.parameters], [...sampleTensors()]);
  assert.deepEqual([decoded.adapterVersion, decoded.modelVersion], [0, -1]);
});

test("each tensor's bytes lie at a multiple of 8 in the file", () => {
  for (let length = 1; length <= 8; length++) {
    const data = new Float32Array(length).fill(-7.25);
    const bytes = Buffer.from(
      encodeOnnxAdapter(new Map([["n".repeat(length), floatTensor([length], data)]]), VERSIONS),
    );
    assert.equal(bytes.indexOf(Buffer.from(data.buffer)) % 8, 0, `${length} values`);
  }
});

test("fields that a file leaves out have their defaults", () => {
  const builder = new Builder();
  builder.startObject(4);
  builder.addFieldInt32(0, 1, 0);
  builder.finish(builder.endObject(), "TORT");
  const expected = { adapterVersion: 0, modelVersion: 0, parameters: new Map() };
  assert.deepEqual(decodeOnnxAdapter(builder.asUint8Array(), "bare"), expected);
});

interface Parts {
  readonly version?: number;
  readonly identifier?: string;
  readonly name?: string | null;
  readonly dims?: readonly bigint[];
  readonly dataType?: number;
  readonly copies?: number;
  readonly values?: number;
  /** Tables that share one vector of data. */
  readonly sharing?: number;
}

/** A file with one float32 parameter of two zeros, but for what is asked otherwise. */
function file({
  version = 1,
  identifier = "TORT",
  copies = 1,
  sharing = 1,
  values = 2,
  ...parts
}: Parts): Uint8Array {
  const builder = new Builder();
  const rawData = builder.createByteVector(new Uint8Array(4 * values));
  const tables: number[] = [];
  for (let i = 0; i < sharing; i++) {
    const label = builder.createString((parts.name ?? "w") + (sharing > 1 ? i : ""));
    const dims = parts.dims ?? [BigInt(values)];
    builder.startVector(8, dims.length, 8);
    for (const size of [...dims].reverse()) builder.addInt64(size);
    const sizes = builder.endVector();
    builder.startObject(4);
    if (parts.name !== null) builder.addFieldOffset(0, label, 0);
    builder.addFieldOffset(1, sizes, 0);
    builder.addFieldInt32(2, parts.dataType ?? 1, 0);
    builder.addFieldOffset(3, rawData, 0);
    tables.push(builder.endObject());
  }
  builder.startVector(4, tables.length * copies, 4);
  for (let i = 0; i < copies; i++) for (const table of tables) builder.addOffset(table);
  const vector = builder.endVector();
  builder.startObject(4);
  builder.addFieldInt32(0, version, 0);
  builder.addFieldOffset(3, vector, 0);
  builder.finish(builder.endObject(), identifier);
  return builder.asUint8Array();
}

/** The file with a 32-bit number overwritten at the position found by walking from the root. */
function patched(change: (view: DataView, root: number) => void): Uint8Array {
  const bytes = Uint8Array.from(file({}));
  const view = new DataView(bytes.buffer);
  change(view, view.getUint32(0, true));
  return bytes;
}

const fieldAt = (view: DataView, table: number, slot: number): number =>
  table + view.getUint16(table - view.getInt32(table, true) + 4 + 2 * slot, true);

const BROKEN: [what: string, bytes: Uint8Array, code: ErrorCode, message: RegExp][] = [
  ["empty", new Uint8Array(), "LORASA_FILE", /an \.onnx_adapter file/],
  ["identifier alone", Buffer.from("\0\0\0\0TORT"), "LORASA_FILE", /an \.onnx_adapter file/],
  ["another identifier", file({ identifier: "ORTM" }), "LORASA_FILE", /TORT at byte 4.*another format/],
  ["a later version", file({ version: 2 }), "LORASA_FILE", /format version: expected 1, received 2/],
  ["no version", file({ version: 0 }), "LORASA_FILE", /format version: expected 1, received 0/],
  ["no name", file({ name: null }), "LORASA_FILE", /parameter 0: expected a name, received none/],
  ["a name twice", file({ copies: 2 }), "LORASA_NAME", /every parameter once, received "w"/],
  ["shared bytes", file({ sharing: 2, values: 1000 }), "LORASA_FILE", /several share/],
  [
    "too few bytes",
    file({ dims: [3n] }),
    "LORASA_FILE",
    /"w": expected the bytes of float32 \[3\], received 8/,
  ],
  ["a negative size", file({ dims: [-1n, -2n] }), "LORASA_FILE", /float32 \[-1, -2\]/],
  ["a huge size", file({ dims: [2n ** 62n, 4n] }), "LORASA_FILE", /expected the bytes of float32/],
  ["undefined type", file({ dataType: 0 }), "LORASA_DTYPE", /"w": .*received ONNX element type 0/],
  ["bfloat16", file({ dataType: 16 }), "LORASA_DTYPE", /received ONNX element type 16/],
  [
    "root outside",
    patched((view) => view.setUint32(0, 1 << 30, true)),
    "LORASA_FILE",
    /offsets within the file/,
  ],
  [
    "vtable outside",
    patched((view, root) => view.setInt32(root, -(1 << 30), true)),
    "LORASA_FILE",
    /offsets within the file/,
  ],
  [
    "vector outside",
    patched((view, root) => view.setUint32(fieldAt(view, root, 3), 0xffffffff, true)),
    "LORASA_FILE",
    /offsets within the file/,
  ],
  [
    "vector too long",
    patched((view, root) => {
      const at = fieldAt(view, root, 3);
      view.setUint32(at + view.getUint32(at, true), 0xffffffff, true);
    }),
    "LORASA_FILE",
    /offsets within the file/,
  ],
];

test("one file for each cause is refused by name", () => {
  assert.equal(decodeOnnxAdapter(file({}), "sound").parameters.size, 1);
  for (const [what, bytes, code, message] of BROKEN) {
    assertFails(() => decodeOnnxAdapter(bytes, "x.onnx_adapter"), code, message, what);
    assertFails(() => decodeOnnxAdapter(bytes, "x.onnx_adapter"), code, /^x\.onnx_adapter/, what);
  }
});

test("every truncation is refused, but for the padding at the end", () => {
  const map = adapterParameters(sampleAdapter());
  const bytes = encodeOnnxAdapter(map, VERSIONS);
  const decode = (length: number) => () => decodeOnnxAdapter(bytes.slice(0, length), "x");
  for (let length = 0; length < bytes.length - 4; length++) {
    assertFails(decode(length), "LORASA_FILE", /^x/, `${length} bytes`);
  }
  for (let length = bytes.length - 4; length < bytes.length; length++) {
    assert.deepEqual(decode(length)().parameters, map);
  }
});
