import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { assertFails } from "../helpers/fails.ts";
import { sampleTensors } from "../helpers/format-samples.ts";

const FORMATS = "test/fixtures/formats";

/** A file of any header text, with `dataBytes` zeros behind it. */
function file(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? Buffer.from(header) : header;
  const bytes = Buffer.alloc(8 + text.length + dataBytes);
  bytes.writeBigUInt64LE(length ?? BigInt(text.length));
  bytes.set(text, 8);
  return bytes;
}

const entry = (begin: number | string, end: number | string, shape = "[1]", dtype = '"F32"'): string =>
  `{"dtype":${dtype},"shape":${shape},"data_offsets":[${begin},${end}]}`;

test("the bytes are those that the Python library wrote and read", () => {
  const bytes = encodeSafetensors(sampleTensors(), { format: "pt" });
  assert.deepEqual(Buffer.from(bytes), readFileSync(`${FORMATS}/ours/tensors.safetensors`));
  const reversed = new Map([...sampleTensors()].reverse());
  assert.deepEqual(encodeSafetensors(reversed, { format: "pt" }), bytes);
});

test("every element type is read back bit for bit, at any alignment of the file in memory", () => {
  const bytes = encodeSafetensors(sampleTensors(), { b: "2", a: "1" });
  const shifted = new Uint8Array(bytes.length + 3).subarray(3);
  shifted.set(bytes);
  const { tensors, metadata } = decodeSafetensors(shifted, "sample");
  assert.deepEqual(metadata, { a: "1", b: "2" });
  assert.deepEqual(new Map([...tensors].sort()), new Map([...sampleTensors()].sort()));
});

test("a file of the Python library is read", () => {
  const bytes = readFileSync(`${FORMATS}/theirs/tensors.safetensors`);
  const { tensors, metadata } = decodeSafetensors(bytes, "theirs", { finite: true });
  assert.deepEqual(metadata, { source: "numpy" });
  const expected: [string, HostTensor][] = [
    ["h", { dtype: "float16", dims: [2], data: Uint16Array.of(0x3e00, 0xc000) }],
    ["i", { dtype: "int64", dims: [1], data: BigInt64Array.of(2n ** 40n) }],
    ["s", { dtype: "float64", dims: [], data: Float64Array.of(2.5) }],
    ["w", floatTensor([2, 3], [0, 1, 2, 3, 4, 5])],
  ];
  assert.deepEqual([...tensors].sort(), expected);
});

test("the data starts at a multiple of 8 whatever the names", () => {
  for (let length = 1; length <= 9; length++) {
    const bytes = encodeSafetensors(new Map([["n".repeat(length), floatTensor([1], [1])]]));
    assert.equal(bytes.length % 8, 4);
  }
  assert.deepEqual(decodeSafetensors(encodeSafetensors(new Map()), "empty").tensors, new Map());
});

/** One file for each rule of the format, with what the message must say. */
const BROKEN: [what: string, bytes: Uint8Array, message: RegExp][] = [
  ["no length", new Uint8Array(7), /at least 8 bytes, received 7/],
  ["header over the limit", file("{}", 0, 100_000_001n), /at most 100000000 bytes, received 100000001/],
  ["length beyond 2^63", file("{}", 0, 2n ** 64n - 1n), /at most 100000000/],
  ["truncated header", file("{}", 0, 10n), /header: expected 10 bytes, received 2/],
  ["empty header", file(""), /starts with \{, received nothing/],
  ["leading space", file(" {}"), /starts with \{, received byte 0x20/],
  ["an array", file("[]"), /starts with \{/],
  ["not UTF-8", file(Buffer.from([0x7b, 0xff, 0x7d])), /UTF-8/],
  ["not JSON", file("{,}"), /expected JSON/],
  ["text after the object", file("{}x"), /expected JSON/],
  [
    "duplicate tensor",
    file(`{"a":${entry(0, 4)},"a":${entry(0, 4)}}`, 4),
    /every key once, received "a" twice/,
  ],
  ["duplicate by escape", file(`{"a":${entry(0, 4)},"\\u0061" :${entry(4, 8)}}`, 8), /"a" twice/],
  [
    "duplicate in a tensor",
    file(`{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,4]}}`, 4),
    /"shape" twice/,
  ],
  ["duplicate in metadata", file(`{"__metadata__":{"k":"1","k":"2"}}`), /"k" twice/],
  ["metadata of numbers", file(`{"__metadata__":{"k":1}}`), /__metadata__: expected an object of strings/],
  ["metadata as text", file(`{"__metadata__":"k"}`), /__metadata__: expected an object of strings/],
  ["entry as a number", file(`{"a":1}`), /tensor "a": expected an object/],
  ["deep nesting", file(`{"a":{"shape":[[[1]]]}}`), /nesting of at most 3/],
  ["no shape", file(`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4), /"a", shape: .*received nothing/],
  ["negative size", file(`{"a":${entry(0, 4, "[-1]")}}`, 4), /whole|shape/],
  ["fractional size", file(`{"a":${entry(0, 4, "[1.0]")}}`, 4), /whole numbers/],
  ["size with exponent", file(`{"a":${entry(0, 4, "[1e0]")}}`, 4), /whole numbers/],
  ["size beyond 2^53", file(`{"a":${entry(0, 4, "[9007199254740993]")}}`, 4), /shape: expected whole sizes/],
  ["overflowing product", file(`{"a":${entry(0, 4, "[4294967296,4294967296]")}}`, 4), /below 2\^53 bytes/],
  ["one offset", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}`, 4), /\[begin, end\]/],
  [
    "offset beyond 2^53",
    file(`{"a":${entry(0, "9007199254740993")}}`, 4),
    /data_offsets: expected \[begin, end\]/,
  ],
  ["offsets reversed", file(`{"a":${entry(4, 0)}}`, 4), /begin ≤ end/],
  ["size and shape disagree", file(`{"a":${entry(0, 8)}}`, 8), /4 bytes for float32 \[1\], received 8/],
  ["unknown type", file(`{"a":${entry(0, 4, "[1]", '"F31"')}}`, 4), /dtype: expected F32.*received "F31"/],
  ["type as a number", file(`{"a":${entry(0, 4, "[1]", "1")}}`, 4), /dtype: .*received 1/],
  [
    "a hole",
    file(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12),
    /"b": .*byte 4, received byte 8 \(a hole\)/,
  ],
  ["a hole at the start", file(`{"a":${entry(4, 8)}}`, 8), /a hole/],
  ["an overlap", file(`{"a":${entry(0, 4)},"b":${entry(2, 6)}}`, 6), /"b".*an overlap/],
  ["truncated data", file(`{"a":${entry(0, 4)},"b":${entry(4, 8)}}`, 6), /"b": .*within 6 bytes.*truncated/],
  ["bytes that no tensor owns", file(`{"a":${entry(0, 4)}}`, 5), /expected 4 bytes of data, received 5/],
];

test("one file for each cause is refused by name", () => {
  for (const [what, bytes, message] of BROKEN) {
    assertFails(() => decodeSafetensors(bytes, "broken.safetensors"), "LORASA_FILE", message, what);
    assertFails(
      () => decodeSafetensors(bytes, "broken.safetensors"),
      "LORASA_FILE",
      /^broken\.safetensors/,
      what,
    );
  }
});

test("what the format allows is read: trailing spaces, zero sizes at one offset, unknown fields", () => {
  const header = `{"b":${entry(0, 4)},"z":${entry(4, 4, "[2,0]")},"a":${entry(0, 0, "[0]")}}   `;
  const { tensors } = decodeSafetensors(file(header.replace('"b":{', '"b":{"note":"x",'), 4), "legal");
  assert.deepEqual([...tensors.keys()].sort(), ["a", "b", "z"]);
  assert.deepEqual(tensors.get("z")?.dims, [2, 0]);
});

test("a type of the format that is not held is refused as such", () => {
  const bytes = file(`{"a":${entry(0, 2, "[1]", '"BF16"')}}`, 2);
  assertFails(
    () => decodeSafetensors(bytes, "f"),
    "LORASA_DTYPE",
    /tensor "a": .*received BF16; convert it to F32/,
  );
});

test("a long header name is cut in the message", () => {
  const bytes = file(`{${JSON.stringify("x".repeat(1000))}:1}`);
  assertFails(() => decodeSafetensors(bytes, "f"), "LORASA_FILE", /^.{1,200}$/);
});

test("a header above the caller's limit is refused", () => {
  const options = { maxHeaderBytes: 4 };
  assertFails(() => decodeSafetensors(file("{    }"), "f", options), "LORASA_FILE", /at most 4 bytes/);
});

test("NaN and infinities are refused on request, with tensor and index", () => {
  const cases: [HostTensor, RegExp][] = [
    [floatTensor([3], [1, Number.NaN, 2]), /tensor "w": .*received NaN at index 1/],
    [{ dtype: "float64", dims: [1], data: Float64Array.of(-Infinity) }, /received -Infinity at index 0/],
    [{ dtype: "float16", dims: [2], data: Uint16Array.of(0x7bff, 0xfc00) }, /at index 1/],
  ];
  for (const [tensor, message] of cases) {
    const bytes = encodeSafetensors(new Map([["w", tensor]]));
    assert.equal(decodeSafetensors(bytes, "f").tensors.size, 1);
    assertFails(() => decodeSafetensors(bytes, "f", { finite: true }), "LORASA_NOT_FINITE", message);
  }
});

test("tensors that cannot be written are refused", () => {
  const encode = (name: string, tensor: HostTensor) => () => encodeSafetensors(new Map([[name, tensor]]));
  const one = floatTensor([1], [1]);
  assertFails(encode("__metadata__", one), "LORASA_NAME", /__metadata__/);
  assertFails(encode("\ud800", one), "LORASA_NAME", /well-formed/);
  assertFails(encode("w", { ...one, dims: [2] }), "LORASA_SHAPE", /2 values for float32 \[2\]/);
  assertFails(encode("w", { ...one, dtype: "int32" }), "LORASA_SHAPE", /int32 \[1\].*Float32Array/);
});
