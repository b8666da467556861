/** The actor's side of training in one phase: what is trained, what is frozen, and the weights that act. */
import { initialise } from "../../models/initialise.ts";
import type { ActorConfig } from "../../models/networks.ts";
import { type ActorParameters, actorParameters, type Sharing } from "../../models/policy.ts";
import { Random } from "../base/random.ts";
import { floatTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { BoundRun, Runtime, Session } from "../runtime/session.ts";
import { mergingGraph } from "./acting-graph.ts";
import { ACTOR_METRICS, actorStep } from "./actor-step.ts";
import { minibatchShape, type TrainConfig } from "./config.ts";
import { Learner, type LearnerBatch, type LearnerState } from "./learner.ts";
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

/** Forms the weights that act from backbone and adapters, after each update. */
interface Merging {
  readonly session: Session;
  readonly run: BoundRun;
  /** float32 [N, P]. */
  readonly merged: Float32Array;
}

export class ActorTrainer {
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  /** float32 [1 or N, P]: trained, or frozen under adapters. */
  readonly #backbone: Float32Array;
  readonly #learner: Learner;
  readonly #merging: Merging | undefined;

  constructor(options: ActorTrainerOptions) {
    const { config, actor, sharing, runtime } = options;
    this.sharing = sharing;
    this.parameters = actorParameters(actor, sharing);
    // The adapters' first numbers do not depend on what phase one drew.
    const random = new Random(config.seed).fork(sharing.kind === "low-rank" ? 2 : 1);
    this.#backbone = options.backbone?.slice() ?? initialise(this.parameters.backbone, random);
    const trained = this.parameters.adapters ?? this.parameters.backbone;
    const first = sharing.kind === "low-rank" ? initialise(trained, random) : this.#backbone;
    const frozen = floatTensor(this.parameters.backbone.dims, this.#backbone);
    this.#learner = new Learner({
      runtime,
      model: stepModel(options, this.parameters),
      dims: trained.dims,
      parameters: first,
      epochs: config.epochs,
      minibatches: config.minibatches,
      threads: options.threads,
      seed: config.seed + 101,
      ...(sharing.kind === "low-rank" && { constants: { frozen } }),
    });
    this.#merging = sharing.kind === "low-rank" ? this.#startMerging(runtime, sharing.lora) : undefined;
    this.#merging?.run.run();
  }

  /** Whether acting weights are a row an agent. */
  get perAgent(): boolean {
    return this.sharing.kind !== "shared";
  }

  /** float32 [1 or N, P] in the backbone's layout: the weights that act now. The same memory over the phase. */
  get acting(): Float32Array {
    return this.#merging?.merged ?? this.#learner.parameters;
  }

  /** The backbone as it is now; under adapters it never changes. */
  get backbone(): Float32Array {
    return this.sharing.kind === "low-rank" ? this.#backbone : this.#learner.parameters;
  }

  /** float32 [N, Q] under adapters. */
  get adapters(): Float32Array | undefined {
    return this.sharing.kind === "low-rank" ? this.#learner.parameters : undefined;
  }

  update(batch: LearnerBatch, learningRate: number, clipRange: number): ActorFigures {
    const { metrics, gradientNorms } = this.#learner.update(batch, { learningRate, clipRange });
    this.#merging?.run.run();
    const named = Object.fromEntries(ACTOR_METRICS.map((name, index) => [name, metrics[index]!]));
    return { ...named, actorGradientNorm: Math.max(...gradientNorms) } as ActorFigures;
  }

  state(): LearnerState {
    return this.#learner.state();
  }

  restore(state: LearnerState): void {
    this.#learner.restore(state);
    this.#merging?.run.run();
  }

  dispose(): void {
    this.#learner.dispose();
    this.#merging?.session.dispose();
  }

  #startMerging(runtime: Runtime, lora: Extract<Sharing, { kind: "low-rank" }>["lora"]): Merging {
    const session = runtime.createSession(encodeModel(mergingGraph(this.parameters, lora)));
    const { backbone, adapters } = this.parameters;
    const merged = floatTensor([adapters!.owners, backbone.size]);
    const feeds = {
      frozen: floatTensor(backbone.dims, this.#backbone),
      adapters: floatTensor(adapters!.dims, this.#learner.parameters),
    };
    return { session, run: session.bind(feeds, { merged }), merged: merged.data };
  }
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
