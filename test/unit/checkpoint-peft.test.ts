import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { type Adapter, adapterParameters, checkAdapter } from "../../src/checkpoint/adapter.ts";
import { encodeAdapter, parseAdapter, readAdapter, writeAdapter } from "../../src/checkpoint/peft.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { assertClose } from "../helpers/close.ts";
import { assertFails } from "../helpers/fails.ts";
import { sampleAdapter } from "../helpers/format-samples.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const FORMATS = "test/fixtures/formats";

/** scale · loraA · loraB, float64 [in · out]. */
function delta({ in: inSize, out, rank, scale, loraA, loraB }: Adapter["layers"][number]): Float64Array {
  const product = new Float64Array(inSize * out);
  for (let i = 0; i < inSize; i++) {
    for (let o = 0; o < out; o++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += loraA.data[i * rank + r]! * loraB.data[r * out + o]!;
      product[i * out + o] = scale * sum;
    }
  }
  return product;
}

test("the files are those that PEFT read, scaled and ran", () => {
  const files = encodeAdapter(sampleAdapter(), { rank: 3, alpha: 1, baseModel: "team" });
  for (const [name, bytes] of Object.entries(files)) {
    assert.deepEqual(Buffer.from(bytes), readFileSync(`${FORMATS}/ours/adapter/${name}`), name);
  }
});

for (const name of ["patterns", "rslora"]) {
  test(`an adapter that PEFT wrote (${name}) gives PEFT's own change of every layer`, () => {
    const adapter = readAdapter(`${FORMATS}/theirs/${name}`);
    const expected = JSON.parse(readFileSync(`${FORMATS}/theirs/${name}.json`, "utf8"));
    assert.equal(adapter.backboneSha256, "cd".repeat(32));
    assert.deepEqual(adapter.layers.map((layer) => layer.name).sort(), Object.keys(expected).sort());
    for (const layer of adapter.layers) {
      assertClose(delta(layer), expected[layer.name], { atol: 1e-7 }, layer.name);
    }
  });
}

test("an adapter is read back exactly, whatever the rank and alpha in its configuration", (t) => {
  const adapter = sampleAdapter();
  for (const options of [{}, { rank: 3, alpha: 1 }, { rank: 16, alpha: 5 }, { rank: 2 }]) {
    const directory = join(temporaryFolder(t), "agent_0");
    writeAdapter(directory, adapter, options);
    assert.deepEqual(checkAdapter(readAdapter(directory), adapter.layers, adapter.backboneSha256), adapter);
    for (const { name, rank, scale } of readAdapter(directory).layers) {
      const original = adapter.layers.find((layer) => layer.name === name);
      assert.deepEqual([rank, scale], [original?.rank, original?.scale]);
    }
  }
});

test("layers of one rank keep scales of their own", () => {
  const one = floatTensor([1, 1], [1]);
  const scales = { a: 0.25, b: 0.5, c: 3 };
  const layers = Object.entries(scales).map(([name, scale]) => {
    return { name, in: 1, out: 1, rank: 1, scale, loraA: one, loraB: one };
  });
  const files = encodeAdapter({ backboneSha256: "", layers });
  const json = JSON.parse(Buffer.from(files["adapter_config.json"] ?? "").toString());
  const read = parseAdapter(json, files["adapter_model.safetensors"] ?? new Uint8Array(), "adapter");
  assert.deepEqual(Object.fromEntries(read.layers.map(({ name, scale }) => [name, scale])), scales);
});

test("a scale that a quotient of its product misses by a bit is restored from the backbone's layers", () => {
  const [loraA, loraB] = [
    floatTensor([31, 31], new Float32Array(961)),
    floatTensor([31, 31], new Float32Array(961)),
  ];
  const scale = 64 / 57;
  assert.notEqual((scale * 31) / 31, scale);
  const adapter = {
    backboneSha256: "",
    layers: [{ name: "a", in: 31, out: 31, rank: 31, scale, loraA, loraB }],
  };
  const files = encodeAdapter(adapter, { rank: 57, alpha: 64 });
  const json = JSON.parse(Buffer.from(files["adapter_config.json"] ?? "").toString());
  const read = parseAdapter(json, files["adapter_model.safetensors"] ?? new Uint8Array(), "adapter");
  assertClose([read.layers[0]?.scale ?? 0], [scale], { atol: 0, rtol: 3e-16 });
  assert.deepEqual(checkAdapter(read, adapter.layers, ""), adapter);
});

test("parameters have the scale folded into lora_B and Olive's names", () => {
  const adapter = sampleAdapter();
  const parameters = adapterParameters(adapter);
  assert.equal(parameters.size, 2 * adapter.layers.length);
  assert.deepEqual(parameters.get("head.lora_A.weight"), adapter.layers[2]?.loraA);
  const folded = adapter.layers[2]!.loraB.data.map((value) => value / 3);
  const { dims, data } = parameters.get("head.lora_B.weight") ?? floatTensor([], [0]);
  assert.deepEqual(dims, [2, 2]);
  assertClose(data, folded);
});

const MODEL = "base_model.model";
const valid = new Map<string, HostTensor>([
  [`${MODEL}.mlp.0.lora_A.weight`, floatTensor([2, 3], [1, 2, 3, 4, 5, 6])],
  [`${MODEL}.mlp.0.lora_B.weight`, floatTensor([4, 2], [1, 2, 3, 4, 5, 6, 7, 8])],
]);
const config = { peft_type: "LORA", r: 2, lora_alpha: 8, target_modules: ["mlp.0"] };
const parse = (change: object, tensors: ReadonlyMap<string, HostTensor> = valid): Adapter =>
  parseAdapter({ ...config, ...change }, encodeSafetensors(tensors), "adapter x");

test("files hold output by rank, memory input by rank", () => {
  const [layer] = parse({}).layers;
  assert.deepEqual(layer, {
    name: "mlp.0",
    in: 3,
    out: 4,
    rank: 2,
    scale: 4,
    loraA: floatTensor([3, 2], [1, 4, 2, 5, 3, 6]),
    loraB: floatTensor([2, 4], [1, 3, 5, 7, 2, 4, 6, 8]),
  });
});

test("configurations that compute the same are read", () => {
  for (const change of [
    { r: 9, rank_pattern: { 0: 2 } },
    { r: 9, rank_pattern: { "^mlp\\.0$": 2, ".": 9 } },
    { alpha_pattern: { "mlp.0": 8, "0": 8 } },
    { fan_in_fan_out: true, lora_dropout: 0.5, a_key_of_tomorrow: 1, use_variant_of_tomorrow: false },
    { modules_to_save: [], layer_replication: null, loftq_config: {}, kasa_config: null, use_bdlora: null },
    { target_modules: ["0"], init_lora_weights: "gaussian" },
    { target_modules: ".*(0|1)", exclude_modules: ["1"] },
  ]) {
    assert.equal(parse(change).layers[0]?.scale, 4, JSON.stringify(change));
  }
  assert.equal(parse({ use_rslora: true }).layers[0]?.scale, 8 / Math.sqrt(2));
  assert.equal(parse({ alpha_pattern: { "x|0": 3, "mlp.0": 5 } }).layers[0]?.scale, 1.5);
  assert.equal(parse({ revision: null }).backboneSha256, "");
});

test("each configuration that would compute something else is refused by its key", () => {
  const cases: [change: object, message: RegExp][] = [
    [{ peft_type: "LOHA" }, /adapter x, peft_type/],
    [{ r: 0 }, /adapter x, r:/],
    [{ lora_alpha: -1 }, /lora_alpha/],
    [{ lora_alpha: "8" }, /lora_alpha/],
    [{ bias: "all" }, /adapter x, bias/],
    [{ use_dora: true }, /"use_dora": expected it off: plain LoRA, received true, which scales/],
    [{ lora_bias: true }, /"lora_bias"/],
    [{ use_qalora: true }, /"use_qalora"/],
    [{ use_bdlora: { nblocks: 2 } }, /"use_bdlora"/],
    [{ use_variant_of_tomorrow: true }, /"use_variant_of_tomorrow".*a variant of LoRA/],
    [{ modules_to_save: ["head"] }, /"modules_to_save".*replaces whole layers/],
    [{ target_parameters: ["w"] }, /"target_parameters"/],
    [{ layer_replication: [[0, 1]] }, /"layer_replication"/],
    [{ layers_to_transform: 1 }, /"layers_to_transform"/],
    [{ trainable_token_indices: [1] }, /"trainable_token_indices"/],
    [{ alora_invocation_tokens: [1] }, /"alora_invocation_tokens"/],
    [{ kasa_config: { beta: 1 } }, /"kasa_config"/],
    [{ init_lora_weights: "pissa" }, /init_lora_weights/],
    [{ rank_pattern: { "(a+)+": 2 } }, /pattern "\(a\+\)\+".*name the layers one by one/],
    [{ rank_pattern: { "mlp.*": 2 } }, /pattern "mlp\.\*"/],
    [{ rank_pattern: { "0": 1.5 } }, /rank_pattern\.0/],
    [
      { alpha_pattern: { "mlp.0": 4, "0": 8 } },
      /layer mlp\.0: expected patterns that agree, received "0" and "mlp\.0"/,
    ],
    [{ r: 3 }, /layer mlp\.0, lora_A: expected \[3, 3\], received \[3, 2\]/],
    [{ target_modules: ["lp.0"] }, /layer of target_modules, received one that PEFT would ignore/],
    [{ exclude_modules: ["0"] }, /PEFT would ignore/],
  ];
  for (const [change, message] of cases) {
    assertFails(() => parse(change), "LORASA_ADAPTER", message, JSON.stringify(change));
  }
  assertFails(() => parseAdapter([], new Uint8Array(), "adapter x"), "LORASA_ADAPTER", /adapter_config/);
});

test("each set of tensors that is not plain LoRA is refused by name", () => {
  const [a, b] = [...valid.values()] as [HostTensor, HostTensor];
  const cases: [tensors: [string, HostTensor][], message: RegExp][] = [
    [[], /a layer at least/],
    [[["mlp.0.lora_A.weight", a]], /tensor "mlp\.0\.lora_A\.weight": expected base_model/],
    [[[`${MODEL}.mlp.0.lora_magnitude_vector`, b]], /lora_magnitude_vector/],
    [[[`${MODEL}.mlp.0.lora_B.bias`, b]], /lora_B\.bias/],
    [[[`${MODEL}...lora_A.weight`, a]], /another name/],
    [[[`${MODEL}.mlp.0.lora_A.weight`, a]], /lora_A and lora_B, received no lora_B/],
    [[[`${MODEL}.mlp.0.lora_B.weight`, b]], /received no lora_A/],
    [[[`${MODEL}.mlp.0.lora_A.weight`, { ...a, dims: [6] }]], /two axes, received \[6\]/],
  ];
  for (const [tensors, message] of cases) {
    assertFails(() => parse({}, new Map(tensors)), "LORASA_ADAPTER", message);
  }
  const wrongRank = new Map([
    ...valid,
    [`${MODEL}.mlp.0.lora_B.weight`, { ...b, dims: [8, 1] } as HostTensor],
  ]);
  assertFails(() => parse({}, wrongRank), "LORASA_ADAPTER", /lora_B: expected \[2, 8\], received \[1, 8\]/);
  const empty = new Map([...valid, [`${MODEL}.mlp.0.lora_A.weight`, floatTensor([2, 0], [])]]);
  assertFails(() => parse({}, empty), "LORASA_ADAPTER", /sizes of 1 and more/);
  const half: HostTensor = { dtype: "float16", dims: [2, 3], data: new Uint16Array(6) };
  const halves = new Map([[`${MODEL}.mlp.0.lora_A.weight`, half]]);
  assertFails(() => parse({}, halves), "LORASA_DTYPE", /lora_A\.weight": expected float32, received float16/);
  const infinite = new Map([...valid, [`${MODEL}.mlp.0.lora_A.weight`, floatTensor([1], [Infinity])]]);
  assertFails(() => parse({}, infinite), "LORASA_NOT_FINITE", /lora_A\.weight": .*Infinity at index 0/);
});

test("pickles are refused under every name", (t) => {
  const root = temporaryFolder(t);
  writeFileSync(join(root, "adapter_model.bin"), "x");
  const message = /a pickle, which can run code; save it again with safe_serialization=True/;
  assertFails(() => readAdapter(root), "LORASA_ADAPTER", message);
  assertFails(() => readAdapter(join(root, "adapter_model.bin")), "LORASA_ADAPTER", message);
  for (const start of ["504b030414000800", "80027d7100582a00", "8004951e00000000"]) {
    const bytes = Buffer.concat([Buffer.from(start, "hex"), Buffer.alloc(64, 1)]);
    assertFails(() => parseAdapter(config, bytes, "adapter x"), "LORASA_ADAPTER", /adapter x: .*a pickle/);
  }
});

test("a header of a length that starts as a pickle does is read", () => {
  for (const length of [0x4b50, 0x280]) {
    const tensors = encodeSafetensors(valid, { format: "pt" });
    const used = Number(new DataView(tensors.buffer).getBigUint64(0, true));
    const padded = Buffer.concat([tensors.subarray(0, 8 + used), Buffer.alloc(length - used, " ")]);
    padded.writeBigUInt64LE(BigInt(length));
    const bytes = Buffer.concat([padded, tensors.subarray(8 + used)]);
    assert.equal(parseAdapter(config, bytes, "adapter x").layers.length, 1);
  }
});

test("a folder without an adapter says what is missing", (t) => {
  const root = temporaryFolder(t);
  assertFails(() => readAdapter(root), "LORASA_FILE", /adapter_config\.json: .*no such file/);
  mkdirSync(join(root, "half"));
  writeFileSync(join(root, "half", "adapter_config.json"), JSON.stringify(config));
  assertFails(
    () => readAdapter(join(root, "half")),
    "LORASA_FILE",
    /adapter_model\.safetensors: .*no such file/,
  );
});

test("the first difference from the backbone's layers is named", () => {
  const adapter = sampleAdapter();
  const [first, ...others] = adapter.layers;
  const check =
    (layers: Adapter["layers"], sha256 = adapter.backboneSha256) =>
    () =>
      checkAdapter({ ...adapter, layers }, adapter.layers, sha256);
  const cases: [action: () => unknown, message: RegExp][] = [
    [
      check(adapter.layers, "0".repeat(64)),
      /adapter, backbone: expected revision 0{64}, received (ab){32}; /,
    ],
    [check(others), /layer mlp\.0: expected a layer of that name, received none/],
    [check([...adapter.layers, { ...first!, name: "critic" }]), /layer critic: expected no such layer/],
    [check([{ ...first!, rank: 2 }, ...others]), /layer mlp\.0, rank: expected 3, received 2/],
    [check([{ ...first!, in: 6 }, ...others]), /layer mlp\.0, in: expected 5, received 6/],
    [check([{ ...first!, out: 5 }, ...others]), /layer mlp\.0, out: expected 6, received 5/],
    [
      check([{ ...first!, scale: 0.3333 }, ...others]),
      /layer mlp\.0, scale: expected 0\.3333333333333333, rec/,
    ],
    [check([{ ...first!, scale: Number.NaN }, ...others]), /scale: .*received NaN/],
    [check([{ ...first!, loraA: first!.loraB }, ...others]), /lora_A: expected \[5, 3\], received \[3, 6\]/],
  ];
  for (const [action, message] of cases) assertFails(action, "LORASA_ADAPTER", message);
  assert.deepEqual(check([...adapter.layers].reverse())(), adapter);
});

test("an adapter that cannot be read back is not written", () => {
  const adapter = sampleAdapter();
  const [layer] = adapter.layers;
  const encode = (change: object) => () => encodeAdapter({ ...adapter, layers: [{ ...layer!, ...change }] });
  assertFails(encode({ name: "a b" }), "LORASA_ADAPTER", /letters, digits/);
  assertFails(encode({ rank: 9 }), "LORASA_ADAPTER", /lora_A: expected \[5, 9\]/);
  const loraA = floatTensor([5, 3], new Float32Array(15).fill(Number.NaN));
  assertFails(encode({ loraA }), "LORASA_NOT_FINITE", /lora_A/);
});
