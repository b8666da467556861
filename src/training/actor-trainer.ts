/**
 * The actor's side of training in one phase: what is trained, what is frozen, the weights that act, and updates of all
 * agents at once or of a block of them. Which block learns what and when is `sequential-update.ts`.
 */
import { initialise } from "../../models/initialise.ts";
import type { ActorConfig } from "../../models/networks.ts";
import { type ActorParameters, actorParameters, lossGroups, type Sharing } from "../../models/policy.ts";
import { Random } from "../base/random.ts";
import type { ResidentTensor, Runtime } from "../runtime/session.ts";
import { ActingNetworks } from "./acting-networks.ts";
import type { ActorForwardConfig } from "./actor-forward.ts";
import { ACTOR_METRICS, actorStep } from "./actor-step.ts";
import { minibatchShape, type TrainConfig } from "./config.ts";
import { Learner, type LearnerState, type UpdateRates } from "./learner.ts";
import type { BatchInput, LearnerBatch } from "./minibatches.ts";
import type { RolloutBuffer } from "./rollout-buffer.ts";

export interface ActorTrainerOptions {
  readonly runtime: Runtime;
  readonly config: TrainConfig;
  readonly actor: ActorConfig;
  readonly sharing: Sharing;
  /** Each agent's own number of actions. */
  readonly actionSizes: readonly number[];
  /** Float32 in the backbone's dims; drawn from the seed when left out. */
  readonly backbone?: Float32Array;
  readonly threads: number;
}

/** Figures of an update by name. */
export type ActorFigures = Readonly<Record<(typeof ACTOR_METRICS)[number] | "actorGradientNorm", number>>;

export class ActorTrainer {
  readonly sharing: Sharing;
  readonly parameters: ActorParameters;
  readonly #learner: Learner;
  readonly #networks: ActingNetworks;
  /** For each agent the parts of what is trained that it learns in. */
  readonly #partsOf: readonly (readonly number[])[];
  #acting: ResidentTensor;

  constructor(options: ActorTrainerOptions) {
    const { config, actor, sharing, runtime } = options;
    const { agents } = actor.encoder;
    this.sharing = sharing;
    this.parameters = actorParameters(actor, sharing);
    const groups = lossGroups(sharing, agents);
    // A shared trunk, then the heads.
    this.#partsOf = groups.map((group, agent) => (sharing.kind === "multi-task" ? [0, 1 + agent] : [group]));
    // The adapters' first numbers do not depend on what phase one drew.
    const random = new Random(config.seed).fork(sharing.kind === "low-rank" ? 2 : 1);
    const backbone = options.backbone?.slice() ?? initialise(this.parameters.backbone, random);
    const { adapters } = this.parameters;
    const trained = adapters ?? this.parameters.backbone;
    this.#networks = new ActingNetworks({ runtime, parameters: this.parameters, sharing, agents, backbone });
    const { frozen } = this.#networks;
    this.#learner = new Learner({
      runtime,
      model: stepModel(options, this.parameters),
      dims: trained.dims,
      parts: trained.parts,
      parameters: adapters ? initialise(adapters, random) : backbone,
      epochs: config.epochs,
      minibatches: config.minibatches,
      threads: options.threads,
      seed: config.seed + 101,
      ...(frozen && { constants: { frozen } }),
    });
    this.#acting = this.#networks.form(this.#learner.parameters);
  }

  /** Whether acting weights are a row an agent. */
  get perAgent(): boolean {
    return this.sharing.kind !== "shared";
  }

  /** float32 [1 or N, P], one agent's network a row: the weights that act until the next update. */
  get acting(): ResidentTensor {
    return this.#acting;
  }

  /** What is trained now, as graphs read it. */
  get trained(): ResidentTensor {
    return this.#learner.parameters;
  }

  /** The backbone under adapters. */
  get frozen(): ResidentTensor | undefined {
    return this.#networks.frozen;
  }

  /** A copy of the backbone as it is now, in its layout's dims; under adapters it never changes. */
  get backbone(): Float32Array {
    return downloaded(this.#networks.frozen ?? this.#learner.parameters);
  }

  /** A copy in the adapters' layout's dims, under adapters. */
  get adapters(): Float32Array | undefined {
    return this.parameters.adapters && downloaded(this.#learner.parameters);
  }

  /**
   * Learns from a batch; parts whose agents were never active in it stay as they are. The weights that act stay those of
   * before until {@link form}.
   * @param agents those of the batch; all when left out.
   */
  update(batch: LearnerBatch, rates: Omit<UpdateRates, "parts">, agents?: readonly number[]): ActorFigures {
    const parts = this.#activeParts(batch.inputs["active"]!, agents ?? [...this.#partsOf.keys()]);
    const { metrics, gradientNorms } = this.#learner.update(batch, { ...rates, parts });
    const named = Object.fromEntries(ACTOR_METRICS.map((name, index) => [name, metrics[index]!]));
    return { ...named, actorGradientNorm: Math.max(...gradientNorms) } as ActorFigures;
  }

  /** Whether a step of one agent changes the other's policy. */
  sharesWith(agent: number, other: number): boolean {
    const theirs = this.#partsOf[other]!;
    return this.#partsOf[agent]!.some((part) => theirs.includes(part));
  }

  /** Lets what was learnt act. */
  form(): void {
    this.#acting = this.#networks.form(this.#learner.parameters);
  }

  state(): LearnerState {
    return this.#learner.state();
  }

  restore(state: LearnerState): void {
    this.#learner.restore(state);
    this.form();
  }

  dispose(): void {
    this.#learner.dispose();
    this.#networks.dispose();
  }

  /** A part without an active row has nothing to learn, and its momentum must not move it. */
  #activeParts({ data }: BatchInput, agents: readonly number[]): number[] {
    const rows = data.length / agents.length;
    const lives = agents.map((_, index) =>
      data.subarray(index * rows, (index + 1) * rows).some((one) => one > 0),
    );
    return [...new Set(agents.flatMap((agent, index) => (lives[index] ? this.#partsOf[agent]! : [])))];
  }
}

function downloaded(tensor: ResidentTensor): Float32Array {
  // Parameters are float32.
  return tensor.download().data as Float32Array;
}

/** The rollout as the actor's step reads it. @param advantages float32 [V, R], normalised. */
export function actorBatch(buffer: RolloutBuffer, advantages: Float32Array): LearnerBatch {
  const { shape } = buffer;
  return {
    chunks: buffer.chunks,
    inputs: {
      ...forwardInputs(buffer),
      advantage: { data: advantages, width: 1, chunkLength: shape.chunkLength },
      active: { data: buffer.active, width: 1, chunkLength: shape.chunkLength },
    },
  };
}

/** What the actor's own graphs read of a rollout. */
export function forwardInputs(buffer: RolloutBuffer): Readonly<Record<string, BatchInput>> {
  const { shape } = buffer;
  const rows = (data: Float32Array, width: number) => ({ data, width, chunkLength: shape.chunkLength });
  return {
    observations: rows(buffer.observations, shape.observationSize),
    drawn: rows(buffer.drawn, shape.drawnSize),
    old_log_prob: rows(buffer.logProb, shape.drawnSize),
    ...(shape.maskSize > 0 && { action_mask: rows(buffer.actionMask, shape.maskSize) }),
    ...(shape.actorHidden > 0 && {
      mask: rows(buffer.mask, 1),
      hidden: { data: buffer.actorHidden, width: shape.actorHidden, chunkLength: 1 },
    }),
  };
}

/** Agents of a block: 1, or more where blocks were asked for. Nothing for updates of all agents at once. */
export function blockSize(
  { algo, updateBlocks, cumulativeBlocks }: TrainConfig,
  agents: number,
): number | undefined {
  if (algo === "mappo") return undefined;
  if (algo === "happo") return 1;
  if (cumulativeBlocks) return agents;
  return updateBlocks === 0 ? 1 : Math.ceil(agents / updateBlocks);
}

/** The actor's forward pass over chunks of a rollout, as training graphs build it. */
export function forwardConfig(
  { config, actor, sharing, actionSizes }: ActorTrainerOptions,
  parameters: ActorParameters,
): Omit<ActorForwardConfig, "chunks" | "chunkLength"> {
  const block = blockSize(config, actor.encoder.agents);
  return { actor, sharing, parameters, actionSizes, ...(block !== undefined && { block }) };
}

function stepModel(options: ActorTrainerOptions, parameters: ActorParameters) {
  const { config } = options;
  return actorStep({
    ...forwardConfig(options, parameters),
    ...minibatchShape(config),
    advantagePerAgent: config.critic === "agent",
    ratio: config.ratio,
    entropyCoefficient: config.entropyCoefficient,
    maxGradientNorm: config.maxGradientNorm,
    // The only part learns from nobody only where a block is all that it learns from.
    partial: config.algo !== "mappo" || (parameters.adapters ?? parameters.backbone).parts > 1,
    ...(config.algo === "a2po" && { others: "inside" as const }),
    ...(config.algo === "happo" && { others: "outside" as const }),
  });
}
