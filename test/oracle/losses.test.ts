/** MAPPO's losses and ValueNorm, values and gradients, equal PyTorch's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gradients } from "../../src/autodiff/gradients.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { Value } from "../../src/graph/value.ts";
import { activeMean, clippedSurrogate, clippedValueLoss } from "../../src/training/losses.ts";
import {
  createValueNorm,
  denormaliseValues,
  normaliseValues,
  updateValueNorm,
  VALUE_NORM_BETA,
  valueNormMoments,
} from "../../src/training/value-norm.ts";
import {
  normaliseGraph,
  updateValueNormGraph,
  type ValueNormValues,
} from "../../src/training/value-norm-graph.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { runGraph } from "../helpers/run-graph.ts";
import { type FixtureTensor, torchFixture } from "../helpers/torch-fixtures.ts";

/** A few roundings of float32. */
const FLOAT: Tolerance = { atol: 1e-6, rtol: 1e-5 };

interface SurrogatePart {
  readonly ratio: FixtureTensor;
  readonly loss: number;
  readonly "grad/logProb": FixtureTensor;
}

interface PpoFixture {
  readonly clipRange: number;
  readonly logProb: FixtureTensor;
  readonly oldLogProb: FixtureTensor;
  readonly advantage: FixtureTensor;
  readonly active: FixtureTensor;
  readonly product: SurrogatePart;
  readonly perDimension: SurrogatePart;
}

const ppo = torchFixture<PpoFixture>("ppo");

const KINDS = [
  ["product", ppo.product],
  ["per-dimension", ppo.perDimension],
] as const;

/** The surrogate of `agents` that all have the fixture's rows; those in `absent` are never active. */
function runSurrogate(
  kind: "product" | "per-dimension",
  mean: "team" | "agents",
  { agents, absent = [] }: { agents: number; absent?: readonly number[] },
): Record<string, number[]> {
  const [rows, actions] = ppo.logProb.dims as [number, number];
  const every = (data: readonly number[], width: number, factor: (agent: number) => number = () => 1) =>
    floatTensor(
      [agents, rows, width],
      Array.from({ length: agents }, (_, agent) => data.map((value) => value * factor(agent))).flat(),
    );
  const feeds = {
    logProb: every(ppo.logProb.data, actions),
    oldLogProb: every(ppo.oldLogProb.data, actions),
    // One advantage of the team: broadcast over the agents.
    advantage: floatTensor([1, rows, 1], ppo.advantage.data),
    active: every(ppo.active.data, 1, (agent) => (absent.includes(agent) ? 0 : 1)),
    clipRange: floatTensor([], [ppo.clipRange]),
  };
  return runGraph(feeds, (g, x) => {
    const inputs = {
      logProb: x["logProb"]!,
      oldLogProb: x["oldLogProb"]!,
      advantage: x["advantage"]!,
      active: x["active"]!,
      clipRange: x["clipRange"]!,
    };
    const each = Array.from({ length: agents }, (_, agent) => agent);
    const surrogate = clippedSurrogate(g, inputs, kind, mean === "agents" ? each : undefined);
    const [gradient] = gradients(g, surrogate.loss, [x["logProb"]!]);
    return { ...surrogate, gradient: gradient! };
  });
}

for (const [kind, expected] of KINDS) {
  for (const mean of ["team", "agents"] as const) {
    test(`the clipped surrogate, ratios by ${kind}, mean over ${mean}, equals PyTorch's`, () => {
      const actual = runSurrogate(kind, mean, { agents: 1 });
      assertClose(actual["loss"]!, [expected.loss], FLOAT, "loss");
      assertClose(actual["gradient"]!, expected["grad/logProb"].data, FLOAT, "gradient");
      const ratios = expected.ratio.data;
      assertClose(actual["ratio"]!, [average(ratios)], FLOAT, "mean ratio");
      const outside = ratios.map((ratio) => (Math.abs(ratio - 1) > ppo.clipRange ? 1 : 0));
      assert.ok(outside.includes(1) && outside.includes(0), "the fixture clips some ratios and not others");
      assertClose(actual["clipFraction"]!, [average(outside)], FLOAT, "clip fraction");
      const divergence = ratios.map((ratio) => ratio - 1 - Math.log(ratio));
      assertClose(actual["approxKl"]!, [average(divergence)], FLOAT, "approximate divergence");
    });
  }

  test(`surrogate, ratios by ${kind}: a team's mean is one mean, agents' means are summed`, () => {
    const { loss } = expected;
    assertClose(runSurrogate(kind, "team", { agents: 3 })["loss"]!, [loss], FLOAT, "team");
    assertClose(runSurrogate(kind, "agents", { agents: 3 })["loss"]!, [3 * loss], FLOAT, "agents");
  });

  test(`surrogate, ratios by ${kind}: an agent that was never active adds nothing`, () => {
    const absent = [1];
    const team = runSurrogate(kind, "team", { agents: 2, absent });
    assertClose(team["loss"]!, [expected.loss], FLOAT, "team");
    const agents = runSurrogate(kind, "agents", { agents: 2, absent });
    assertClose(agents["loss"]!, [expected.loss], FLOAT, "agents");
    const zeros = expected["grad/logProb"].data.map(() => 0);
    assertClose(agents["gradient"]!, [...expected["grad/logProb"].data, ...zeros], FLOAT, "gradient");
    const nobody = runSurrogate(kind, "agents", { agents: 2, absent: [0, 1] });
    assertClose(nobody["loss"]!, [0], { atol: 0 }, "nobody");
    assert.ok(nobody["gradient"]!.every((value) => value === 0));
  });
}

test("agents of a group share one mean, weighed by their active rows, and the means of groups are added", () => {
  const [rows] = ppo.logProb.dims as [number, number];
  const random = new Random(3);
  const column = (count: number, draw: () => number) =>
    floatTensor(
      [3, rows, 1],
      Array.from({ length: count }, () => draw()),
    );
  const values = column(3 * rows, () => random.normal());
  const active = column(3 * rows, () => (random.uniform() < 0.6 ? 1 : 0));
  const { grouped } = runGraph({ values, active }, (g, x) => ({
    grouped: activeMean(g, x["values"]!, x["active"]!, [0, 1, 0]),
  }));
  const sums = (agents: readonly number[]): [number, number] => {
    const at = agents.flatMap((agent) => Array.from({ length: rows }, (_, row) => agent * rows + row));
    return [
      at.reduce((sum, k) => sum + values.data[k]! * active.data[k]!, 0),
      at.reduce((sum, k) => sum + active.data[k]!, 0),
    ];
  };
  const expected = [[0, 2], [1]].map((agents) => sums(agents)).map(([sum, count]) => sum / count);
  assertClose(grouped!, [expected[0]! + expected[1]!], FLOAT);
});

interface ValueStep {
  readonly value: FixtureTensor;
  readonly oldValue: FixtureTensor;
  readonly returns: FixtureTensor;
  readonly runningMean: number;
  readonly runningMeanSquare: number;
  readonly debias: number;
  readonly mean: number;
  readonly std: number;
  readonly target: FixtureTensor;
  readonly loss: number;
  readonly "grad/value": FixtureTensor;
}

interface ValueFixture {
  readonly clipRange: number;
  readonly huberDelta: number;
  readonly beta: number;
  readonly steps: readonly ValueStep[];
}

const STATISTICS = ["runningMean", "runningMeanSquare", "debias"] as const;

/** One update of the normaliser and the value loss, for `heads` value heads with the step's rows each. */
function runValueStep(
  fixture: ValueFixture,
  step: ValueStep,
  state: Readonly<Record<string, HostTensor>>,
): Record<string, number[]> {
  const [rows] = step.value.dims as [number];
  const column = ({ data }: FixtureTensor): HostTensor => floatTensor([1, rows, 1], data);
  const feeds = {
    ...state,
    value: column(step.value),
    oldValue: column(step.oldValue),
    returns: column(step.returns),
    clipRange: floatTensor([], [fixture.clipRange]),
  };
  return runGraph(feeds, (g, x) => {
    const norm = updateValueNormGraph(g, statistics(x), x["returns"]!);
    const target = normaliseGraph(g, norm, x["returns"]!);
    const loss = clippedValueLoss(
      g,
      { value: x["value"]!, oldValue: x["oldValue"]!, target, clipRange: x["clipRange"]! },
      fixture.huberDelta,
    );
    const [gradient] = gradients(g, loss, [x["value"]!]);
    const after = STATISTICS.map((name) => [`${name}Out`, norm[name]] as const);
    return { ...Object.fromEntries(after), target, loss, gradient: gradient! };
  });
}

test("value loss and ValueNorm over several updates: graph and host equal PyTorch's", () => {
  const fixture = torchFixture<ValueFixture>("value-loss");
  assert.equal(VALUE_NORM_BETA, fixture.beta);
  const host = createValueNorm(1);
  let state: Record<string, HostTensor> = Object.fromEntries(
    STATISTICS.map((name) => [name, floatTensor([1])]),
  );
  for (const [index, step] of fixture.steps.entries()) {
    const what = (name: string): string => `step ${index}, ${name}`;
    const actual = runValueStep(fixture, step, state);
    updateValueNorm(host, Float32Array.from(step.returns.data));
    for (const name of STATISTICS) {
      assertClose(actual[`${name}Out`]!, [step[name]], { atol: 0, rtol: 1e-6 }, what(name));
      assertClose(host[name], actual[`${name}Out`]!, { atol: 0, rtol: 3e-7 }, what(`host's ${name}`));
    }
    const moments = valueNormMoments(host, 0);
    assertClose([moments.mean, moments.std], [step.mean, step.std], FLOAT, what("moments"));
    const target = normaliseValues(host, Float32Array.from(step.returns.data));
    assertClose(target, step.target.data, FLOAT, what("host's target"));
    assertClose(denormaliseValues(host, target), step.returns.data, FLOAT, what("back from the target"));
    assertClose(actual["target"]!, step.target.data, FLOAT, what("target"));
    assertClose(actual["loss"]!, [step.loss], FLOAT, what("loss"));
    assertClose(actual["gradient"]!, step["grad/value"].data, FLOAT, what("gradient"));
    state = Object.fromEntries(STATISTICS.map((name) => [name, floatTensor([1], actual[`${name}Out`]!)]));
  }
});

test("a normaliser an agent takes in each agent's own returns; one for all takes them jointly", () => {
  const returns = Float32Array.of(1, 2, 3, 10, 20, 60);
  for (const groups of [1, 2]) {
    const feeds: Record<string, HostTensor> = {
      returns: floatTensor([2, 3, 1], returns),
      ...Object.fromEntries(STATISTICS.map((name) => [name, floatTensor([groups])])),
    };
    const actual = runGraph(feeds, (g, x) => {
      const norm = updateValueNormGraph(g, statistics(x), x["returns"]!);
      return { target: normaliseGraph(g, norm, x["returns"]!) };
    });
    const host = createValueNorm(groups);
    updateValueNorm(host, returns);
    const means = Array.from({ length: groups }, (_, group) => valueNormMoments(host, group).mean);
    assertClose(means, groups === 1 ? [16] : [2, 30]);
    assertClose(actual["target"]!, normaliseValues(host, returns), { atol: 1e-5 });
  }
});

test("before any update the normaliser keeps values within a tenth, and equal returns stay finite", () => {
  const host = createValueNorm(1);
  assert.deepEqual(valueNormMoments(host, 0), { mean: 0, std: 0.1 });
  updateValueNorm(host, new Float32Array(4).fill(7));
  const { mean, std } = valueNormMoments(host, 0);
  assertClose([mean, std], [7, 0.1]);
});

function statistics(x: Readonly<Record<string, Value>>): ValueNormValues {
  return {
    runningMean: x["runningMean"]!,
    runningMeanSquare: x["runningMeanSquare"]!,
    debias: x["debias"]!,
  };
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
