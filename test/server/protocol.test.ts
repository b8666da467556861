/** Requests and replies of the Open Inference Protocol, byte for byte as its documents have them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { WireTensor } from "../../server/protocol/datatypes.ts";
import { parseInferRequest } from "../../server/protocol/infer-request.ts";
import type { TensorMetadata } from "../../server/protocol/request.ts";
import { encodeInferReply } from "../../server/protocol/response.ts";
import { assertFails } from "../helpers/fails.ts";

const OBS: TensorMetadata = { name: "obs", datatype: "FP32", shape: [-1, 2] };

/** 1, −2, 0.5 and 3 as float32, little-endian. */
const FLOATS = Buffer.from("0000803f000000c00000003f00004040", "hex");

test("JSON, flat: id, parameters and outputs are kept", () => {
  const request = parseInferRequest(
    Buffer.from(
      '{"id":"42","parameters":{"adapter_id":"a","n":1,"b":true},"inputs":[{"name":"obs","shape":[2,2],"datatype":"FP32","data":[1,-2,0.5,3]}],"outputs":[{"name":"action"},{"name":"mean","parameters":{"binary_data":true}}]}',
    ),
    undefined,
    [OBS],
  );
  assert.equal(request.id, "42");
  assert.deepEqual(request.parameters, { adapter_id: "a", n: 1, b: true });
  assert.deepEqual(request.inputs.get("obs"), {
    name: "obs",
    datatype: "FP32",
    shape: [2, 2],
    data: Float32Array.of(1, -2, 0.5, 3),
  });
  assert.deepEqual(request.outputs, [
    { name: "action", binary: false },
    { name: "mean", binary: true },
  ]);
});

test("JSON, nested, gives the same tensor as flat", () => {
  const parse = (data: unknown): WireTensor =>
    parseInferRequest(
      Buffer.from(JSON.stringify({ inputs: [{ name: "x", datatype: "INT32", shape: [2, 1, 3], data }] })),
      undefined,
      [],
    ).inputs.get("x")!;
  const nested = parse([[[1, -2, 3]], [[4, 5, 6]]]);
  assert.deepEqual(nested, parse([1, -2, 3, 4, 5, 6]));
  assert.deepEqual(nested.data, Int32Array.of(1, -2, 3, 4, 5, 6));
});

const ELEMENTS: readonly (readonly [WireTensor["datatype"], unknown, readonly unknown[]])[] = [
  ["BOOL", [true, false, 1, 0], [1, 0, 1, 0]],
  ["UINT8", [0, 255], [0, 255]],
  ["UINT16", [65_535], [65_535]],
  ["UINT32", [4_294_967_295], [4_294_967_295]],
  ["UINT64", [9_007_199_254_740_991], [9_007_199_254_740_991n]],
  ["INT8", [-128, 127], [-128, 127]],
  ["INT16", [-32_768], [-32_768]],
  ["INT32", [-2_147_483_648], [-2_147_483_648]],
  ["INT64", [-5], [-5n]],
  ["FP32", [0.1], [Math.fround(0.1)]],
  ["FP64", [0.1], [0.1]],
  ["BYTES", ["ä", ""], ["ä", ""]],
];

for (const [datatype, data, expected] of ELEMENTS) {
  test(`JSON elements of ${datatype}`, () => {
    const body = { inputs: [{ name: "x", datatype, shape: [expected.length], data }] };
    const request = parseInferRequest(Buffer.from(JSON.stringify(body)), undefined, []);
    assert.deepEqual([...(request.inputs.get("x")!.data as Iterable<unknown>)], expected);
  });
}

test("binary inputs follow the JSON in order, at any offset, beside JSON inputs", () => {
  const json = Buffer.from(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [
        { name: "flags", datatype: "BOOL", shape: [3], parameters: { binary_data_size: 3 } },
        { name: "plain", datatype: "INT64", shape: [1], data: [7] },
        { name: "obs", datatype: "FP32", shape: [2, 2], parameters: { binary_data_size: 16 } },
        { name: "names", datatype: "BYTES", shape: [2], parameters: { binary_data_size: 11 } },
        { name: "none", datatype: "FP32", shape: [0], parameters: { binary_data_size: 0 } },
      ],
    }),
  );
  const names = Buffer.from("02000000c3a4" + "01000000" + "62", "hex");
  const body = Buffer.concat([json, Buffer.from([1, 0, 1]), FLOATS, names]);
  for (let shift = 0; shift < 8; shift++) {
    const shifted = Buffer.concat([Buffer.alloc(shift), body]).subarray(shift);
    const { inputs, binaryDefault } = parseInferRequest(shifted, `${json.length}`, []);
    assert.equal(binaryDefault, true);
    assert.deepEqual(inputs.get("flags")!.data, Uint8Array.of(1, 0, 1));
    assert.deepEqual(inputs.get("plain")!.data, BigInt64Array.of(7n));
    assert.deepEqual(inputs.get("obs")!.data, Float32Array.of(1, -2, 0.5, 3));
    assert.deepEqual(inputs.get("names")!.data, ["ä", "b"]);
    assert.equal(inputs.get("none")!.data.length, 0);
  }
});

test("a raw request is the bytes of the one input; every output comes back binary", () => {
  const request = parseInferRequest(FLOATS, "0", [OBS]);
  assert.deepEqual(request.inputs.get("obs")!.shape, [2, 2]);
  assert.deepEqual(request.inputs.get("obs")!.data, Float32Array.of(1, -2, 0.5, 3));
  assert.equal(request.binaryDefault, true);
  const twoInputs = [OBS, { ...OBS, name: "hidden_in" }];
  assertFails(
    () => parseInferRequest(FLOATS, "0", twoInputs),
    "LORASA_REQUEST",
    /a model of one input.*hidden_in/,
  );
});

test("too few and too many binary bytes are told with their number", () => {
  const request = (size: number, bytes: Buffer): (() => unknown) => {
    const inputs = [{ name: "obs", datatype: "FP32", shape: [2, 2], parameters: { binary_data_size: size } }];
    const json = Buffer.from(JSON.stringify({ inputs }));
    return () => parseInferRequest(Buffer.concat([json, bytes]), `${json.length}`, []);
  };
  assertFails(request(16, FLOATS.subarray(1)), "LORASA_REQUEST", /at most 15 bytes that are left/);
  assertFails(
    request(12, FLOATS.subarray(4)),
    "LORASA_SHAPE",
    /expected 16 bytes for FP32 \[2, 2\], received 12/,
  );
  assertFails(
    request(16, Buffer.concat([FLOATS, FLOATS])),
    "LORASA_REQUEST",
    /32: unexpected additional input data/,
  );
});

test("BYTES whose lengths lead outside, and BOOL bytes above 1, are refused", () => {
  const parse = (datatype: string, shape: readonly number[], bytes: Buffer): (() => unknown) => {
    const inputs = [{ name: "x", datatype, shape, parameters: { binary_data_size: bytes.length } }];
    const json = Buffer.from(JSON.stringify({ inputs }));
    return () => parseInferRequest(Buffer.concat([json, bytes]), `${json.length}`, []);
  };
  assertFails(
    parse("BYTES", [1], Buffer.from("ffffffff61", "hex")),
    "LORASA_SHAPE",
    /0 whole elements in 5 bytes/,
  );
  assertFails(
    parse("BYTES", [1], Buffer.from("0100000061ff", "hex")),
    "LORASA_SHAPE",
    /1 whole elements in 6/,
  );
  assertFails(parse("BYTES", [2], Buffer.from("0100000061", "hex")), "LORASA_SHAPE", /1 whole elements/);
  assertFails(parse("BOOL", [2], Buffer.from([1, 2])), "LORASA_DTYPE", /data\[1\]: expected a BOOL byte/);
});

test("JSON a hundred thousand deep is refused, not run out of stack", () => {
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  const body = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":${deep}}]}`;
  assertFails(
    () => parseInferRequest(Buffer.from(body), undefined, []),
    "LORASA_REQUEST",
    /expected JSON nested at most 100 deep/,
  );
  const wide = JSON.stringify({
    inputs: [],
    outputs: [],
    id: "[".repeat(50_000).slice(0, 900),
    x: new Array(5000).fill([[]]),
  });
  assertFails(
    () => parseInferRequest(Buffer.from(wide.replace('"inputs":[]', '"inputs":1')), undefined, []),
    "LORASA_REQUEST",
    /inputs: expected an array/,
  );
});

const ACTION: WireTensor = {
  name: "action",
  datatype: "FP32",
  shape: [1, 2],
  data: Float32Array.of(0.5, -1),
};
const CHOICE: WireTensor = { name: "choice", datatype: "INT64", shape: [2], data: BigInt64Array.of(3n, -1n) };
const HEAD = { id: "7", modelName: "team", modelVersion: "1", parameters: { adapter_versions: "agent_0=3" } };

test("a JSON reply, byte for byte", () => {
  const { json, tensors } = encodeInferReply({
    ...HEAD,
    outputs: [
      { tensor: ACTION, binary: false },
      { tensor: CHOICE, binary: false },
    ],
  });
  assert.equal(
    json,
    '{"id":"7","model_name":"team","model_version":"1","parameters":{"adapter_versions":"agent_0=3"},"outputs":[{"name":"action","datatype":"FP32","shape":[1,2],"data":[0.5,-1]},{"name":"choice","datatype":"INT64","shape":[2],"data":[3,-1]}]}',
  );
  assert.deepEqual(tensors, []);
});

test("a binary reply: sizes in the JSON, bytes in the order of the outputs, no parameters on JSON outputs", () => {
  const { json, jsonBytes, tensors } = encodeInferReply({
    ...HEAD,
    id: "",
    parameters: {},
    outputs: [
      { tensor: CHOICE, binary: true },
      { tensor: { ...ACTION, name: "ä" }, binary: false },
      { tensor: ACTION, binary: true },
    ],
  });
  assert.equal(
    json,
    '{"model_name":"team","model_version":"1","outputs":[{"name":"choice","datatype":"INT64","shape":[2],"parameters":{"binary_data_size":16}},{"name":"ä","datatype":"FP32","shape":[1,2],"data":[0.5,-1]},{"name":"action","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}',
  );
  assert.equal(jsonBytes, Buffer.byteLength(json));
  assert.equal(Buffer.concat(tensors).toString("hex"), "0300000000000000ffffffffffffffff0000003f000080bf");
});
