/** Tensors in a WebGPU device's memory, as far as they are more than every executor's: bytes, slots, other devices. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DTYPES, type DType, elementCount, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import { assertFails } from "../helpers/fails.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
/** Those that graphs carry; of float64 a device has none. */
const CARRIED: readonly DType[] = ["float32", "int32", "int64", "bool", "uint8", "float16"];
/** Also lengths that do not fill the four bytes that a device copies at least. */
const SIZES = [[], [1], [3], [2, 5], [7, 1, 3]] as const;
/** More than a buffer may hold: 8 GiB. */
const TOO_MANY = 2 ** 31;

const gpu = () => createRuntime("webgpu");

/** Numbers 1, 2, … or, of bool, 1, 0, …: all of them bits that every type holds. */
function counted(dtype: DType, dims: readonly number[]): HostTensor {
  const data = new DTYPES[dtype].array(elementCount(dims));
  for (let at = 0; at < data.length; at++) {
    const value = dtype === "bool" ? (at + 1) % 2 : at + 1;
    data[at] = dtype === "int64" ? BigInt(value) : value;
  }
  return { dtype, dims, data };
}

for (const dtype of CARRIED) {
  test(`${dtype} of any length goes up and comes down, and its bytes are counted once`, { skip }, () => {
    const runtime = gpu();
    const before = runtime.residentBytes;
    for (const dims of SIZES) {
      const tensor = counted(dtype, dims);
      const bytes = tensor.data.length * DTYPES[dtype].bytes;
      const [uploaded, zeros] = [runtime.upload(tensor), runtime.allocate(dtype, dims)];
      assert.equal(runtime.residentBytes - before, 2 * bytes, `[${dims}]`);
      assert.deepEqual(uploaded.download(), tensor);
      assert.deepEqual(zeros.download(), { ...tensor, data: new DTYPES[dtype].array(tensor.data.length) });
      zeros.write(tensor);
      assert.deepEqual(zeros.download(), tensor);
      if (dims.length > 0) zeros.first(1).dispose();
      assert.equal(runtime.residentBytes - before, 2 * bytes, "the first entries are no memory of their own");
      for (const resident of [uploaded, zeros, uploaded]) resident.dispose();
      assert.equal(runtime.residentBytes, before, "a second dispose gives nothing back");
    }
  });
}

test("a tensor of nothing is refused, and an infinity comes down as it went up", { skip }, () => {
  assertFails(
    () => gpu().upload(floatTensor([0, 2])),
    "LORASA_SHAPE",
    /float32 \[0, 2\] in a device's memory/,
  );
  assertFails(() => gpu().allocate("int64", [0]), "LORASA_SHAPE", /expected at least one value/);
  const odd = floatTensor([4], [Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-45]);
  const resident = gpu().upload(odd);
  assert.deepEqual(new Uint32Array(bufferOf(resident.download())), new Uint32Array(bufferOf(odd)));
  resident.dispose();
});

/** `filled = bank` with `values` in the slots `slots`. */
function scatterModel(): OnnxModel {
  return {
    irVersion: 8,
    opset: 15,
    name: "scatter",
    inputs: [
      { name: "bank", dtype: "float32", shape: ["S", 3] },
      { name: "slots", dtype: "int64", shape: ["puts", 1] },
      { name: "values", dtype: "float32", shape: ["puts", 3] },
    ],
    outputs: [{ name: "filled", dtype: "float32", shape: ["S", 3] }],
    initializers: new Map(),
    nodes: [
      {
        name: "put",
        op: "ScatterND",
        inputs: ["bank", "slots", "values"],
        outputs: ["filled"],
        attributes: {},
      },
    ],
    metadata: {},
  };
}

test("a bank that is fed and fetched by one ScatterND has its slot overwritten where it lies, and no other", {
  skip,
}, () => {
  const session = gpu().createSession(encodeModel(scatterModel()));
  const bank = gpu().upload(counted("float32", [5, 3]));
  const slot = BigInt64Array.of(0n);
  const values = floatTensor([1, 3]);
  const bound = session.bind(
    { bank, slots: { dtype: "int64", dims: [1, 1], data: slot }, values },
    { filled: bank },
  );
  const expected = [...(counted("float32", [5, 3]).data as Float32Array)];
  for (const [round, at] of [3, 0, 4, 3].entries()) {
    slot[0] = BigInt(at);
    values.data.set([-round, 100 + round, 0.5]);
    bound.run();
    expected.splice(3 * at, 3, -round, 100 + round, 0.5);
    assert.deepEqual([...(bank.download().data as Float32Array)], expected, `slot ${at}`);
  }
  session.dispose();
  bank.dispose();
});

/** `y = x + 1`, float32 [n]. */
function incrementing(device: "cpu" | "webgpu"): Session {
  const g = new GraphBuilder();
  g.output("y", g.add(g.input("x", "float32", ["n"]), 1));
  return createRuntime(device).createSession(encodeModel(finishGraph(g, "increment")));
}

test("runs that nobody waits for take effect in their order", { skip }, () => {
  const session = incrementing("webgpu");
  const state = gpu().allocate("float32", [4]);
  const bound = session.bind({ x: state }, { y: state });
  for (let run = 0; run < 500; run++) bound.run();
  state.write(
    floatTensor(
      [4],
      [...(state.download().data as Float32Array)].map((value) => value / 2),
    ),
  );
  bound.run();
  assert.deepEqual(state.download(), floatTensor([4], [251, 251, 251, 251]));
  session.dispose();
  state.dispose();
});

test("a tensor in one device's memory is refused by a session of another, before it is read", {
  skip,
}, () => {
  const [here, there] = [incrementing("cpu"), incrementing("webgpu")];
  const resident = gpu().upload(floatTensor([2], [1, 2]));
  const own = createRuntime().upload(floatTensor([2], [1, 2]));
  const host = floatTensor([2]);
  const refused: readonly (readonly [Session, () => unknown])[] = [
    [here, () => here.run({ x: resident })],
    [here, () => here.run({ x: host }, { y: resident })],
    [here, () => here.bind({ x: resident }, { y: host })],
    [there, () => there.run({ x: own })],
    [there, () => there.bind({ x: host }, { y: own })],
  ];
  for (const [session, use] of refused) {
    const message = new RegExp(`^a resident tensor: expected one .*${session.device}`);
    assertFails(use, "LORASA_DEVICE", message, use.toString());
  }
  for (const each of [here, there, resident, own]) each.dispose();
});

test("memory that was given back is not read through what was made of it before", { skip }, () => {
  const session = incrementing("webgpu");
  const resident = gpu().upload(floatTensor([3], [1, 2, 3]));
  const part = resident.first(2);
  const bound = session.bind({ x: resident }, { y: floatTensor([3]) });
  const filling = session.bind({ x: floatTensor([2]) }, { y: part });
  resident.dispose();
  for (const use of [
    () => part.download(),
    () => part.write(floatTensor([2])),
    () => part.first(1),
    () => session.run({ x: part }),
    () => bound.run(),
    () => filling.run(),
  ])
    assertFails(use, "LORASA_DISPOSED", /^using a resident tensor: /, use.toString());
  session.dispose();
});

test("more than the device can hold is refused in one line, and the device works as before", { skip }, () => {
  const runtime = gpu();
  const before = runtime.residentBytes;
  const kept = runtime.upload(floatTensor([2], [3, 4]));
  for (const count of [TOO_MANY, 16 * TOO_MANY]) {
    // No path of the library's source, no stack.
    const message = /^running a graph on device webgpu: expected a usable device, received no room[^/\\]*$/;
    assertFails(() => runtime.allocate("float32", [count]), "LORASA_DEVICE", message, `${count}`);
  }
  assert.deepEqual(kept.download(), floatTensor([2], [3, 4]));
  const session = incrementing("webgpu");
  assert.deepEqual(session.run({ x: kept }), { y: floatTensor([2], [4, 5]) });
  kept.dispose();
  session.dispose();
  assert.equal(runtime.residentBytes, before, "what was not made is not counted");
});

function bufferOf({ data }: HostTensor): ArrayBuffer {
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
}
