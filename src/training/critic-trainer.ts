/** The critic's side of training: its step graph, its value normaliser, and the rollout as it reads it. */
import { initialise } from "../../models/initialise.ts";
import type { CriticConfig } from "../../models/networks.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { coresOfProcess } from "../base/cores.ts";
import { Random } from "../base/random.ts";
import { floatTensor } from "../base/tensor.ts";
import type { Runtime } from "../runtime/session.ts";
import { type AsyncLearner, localLearner, threadLearner } from "./async-learner.ts";
import { minibatchShape, type TrainConfig } from "./config.ts";
import { criticStep } from "./critic-step.ts";
import type { LearnerBatch } from "./minibatches.ts";
import type { RolloutBuffer } from "./rollout-buffer.ts";
import type { ValueNormState } from "./value-norm.ts";

export interface CriticTrainerOptions {
  readonly runtime: Runtime;
  readonly config: TrainConfig;
  readonly critic: CriticConfig;
  readonly layout: ParameterLayout;
  /** Whether it may train in a thread of its own, beside the actor. */
  readonly ownThread: boolean;
  readonly threads: number;
}

export function createCriticLearner(options: CriticTrainerOptions): AsyncLearner {
  const { config, critic, layout, runtime } = options;
  const common = {
    runtime,
    model: criticStep({
      critic,
      layout,
      ...minibatchShape(config),
      huberDelta: config.huberDelta,
      maxGradientNorm: config.maxGradientNorm,
      picked: picksHeads(config, critic.encoder.agents),
    }),
    dims: layout.dims,
    parameters: initialise(layout, new Random(config.seed).fork(3)),
    epochs: config.criticEpochs,
    minibatches: config.minibatches,
    threads: options.threads,
    seed: config.seed + 202,
    carried: {
      running_mean: floatTensor([layout.owners]),
      running_mean_square: floatTensor([layout.owners]),
      debias: floatTensor([layout.owners]),
    },
  };
  return options.ownThread && coresOfProcess() > 1 && gainsByThread(runtime)
    ? threadLearner(common)
    : localLearner(common);
}

/** Whether a value head learns by itself: with the agent that it is of, from returns corrected for that agent. */
export function picksHeads({ algo }: TrainConfig, heads: number): boolean {
  return algo === "a2po" && heads > 1;
}

/** A thread makes ONNX Runtime's sessions on the CPU; runs of another device wait for one another anyway. */
function gainsByThread({ backend, device }: Runtime): boolean {
  return backend === "onnxruntime" && device === "cpu";
}

/** The normaliser's statistics after the last update. */
export function valueNormOf(learner: AsyncLearner): ValueNormState {
  return {
    runningMean: learner.carried("running_mean"),
    runningMeanSquare: learner.carried("running_mean_square"),
    debias: learner.carried("debias"),
  };
}

/** The rollout as the critic's step reads it. @param returns float32 [V, R] in the rewards' units. */
export function criticBatch(buffer: RolloutBuffer, returns: Float32Array): LearnerBatch {
  const { shape } = buffer;
  const rows = (data: Float32Array, width: number) => ({ data, width, chunkLength: shape.chunkLength });
  return {
    chunks: buffer.chunks,
    inputs: {
      state: rows(buffer.state, shape.stateSize),
      old_values: rows(buffer.values, 1),
      returns: rows(returns, 1),
      ...(shape.criticHidden > 0 && {
        mask: rows(buffer.mask, 1),
        hidden: { data: buffer.criticHidden, width: shape.criticHidden, chunkLength: 1 },
      }),
    },
  };
}
