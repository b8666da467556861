/** Inference messages of gRPC, byte for byte as their field numbers have them, and everything that is wrong with one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { InferResult } from "../../server/engine/service.ts";
import { readInferRequest, readRequestId } from "../../server/grpc/infer-request.ts";
import { writeInferResponse, writeStreamError } from "../../server/grpc/infer-response.ts";
import { toStatus } from "../../server/grpc/status.ts";
import { JSON_LIMIT_BYTES } from "../../server/limits.ts";
import { DATATYPES, type Datatype, WIRE_ARRAYS, type WireTensor } from "../../server/protocol/datatypes.ts";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { assertFails } from "../helpers/fails.ts";
import { decode, encode, type Json } from "../helpers/grpc-client.ts";

/** Bytes written as hex digits; what is between them is for the reader. */
function bytes(...parts: string[]): Buffer {
  return Buffer.from(parts.join("").replaceAll(/[^0-9a-f]/g, ""), "hex");
}

const GOLDEN_REQUEST = bytes(
  "0a 01 6d", // 1 model_name "m"
  "12 01 31", // 2 model_version "1"
  "1a 02 3432", // 3 id "42"
  "22 08 0a01 61 1203 1a01 62", // 4 parameters: "a" → 3 string_param "b"
  "2a 0d 0a01 78 1204 46503332 1a02 0201", // 5 inputs: "x", "FP32", shape [2, 1]
  "32 03 0a01 78", // 6 outputs: "x"
  "3a 08 0000803f 000000c0", // 7 raw_input_contents: 1, −2
);

test("a request's golden bytes", () => {
  const { model, version, request } = readInferRequest(GOLDEN_REQUEST);
  assert.equal(model, "m");
  assert.equal(version, "1");
  assert.equal(request.id, "42");
  assert.deepEqual(request.parameters, { a: "b" });
  assert.deepEqual(request.inputs.get("x"), {
    name: "x",
    datatype: "FP32",
    shape: [2, 1],
    data: Float32Array.of(1, -2),
  });
  assert.deepEqual(request.outputs, [{ name: "x", binary: true }]);
  assert.equal(request.binaryDefault, true);
});

test("a request's golden bytes are what the definitions encode", () => {
  const fields = {
    model_name: "m",
    model_version: "1",
    id: "42",
    parameters: { a: { string_param: "b" } },
    inputs: [{ name: "x", datatype: "FP32", shape: [2, 1] }],
    outputs: [{ name: "x" }],
    raw_input_contents: [Buffer.from(Float32Array.of(1, -2).buffer)],
  };
  assert.equal(encode("ModelInferRequest", fields).toString("hex"), GOLDEN_REQUEST.toString("hex"));
});

test("a response's golden bytes", () => {
  const result: InferResult = {
    modelName: "m",
    modelVersion: "1",
    parameters: { v: "a=3", n: 0.5, b: true },
    outputs: [
      { tensor: { name: "y", datatype: "FP32", shape: [2, 1], data: Float32Array.of(1, -2) }, binary: false },
    ],
  };
  const expected = bytes(
    "0a 01 6d", // 1 model_name "m"
    "12 01 31", // 2 model_version "1"
    "1a 02 3432", // 3 id "42"
    "22 0a 0a01 76 1205 1a03 613d33", // 4 parameters: "v" → 3 string_param "a=3"
    "22 0e 0a01 6e 1209 21 000000000000e03f", // "n" → 4 double_param 0.5
    "22 07 0a01 62 1202 08 01", // "b" → 1 bool_param true
    "2a 0d 0a01 79 1204 46503332 1a02 0201", // 5 outputs: "y", "FP32", shape [2, 1]
    "32 08 0000803f 000000c0", // 6 raw_output_contents
  );
  assert.equal(writeInferResponse("42", result).toString("hex"), expected.toString("hex"));
});

test("a stream's error: its text, and the id of what failed", () => {
  // 1 error_message "no", 2 infer_response with 3 id "7".
  assert.equal(
    writeStreamError("7", "no").toString("hex"),
    bytes("0a 02 6e6f 12 03 1a01 37").toString("hex"),
  );
});

test("a shape and contents that are not packed, and fields in any order", () => {
  const { request } = readInferRequest(
    bytes(
      "2a 19 2a0a 350000803f 35000000c0", // 5 inputs: 5 contents: 6 fp32_contents 1, then −2
      "1802 1801 0a01 78 1204 46503332", // 3 shape 2, then 1; "x", "FP32"
      "0a 01 6d", // 1 model_name "m"
    ),
  );
  assert.deepEqual(request.inputs.get("x"), {
    name: "x",
    datatype: "FP32",
    shape: [2, 1],
    data: Float32Array.of(1, -2),
  });
});

/** Each datatype's contents: the field, what it holds, and the tensor's elements. */
const CONTENTS: readonly (readonly [Datatype, string, readonly unknown[], readonly unknown[]])[] = [
  ["BOOL", "bool_contents", [true, false], [1, 0]],
  ["INT8", "int_contents", [-128, 127], [-128, 127]],
  ["INT16", "int_contents", [-32_768, 32_767], [-32_768, 32_767]],
  ["INT32", "int_contents", [-2_147_483_648, 5], [-2_147_483_648, 5]],
  [
    "INT64",
    "int64_contents",
    ["-9223372036854775808", "9223372036854775807", "-1"],
    [-(2n ** 63n), 2n ** 63n - 1n, -1n],
  ],
  ["UINT8", "uint_contents", [0, 255], [0, 255]],
  ["UINT16", "uint_contents", [65_535], [65_535]],
  ["UINT32", "uint_contents", [4_294_967_295], [4_294_967_295]],
  ["UINT64", "uint64_contents", ["18446744073709551615", "4294967296"], [2n ** 64n - 1n, 2n ** 32n]],
  ["FP32", "fp32_contents", [0.1, -0], [Math.fround(0.1), -0]],
  ["FP64", "fp64_contents", [0.1, Number.MAX_VALUE], [0.1, Number.MAX_VALUE]],
  ["BYTES", "bytes_contents", [Buffer.from("ä"), Buffer.from("")], ["ä", ""]],
];

for (const [datatype, field, contents, elements] of CONTENTS) {
  test(`typed contents of ${datatype}`, () => {
    const tensor = read(input({ datatype, shape: [contents.length], contents: { [field]: contents } }));
    assert.equal(tensor.datatype, datatype);
    assert.deepEqual([...(tensor.data as Iterable<unknown>)], elements);
  });
}

test("every datatype raw, at any offset of the message", () => {
  for (const datatype of Object.keys(DATATYPES) as Datatype[]) {
    if (datatype === "BYTES") continue;
    const data = new WIRE_ARRAYS[datatype](3);
    new Uint8Array(data.buffer).fill(1);
    for (let shift = 0; shift < 8; shift++) {
      const fields = raw({ datatype, shape: [3] }, new Uint8Array(data.buffer));
      const tensor = read({ ...fields, id: "x".repeat(shift) });
      assert.deepEqual(tensor.data, data, `${datatype} after ${shift} characters`);
    }
  }
  const names = read(raw({ datatype: "BYTES", shape: [2] }, bytes("01000000 61 00000000")));
  assert.deepEqual(names.data, ["a", ""]);
});

test("what the definitions encode is read as it was", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 12 });
  const value = fc.oneof(
    fc.boolean().map((v) => [{ bool_param: v }, v] as const),
    text.map((v) => [{ string_param: v }, v] as const),
    fc.maxSafeInteger().map((v) => [{ int64_param: v }, v] as const),
    fc.maxSafeNat().map((v) => [{ uint64_param: v }, v] as const),
    fc.double({ noNaN: true }).map((v) => [{ double_param: v }, v] as const),
  );
  const parameters = fc.dictionary(
    text.filter((name) => !name.startsWith("triton_")),
    value,
    { maxKeys: 5 },
  );
  const tensors = fc.uniqueArray(
    fc.record({
      name: text.filter((name) => name !== ""),
      data: fc.float32Array({ maxLength: 9 }),
    }),
    { selector: ({ name }) => name, maxLength: 4 },
  );
  fc.assert(
    fc.property(text, parameters, tensors, fc.boolean(), (id, params, inputs, packed) => {
      const { request } = readInferRequest(
        encode("ModelInferRequest", {
          model_name: "m",
          id,
          parameters: Object.fromEntries(Object.entries(params).map(([key, [field]]) => [key, field])),
          inputs: inputs.map(({ name, data }) => ({
            name,
            datatype: "FP32",
            shape: [data.length],
            ...(packed && { contents: { fp32_contents: [...data] } }),
          })),
          ...(!packed && { raw_input_contents: inputs.map(({ data }) => Buffer.from(data.slice().buffer)) }),
        }),
      );
      assert.equal(request.id, id);
      assert.deepEqual(
        { ...request.parameters },
        Object.fromEntries(Object.entries(params).map(([key, [, v]]) => [key, v])),
      );
      assert.deepEqual(
        [...request.inputs].map(([name, { data }]) => [name, data]),
        inputs.map(({ name, data }) => [name, data]),
      );
    }),
  );
});

test("64-bit parameters: numbers where they are exact, else texts of digits", () => {
  const read = (field: Json): unknown =>
    readInferRequest(encode("ModelInferRequest", { model_name: "m", parameters: { p: field } })).request
      .parameters["p"];
  assert.equal(read({ int64_param: "-9007199254740991" }), -9_007_199_254_740_991);
  assert.equal(read({ int64_param: "-9007199254740993" }), "-9007199254740993");
  assert.equal(read({ uint64_param: "18446744073709551615" }), "18446744073709551615");
  assert.equal(read({ uint64_param: "4294967297" }), 4_294_967_297);
});

test("a parameter called __proto__ is a parameter, not a prototype", () => {
  const entry = bytes("22 0f 0a09 5f5f70726f746f5f5f 1202 0801");
  const { request } = readInferRequest(Buffer.concat([GOLDEN_REQUEST, entry]));
  assert.deepEqual(Object.entries(request.parameters), [
    ["a", "b"],
    ["__proto__", true],
  ]);
});

/** A request of one input `x` with more fields. */
function input(fields: Json): Json {
  return { model_name: "m", inputs: [{ name: "x", ...fields }] };
}

function raw(fields: Json, ...contents: Uint8Array[]): Json {
  return { ...input(fields), raw_input_contents: contents };
}

function read(fields: Json): WireTensor {
  return readInferRequest(encode("ModelInferRequest", fields)).request.inputs.get("x")!;
}

const EIGHT = new Uint8Array(8);
const PAIR = { datatype: "FP32", shape: [2] };

const WRONG: readonly (readonly [string, Json, ErrorCode, RegExp])[] = [
  ["no model", {}, "LORASA_REQUEST", /model_name: expected a name/],
  ["a long model name", { model_name: "m".repeat(257) }, "LORASA_REQUEST", /model_name/],
  [
    "a version that is no number",
    { model_name: "m", model_version: "one" },
    "LORASA_REQUEST",
    /model_version.*"one"/,
  ],
  ["a long id", { model_name: "m", id: "i".repeat(1025) }, "LORASA_REQUEST", /^id: .*1024/],
  [
    "raw too short",
    raw(PAIR, new Uint8Array(7)),
    "LORASA_SHAPE",
    /x binary data: expected 8 bytes.*received 7/,
  ],
  ["raw too long", raw(PAIR, new Uint8Array(12)), "LORASA_SHAPE", /expected 8 bytes.*received 12/],
  [
    "raw BYTES cut",
    raw({ datatype: "BYTES", shape: [1] }, bytes("05000000 61")),
    "LORASA_SHAPE",
    /0 whole elements/,
  ],
  ["more raw than inputs", raw(PAIR, EIGHT, EIGHT), "LORASA_REQUEST", /one for each of 1 inputs, received 2/],
  [
    "raw and typed",
    raw({ ...PAIR, contents: { fp32_contents: [1, 2] } }, EIGHT),
    "LORASA_REQUEST",
    /contents or raw_input_contents, received both/,
  ],
  ["nothing at all for an input", input(PAIR), "LORASA_SHAPE", /2 elements.*received at most 0/],
  ["too few typed", input({ ...PAIR, contents: { fp32_contents: [1] } }), "LORASA_SHAPE", /2 elements/],
  [
    "too few typed of one byte each",
    input({ datatype: "INT32", shape: [2], contents: { int_contents: [1] } }),
    "LORASA_SHAPE",
    /2 elements.*received 1$/,
  ],
  [
    "too many typed",
    input({ ...PAIR, contents: { fp32_contents: [1, 2, 3] } }),
    "LORASA_SHAPE",
    /received more/,
  ],
  [
    "contents of another type",
    input({ ...PAIR, contents: { fp64_contents: [1, 2] } }),
    "LORASA_DTYPE",
    /x contents: expected fp32_contents, received fp64_contents/,
  ],
  [
    "FP16 typed",
    input({ datatype: "FP16", shape: [1], contents: { fp32_contents: [1] } }),
    "LORASA_DTYPE",
    /FP16 in raw_input_contents/,
  ],
  ["an unknown datatype", raw({ datatype: "BF16", shape: [4] }, EIGHT), "LORASA_DTYPE", /"BF16"/],
  ["no datatype", raw({ shape: [4] }, EIGHT), "LORASA_DTYPE", /received ""/],
  [
    "an integer beyond its type",
    input({ datatype: "INT8", shape: [2], contents: { int_contents: [1, 128] } }),
    "LORASA_RANGE",
    /contents\[1\]: expected -128 to 127, received 128/,
  ],
  [
    "an unsigned integer beyond its type",
    input({ datatype: "UINT16", shape: [1], contents: { uint_contents: [65_536] } }),
    "LORASA_RANGE",
    /0 to 65535/,
  ],
  ["a BOOL of 2", raw({ datatype: "BOOL", shape: [1] }, Uint8Array.of(2)), "LORASA_DTYPE", /0 or 1/],
  ["a negative size", raw({ datatype: "FP32", shape: [-2] }, EIGHT), "LORASA_SHAPE", /none negative/],
  [
    "a size beyond exact numbers",
    raw({ datatype: "FP32", shape: ["9223372036854775807"] }, EIGHT),
    "LORASA_SHAPE",
    /shape/,
  ],
  [
    "a size whose lower half alone would fit",
    raw({ datatype: "FP32", shape: ["4294967297"] }, new Uint8Array(4)),
    "LORASA_TOO_LARGE",
    /4294967297/,
  ],
  [
    "too many axes",
    raw({ datatype: "FP32", shape: new Array(100_000).fill(1) }, EIGHT),
    "LORASA_SHAPE",
    /at most 8/,
  ],
  [
    "elements whose product overflows",
    raw({ datatype: "FP32", shape: [2 ** 30, 2 ** 30, 2 ** 30] }, EIGHT),
    "LORASA_SHAPE",
    /product below 2\^53/,
  ],
  [
    "more elements than a message can hold",
    raw({ datatype: "FP32", shape: [2 ** 30] }, EIGHT),
    "LORASA_TOO_LARGE",
    /input x.*at most \d+ bytes/,
  ],
  [
    "a shape that the message does not fill",
    input({ datatype: "INT64", shape: [2 ** 22], contents: { int64_contents: [1] } }),
    "LORASA_SHAPE",
    /received at most/,
  ],
  [
    "typed contents too large to read one by one",
    input({
      datatype: "INT8",
      shape: [JSON_LIMIT_BYTES],
      contents: { int_contents: new Array(JSON_LIMIT_BYTES).fill(1) },
    }),
    "LORASA_TOO_LARGE",
    /raw_input_contents/,
  ],
  [
    "an input without a name",
    { model_name: "m", inputs: [PAIR], raw_input_contents: [EIGHT] },
    "LORASA_REQUEST",
    /inputs\[0\]\.name/,
  ],
  [
    "an input twice",
    {
      model_name: "m",
      inputs: [
        { name: "x", ...PAIR },
        { name: "x", ...PAIR },
      ],
      raw_input_contents: [EIGHT, EIGHT],
    },
    "LORASA_NAME",
    /input x: expected each name once/,
  ],
  [
    "an output twice",
    { model_name: "m", outputs: [{ name: "y" }, { name: "y" }] },
    "LORASA_NAME",
    /output y/,
  ],
  [
    "an output as classes",
    { model_name: "m", outputs: [{ name: "y", parameters: { classification: { int64_param: 3 } } }] },
    "LORASA_REQUEST",
    /classification/,
  ],
  [
    "an input in shared memory",
    input({ ...PAIR, parameters: { shared_memory_region: { string_param: "r" } } }),
    "LORASA_REQUEST",
    /shared-memory/,
  ],
  [
    "an output in shared memory",
    {
      model_name: "m",
      outputs: [{ name: "y", parameters: { shared_memory_region: { string_param: "r" } } }],
    },
    "LORASA_REQUEST",
    /shared-memory/,
  ],
  [
    "a reserved parameter",
    { model_name: "m", parameters: { triton_x: { bool_param: true } } },
    "LORASA_REQUEST",
    /triton_x/,
  ],
  [
    "a parameter without a value",
    { model_name: "m", parameters: { p: {} } },
    "LORASA_REQUEST",
    /parameter p: expected a string/,
  ],
  [
    "too many inputs",
    { model_name: "m", inputs: new Array(65).fill({}) },
    "LORASA_REQUEST",
    /inputs: expected at most 64/,
  ],
  [
    "too many outputs",
    { model_name: "m", outputs: new Array(65).fill({}) },
    "LORASA_REQUEST",
    /outputs: expected at most 64/,
  ],
  [
    "too many raw contents",
    { model_name: "m", raw_input_contents: new Array(65).fill(Buffer.alloc(0)) },
    "LORASA_REQUEST",
    /raw_input_contents: expected at most 64/,
  ],
  [
    "too many parameters",
    {
      model_name: "m",
      parameters: Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`${at}`, { bool_param: true }])),
    },
    "LORASA_REQUEST",
    /parameters: expected at most 64/,
  ],
];

for (const [what, fields, code, message] of WRONG) {
  test(`wrong: ${what}`, () => {
    const encoded = encode("ModelInferRequest", fields);
    assertFails(() => readInferRequest(encoded), code, message);
  });
}

test("wrong: contents twice", () => {
  const message = bytes("0a016d 2a 07 0a0178 2a00 2a00");
  assertFails(() => readInferRequest(message), "LORASA_REQUEST", /contents: expected one/);
});

test("bytes that are not a message: cut anywhere, changed anywhere, or anything at all", () => {
  const assertRefusedOrRead = (message: Buffer): void => {
    try {
      readInferRequest(message);
    } catch (error) {
      assert.ok(error instanceof LorasaError, `${error}`);
      assert.doesNotMatch(error.message, /index out of range|\n/);
    }
  };
  for (let end = 0; end < GOLDEN_REQUEST.length; end++) assertRefusedOrRead(GOLDEN_REQUEST.subarray(0, end));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(), fc.nat(255), (anything, at, byte) => {
      assertRefusedOrRead(Buffer.from(anything));
      const changed = Buffer.from(GOLDEN_REQUEST);
      changed[at % changed.length] = byte;
      assertRefusedOrRead(changed);
    }),
    { numRuns: 2000 },
  );
  assertFails(
    () => readInferRequest(GOLDEN_REQUEST.subarray(0, 15)),
    "LORASA_REQUEST",
    /request message: expected a protobuf message/,
  );
});

test("unknown fields are skipped, nested groups only so deep", () => {
  const later = bytes("78 05 f23e 02 6161");
  assert.equal(readInferRequest(Buffer.concat([GOLDEN_REQUEST, later])).request.id, "42");
  const groups = Buffer.alloc(100_000, 0x7b);
  assertFails(() => readInferRequest(Buffer.concat([GOLDEN_REQUEST, groups])), "LORASA_REQUEST", /protobuf/);
});

test("the id of a request that is wrong in another way", () => {
  assert.equal(readRequestId(encode("ModelInferRequest", { id: "7", inputs: [{ name: "" }] })), "7");
  assert.equal(readRequestId(GOLDEN_REQUEST.subarray(0, 9)), "");
});

test("a status's text: half a character that a cut left cannot be sent, and would end the process", () => {
  const { details } = toStatus(
    new LorasaError("LORASA_NAME", { asked: `input ${"😀".repeat(3).slice(0, 5)}` }),
  );
  assert.equal(details, "LORASA_NAME: input 😀😀\ufffd");
  assert.doesNotThrow(() => encodeURI(details));
  assert.ok(toStatus(new LorasaError("LORASA_NAME", { asked: "x".repeat(10_000) })).details.length <= 2000);
});

const STATUSES: readonly (readonly [ErrorCode, number])[] = [
  ["LORASA_SHAPE", 3],
  ["LORASA_UNKNOWN_MODEL", 5],
  ["LORASA_UNKNOWN_ADAPTER", 5],
  ["LORASA_EXISTS", 6],
  ["LORASA_BUSY", 9],
  ["LORASA_TOO_LARGE", 8],
  ["LORASA_UNAUTHORIZED", 16],
  ["LORASA_FORBIDDEN", 7],
  ["LORASA_UNAVAILABLE", 14],
  ["LORASA_CANCELLED", 1],
  ["LORASA_DISK", 13],
  ["LORASA_SERVER", 13],
];

for (const [code, expected] of STATUSES) {
  test(`status of ${code}`, () => {
    const status = toStatus(new LorasaError(code, { asked: "secret" }));
    assert.equal(status.code, expected);
    // What is inside the server stays there.
    assert.equal(status.details, expected === 13 ? `${code}: internal error` : `${code}: secret`);
  });
}

test("status of an error that is not ours tells nothing of it", () => {
  assert.deepEqual(toStatus(new TypeError("secret at /home")), { code: 13, details: "internal error" });
});

test("a response decodes to what was answered", () => {
  const data = BigInt64Array.of(-1n, 2n ** 62n);
  const tensor: WireTensor = { name: "y", datatype: "INT64", shape: [1, 2], data };
  const names: WireTensor = { name: "n", datatype: "BYTES", shape: [1], data: ["ä"] };
  const outputs = [tensor, names].map((tensor) => ({ tensor, binary: true }));
  const decoded = decode(
    "ModelInferResponse",
    writeInferResponse("", { modelName: "m", modelVersion: "3", parameters: {}, outputs }),
  );
  assert.deepEqual(decoded["outputs"], [
    { name: "y", datatype: "INT64", shape: ["1", "2"] },
    { name: "n", datatype: "BYTES", shape: ["1"] },
  ]);
  assert.deepEqual(decoded["raw_output_contents"], [
    Buffer.from(data.buffer),
    Buffer.from("02000000c3a4", "hex"),
  ]);
  assert.equal(decoded["id"] ?? "", "");
});
