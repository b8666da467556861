/** Action heads, the recurrent cell and LayerNorm: values and gradients equal PyTorch's. */
import { test } from "node:test";
import { sharedBinding, type WeightBinding } from "../../models/bindings.ts";
import { entropy, type HeadConfig, head, logProb, sample, toAction } from "../../models/distributions.ts";
import { gru, layerNorm } from "../../models/layers.ts";
import { gradients } from "../../src/autodiff/gradients.ts";
import { type FloatTensor, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/value.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { runGraph } from "../helpers/run-graph.ts";
import { type FixtureTensor, toFloat, torchFixture } from "../helpers/torch-fixtures.ts";

/** A few roundings of float32. */
const FLOAT: Tolerance = { atol: 2e-6, rtol: 1e-5 };

interface Part {
  readonly action: FixtureTensor;
  readonly std: FixtureTensor;
  readonly logProb: FixtureTensor;
  readonly entropy: FixtureTensor;
  readonly loss: number;
  readonly "grad/mean": FixtureTensor;
  readonly "grad/logStd": FixtureTensor;
}

interface GaussianFixture {
  readonly stdX: number;
  readonly stdY: number;
  readonly minimumProbability: number;
  readonly mean: FixtureTensor;
  readonly logStd: FixtureTensor;
  readonly noise: FixtureTensor;
  readonly "weights/logProb": FixtureTensor;
  readonly "weights/entropy": FixtureTensor;
  readonly diagonal: Part;
  readonly squashed: Part;
}

const gaussian = torchFixture<GaussianFixture>("gaussian");

/** A head whose linear map and log-std are given values. */
function given(output: Value, logStd?: Value): WeightBinding {
  return { linear: () => output, vector: () => logStd! };
}

function gaussianConfig(kind: "gaussian" | "squashed-gaussian"): HeadConfig {
  const size = gaussian.mean.dims[1]!;
  return { kind, size, low: -1, high: 1, stdX: gaussian.stdX, stdY: gaussian.stdY };
}

/** Everything that the fixture holds of one kind, for stored draws `u`. */
function runGaussian(kind: "gaussian" | "squashed-gaussian", u: FloatTensor): Record<string, number[]> {
  const config = gaussianConfig(kind);
  const [rows] = gaussian.mean.dims as [number];
  const feeds = {
    mean: toFloat(gaussian.mean),
    logStd: toFloat(gaussian.logStd),
    noise: toFloat(gaussian.noise),
    weights: toFloat(gaussian["weights/logProb"]),
    entropyWeights: floatTensor([rows, 1], gaussian["weights/entropy"].data),
    u,
  };
  return runGraph(feeds, (g, x) => {
    const output = head(g, given(x["mean"]!, x["logStd"]), x["mean"]!, config);
    if (output.kind === "categorical") throw new TypeError("a Gaussian was asked for");
    const drawn = sample(g, output, x["noise"]);
    const logProbs = logProb(g, output, x["u"]!);
    // The reference takes the Jacobian at its draw; here it is taken at the mean, so the draw is given as the mean.
    const entropies = entropy(g, kind === "gaussian" ? output : { ...output, mean: drawn });
    const loss = g.add(
      g.reduceSum(g.mul(x["weights"]!, logProbs)),
      g.reduceSum(g.mul(x["entropyWeights"]!, g.expand(entropies, [rows, 1]))),
    );
    const [gradMean, gradLogStd] = gradients(g, loss, [x["mean"]!, x["logStd"]!]);
    return {
      action: toAction(g, drawn, config),
      logProb: logProbs,
      entropy: g.expand(entropies, [rows, 1]),
      loss,
      "grad/mean": gradMean!,
      "grad/logStd": gradLogStd!,
      std: output.std,
    };
  });
}

test("the diagonal Gaussian: draws, log-probabilities, entropy and gradients equal PyTorch's", () => {
  const { diagonal } = gaussian;
  const actual = runGaussian("gaussian", toFloat(diagonal.action));
  for (const name of ["std", "action", "logProb", "entropy", "grad/mean", "grad/logStd"] as const)
    assertClose(actual[name]!, diagonal[name].data, FLOAT, name);
  assertClose(actual["loss"]!, [diagonal.loss], FLOAT, "loss");
});

test("the squashed Gaussian equals PyTorch's tanh-transformed normal at the stored draws", () => {
  const { squashed } = gaussian;
  const limit = 1 - gaussian.minimumProbability;
  const u = floatTensor(
    squashed.action.dims,
    squashed.action.data.map((action) => Math.atanh(Math.max(-limit, Math.min(limit, action)))),
  );
  const actual = runGaussian("squashed-gaussian", u);
  // The first action is exactly 1, which no finite draw gives: the reference recovers another one from it.
  const rest = (values: readonly number[]): readonly number[] => values.slice(1);
  assertClose(rest(actual["action"]!), rest(squashed.action.data), FLOAT, "action");
  // atanh of an action of float32 loses digits near 1, and so does 1 − tanh².
  assertClose(rest(actual["logProb"]!), rest(squashed.logProb.data), { atol: 2e-5, rtol: 1e-5 }, "logProb");
  for (const name of ["std", "entropy", "grad/mean", "grad/logStd"] as const)
    assertClose(actual[name]!, squashed[name].data, { atol: 1e-5, rtol: 2e-5 }, name);
});

interface CategoricalFixture {
  readonly logits: FixtureTensor;
  readonly mask: FixtureTensor;
  readonly action: FixtureTensor;
  readonly "weights/logProb": FixtureTensor;
  readonly "weights/entropy": FixtureTensor;
  readonly logProb: FixtureTensor;
  readonly logProbs: FixtureTensor;
  readonly entropy: FixtureTensor;
  readonly mode: FixtureTensor;
  readonly loss: number;
  readonly "grad/logits": FixtureTensor;
}

test("the masked categorical: log-probabilities, entropy, mode and gradients equal PyTorch's", () => {
  const fixture = torchFixture<CategoricalFixture>("categorical");
  const [rows, size] = fixture.logits.dims as [number, number];
  const column = ({ data }: FixtureTensor): HostTensor => floatTensor([rows, 1], data);
  const feeds = {
    logits: toFloat(fixture.logits),
    mask: toFloat(fixture.mask),
    action: column(fixture.action),
    weights: column(fixture["weights/logProb"]),
    entropyWeights: column(fixture["weights/entropy"]),
  };
  const actual = runGraph(feeds, (g, x) => {
    const config = { kind: "categorical", size } as const;
    const output = head(g, given(x["logits"]!), x["logits"]!, config, x["mask"]);
    const logProbs = logProb(g, output, x["action"]!);
    const entropies = entropy(g, output);
    const loss = g.add(
      g.reduceSum(g.mul(x["weights"]!, logProbs)),
      g.reduceSum(g.mul(x["entropyWeights"]!, entropies)),
    );
    const [gradient] = gradients(g, loss, [x["logits"]!]);
    return {
      logProb: logProbs,
      entropy: entropies,
      mode: sample(g, output, undefined),
      loss,
      "grad/logits": gradient!,
    };
  });
  for (const name of ["logProb", "entropy", "mode", "grad/logits"] as const)
    assertClose(actual[name]!, fixture[name].data, FLOAT, name);
  assertClose(actual["loss"]!, [fixture.loss], FLOAT, "loss");
});

interface GruFixture {
  readonly inputWeight: FixtureTensor;
  readonly hiddenWeight: FixtureTensor;
  readonly inputBias: FixtureTensor;
  readonly hiddenBias: FixtureTensor;
  readonly inputs: FixtureTensor;
  readonly hidden: FixtureTensor;
  readonly mask: FixtureTensor;
  readonly "weights/outputs": FixtureTensor;
  readonly outputs: FixtureTensor;
  readonly loss: number;
  readonly "grad/inputs": FixtureTensor;
  readonly "grad/hidden": FixtureTensor;
  readonly "grad/inputWeight": FixtureTensor;
  readonly "grad/hiddenWeight": FixtureTensor;
  readonly "grad/inputBias": FixtureTensor;
  readonly "grad/hiddenBias": FixtureTensor;
}

test("the recurrent cell over several steps with resets: states and all gradients equal PyTorch's", () => {
  const fixture = torchFixture<GruFixture>("gru");
  const [steps, rows, width] = fixture.inputs.dims as [number, number, number];
  const size = fixture.hidden.dims[1]!;
  // The cell here takes as many inputs as it has units: the missing input is a zero with weight zero.
  const feeds = {
    x: floatTensor([1, steps * rows, size], padRows(fixture.inputs.data, width, size)),
    hidden: floatTensor([1, rows, size], fixture.hidden.data),
    mask: floatTensor([1, steps * rows, 1], fixture.mask.data),
    weights: floatTensor([1, steps * rows, size], fixture["weights/outputs"].data),
    "gru.input.weight": transposed(padRows(fixture.inputWeight.data, width, size), size),
    "gru.hidden.weight": transposed(fixture.hiddenWeight.data, size),
    "gru.input.bias": toFloat(fixture.inputBias),
    "gru.hidden.bias": toFloat(fixture.hiddenBias),
  };
  const names = ["x", "hidden", "gru.input.weight", "gru.hidden.weight", "gru.input.bias", "gru.hidden.bias"];
  const actual = runGraph(feeds, (g, x) => {
    const binding = sharedBinding({ get: (_: GraphBuilder, spec) => x[spec.name]! });
    const { states, last } = gru(g, binding, x["x"]!, { hidden: x["hidden"]!, mask: x["mask"]!, steps });
    const loss = g.reduceSum(g.mul(x["weights"]!, states));
    const found = gradients(
      g,
      loss,
      names.map((name) => x[name]!),
    );
    const named = names.map((name, index) => [`grad/${name}`, found[index]!] as const);
    return { states, last, loss, ...Object.fromEntries(named) };
  });
  assertClose(actual["states"]!, fixture.outputs.data, FLOAT, "states");
  assertClose(actual["last"]!, fixture.outputs.data.slice(-rows * size), FLOAT, "last state");
  assertClose(actual["loss"]!, [fixture.loss], FLOAT, "loss");
  assertClose(cutRows(actual["grad/x"]!, size, width), fixture["grad/inputs"].data, FLOAT, "inputs");
  assertClose(actual["grad/hidden"]!, fixture["grad/hidden"].data, FLOAT, "hidden");
  const inputWeight = cutRows([...transposed(actual["grad/gru.input.weight"]!, 3 * size).data], size, width);
  assertClose(inputWeight, fixture["grad/inputWeight"].data, FLOAT, "input weight");
  const hiddenWeight = transposed(actual["grad/gru.hidden.weight"]!, 3 * size).data;
  assertClose(hiddenWeight, fixture["grad/hiddenWeight"].data, FLOAT, "hidden weight");
  assertClose(actual["grad/gru.input.bias"]!, fixture["grad/inputBias"].data, FLOAT, "input bias");
  assertClose(actual["grad/gru.hidden.bias"]!, fixture["grad/hiddenBias"].data, FLOAT, "hidden bias");
});

interface LayerNormFixture {
  readonly x: FixtureTensor;
  readonly gain: FixtureTensor;
  readonly bias: FixtureTensor;
  readonly "weights/y": FixtureTensor;
  readonly y: FixtureTensor;
  readonly loss: number;
  readonly "grad/x": FixtureTensor;
  readonly "grad/gain": FixtureTensor;
  readonly "grad/bias": FixtureTensor;
}

for (const owners of [1, 2]) {
  const whose = owners === 1 ? "the team's" : "an agent's own";
  test(`LayerNorm with ${whose} gain and bias equals PyTorch's`, () => {
    const fixture = torchFixture<LayerNormFixture>("layer-norm");
    // With two owners the second has the fixture's numbers and the first has others.
    const stacked = ({ dims, data }: FixtureTensor, first: number): HostTensor =>
      owners === 1 ? floatTensor(dims, data) : floatTensor([2, ...dims], [...data.map(() => first), ...data]);
    const vector = (tensor: FixtureTensor): HostTensor => {
      const { dims, ...rest } = stacked(tensor, 3);
      return { ...rest, dims: owners === 1 ? dims : [2, 1, dims[1]!] };
    };
    const feeds = {
      x: stacked(fixture.x, 1),
      gain: vector(fixture.gain),
      bias: vector(fixture.bias),
      weights: stacked(fixture["weights/y"], 0),
    };
    const actual = runGraph(feeds, (g, x) => {
      const binding: WeightBinding = {
        linear: (_, value) => value,
        vector: (_, { name }) => x[name === "norm.weight" ? "gain" : "bias"]!,
      };
      const y = layerNorm(g, binding, x["x"]!, "norm");
      const loss = g.reduceSum(g.mul(x["weights"]!, y));
      const [dx, gain, bias] = gradients(g, loss, [x["x"]!, x["gain"]!, x["bias"]!]);
      return { y, loss, "grad/x": dx!, "grad/gain": gain!, "grad/bias": bias! };
    });
    for (const name of ["y", "grad/x", "grad/gain", "grad/bias"] as const) {
      const { data } = fixture[name];
      assertClose(actual[name]!.slice(-data.length), data, FLOAT, name);
    }
    assertClose(actual["loss"]!, [fixture.loss], FLOAT, "loss");
  });
}

/** Rows of `from` numbers with zeros behind them up to `to`. */
function padRows(data: readonly number[], from: number, to: number): number[] {
  return Array.from({ length: (data.length / from) * to }, (_, at) =>
    at % to < from ? data[Math.floor(at / to) * from + (at % to)]! : 0,
  );
}

/** The first `to` of every `from` numbers. */
function cutRows(data: readonly number[], from: number, to: number): number[] {
  return data.filter((_, at) => at % from < to);
}

/** A matrix of rows of `columns` numbers, turned. */
function transposed(data: readonly number[], columns: number): FloatTensor {
  const rows = data.length / columns;
  return floatTensor(
    [columns, rows],
    Array.from({ length: data.length }, (_, at) => data[(at % rows) * columns + Math.floor(at / rows)]!),
  );
}
