/**
 * Whole actor and critic steps: their gradients are those of TensorFlow.js's autodiff on the loss put together here,
 * with the weights bound in another way where there is one; then clipping, Adam and metrics are those of the formulas.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { flatAdapters } from "../../models/adapters.ts";
import {
  individualBinding,
  lowRankBinding,
  sharedBinding,
  type WeightBinding,
} from "../../models/bindings.ts";
import { entropy, type HeadConfig, logProb } from "../../models/distributions.ts";
import { initialise } from "../../models/initialise.ts";
import { actor, type CriticConfig, critic } from "../../models/networks.ts";
import { criticParameters, encodeTeam, type Sharing } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/value.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { adamScalars } from "../../src/optim/adam.ts";
import { ACTOR_METRICS, actorStep } from "../../src/training/actor-step.ts";
import { criticStep } from "../../src/training/critic-step.ts";
import { activeMean, clippedSurrogate, clippedValueLoss, type RatioKind } from "../../src/training/losses.ts";
import { normaliseGraph, updateValueNormGraph } from "../../src/training/value-norm-graph.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { buildGraph, runModel } from "../helpers/run-graph.ts";
import { randomTeam } from "../helpers/team.ts";
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
  readonly sharing: Sharing["kind"];
  readonly recurrent: boolean;
  readonly head: HeadConfig["kind"];
  readonly ratio: RatioKind;
  readonly advantagePerAgent: boolean;
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

for (const [index, example] of CASES.entries()) {
  const { sharing, recurrent, head, ratio } = example;
  test(`actor step: ${sharing}, ${recurrent ? "recurrent" : "feed-forward"}, ${head}, ${ratio}`, () => {
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
  const data = actorBatch(team, chunkLength, example.advantagePerAgent);
  const forward = buildGraph(data, (g, x) => actorForward(g, x, team, { ...example, chunkLength }));
  const expected = runTfjs(forward, data);
  const oracle = numbers(tfjsGradients(forward, "loss", ["parameters"], data)["parameters"]!);

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
    });
  const results = checkStep(step, data, oracle);
  const metrics = numbers(results["metrics"]!);
  for (const [at, name] of ACTOR_METRICS.entries())
    assertClose([metrics[at]!], numbers(expected[name]!), SCALAR, name);
}

/** The loss from its parts, the low-rank weights factored instead of merged; and the metrics. */
function actorForward(
  g: GraphBuilder,
  x: Readonly<Record<string, Value>>,
  team: Team,
  { ratio, chunkLength, recurrent }: Case & { chunkLength: number },
): Record<string, Value> {
  const state = recurrent ? { hidden: x["hidden"]!, mask: x["mask"]!, steps: chunkLength } : undefined;
  const encoded = encodeTeam(g, x["observations"]!, team.actor);
  const binding = bindingOf(g, team, x["parameters"]!, x["frozen"]);
  const { output } = actor(g, binding, encoded, team.actor, state, x["action_mask"]);
  const mean = team.sharing.kind === "shared" ? "team" : "agents";
  const { loss, ...figures } = clippedSurrogate(
    g,
    {
      logProb: logProb(g, output, x["drawn"]!),
      oldLogProb: x["old_log_prob"]!,
      advantage: x["advantage"]!,
      active: x["active"]!,
      clipRange: x["clip_range"]!,
    },
    ratio,
    mean,
  );
  const entropies = g.expand(entropy(g, output), x["active"]!.shape);
  const bonus = activeMean(g, entropies, x["active"]!, mean);
  return {
    loss: g.sub(loss, g.mul(bonus, ENTROPY_COEFFICIENT)),
    policyLoss: g.add(loss, 0),
    entropy: activeMean(g, entropies, x["active"]!, "team"),
    ...figures,
  };
}

function bindingOf(g: GraphBuilder, team: Team, flat: Value, frozen: Value | undefined): WeightBinding {
  const { parameters, sharing } = team;
  if (sharing.kind !== "low-rank") {
    const source = parameters.backbone.source(g, flat);
    return sharing.kind === "shared" ? sharedBinding(source) : individualBinding(source);
  }
  const adapters = flatAdapters(g, parameters.adapters!, flat, sharing.lora);
  return lowRankBinding(parameters.backbone.source(g, frozen!), adapters);
}

/** Every input of an actor step but the optimizer's; ratios between about 0.5 and 2, some agents inactive. */
function actorBatch(team: Team, chunkLength: number, advantagePerAgent: boolean): Record<string, HostTensor> {
  const random = new Random(7);
  const { agents: count, size } = team.actor.encoder;
  const rows = CHUNKS * chunkLength;
  const { head, body } = team.actor;
  const normal = (dims: readonly number[], scale = 1): HostTensor =>
    filled(dims, () => scale * random.normal());
  const categorical = head.kind === "categorical";
  const width = categorical ? 1 : head.size;
  const masked = filled([count, rows, head.size], (at) =>
    at % head.size === 0 || random.uniform() < 0.5 ? 1 : 0,
  );
  const trained = team.adapters ?? team.backbone;
  const layout = team.parameters.adapters ?? team.parameters.backbone;
  return {
    parameters: floatTensor(layout.dims, trained),
    ...(team.adapters && { frozen: floatTensor(team.parameters.backbone.dims, team.backbone) }),
    observations: normal([count, rows, size]),
    // The first choice is always available.
    drawn: categorical ? filled([count, rows, 1], () => 0) : normal([count, rows, width], 0.5),
    old_log_prob: filled([count, rows, width], () => random.uniformIn(-1.5, 0)),
    advantage: normal([advantagePerAgent ? count : 1, rows, 1]),
    active: filled([count, rows, 1], (at) => (at === 0 || random.uniform() < 0.7 ? 1 : 0)),
    clip_range: floatTensor([], [0.2]),
    ...(categorical && { action_mask: masked }),
    ...(body.recurrent && {
      hidden: normal([count, CHUNKS, body.hidden.at(-1)!], 0.5),
      mask: filled([1, rows, 1], (at) => (at % 5 === 4 ? 0 : 1)),
    }),
  };
}

for (const recurrent of [false, true]) {
  for (const values of [1, 3]) {
    test(`critic step: ${recurrent ? "recurrent" : "feed-forward"}, ${values} value heads`, () => {
      const config: CriticConfig = {
        encoder: { agents: values, size: 4, agentId: values > 1, standardise: true },
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

const STATISTICS = ["running_mean", "running_mean_square", "debias"] as const;

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
    state: normal([1, rows, 4]),
    old_values: normal([values, rows, 1]),
    returns: normal([values, rows, 1], 30, 5),
    clip_range: floatTensor([], [0.2]),
    running_mean: floatTensor([1], [2e-5]),
    running_mean_square: floatTensor([1], [9e-4]),
    debias: floatTensor([1], [1e-5]),
    ...(config.body.recurrent && {
      hidden: normal([values, CHUNKS, config.body.hidden.at(-1)!], 0.5),
      mask: filled([1, rows, 1], (at) => (at % 5 === 4 ? 0 : 1)),
    }),
  };
  const huberDelta = 0.8;
  const forward = buildGraph(data, (g, x) => {
    const binding = sharedBinding(layout.source(g, x["parameters"]!));
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
    return { loss: clippedValueLoss(g, inputs, huberDelta) };
  });
  const oracle = numbers(tfjsGradients(forward, "loss", ["parameters"], data)["parameters"]!);
  const step = (maxGradientNorm: number): OnnxModel =>
    criticStep({
      critic: config,
      layout,
      chunks: CHUNKS,
      chunkLength,
      valueNorms: 1,
      huberDelta,
      maxGradientNorm,
    });
  const results = checkStep(step, data, oracle);
  assertClose(numbers(results["metrics"]!), numbers(runTfjs(forward, data)["loss"]!), SCALAR, "loss");
  for (const name of STATISTICS) {
    const [before] = numbers(data[name]!);
    const [after] = numbers(results[`${name}_out`]!);
    assert.ok(after! > before!, `${name} moves towards the returns`);
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
): Record<string, HostTensor> {
  const { dims, data: before } = data["parameters"]!;
  const [owners, size] = dims as readonly [number, number];
  const [stepSize, correction] = adamScalars(1, LEARNING_RATE);
  const feeds = {
    ...data,
    first_moment: floatTensor(dims),
    second_moment: floatTensor(dims),
    step_size: filled([owners, 1], () => stepSize),
    second_correction: filled([owners, 1], () => correction),
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

function filled(dims: readonly number[], value: (at: number) => number): HostTensor {
  const count = dims.reduce((product, size) => product * size, 1);
  return floatTensor(
    dims,
    Array.from({ length: count }, (_, at) => value(at)),
  );
}

function numbers({ data }: HostTensor): number[] {
  return Array.from(data as ArrayLike<number>, Number);
}
