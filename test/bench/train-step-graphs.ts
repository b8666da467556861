/** The networks and batches of `train-step.ts`, and their steps as ONNX graphs. */
import { sharedBinding } from "../../models/bindings.ts";
import { logProb } from "../../models/distributions.ts";
import { initialise } from "../../models/initialise.ts";
import type { ActorConfig } from "../../models/networks.ts";
import { ParameterLayout, type ParameterSpec } from "../../models/parameters.ts";
import { actorParameters } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { adamScalars } from "../../src/optim/adam.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { actorStep } from "../../src/training/actor-step.ts";
import { clippedSurrogate } from "../../src/training/losses.ts";
import { optimizerInputs, trainStep } from "../../src/training/step-graph.ts";

export const BATCHES = {
  mlp: { about: "17-64-64-3, tanh, Gaussian, 4,096 rows", agents: 1, rows: 4096 },
  recurrent: {
    about: "LoRASA's actor for HalfCheetah 2x3, GRU over 10 steps, 2 agents of 4,000 rows",
    agents: 2,
    rows: 4000,
  },
} as const;

export type StepName = keyof typeof BATCHES;

export const LEARNING_RATE = 3e-4;
export const CLIP_RANGE = 0.2;
export const MAX_NORM = 10;
export const CHUNK_LENGTH = 10;
export const ACTIONS = 3;
const CHUNKS = BATCHES.recurrent.rows / CHUNK_LENGTH;

/** Sizes of the plain network. */
const MLP = [
  ["mlp.0", 17, 64],
  ["mlp.1", 64, 64],
  ["head", 64, ACTIONS],
] as const;

export const RECURRENT: ActorConfig = {
  encoder: { agents: 2, size: 7, agentId: true, standardise: true },
  body: { featureNorm: true, hidden: [64, 64, 64], activation: "relu", recurrent: { layersAfter: 1 } },
  head: { kind: "squashed-gaussian", size: ACTIONS, low: -1, high: 1, stdX: 1, stdY: 0.5 },
};

export function layoutOf(network: StepName): ParameterLayout {
  if (network === "recurrent") return actorParameters(RECURRENT, { kind: "shared" }).backbone;
  const specs = MLP.flatMap(([name, inSize, outSize]): ParameterSpec[] => [
    {
      name: `${name}.weight`,
      owner: "team",
      shape: [inSize, outSize],
      initializer: { kind: "orthogonal", gain: name === "head" ? 0.01 : 5 / 3 },
    },
    { name: `${name}.bias`, owner: "team", shape: [outSize], initializer: { kind: "constant", value: 0 } },
  ]);
  const logStd: ParameterSpec = {
    name: "head.log_std",
    owner: "team",
    shape: [ACTIONS],
    initializer: { kind: "constant", value: 1 },
  };
  return new ParameterLayout([...specs, logStd], 1);
}

export function firstParameters(network: StepName): Float32Array {
  return initialise(layoutOf(network), new Random(1));
}

/** What both libraries are fed; `old_log_prob` lies near the new ones, so that some ratios are clipped. */
export function batchOf(network: StepName): Record<string, FloatTensor> {
  const random = new Random(2);
  const { agents, rows } = BATCHES[network];
  const filled = (dims: readonly number[], value: (at: number) => number): FloatTensor => {
    const count = dims.reduce((product, size) => product * size, 1);
    return floatTensor(
      dims,
      Array.from({ length: count }, (_, at) => value(at)),
    );
  };
  const normal = (dims: readonly number[], scale = 1): FloatTensor =>
    filled(dims, () => scale * random.normal());
  return {
    observations: normal([agents, rows, network === "mlp" ? 17 : 7]),
    drawn: normal([agents, rows, ACTIONS], 0.3),
    old_log_prob: filled([agents, rows, ACTIONS], () => -0.4 + 0.3 * random.normal()),
    advantage: normal([agents, rows, 1]),
    active: filled([agents, rows, 1], () => 1),
    clip_range: floatTensor([], [CLIP_RANGE]),
    ...(network === "recurrent" && {
      hidden: normal([agents, CHUNKS, 64], 0.3),
      mask: filled([1, rows, 1], (at) => (at % 97 === 0 ? 0 : 1)),
    }),
  };
}

/** Takes a step of the graph at each call, on any runtime; gives the loss before it. */
export function graphStepper(network: StepName, runtime: Runtime): () => number {
  const layout = layoutOf(network);
  const session = runtime.createSession(encodeModel(network === "mlp" ? mlpStep(layout) : recurrentStep()));
  const feeds: Record<string, FloatTensor> = {
    ...batchOf(network),
    parameters: floatTensor(layout.dims, firstParameters(network)),
    first_moment: floatTensor(layout.dims),
    second_moment: floatTensor(layout.dims),
    step_size: floatTensor([1, 1]),
    second_correction: floatTensor([1, 1]),
  };
  const fetches = Object.fromEntries(
    session.outputs.map(({ name, shape }) => [name, floatTensor(shape as number[])]),
  );
  const run = session.bind(feeds, fetches);
  let steps = 0;
  return () => {
    steps += 1;
    [feeds["step_size"]!.data[0], feeds["second_correction"]!.data[0]] = adamScalars(steps, LEARNING_RATE);
    run.run();
    for (const name of ["parameters", "first_moment", "second_moment"])
      feeds[name]!.data.set(fetches[`${name}_out`]!.data);
    return fetches["metrics"]!.data[0]!;
  };
}

function recurrentStep(): OnnxModel {
  const sharing = { kind: "shared" } as const;
  return actorStep({
    actor: RECURRENT,
    sharing,
    parameters: actorParameters(RECURRENT, sharing),
    chunks: CHUNKS,
    chunkLength: CHUNK_LENGTH,
    advantagePerAgent: true,
    ratio: "per-dimension",
    entropyCoefficient: 0,
    maxGradientNorm: MAX_NORM,
  });
}

function mlpStep(layout: ParameterLayout): OnnxModel {
  const g = new GraphBuilder();
  const optimizer = optimizerInputs(g, layout);
  const input = (name: string, width: number) => g.input(name, "float32", [1, BATCHES.mlp.rows, width]);
  const binding = sharedBinding(layout.source(g, optimizer.parameters));
  let x = input("observations", 17);
  for (const [name, inSize, outSize] of MLP) {
    const weight = { kind: "constant", value: 0 } as const;
    x = binding.linear(g, x, { name, inSize, outSize, weight });
    if (name !== "head") x = g.tanh(x);
  }
  const logStd = binding.vector(g, {
    name: "head.log_std",
    size: ACTIONS,
    initializer: { kind: "constant", value: 1 },
  });
  const output = { kind: "gaussian", mean: x, std: g.mul(g.sigmoid(logStd), 0.5) } as const;
  const inputs = {
    logProb: logProb(g, output, input("drawn", ACTIONS)),
    oldLogProb: input("old_log_prob", ACTIONS),
    advantage: input("advantage", 1),
    active: input("active", 1),
    clipRange: g.input("clip_range", "float32", []),
  };
  const { loss } = clippedSurrogate(g, inputs, "product");
  trainStep(g, optimizer, loss, { maxGradientNorm: MAX_NORM }, [loss]);
  return finishGraph(g, "mlp_step");
}
