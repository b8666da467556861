/** Names, scopes, pruning, outputs and printing of graphs under construction. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph, printModel } from "../../src/graph/finish.ts";
import { checkModel } from "../../src/onnx/check.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertFails } from "../helpers/fails.ts";

function run(model: OnnxModel, feeds: Record<string, HostTensor>): Record<string, number[]> {
  checkModel(model);
  const session = createRuntime().createSession(encodeModel(model));
  const results = Object.entries(session.run(feeds) as Record<string, HostTensor>);
  session.dispose();
  return Object.fromEntries(results.map(([name, { data }]) => [name, Array.from(data, Number)]));
}

const x12 = { x: floatTensor([2], [1, 2]) };

test("names are unique and carry their scopes, which end also when building throws", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [2]);
  const names = g.scope("actor", () => {
    assert.throws(() =>
      g.scope("broken", () => {
        throw new Error("no");
      }),
    );
    return [g.exp(x), g.exp(x), g.scope("mlp.0", () => g.exp(x)), g.constant("bias", floatTensor([2]))];
  });
  assert.deepEqual(
    [...names, g.exp(x)].map(({ name }) => name),
    ["actor/Exp", "actor/Exp_2", "actor/mlp.0/Exp", "actor/bias", "Exp"],
  );
});

test("a generated name steps aside for one that is taken", () => {
  const g = new GraphBuilder();
  const x = g.input("Exp_2", "float32", [2]);
  assert.deepEqual(
    [g.exp(x), g.exp(x), g.exp(x)].map(({ name }) => name),
    ["Exp", "Exp_2_2", "Exp_3"],
  );
});

test("names of inputs and outputs are contracts: a second use is refused", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [2]);
  const y = g.scope("actor", () => g.exp(x));
  assertFails(() => g.input("x", "float32", [2]), "LORASA_GRAPH", /^input x: .* taken$/);
  assertFails(() => g.output("x", y), "LORASA_GRAPH", /^output x: .* taken$/);
  assertFails(() => g.output("x", x), "LORASA_GRAPH", /^output x: .* taken$/);
  const bias = g.constant("bias", floatTensor([2]));
  assertFails(() => g.output("bias", bias), "LORASA_GRAPH", /^output bias: .* taken$/);
  g.output("Exp", y);
  assertFails(() => g.output("Exp", x), "LORASA_GRAPH", /^output Exp: .* taken$/);
  assert.equal(g.exp(x).name, "Exp_2");
  const own = g.tanh(x);
  g.output("Tanh", own);
  checkModel(finishGraph(g, "names"));
});

test("a scalar is one constant however often it is used, apart for each type and sign of zero", () => {
  const g = new GraphBuilder();
  assert.equal(g.scalar(0.5), g.scalar(0.5));
  assert.notEqual(g.scalar(1), g.scalar(1, "int64"));
  assert.notEqual(g.scalar(0), g.scalar(-0));
  assert.deepEqual(g.scalar(3, "int64").constant, { dtype: "int64", dims: [], data: BigInt64Array.of(3n) });
});

test("what no output needs is left out; inputs stay", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [2]);
  g.input("unused", "float32", ["rows"]);
  const dead = g.add(g.constant("dead", floatTensor([2])), g.log(x));
  g.tanh(dead);
  g.output("y", g.mul(x, 2));
  const model = finishGraph(g, "pruned");
  assert.deepEqual(
    model.nodes.map(({ op }) => op),
    ["Mul"],
  );
  assert.deepEqual([...model.initializers.keys()], ["constant/float32/2"]);
  assert.deepEqual(
    model.inputs.map(({ name }) => name),
    ["x", "unused"],
  );
  assert.deepEqual(run(model, { ...x12, unused: floatTensor([0]) }), { y: [2, 4] });
});

test("an output may be an input, a constant, one value twice, or a later output of a node", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [2]);
  const doubled = g.mul(x, 2);
  const [, second] = g.split(g.exp(g.mul(doubled, 0)), [1, 1], 0);
  g.output("same", x);
  g.output("constant", g.constant("bias", floatTensor([2], [5, 6])));
  g.output("first", doubled);
  g.output("again", doubled);
  g.output("part", second!);
  g.output("sum", g.add(doubled, second!));
  assert.deepEqual(run(finishGraph(g, "outputs"), x12), {
    same: [1, 2],
    constant: [5, 6],
    first: [2, 4],
    again: [2, 4],
    part: [1],
    sum: [3, 5],
  });
});

test("moments of a LayerNormalization that nothing reads are no outputs of it", () => {
  const outputs = (read: number): readonly string[] => {
    const g = new GraphBuilder();
    const gain = g.constant("gain", floatTensor([2], [1, 1]));
    const x = g.input("x", "float32", ["rows", 2]);
    const results = g.applyAll("LayerNormalization", [x, gain], { axis: -1, epsilon: 1e-5 });
    g.output("y", results[read]!);
    return finishGraph(g, "norm").nodes[0]!.outputs;
  };
  assert.deepEqual(outputs(0), ["y"]);
  assert.deepEqual(outputs(1), ["LayerNormalization", "y"]);
  assert.deepEqual(outputs(2), ["LayerNormalization", "LayerNormalization:1", "y"]);
});

test("a graph without outputs is refused", () => {
  assertFails(
    () => finishGraph(new GraphBuilder(), "empty"),
    "LORASA_GRAPH",
    /graph empty: .*at least one output/,
  );
});

test("operations that change nothing add no node", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", ["rows", 3]);
  const same = [
    g.reshape(x, ["rows", 3]),
    g.transpose(x, [0, 1]),
    g.concat([x], 1),
    g.slice(x, 1, 0, 3),
    g.padTo(x, 1, 3),
    g.cast(x, "float32"),
    g.reduceSum(x, []),
    g.reduceMean(x, []),
    g.split(x, [3], 1)[0],
    g.expand(x, ["rows", 3]),
  ];
  assert.ok(same.every((value) => value === x));
  assert.equal(g.nodes.length, 0);
});

test("numbers become constants of the other side's type", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "int64", [2]);
  g.output("y", g.sub(10, g.mul(x, 3)));
  const feeds: Record<string, HostTensor> = {
    x: { dtype: "int64", dims: [2], data: BigInt64Array.of(1n, 2n) },
  };
  assert.deepEqual(run(finishGraph(g, "ints"), feeds), { y: [7, 4] });
});

test("reshapes move one named size at run time", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", ["agents", "rows", 2]);
  g.output("y", g.reshape(g.transpose(x, [1, 0, 2]), ["rows", "agents", 1, 2]));
  const session = createRuntime().createSession(encodeModel(finishGraph(g, "named")));
  const { y } = session.run({
    x: floatTensor(
      [2, 3, 2],
      Float32Array.from({ length: 12 }, (_, k) => k),
    ),
  });
  assert.deepEqual(y!.dims, [3, 2, 1, 2]);
  assert.deepEqual([...(y as HostTensor).data], [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
  session.dispose();
});

test("the printed form is the same text for the same graph", () => {
  const build = (): OnnxModel => {
    const g = new GraphBuilder();
    const x = g.input("obs", "float32", ["rows", 3]);
    const weight = g.constant("weight", floatTensor([3, 2]));
    const hidden = g.scope("actor", () => g.relu(g.matMul(x, weight)));
    g.output("action", g.clip(g.softmax(hidden), 0, 0.5));
    g.output("obs_out", x);
    return finishGraph(g, "tiny", { "lorasa.mode": "merged" });
  };
  const expected = `graph tiny (opset 17)
inputs
  obs: float32 [rows, 3]
constants
  constant/float32/0: float32 []
  constant/float32/0.5: float32 []
  weight: float32 [3, 2]
nodes
  actor/MatMul = MatMul(obs, weight)
  actor/Relu = Relu(actor/MatMul)
  Softmax = Softmax(actor/Relu) axis=-1
  action = Clip(Softmax, constant/float32/0, constant/float32/0.5)
  obs_out = Identity(obs)
outputs
  action: float32 [rows, 2]
  obs_out: float32 [rows, 3]`;
  assert.equal(printModel(build()), expected);
  assert.deepEqual(encodeModel(build()), encodeModel(build()));
});
