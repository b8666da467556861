/**
 * Whole actor and critic steps: their gradients are those of TensorFlow.js's autodiff on the loss put together here,
 * with the weights bound in another way where there is one; then clipping, Adam and metrics are those of the formulas.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { individualBinding, sharedBinding } from "../../models/bindings.ts";
import { entropy, type HeadConfig, logProb } from "../../models/distributions.ts";
import { initialise } from "../../models/initialise.ts";
import { actor, type CriticConfig, critic } from "../../models/networks.ts";
import { criticParameters, encodeTeam } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { mean } from "../../src/base/statistics.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/value.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { adamScalars } from "../../src/optim/adam.ts";
import { ACTOR_METRICS, actorStep } from "../../src/training/actor-step.ts";
import { criticStep } from "../../src/training/critic-step.ts";
import {
  activeMean,
  clippedSurrogate,
  clippedValueLoss,
  type OthersPlace,
  type RatioKind,
} from "../../src/training/losses.ts";
import { VALUE_NORM_BETA } from "../../src/training/value-norm.ts";
import { normaliseGraph, updateValueNormGraph } from "../../src/training/value-norm-graph.ts";
import { actorBatch, filled } from "../helpers/actor-batch.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { otherBinding } from "../helpers/other-bindings.ts";
import { buildGraph, runModel } from "../helpers/run-graph.ts";
import { randomTeam, SHARINGS, type SharingName } from "../helpers/team.ts";
import { runTfjs, tfjsGradients } from "../helpers/tfjs-executor.ts";

/** Sums of many float32 terms, in other orders. */
const GRADIENT: Tolerance = { atol: 2e-5, rtol: 2e-4 };
const SCALAR: Tolerance = { atol: 2e-6, rtol: 2e-5 };

const CHUNKS = 3;
const CHUNK_LENGTH = 4;
const ENTROPY_COEFFICIENT = 0.3;
const LEARNING_RATE = 0.05;
/** Far above any gradient here, or far below. */
const LOOSE = 1e6;
const TIGHT = 1e-2;

interface Case {
  readonly sharing: SharingName;
  readonly recurrent: boolean;
  readonly head: HeadConfig["kind"];
  readonly ratio: RatioKind;
  readonly advantagePerAgent: boolean;
  /** Where the ratio of agents that were updated before stands. */
  readonly others?: OthersPlace;
}

const CASES: Case[] = (["shared", "individual", "low-rank"] as const).flatMap((sharing, index) =>
  (["gaussian", "squashed-gaussian", "categorical"] as const).map((head, other) => ({
    sharing,
    head,
    // Every head and every way of sharing is seen with and without recurrence, ratio and advantage of either kind.
    recurrent: (index + other) % 2 === 0,
    ratio: (index + other) % 3 === 0 ? "per-dimension" : "product",
    advantagePerAgent: (index + other) % 3 !== 1,
  })),
);
CASES.push(
  { sharing: "shared", recurrent: true, head: "categorical", ratio: "product", advantagePerAgent: true },
  { sharing: "low-rank", recurrent: false, head: "gaussian", ratio: "product", advantagePerAgent: false },
  {
    sharing: "low-rank",
    recurrent: true,
    head: "squashed-gaussian",
    ratio: "per-dimension",
    advantagePerAgent: true,
  },
);

for (const [index, sharing] of SHARINGS.slice(2).entries()) {
  const head = index % 2 === 0 ? "squashed-gaussian" : "categorical";
  CASES.push({ sharing, recurrent: index % 3 === 0, head, ratio: "product", advantagePerAgent: true });
}
for (const others of ["inside", "outside"] as const) {
  for (const ratio of ["product", "per-dimension"] as const)
    CASES.push({
      sharing: "shared",
      recurrent: false,
      head: "gaussian",
      ratio,
      advantagePerAgent: true,
      others,
    });
}

for (const [index, example] of CASES.entries()) {
  const { sharing, recurrent, head, ratio, others } = example;
  const what = [sharing, recurrent ? "recurrent" : "feed-forward", head, ratio, others && `others ${others}`];
  test(`actor step: ${what.filter(Boolean).join(", ")}`, () => {
    const team = randomTeam({
      seed: 100 + index,
      observationSizes: [3, 4, 3],
      sharing,
      recurrent,
      head,
      hidden: [6, 5],
      activation: index % 2 === 0 ? "tanh" : "relu",
      standardise: index % 2 === 1,
    });
    checkActor(team, example);
  });
}

function checkActor(team: Team, example: Case): void {
  const chunkLength = example.recurrent ? CHUNK_LENGTH : 1;
  const data = actorBatch(team, { ...example, chunks: CHUNKS, chunkLength });
  const forward = buildGraph(data, (g, x) => actorForward(g, x, team, { ...example, chunkLength }));
  const expected = runTfjs(forward, data);
  const gradient = numbers(tfjsGradients(forward, "loss", ["parameters"], data)["parameters"]!);
  const oracle = example.sharing === "multi-task" ? withHeadsCounted(team, gradient) : gradient;

  const step = (maxGradientNorm: number): OnnxModel =>
    actorStep({
      actor: team.actor,
      sharing: team.sharing,
      parameters: team.parameters,
      chunks: CHUNKS,
      chunkLength,
      advantagePerAgent: example.advantagePerAgent,
      ratio: example.ratio,
      entropyCoefficient: ENTROPY_COEFFICIENT,
      maxGradientNorm,
      ...(example.others && { others: example.others }),
    });
  const { parts } = team.parameters.adapters ?? team.parameters.backbone;
  const results = checkStep(step, data, oracle, parts);
  const metrics = numbers(results["metrics"]!);
  for (const [at, name] of ACTOR_METRICS.entries())
    assertClose([metrics[at]!], numbers(expected[name]!), SCALAR, name);
}

/** A head's gradient counts once for each agent: three times. */
function withHeadsCounted({ parameters: { backbone } }: Team, gradient: readonly number[]): number[] {
  const from = backbone.offset("head.weight");
  assert.ok(
    backbone.specs.every(({ name }) => name.startsWith("head") === backbone.offset(name) >= from),
    "heads are last",
  );
  return gradient.map((value, at) => (at < from ? value : 3 * value));
}

/** The loss from its parts, the weights bound in another way; and the metrics. */
function actorForward(
  g: GraphBuilder,
  x: Readonly<Record<string, Value>>,
  team: Team,
  example: Case & { chunkLength: number },
): Record<string, Value> {
  const { ratio, chunkLength, recurrent } = example;
  const state = recurrent ? { hidden: x["hidden"]!, mask: x["mask"]!, steps: chunkLength } : undefined;
  const encoded = encodeTeam(g, x["observations"]!, team.actor);
  const binding = otherBinding(g, team, x["parameters"]!, x["frozen"]);
  const { output } = actor(g, binding, encoded, team.actor, state, x["action_mask"]);
  const groups = GROUPS[example.sharing];
  const inputs = {
    logProb: logProb(g, output, x["drawn"]!),
    oldLogProb: x["old_log_prob"]!,
    advantage: x["advantage"]!,
    active: x["active"]!,
    clipRange: x["clip_range"]!,
  };
  const { loss, ...figures } = example.others
    ? surrogateWithOthers(g, inputs, x["others"]!, example)
    : clippedSurrogate(g, inputs, ratio, groups);
  const entropies = g.expand(entropy(g, output), x["active"]!.shape);
  const bonus = activeMean(g, entropies, x["active"]!, groups);
  return {
    loss: g.sub(loss, g.mul(bonus, ENTROPY_COEFFICIENT)),
    policyLoss: g.add(loss, 0),
    entropy: activeMean(g, entropies, x["active"]!),
    ...figures,
  };
}

/** Agents whose losses are averaged together; the first and the last are of one cluster, the last two of one type. */
const GROUPS: Readonly<Record<SharingName, readonly number[] | undefined>> = {
  shared: undefined,
  individual: [0, 1, 2],
  clustered: [0, 1, 0],
  "multi-task": undefined,
  "low-rank": [0, 1, 2],
  "low-rank on clusters": [0, 1, 2],
  "low-rank by type": [0, 1, 1],
  "low-rank on clusters by type": [0, 1, 1],
  "low-rank with ranks by layer": [0, 1, 2],
};

/** M·min(ratio·A, clip(ratio)·A) or min(M·ratio·A, clip(M·ratio)·A), of one mean over all agents, as it is written. */
function surrogateWithOthers(
  g: GraphBuilder,
  { logProb: now, oldLogProb, advantage, active, clipRange }: Parameters<typeof clippedSurrogate>[1],
  others: Value,
  { ratio: kind, others: place }: Pick<Case, "ratio" | "others">,
): ReturnType<typeof clippedSurrogate> {
  const difference = g.sub(now, oldLogProb);
  const own = g.exp(kind === "product" ? g.reduceSum(difference, [2], true) : difference);
  const ratio = place === "inside" ? g.mul(own, others) : own;
  const clipped = g.min(g.max(ratio, g.sub(1, clipRange)), g.add(1, clipRange));
  const terms = g.reduceSum(g.min(g.mul(ratio, advantage), g.mul(clipped, advantage)), [2], true);
  const weighted = g.mul(place === "outside" ? g.mul(terms, others) : terms, active);
  const moved = g.cast(g.greater(g.abs(g.sub(ratio, 1)), clipRange), "float32");
  return {
    loss: g.neg(g.div(g.reduceSum(weighted), g.reduceSum(active))),
    ratio: g.reduceMean(own),
    clipFraction: g.reduceMean(moved),
    approxKl: g.reduceMean(g.sub(g.sub(own, 1), g.log(own))),
  };
}

/** Value heads, whether each has a critic of its own, and whether each agent has a state of its own. */
const CRITICS = [
  { values: 1, separate: false, ownStates: false },
  { values: 3, separate: false, ownStates: false },
  { values: 3, separate: false, ownStates: true },
  { values: 3, separate: true, ownStates: false },
  { values: 3, separate: true, ownStates: true },
] as const;

for (const recurrent of [false, true]) {
  for (const { values, separate, ownStates } of CRITICS) {
    const critics = separate ? "critics apart" : "one critic";
    const states = ownStates ? "states apart" : "one state";
    const what = `${recurrent ? "recurrent" : "feed-forward"}, ${values} value heads, ${critics}, ${states}`;
    test(`critic step: ${what}`, () => {
      const config: CriticConfig = {
        encoder: { agents: values, size: 4, agentId: values > 1, standardise: true },
        ownStates,
        separate,
        body: {
          featureNorm: true,
          hidden: [6, 5],
          activation: "tanh",
          recurrent: recurrent && { layersAfter: 1 },
        },
      };
      checkCritic(config, values);
    });
  }
}

function checkCritic(config: CriticConfig, values: number): void {
  const random = new Random(3);
  const layout = criticParameters(config);
  const chunkLength = config.body.recurrent ? CHUNK_LENGTH : 1;
  const rows = CHUNKS * chunkLength;
  const start = initialise(layout, random);
  const normal = (dims: readonly number[], scale = 1, shift = 0): HostTensor =>
    filled(dims, () => shift + scale * random.normal());
  const data: Record<string, HostTensor> = {
    parameters: floatTensor(
      layout.dims,
      start.map((value) => value + 0.2 * random.normal()),
    ),
    state: normal([config.ownStates ? values : 1, rows, 4]),
    old_values: normal([values, rows, 1]),
    returns: normal([values, rows, 1], 30, 5),
    clip_range: floatTensor([], [0.2]),
    running_mean: filled([layout.owners], (owner) => 2e-5 * (1 + owner / 10)),
    running_mean_square: filled([layout.owners], (owner) => 9e-4 * (1 + owner / 10)),
    debias: filled([layout.owners], (owner) => 1e-5 * (1 + owner / 10)),
    ...(config.body.recurrent && {
      hidden: normal([values, CHUNKS, config.body.hidden.at(-1)!], 0.5),
      mask: filled([1, rows, 1], (at) => (at % 5 === 4 ? 0 : 1)),
    }),
  };
  const huberDelta = 0.8;
  const forward = buildGraph(data, (g, x) => {
    const source = layout.source(g, x["parameters"]!);
    const binding = config.separate ? individualBinding(source) : sharedBinding(source);
    const state = config.body.recurrent
      ? { hidden: x["hidden"]!, mask: x["mask"]!, steps: chunkLength }
      : undefined;
    const { value } = critic(g, binding, encodeTeam(g, x["state"]!, config), config, state);
    const before = {
      runningMean: x["running_mean"]!,
      runningMeanSquare: x["running_mean_square"]!,
      debias: x["debias"]!,
    };
    const norm = updateValueNormGraph(g, before, x["returns"]!);
    const target = normaliseGraph(g, norm, x["returns"]!);
    const inputs = { value, oldValue: x["old_values"]!, target, clipRange: x["clip_range"]! };
    // A critic's loss does not depend on how many others there are.
    return { loss: g.mul(clippedValueLoss(g, inputs, huberDelta), layout.owners) };
  });
  const oracle = numbers(tfjsGradients(forward, "loss", ["parameters"], data)["parameters"]!);
  const step = (maxGradientNorm: number): OnnxModel =>
    criticStep({
      critic: config,
      layout,
      chunks: CHUNKS,
      chunkLength,
      huberDelta,
      maxGradientNorm,
    });
  const results = checkStep(step, data, oracle, layout.parts);
  assertClose(numbers(results["metrics"]!), numbers(runTfjs(forward, data)["loss"]!), SCALAR, "loss");
  checkStatistics(data, results);
}

/** Each critic's normaliser takes in its own returns; the only one takes in all. */
function checkStatistics(
  data: Readonly<Record<string, HostTensor>>,
  results: Readonly<Record<string, HostTensor>>,
): void {
  const owners = data["debias"]!.data.length;
  const returns = numbers(data["returns"]!);
  const size = returns.length / owners;
  const own = (owner: number): number[] => returns.slice(owner * size, (owner + 1) * size);
  const taken: Readonly<Record<string, (owner: number) => number>> = {
    running_mean: (owner) => mean(own(owner)),
    running_mean_square: (owner) => mean(own(owner).map((x) => x * x)),
    debias: () => 1,
  };
  for (const [name, of] of Object.entries(taken)) {
    const expected = numbers(data[name]!).map(
      (before, owner) => VALUE_NORM_BETA * before + (1 - VALUE_NORM_BETA) * of(owner),
    );
    assertClose(numbers(results[`${name}_out`]!), expected, { atol: 1e-9, rtol: 1e-5 }, name);
  }
}

/**
 * Runs the step twice from zero moments, at a loose and at a tight bound of the gradient's norm: gradient, norms and
 * parameters are those that follow from the oracle's gradient.
 * @returns the results at the loose bound.
 */
function checkStep(
  step: (maxGradientNorm: number) => OnnxModel,
  data: Readonly<Record<string, HostTensor>>,
  oracle: readonly number[],
  parts: number,
): Record<string, HostTensor> {
  const { dims, data: before } = data["parameters"]!;
  const [owners, size] = dims as readonly [number, number];
  const [stepSize, correction] = adamScalars(1, LEARNING_RATE);
  const feeds = {
    ...data,
    first_moment: floatTensor(dims),
    second_moment: floatTensor(dims),
    step_size: filled([parts, 1], () => stepSize),
    second_correction: filled([parts, 1], () => correction),
  };
  const norms = Array.from({ length: owners }, (_, owner) =>
    Math.hypot(...oracle.slice(owner * size, (owner + 1) * size)),
  );
  assert.ok(
    norms.every((norm) => norm > TIGHT),
    "the gradient is clipped at the tight bound",
  );
  const loose = runModel(step(LOOSE), feeds);
  assertClose(
    numbers(loose["first_moment_out"]!).map((m) => m / 0.1),
    oracle,
    GRADIENT,
    "gradient",
  );
  assertClose(numbers(loose["gradient_norm"]!), norms, { rtol: 1e-4 }, "norm");
  assertClose(
    numbers(loose["second_moment_out"]!).map((v) => v / 0.001),
    oracle.map((g) => g * g),
    { atol: 1e-4, rtol: 4e-4 },
    "square",
  );
  const moment = numbers(loose["first_moment_out"]!);
  const expected = moment.map((m, at) => {
    const gradient = m / 0.1;
    return Number(before[at]) - (LEARNING_RATE * gradient) / (Math.abs(gradient) + 1e-5);
  });
  assertClose(numbers(loose["parameters_out"]!), expected, { atol: 1e-5, rtol: 1e-5 }, "parameters");

  const tight = runModel(step(TIGHT), feeds);
  const clipped = oracle.map((g, at) => (g * TIGHT) / norms[Math.floor(at / size)]!);
  assertClose(
    numbers(tight["first_moment_out"]!).map((m) => m / 0.1),
    clipped,
    { atol: 1e-6, rtol: 2e-4 },
    "clipped",
  );
  assertClose(numbers(tight["gradient_norm"]!), norms, { rtol: 1e-4 }, "norm before clipping");
  return loose;
}

function numbers({ data }: HostTensor): number[] {
  return Array.from(data as ArrayLike<number>, Number);
}
