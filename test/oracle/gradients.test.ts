/**
 * Every gradient rule against two oracles: TensorFlow.js's autodiff in float32, and central differences, in double
 * precision wherever ONNX Runtime has the kernels.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gradients } from "../../src/autodiff/gradients.ts";
import { GRADIENTS } from "../../src/autodiff/rules.ts";
import { Random } from "../../src/base/random.ts";
import { DTYPES, elementCount, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import type { OpName } from "../../src/graph/ops.ts";
import type { Value } from "../../src/graph/value.ts";
import { checkModel } from "../../src/onnx/check.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { runTfjs, tfjsGradients } from "../helpers/tfjs-executor.ts";
import { COMPOSITE_CASES, GRADIENT_CASES, type GradientCase } from "./gradient-cases.ts";

type Float = "float32" | "float64";
type Feeds = Record<string, HostTensor>;

/** Two float32 libraries sum in different orders. */
const FLOAT: Tolerance = { atol: 3e-6, rtol: 1e-5 };

/**
 * Steps and tolerances of (L(x+h) − L(x−h)) / 2h, whose error is h²·L‴/6 + ε·|L|/h: about 1e-10 in double precision
 * at h = 1e-5; in float32, at h = 1/64, 4e-5·L‴ + 4e-6·|L|.
 */
const DIFFERENCES = {
  float64: { step: 1e-5, tolerance: { atol: 1e-8, rtol: 1e-7 } },
  float32: { step: 1 / 64, tolerance: { atol: 2e-4, rtol: 1e-4 } },
} as const satisfies Record<Float, { step: number; tolerance: Tolerance }>;

const runtime = createRuntime();

const vjpOps = (Object.keys(GRADIENTS) as OpName[]).filter((op) => GRADIENTS[op].kind === "vjp");

test("every operator with a gradient rule has cases, and each case contains its operator", () => {
  assert.deepEqual(Object.keys(GRADIENT_CASES).sort(), vjpOps.sort());
  for (const op of vjpOps) {
    for (const example of GRADIENT_CASES[op]!) {
      const { nodes } = lossModel(example, "float32", false);
      assert.ok(
        nodes.some((node) => node.op === op),
        `${example.name} has no ${op}`,
      );
    }
  }
});

for (const example of [...vjpOps.flatMap((op) => GRADIENT_CASES[op] ?? []), ...COMPOSITE_CASES]) {
  test(`gradient of ${example.name}`, () => {
    const names = example.shapes.map((_, index) => `x${index}`);
    const feeds = randomFeeds(example, "float32");
    const actual = run(lossModel(example, "float32", true), feeds);

    const forward = lossModel(example, "float32", false);
    const tensorflow = runTfjs(forward, feeds);
    assert.deepEqual(actual["result"]!.dims, tensorflow["result"]!.dims);
    close(actual["result"]!, tensorflow["result"]!, FLOAT, "forward");
    const autodiff = tfjsGradients(forward, "loss", names, feeds);
    for (const name of names) {
      assert.deepEqual(actual[`grad/${name}`]!.dims, feeds[name]!.dims);
      close(actual[`grad/${name}`]!, autodiff[name]!, FLOAT, `TensorFlow.js, ${name}`);
    }

    const precision = example.forward ?? "float64";
    const ours =
      example.backward || example.forward
        ? actual
        : run(lossModel(example, "float64", true), toDouble(feeds));
    const { step, tolerance } = DIFFERENCES[precision];
    const differences = centralDifferences(example, precision, feeds, step);
    for (const name of names) {
      const loose = example.backward ? FLOAT : tolerance;
      assertClose(
        Array.from(ours[`grad/${name}`]!.data, Number),
        differences[name]!,
        loose,
        `differences, ${name}`,
      );
    }
  });
}

test("at a tie the whole gradient goes to the first input; at a bound to the value; at 0 relu and abs have none", () => {
  const ties: readonly [string, (g: GraphBuilder, x: Value, y: Value) => Value, number[], number[]][] = [
    ["Max", (g, x, y) => g.max(x, y), [1, 1, 0], [0, 0, 1]],
    ["Min", (g, x, y) => g.min(x, y), [1, 1, 1], [0, 0, 0]],
    ["Clip", (g, x, y) => g.add(g.clip(x, 0, 1), g.mul(y, 0)), [1, 1, 0], [0, 0, 0]],
    ["Relu", (g, x, y) => g.add(g.relu(x), g.mul(y, 0)), [0, 1, 1], [0, 0, 0]],
  ];
  const x = { dtype: "float32", dims: [3], data: Float32Array.of(0, 1, 2) } as const;
  const y = { dtype: "float32", dims: [3], data: Float32Array.of(0, 1, 3) } as const;
  for (const [name, build, wantedX, wantedY] of ties) {
    const example: GradientCase = { name, shapes: [[3], [3]], build: (g, [a, b]) => build(g, a!, b!) };
    const feeds = { x0: x, x1: y };
    const actual = run(lossModel(example, "float32", true, "ones"), feeds);
    assert.deepEqual([...actual["grad/x0"]!.data], wantedX, `${name}, first`);
    assert.deepEqual([...actual["grad/x1"]!.data].map(Math.abs as never), wantedY, `${name}, second`);
    const oracle = tfjsGradients(lossModel(example, "float32", false, "ones"), "loss", ["x0", "x1"], feeds);
    assert.deepEqual([...oracle["x0"]!.data], wantedX, `${name}, TensorFlow.js`);
  }
  // TensorFlow.js gives −1 for |x| at 0; 0 is PyTorch's and every subgradient's middle.
  const abs: GradientCase = { name: "Abs", shapes: [[3]], build: (g, [a]) => g.abs(a!) };
  const atZero = run(lossModel(abs, "float32", true, "ones"), {
    x0: { dtype: "float32", dims: [3], data: Float32Array.of(-1, 0, 1) },
  });
  assert.deepEqual([...atZero["grad/x0"]!.data], [-1, 0, 1]);
});

test("nothing flows through stopGradient, even where the stopped value is a target itself", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [3]);
  const stopped = g.stopGradient(g.exp(x));
  const loss = g.reduceSum(g.mul(x, stopped));
  const [dx, dStopped] = gradients(g, loss, [x, stopped]);
  g.output("dx", dx!);
  g.output("dStopped", dStopped!);
  const values = Float32Array.of(-1, 0, 2);
  const results = run(finishGraph(g, "stopped"), { x: { dtype: "float32", dims: [3], data: values } });
  close(results["dx"]!, { dtype: "float32", dims: [3], data: values.map(Math.exp) }, FLOAT, "dx");
  close(results["dStopped"]!, { dtype: "float32", dims: [3], data: values }, FLOAT, "dStopped");
});

test("a frozen weight adds no node", () => {
  const count = (targets: (x: Value, frozen: Value) => Value[]): number => {
    const g = new GraphBuilder();
    const x = g.input("x", "float32", [2, 3]);
    const frozen = g.input("frozen", "float32", [3, 4]);
    const loss = g.reduceSum(g.tanh(g.matMul(x, frozen)));
    const before = g.nodes.length;
    gradients(g, loss, targets(x, frozen));
    return g.nodes.length - before;
  };
  assert.equal(
    count((x) => [x]),
    count((_, frozen) => [frozen]),
  );
  // One product and one transpose more for the second target.
  assert.equal(count((x, frozen) => [x, frozen]) - count((x) => [x]), 2);
});

/** A loss for each rule that is zero, in which x is reached through that operator alone. */
const ZERO_LOSSES: Partial<Record<OpName, (g: GraphBuilder, x: Value) => Value>> = {
  And: (g, x) => mask(g, g.and(g.greater(x, 0), g.less(x, 1))),
  ArgMax: (g, x) => g.reduceSum(g.cast(g.argMax(x), "float32")),
  Equal: (g, x) => mask(g, g.equal(x, 0)),
  Greater: (g, x) => g.reduceSum(g.cast(g.greater(x, 0), "float32")),
  Less: (g, x) => mask(g, g.less(x, 0)),
  Not: (g, x) => mask(g, g.not(g.less(x, 0))),
  Sign: (g, x) => g.reduceSum(g.sign(x)),
};

function mask(g: GraphBuilder, condition: Value): Value {
  return g.reduceSum(g.where(condition, g.scalar(1), 0));
}

test("operators whose derivative is zero leave no path, and beside a path they add nothing", () => {
  const zeroOps = (Object.keys(GRADIENTS) as OpName[]).filter((op) => GRADIENTS[op].kind === "zero");
  assert.deepEqual(Object.keys(ZERO_LOSSES).sort(), zeroOps.sort());
  for (const op of zeroOps) {
    const g = new GraphBuilder();
    const x = g.input("x", "float32", [2, 3]);
    const loss = ZERO_LOSSES[op]!(g, x);
    assert.throws(() => gradients(g, loss, [x]), { code: "LORASA_GRADIENT", message: /path.*none/ }, op);
    const [dx] = gradients(g, g.add(loss, g.reduceSum(x)), [x]);
    g.output("dx", dx!);
    const feeds = {
      x: { dtype: "float32", dims: [2, 3], data: Float32Array.of(-1, 0, 1, 2, 3, 4) },
    } as const;
    assert.deepEqual([...run(finishGraph(g, op), feeds)["dx"]!.data], [1, 1, 1, 1, 1, 1], op);
  }
});

const FORBIDDEN_LOSSES: Partial<Record<OpName, (g: GraphBuilder, x: Value) => Value>> = {
  Cast: (g, x) => g.cast(g.cast(x, "float16"), "float32"),
  Gather: (g, x) => g.gather(x, g.ints("rows", [1])),
  Pad: (g, x) => g.padTo(x, 1, 5),
  ReduceMax: (g, x) => g.reduceMax(x, [0]),
};

test("operators without a rule are refused by name", () => {
  const forbidden = (Object.keys(GRADIENTS) as OpName[]).filter((op) => GRADIENTS[op].kind === "forbidden");
  assert.deepEqual(Object.keys(FORBIDDEN_LOSSES).sort(), forbidden.sort());
  for (const op of forbidden) {
    const g = new GraphBuilder();
    const x = g.input("x", "float32", [2, 3]);
    const loss = g.scope("head", () => g.reduceSum(FORBIDDEN_LOSSES[op]!(g, x)));
    const message = new RegExp(`gradient through ${op} head/${op}`);
    assert.throws(() => gradients(g, loss, [x]), { code: "LORASA_GRADIENT", message });
  }
});

test("moments of a LayerNormalization may not reach a loss", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [2, 3]);
  const gain = g.constant("gain", { dtype: "float32", dims: [3], data: Float32Array.of(1, 1, 1) });
  const [, mean] = g.applyAll("LayerNormalization", [x, gain], { axis: -1, epsilon: 1e-5 });
  assert.throws(() => gradients(g, g.reduceSum(mean!), [x]), {
    code: "LORASA_GRADIENT",
    message: /LayerNormalization.*first output/,
  });
});

test("a loss that is no scalar and a target that it does not depend on are refused", () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", [2, 3]);
  const y = g.input("y", "float32", [2, 3]);
  assert.throws(() => gradients(g, g.exp(x), [x]), {
    code: "LORASA_GRADIENT",
    message: "gradient of Exp: expected a scalar, received [2, 3]",
  });
  assert.throws(() => gradients(g, g.reduceSum(x), [x, y]), {
    code: "LORASA_GRADIENT",
    message: "gradient of ReduceSum with respect to y: expected a path between them, received none",
  });
});

/** Outputs `result`, `loss` = Σ weights · result and, if asked, `grad/x0`, …; weights make every element matter. */
function lossModel(
  example: GradientCase,
  dtype: Float,
  withGradients: boolean,
  weights: "random" | "ones" = "random",
): OnnxModel {
  const g = new GraphBuilder();
  const inputs = example.shapes.map((shape, index) => g.input(`x${index}`, dtype, shape));
  const result = example.build(g, inputs);
  const dims = result.shape as readonly number[];
  const random = new Random(7);
  const weight = g.constant("weight", {
    dtype,
    dims,
    data: floats(dtype, elementCount(dims), () =>
      weights === "ones" ? 1 : Math.fround(random.uniformIn(0.5, 1.5)),
    ),
  });
  const loss = g.reduceSum(g.mul(result, weight));
  g.output("result", result);
  g.output("loss", loss);
  if (withGradients) {
    for (const [index, gradient] of gradients(g, loss, inputs).entries())
      g.output(`grad/x${index}`, gradient);
  }
  const model = finishGraph(g, "case");
  checkModel(model);
  return model;
}

function run(model: OnnxModel, feeds: Feeds): Feeds {
  const session = runtime.createSession(encodeModel(model));
  try {
    return session.run(feeds) as Feeds;
  } finally {
    session.dispose();
  }
}

/** dL/dx of every element of every input, by moving it up and down. */
function centralDifferences(
  example: GradientCase,
  precision: Float,
  feeds: Feeds,
  step: number,
): Record<string, number[]> {
  const session = runtime.createSession(encodeModel(lossModel(example, precision, false)));
  const moved: Feeds = precision === "float64" ? toDouble(feeds) : feeds;
  const loss = (): number => Number((session.run(moved, { loss: null })["loss"] as HostTensor).data[0]);
  const differences: Record<string, number[]> = {};
  for (const [name, { data }] of Object.entries(moved)) {
    const values = data as Float64Array | Float32Array;
    differences[name] = Array.from(values, (value, k) => {
      values[k] = value + step;
      const above = loss();
      values[k] = value - step;
      const below = loss();
      values[k] = value;
      return (above - below) / (2 * step);
    });
  }
  session.dispose();
  return differences;
}

/** Values of at least 0.05 in size, and so far apart, that no step crosses a kink. */
function randomFeeds({ name, shapes, values }: GradientCase, dtype: Float): Feeds {
  const random = new Random([...name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) >>> 0);
  const draw = (): number => {
    if (values === "positive") return random.uniformIn(0.5, 2);
    const value = random.normal();
    return value + 0.05 * Math.sign(value);
  };
  return Object.fromEntries(
    shapes.map((dims, index) => [
      `x${index}`,
      { dtype, dims, data: floats(dtype, elementCount(dims), draw) },
    ]),
  );
}

function floats(dtype: Float, length: number, draw: () => number): Float32Array | Float64Array {
  return new DTYPES[dtype].array(Array.from({ length }, draw));
}

function toDouble(feeds: Feeds): Feeds {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, { dims, data }]) => [
      name,
      { dtype: "float64", dims, data: Float64Array.from(data as Float32Array) },
    ]),
  );
}

function close(actual: HostTensor, expected: HostTensor, tolerance: Tolerance, what: string): void {
  assertClose(Array.from(actual.data, Number), Array.from(expected.data, Number), tolerance, what);
}
