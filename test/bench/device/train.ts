/**
 * One training step of a plain actor as one ONNX graph, parameters, moments and batch in the runtime's memory: what
 * comes down is its metrics. The same step in PyTorch: see `torch.ts`.
 */
import { ParameterLayout } from "../../../models/parameters.ts";
import { actorParameters } from "../../../models/policy.ts";
import { Random } from "../../../src/base/random.ts";
import { median } from "../../../src/base/statistics.ts";
import { type FloatTensor, floatTensor } from "../../../src/base/tensor.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";
import { ADAM, adamScalars } from "../../../src/optim/adam.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import type { ResidentTensor, Runtime } from "../../../src/runtime/session.ts";
import { actorStep } from "../../../src/training/actor-step.ts";
import type { Runner, Sizes } from "./plan.ts";
import { ACTIONS, actorConfig, backboneNumbers, OBSERVATIONS } from "./policy.ts";

export interface TrainFigures {
  /** Median of a step that is waited for. */
  readonly ms: number;
  readonly steps: number;
  /** Policy loss before each of the first steps: both libraries must agree. */
  readonly losses: readonly number[];
  /** What ran it, where that is not said by the runner. */
  readonly library?: string;
}

export const SETTINGS = {
  learningRate: 3e-4,
  clipRange: 0.2,
  entropyCoefficient: 0.01,
  maxGradientNorm: 10,
  adam: ADAM,
} as const;

/** Losses that are compared. */
export const COMPARED_STEPS = 5;
const WARM_UP_STEPS = 5;
const LEAST_STEPS = 10;
const STATE = ["parameters", "first_moment", "second_moment"] as const;

export function measureTraining(runner: Runner, hidden: number, sizes: Sizes): TrainFigures {
  const step = startTraining(createRuntime(runner.device), { hidden, sizes, threads: runner.threads });
  const losses = Array.from({ length: COMPARED_STEPS }, step);
  for (let k = 0; k < WARM_UP_STEPS; k++) step();
  const times: number[] = [];
  const began = performance.now();
  while (times.length < LEAST_STEPS || performance.now() - began < 20 * sizes.measureMs) {
    const start = performance.now();
    step();
    times.push(performance.now() - start);
  }
  return { ms: median(times), steps: times.length, losses };
}

/** The network's parameters as training starts. */
export function trainingParameters(
  hidden: number,
  sizes: Sizes,
): { layout: ParameterLayout; flat: Float32Array } {
  const { backbone } = actorParameters(actorConfig(hidden, sizes.trainAgents), { kind: "shared" });
  const layout = new ParameterLayout(backbone.specs, 1);
  return { layout, flat: backboneNumbers(layout) };
}

/** A rollout's tensors, by the graph's inputs; `old_log_prob` lies near the new ones, so that some ratios are clipped. */
export function trainingBatch({ trainAgents, trainRows }: Sizes): Record<string, FloatTensor> {
  const random = new Random(7);
  const std = 0.5 / (1 + Math.exp(-1));
  const normal = (width: number, scale: number): FloatTensor => {
    const tensor = floatTensor([trainAgents, trainRows, width]);
    for (let k = 0; k < tensor.data.length; k++) tensor.data[k] = scale * random.normal();
    return tensor;
  };
  const drawn = normal(ACTIONS, std);
  const logProb = drawn.data.map(
    (value) =>
      -0.5 * (value / std) ** 2 - Math.log(std) - 0.5 * Math.log(2 * Math.PI) + 0.05 * random.normal(),
  );
  const active = floatTensor([trainAgents, trainRows, 1]);
  active.data.fill(1);
  return {
    observations: normal(OBSERVATIONS, 1),
    drawn,
    old_log_prob: floatTensor(drawn.dims, logProb),
    advantage: normal(1, 1),
    active,
  };
}

/** Takes a step at each call, once everything is done; gives the policy's loss before it. */
function startTraining(
  runtime: Runtime,
  { hidden, sizes, threads }: { readonly hidden: number; readonly sizes: Sizes; readonly threads: number },
): () => number {
  const { layout, flat } = trainingParameters(hidden, sizes);
  const session = runtime.createSession(encodeModel(stepModel(hidden, sizes)), { threads });
  const batch = mapped(trainingBatch(sizes), (tensor) => runtime.upload(tensor));
  const state = (first: ResidentTensor) => [
    first,
    ...STATE.slice(1).map(() => runtime.allocate("float32", layout.dims)),
  ];
  const states = [
    state(runtime.upload(floatTensor(layout.dims, flat))),
    state(runtime.allocate("float32", layout.dims)),
  ] as const;
  const numbers = { step_size: floatTensor([1, 1]), second_correction: floatTensor([1, 1]) };
  const results = Object.fromEntries(
    session.outputs
      .filter(({ name }) => name === "metrics" || name === "gradient_norm")
      .map(({ name, shape }) => [name, floatTensor(shape as number[])]),
  );
  // What one step writes the next reads: in place, kernels could read what is already new.
  const runs = [0, 1].map((at) =>
    session.bind(
      {
        ...batch,
        ...numbers,
        clip_range: floatTensor([], [SETTINGS.clipRange]),
        ...Object.fromEntries(STATE.map((name, k) => [name, states[at]![k]!])),
      },
      { ...results, ...Object.fromEntries(STATE.map((name, k) => [`${name}_out`, states[1 - at]![k]!])) },
    ),
  );
  let steps = 0;
  return () => {
    steps += 1;
    [numbers.step_size.data[0], numbers.second_correction.data[0]] = adamScalars(
      steps,
      SETTINGS.learningRate,
    );
    runs[(steps - 1) % 2]!.run();
    return results["metrics"]!.data[0]!;
  };
}

function stepModel(hidden: number, { trainAgents, trainRows }: Sizes) {
  const actor = actorConfig(hidden, trainAgents);
  const sharing = { kind: "shared" } as const;
  return actorStep({
    actor,
    sharing,
    parameters: actorParameters(actor, sharing),
    chunks: trainRows,
    chunkLength: 1,
    advantagePerAgent: true,
    ratio: "product",
    entropyCoefficient: SETTINGS.entropyCoefficient,
    maxGradientNorm: SETTINGS.maxGradientNorm,
  });
}

function mapped<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
