/** The actor's side of training in one phase: what is trained, what is frozen, and the weights that act. */
import type { LoraConfig } from "../../models/adapters.ts";
import { initialise } from "../../models/initialise.ts";
import type { ActorConfig } from "../../models/networks.ts";
import { type ActorParameters, actorParameters, type Sharing } from "../../models/policy.ts";
import { Random } from "../base/random.ts";
import { floatTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { ResidentTensor, Runtime, Session } from "../runtime/session.ts";
import { mergingGraph } from "./acting-graph.ts";
import { ACTOR_METRICS, actorStep } from "./actor-step.ts";
import { minibatchShape, type TrainConfig } from "./config.ts";
import { Learner, type LearnerState } from "./learner.ts";
import type { LearnerBatch } from "./minibatches.ts";
import type { RolloutBuffer } from "./rollout-buffer.ts";

export interface ActorTrainerOptions {
  readonly runtime: Runtime;
  readonly config: TrainConfig;
  readonly actor: ActorConfig;
  readonly sharing: Sharing;
  /** Each agent's own number of actions. */
  readonly actionSizes: readonly number[];
  /** float32 [1 or N, P]; drawn from the seed when left out. */
  readonly backbone?: Float32Array;
  readonly threads: number;
}

/** Figures of an update by name. */
export type ActorFigures = Readonly<Record<(typeof ACTOR_METRICS)[number] | "actorGradientNorm", number>>;

/** A backbone under adapters, and the weights that act, formed of both after each update. */
interface Merging {
  readonly session: Session;
  /** float32 [1, P]: never written. */
  readonly frozen: ResidentTensor;
  /** float32 [N, P]. */
  readonly merged: ResidentTensor;
}

export class ActorTrainer {
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  readonly #learner: Learner;
  readonly #merging: Merging | undefined;

  constructor(options: ActorTrainerOptions) {
    const { config, actor, sharing, runtime } = options;
    this.sharing = sharing;
    this.parameters = actorParameters(actor, sharing);
    // The adapters' first numbers do not depend on what phase one drew.
    const random = new Random(config.seed).fork(sharing.kind === "low-rank" ? 2 : 1);
    const backbone = options.backbone?.slice() ?? initialise(this.parameters.backbone, random);
    const trained = this.parameters.adapters ?? this.parameters.backbone;
    this.#merging =
      sharing.kind === "low-rank"
        ? startMerging(runtime, this.parameters, sharing.lora, backbone)
        : undefined;
    this.#learner = new Learner({
      runtime,
      model: stepModel(options, this.parameters),
      dims: trained.dims,
      parameters: this.#merging ? initialise(trained, random) : backbone,
      epochs: config.epochs,
      minibatches: config.minibatches,
      threads: options.threads,
      seed: config.seed + 101,
      ...(this.#merging && { constants: { frozen: this.#merging.frozen } }),
    });
    this.#merge();
  }

  /** Whether acting weights are a row an agent. */
  get perAgent(): boolean {
    return this.sharing.kind !== "shared";
  }

  /** float32 [1 or N, P] in the backbone's layout: the weights that act until the next update. */
  get acting(): ResidentTensor {
    return this.#merging?.merged ?? this.#learner.parameters;
  }

  /** A copy of the backbone as it is now, float32 [1 or N, P]; under adapters it never changes. */
  get backbone(): Float32Array {
    return downloaded(this.#merging?.frozen ?? this.#learner.parameters);
  }

  /** A copy, float32 [N, Q], under adapters. */
  get adapters(): Float32Array | undefined {
    return this.#merging && downloaded(this.#learner.parameters);
  }

  update(batch: LearnerBatch, learningRate: number, clipRange: number): ActorFigures {
    const { metrics, gradientNorms } = this.#learner.update(batch, { learningRate, clipRange });
    this.#merge();
    const named = Object.fromEntries(ACTOR_METRICS.map((name, index) => [name, metrics[index]!]));
    return { ...named, actorGradientNorm: Math.max(...gradientNorms) } as ActorFigures;
  }

  state(): LearnerState {
    return this.#learner.state();
  }

  restore(state: LearnerState): void {
    this.#learner.restore(state);
    this.#merge();
  }

  dispose(): void {
    this.#learner.dispose();
    this.#merging?.session.dispose();
    this.#merging?.frozen.dispose();
    this.#merging?.merged.dispose();
  }

  #merge(): void {
    if (!this.#merging) return;
    const { session, frozen, merged } = this.#merging;
    session.run({ frozen, adapters: this.#learner.parameters }, { merged });
  }
}

function startMerging(
  runtime: Runtime,
  parameters: ActorParameters,
  lora: LoraConfig,
  weights: Float32Array,
): Merging {
  const { backbone, adapters } = parameters;
  return {
    session: runtime.createSession(encodeModel(mergingGraph(parameters, lora))),
    frozen: runtime.upload(floatTensor(backbone.dims, weights)),
    merged: runtime.allocate("float32", [adapters!.owners, backbone.size]),
  };
}

function downloaded(tensor: ResidentTensor): Float32Array {
  // Parameters are float32.
  return tensor.download().data as Float32Array;
}

/** The rollout as the actor's step reads it. @param advantages float32 [V, R], normalised. */
export function actorBatch(buffer: RolloutBuffer, advantages: Float32Array): LearnerBatch {
  const { shape } = buffer;
  const rows = (data: Float32Array, width: number) => ({ data, width, chunkLength: shape.chunkLength });
  return {
    chunks: buffer.chunks,
    inputs: {
      observations: rows(buffer.observations, shape.observationSize),
      drawn: rows(buffer.drawn, shape.drawnSize),
      old_log_prob: rows(buffer.logProb, shape.drawnSize),
      advantage: rows(advantages, 1),
      active: rows(buffer.active, 1),
      ...(shape.maskSize > 0 && { action_mask: rows(buffer.actionMask, shape.maskSize) }),
      ...(shape.actorHidden > 0 && {
        mask: rows(buffer.mask, 1),
        hidden: { data: buffer.actorHidden, width: shape.actorHidden, chunkLength: 1 },
      }),
    },
  };
}

function stepModel(
  { config, actor, sharing, actionSizes }: ActorTrainerOptions,
  parameters: ActorParameters,
) {
  return actorStep({
    actor,
    sharing,
    parameters,
    actionSizes,
    ...minibatchShape(config),
    advantagePerAgent: config.critic === "agent",
    ratio: config.ratio,
    entropyCoefficient: config.entropyCoefficient,
    maxGradientNorm: config.maxGradientNorm,
  });
}
