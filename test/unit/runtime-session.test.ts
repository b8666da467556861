/** What a session checks, fills, keeps and frees. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Device, RunTensor, Session } from "../../src/runtime/session.ts";
import { assertFails } from "../helpers/fails.ts";

/** `sum = x + other·2` float32 [rows, 2], `picked = table[index]` float32 [picks]. */
function createModel(): Uint8Array {
  const g = new GraphBuilder();
  const x = g.input("obs", "float32", ["rows", 2]);
  const other = g.input("other", "float32", ["rows", 2]);
  const index = g.input("index", "int64", ["picks"]);
  g.output("sum", g.add(x, g.mul(other, 2)));
  g.output("picked", g.gather(g.constant("table", floatTensor([3], [10, 20, 30])), index));
  return encodeModel(finishGraph(g, "session"));
}

function createSession(): Session {
  return createRuntime().createSession(createModel());
}

const indices = (...numbers: bigint[]): HostTensor => ({
  dtype: "int64",
  dims: [numbers.length],
  data: BigInt64Array.from(numbers),
});

const feeds = (): Record<string, HostTensor> => ({
  obs: floatTensor([2, 2], [1, 2, 3, 4]),
  other: floatTensor([2, 2], [1, 1, 1, 1]),
  index: indices(2n),
});

test("a session tells its inputs and outputs and computes", () => {
  const session = createSession();
  assert.equal(session.device, "cpu");
  assert.deepEqual(session.inputs, [
    { name: "obs", dtype: "float32", shape: ["rows", 2] },
    { name: "other", dtype: "float32", shape: ["rows", 2] },
    { name: "index", dtype: "int64", shape: ["picks"] },
  ]);
  assert.deepEqual(session.run(feeds()), {
    sum: floatTensor([2, 2], [3, 4, 5, 6]),
    picked: floatTensor([1], [30]),
  });
  assert.deepEqual(Object.keys(session.run(feeds(), { picked: null })), ["picked"]);
  session.dispose();
});

test("no rows at all are a run like any other", () => {
  const session = createSession();
  const empty = { obs: floatTensor([0, 2]), other: floatTensor([0, 2]), index: indices() };
  assert.deepEqual(session.run(empty), { sum: floatTensor([0, 2]), picked: floatTensor([0]) });
  session.dispose();
});

const REFUSED: readonly (readonly [string, Record<string, RunTensor>, string, string])[] = [
  [
    "an input left out",
    { obs: undefined as never },
    "LORASA_NAME",
    "input obs: expected a tensor, received none",
  ],
  [
    "an unknown input",
    { obss: floatTensor([1]) },
    "LORASA_NAME",
    "input obss: expected an input of the graph, received an unknown name; did you mean obs?",
  ],
  [
    "another type",
    { index: floatTensor([1]) },
    "LORASA_DTYPE",
    "input index: expected int64, received float32",
  ],
  [
    "another fixed size",
    { obs: floatTensor([2, 3]) },
    "LORASA_SHAPE",
    "input obs: expected [rows, 2], received [2, 3]",
  ],
  ["another rank", { obs: floatTensor([2]) }, "LORASA_SHAPE", "input obs: expected [rows, 2], received [2]"],
  [
    "named sizes that disagree",
    { other: floatTensor([3, 2]) },
    "LORASA_SHAPE",
    "input other: expected [rows, 2], received [3, 2]",
  ],
  [
    "fewer values than sizes say",
    { obs: { dtype: "float32", dims: [2, 2], data: new Float32Array(3) } },
    "LORASA_SHAPE",
    "input obs: expected 4 values for [2, 2], received 3",
  ],
];

for (const [name, change, code, message] of REFUSED) {
  test(`a run refuses ${name}`, () => {
    const session = createSession();
    const changed = { ...feeds(), ...change };
    assert.throws(() => session.run(changed), { code, message });
    assert.throws(() => session.bind(changed as Record<string, HostTensor>, {}), { code, message });
    session.dispose();
  });
}

test("fetches are checked as feeds are, against the sizes that were fed", () => {
  const session = createSession();
  const fetch = (fetches: Record<string, HostTensor | null>) => () => session.run(feeds(), fetches);
  assertFails(fetch({ summ: null }), "LORASA_NAME", /^output summ: .* did you mean sum\?$/);
  assertFails(fetch({ sum: indices(1n) }), "LORASA_DTYPE", /^output sum: expected float32, received int64$/);
  assertFails(
    fetch({ sum: floatTensor([4]) }),
    "LORASA_SHAPE",
    /^output sum: expected \[rows, 2\], received \[4\]$/,
  );
  assertFails(
    fetch({ sum: floatTensor([3, 2]) }),
    "LORASA_SHAPE",
    /expected \[rows, 2\], received \[3, 2\]$/,
  );
  assertFails(fetch({}), "LORASA_GRAPH", /^running a graph: received /);
  session.dispose();
});

test("a tensor given as a fetch is filled in place and returned", () => {
  const session = createSession();
  const sum = floatTensor([2, 2]);
  const results = session.run(feeds(), { sum, picked: null });
  assert.equal(results["sum"], sum);
  assert.deepEqual([...sum.data], [3, 4, 5, 6]);
  assert.deepEqual(results["picked"], floatTensor([1], [30]));
  session.dispose();
});

test("a bound run reads the inputs' memory as it is then", () => {
  const session = createSession();
  const tensors = feeds();
  const sum = floatTensor([2, 2]);
  const picked = floatTensor([1]);
  const bound = session.bind(tensors, { sum, picked });
  bound.run();
  assert.deepEqual([...sum.data, ...picked.data], [3, 4, 5, 6, 30]);
  (tensors["obs"]!.data as Float32Array).fill(100);
  (tensors["index"]!.data as BigInt64Array)[0] = 0n;
  bound.run();
  assert.deepEqual([...sum.data, ...picked.data], [102, 102, 102, 102, 10]);
  session.dispose();
});

test("what only the values show is one line of ours, with the cause kept", () => {
  const session = createSession();
  assert.throws(
    () => session.run({ ...feeds(), index: indices(7n) }),
    (error: Error & { code?: string }) =>
      error.code === "LORASA_GRAPH" &&
      /^running a graph: received .*Gather.*idx=7[^\n]*$/.test(error.message) &&
      error.cause instanceof Error,
  );
  assert.deepEqual(
    [...(session.run(feeds())["picked"] as HostTensor).data],
    [30],
    "the session is still good",
  );
  session.dispose();
});

test("use after dispose is refused, a second dispose is not", () => {
  const session = createSession();
  const bound = session.bind(feeds(), { sum: floatTensor([2, 2]) });
  session.dispose();
  session.dispose();
  const message = /^using a session: expected an open one, received one that was disposed$/;
  assertFails(() => session.run(feeds()), "LORASA_DISPOSED", message);
  assertFails(() => session.bind(feeds(), {}), "LORASA_DISPOSED", message);
  assertFails(() => bound.run(), "LORASA_DISPOSED", message);
});

test("resident tensors feed runs until they are disposed; a download is a copy", () => {
  const runtime = createRuntime();
  const session = runtime.createSession(createModel());
  const resident = runtime.upload(feeds()["obs"]!);
  assert.deepEqual([resident.device, resident.dtype, resident.dims], ["cpu", "float32", [2, 2]]);
  assert.deepEqual([...(session.run({ ...feeds(), obs: resident })["sum"] as HostTensor).data], [3, 4, 5, 6]);
  const copy = resident.download();
  copy.data.fill(0 as never);
  assert.deepEqual([...resident.download().data], [1, 2, 3, 4]);
  resident.dispose();
  resident.dispose();
  assertFails(() => session.run({ ...feeds(), obs: resident }), "LORASA_DISPOSED", /./);
  session.dispose();
});

test("bytes that are not a model are refused in one line", () => {
  for (const bytes of [new Uint8Array(), Uint8Array.of(1, 2, 3), createModel().subarray(0, 100)]) {
    assertFails(
      () => createRuntime().createSession(bytes),
      "LORASA_GRAPH",
      /^loading a graph: expected a valid ONNX model, received ./,
    );
  }
});

test("a model is read from the middle of a buffer", () => {
  const model = createModel();
  const shifted = new Uint8Array(model.length + 13).subarray(5, 5 + model.length);
  shifted.set(model);
  const session = createRuntime().createSession(shifted);
  assert.deepEqual([...(session.run(feeds())["picked"] as HostTensor).data], [30]);
  session.dispose();
});

test("an unknown device is refused by name, with those that there are", () => {
  assertFails(
    () => createRuntime("tpu" as Device),
    "LORASA_DEVICE",
    /^creating a runtime: expected a device of cpu, webgpu, cuda, received tpu$/,
  );
});

test("64-bit integers and bools go in and come out", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "int64", [3]);
  const flags = g.input("flags", "bool", [3]);
  g.output("sum", g.add(x, x));
  g.output("small", g.and(g.less(x, 5), g.not(flags)));
  const session = createRuntime().createSession(encodeModel(finishGraph(g, "types")));
  const big = 2n ** 53n + 1n;
  const small: HostTensor = { dtype: "bool", dims: [3], data: Uint8Array.of(9, 9, 9) };
  const results = session.run(
    {
      x: { dtype: "int64", dims: [3], data: BigInt64Array.of(big, -4n, 4n) },
      flags: { dtype: "bool", dims: [3], data: Uint8Array.of(0, 1, 0) },
    },
    { sum: null, small },
  );
  assert.deepEqual(results["sum"], { dtype: "int64", dims: [3], data: BigInt64Array.of(2n * big, -8n, 8n) });
  assert.deepEqual([...small.data], [0, 0, 1]);
  session.dispose();
});

test("float16 values travel as their bits", () => {
  const g = new GraphBuilder();
  g.output("y", g.cast(g.cast(g.input("x", "float16", [2]), "float32"), "float16"));
  const session = createRuntime().createSession(encodeModel(finishGraph(g, "half")));
  const x: HostTensor = { dtype: "float16", dims: [2], data: Uint16Array.of(0x3c00, 0xc000) };
  const { y } = session.run({ x });
  assert.deepEqual([y!.dtype, [...(y as HostTensor).data]], ["float16", [0x3c00, 0xc000]]);
  session.dispose();
});

test("a failed load or run writes nothing to standard error", () => {
  const script = `
    import { createRuntime } from "./src/runtime/onnxruntime.ts";
    const model = Buffer.from("${Buffer.from(createModel()).toString("base64")}", "base64");
    const session = createRuntime().createSession(model);
    const rows = { dtype: "float32", dims: [1, 2], data: new Float32Array(2) };
    const index = { dtype: "int64", dims: [1], data: BigInt64Array.of(7n) };
    try { session.run({ obs: rows, other: rows, index }); } catch (error) { console.log(error.code); }
    try { createRuntime().createSession(model.subarray(0, 90)); } catch (error) { console.log(error.code); }
    try { createRuntime("cuda").createSession(model); } catch {}
  `;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", script],
    { encoding: "utf8" },
  );
  assert.deepEqual([stdout, stderr], ["LORASA_GRAPH\nLORASA_GRAPH\n", ""]);
});
