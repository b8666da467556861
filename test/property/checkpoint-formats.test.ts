/** Round trips of the file formats, and damaged files, over random contents. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LorasaError } from "../../src/base/errors.ts";
import { DTYPES, type DType, elementCount, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { type Adapter, adapterParameters, checkAdapter } from "../../src/checkpoint/adapter.ts";
import { decodeOnnxAdapter, encodeOnnxAdapter } from "../../src/checkpoint/onnx-adapter.ts";
import { encodeAdapter, parseAdapter } from "../../src/checkpoint/peft.ts";
import { compilePattern, exactPattern } from "../../src/checkpoint/peft-patterns.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { sampleAdapter, sampleTensors } from "../helpers/format-samples.ts";

const tensor: fc.Arbitrary<HostTensor> = fc
  .record({
    dtype: fc.constantFrom(...(Object.keys(DTYPES) as DType[])),
    dims: fc.array(fc.nat(4), { maxLength: 3 }),
  })
  .chain(({ dtype, dims }) => {
    const bytes = elementCount(dims) * DTYPES[dtype].bytes;
    return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((raw) => ({
      dtype,
      dims,
      data: new DTYPES[dtype].array(Uint8Array.from(raw).buffer),
    }));
  });
const name = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text !== "__metadata__");
const tensors = fc.array(fc.tuple(name, tensor), { maxLength: 6 }).map((entries) => new Map(entries));

/** Bytes, since NaN does not equal itself. */
function sameTensors(
  actual: ReadonlyMap<string, HostTensor>,
  expected: ReadonlyMap<string, HostTensor>,
): void {
  assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
  for (const [key, { dtype, dims, data }] of expected) {
    const found = actual.get(key);
    assert.deepEqual([found?.dtype, found?.dims], [dtype, dims]);
    assert.equal(found?.data.byteOffset, 0);
    assert.deepEqual(Buffer.from(found.data.buffer), Buffer.from(data.buffer));
  }
}

test("safetensors: what is written is read, whatever the order of the map", () => {
  fc.assert(
    fc.property(tensors, fc.dictionary(name, fc.string({ unit: "grapheme" })), (map, metadata) => {
      const bytes = encodeSafetensors(map, metadata);
      const decoded = decodeSafetensors(bytes, "random");
      sameTensors(decoded.tensors, map);
      assert.deepEqual({ ...decoded.metadata }, { ...metadata });
      assert.deepEqual(encodeSafetensors(new Map([...map].reverse()), metadata), bytes);
      assert.equal(new DataView(bytes.buffer).getBigUint64(0, true) % 8n, 0n);
    }),
    { numRuns: 200 },
  );
});

test("onnx_adapter: what is written is read", () => {
  fc.assert(
    fc.property(tensors, fc.integer(), fc.integer(), (map, adapterVersion, modelVersion) => {
      const decoded = decodeOnnxAdapter(encodeOnnxAdapter(map, { adapterVersion, modelVersion }), "random");
      sameTensors(decoded.parameters, map);
      assert.deepEqual([decoded.adapterVersion, decoded.modelVersion], [adapterVersion, modelVersion]);
    }),
    { numRuns: 200 },
  );
});

const layerName = fc
  .array(fc.stringMatching(/^[a-z0-9_-]{1,4}$/), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join("."));
const adapter: fc.Arbitrary<Adapter> = fc
  .record({
    nominal: fc.integer({ min: 1, max: 6 }),
    alpha: fc.double({ min: 1e-3, max: 100, noNaN: true }),
    sizes: fc.dictionary(
      layerName,
      fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
      {
        minKeys: 1,
        maxKeys: 5,
        noNullPrototype: true,
      },
    ),
  })
  .map(({ nominal, alpha, sizes }) => ({
    backboneSha256: "0".repeat(64),
    layers: Object.entries(sizes).map(([layer, [inSize, out]]) => {
      const rank = Math.min(nominal, inSize, out);
      const ramp = (rows: number, columns: number) =>
        floatTensor(
          [rows, columns],
          Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i + rows)),
        );
      const [loraA, loraB] = [ramp(inSize, rank), ramp(rank, out)];
      return { name: layer, in: inSize, out, rank, scale: alpha / nominal, loraA, loraB };
    }),
  }));

test("PEFT: names, ranks capped by the sizes, scales and matrices come back", () => {
  fc.assert(
    fc.property(adapter, fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }), (original, rank) => {
      const files = encodeAdapter(original, rank === undefined ? {} : { rank });
      const config = JSON.parse(Buffer.from(files["adapter_config.json"]!).toString());
      const read = parseAdapter(config, files["adapter_model.safetensors"]!, "random");
      assert.deepEqual(checkAdapter(read, original.layers, original.backboneSha256), original);
    }),
    { numRuns: 200 },
  );
});

test("patterns match as the regular expression does", () => {
  const pattern = fc.stringMatching(/^\^?([ab.]|\\\.){0,4}(\|\^?[ab.]{1,3})?\$?$/);
  const layer = fc.stringMatching(/^[ab]{1,2}(\.[ab]{1,2}){0,2}$/);
  fc.assert(
    fc.property(pattern, layer, (key, text) => {
      assert.equal(compilePattern(key, "x")(text), new RegExp(`^(.*\\.)?(${key})$`).test(text));
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(layerName, layerName, (a, b) => {
      assert.equal(compilePattern(exactPattern(a), "x")(b), a === b);
    }),
  );
});

/** Bytes overwritten, then cut. */
const damage = fc.record({
  writes: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
  cut: fc.option(fc.nat(), { nil: undefined }),
});
const DECODERS: [format: string, sound: Uint8Array, decode: (bytes: Uint8Array) => unknown][] = [
  ["safetensors", encodeSafetensors(sampleTensors()), (bytes) => decodeSafetensors(bytes, "x")],
  [
    "onnx_adapter",
    encodeOnnxAdapter(adapterParameters(sampleAdapter()), { adapterVersion: 1, modelVersion: 1 }),
    (bytes) => decodeOnnxAdapter(bytes, "x"),
  ],
];

for (const [format, sound, decode] of DECODERS) {
  test(`${format}: a damaged file is read or refused with one of lorasa's errors`, () => {
    fc.assert(
      fc.property(damage, ({ writes, cut }) => {
        const bytes = sound.slice(0, cut === undefined ? undefined : cut % sound.length);
        for (const [at, value] of writes) bytes[at % sound.length] = value;
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof LorasaError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
}
