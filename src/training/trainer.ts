/**
 * One training run in memory: collects rollouts, updates actor and critic, changes phase. Files, evaluation and what a
 * person sees are `run.ts`.
 */

import type { CriticConfig } from "../../models/networks.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { actorParameters, criticParameters, type Sharing } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random, type RandomState } from "../base/random.ts";
import type { EnvSpec } from "../envs/contract.ts";
import type { VectorEnv } from "../envs/vector-contract.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { actingGraph } from "./acting-graph.ts";
import { type ActorFigures, ActorTrainer, actorBatch, blockSize, forwardConfig } from "./actor-trainer.ts";
import { AdvantageEstimator } from "./advantage-estimator.ts";
import type { AsyncLearner } from "./async-learner.ts";
import { Collector, type CollectorState } from "./collector.ts";
import {
  actorConfig,
  actorLearningRate,
  chunkLengthOf,
  criticConfig,
  type Phase,
  phaseAt,
  sharingIn,
  startsAdapters,
  type TrainConfig,
} from "./config.ts";
import { createCriticLearner, criticBatch, valueNormOf } from "./critic-trainer.ts";
import type { Episode } from "./episodes.ts";
import { explainedVariance } from "./explained-variance.ts";
import type { LearnerState, UpdateResult } from "./learner.ts";
import type { LearnerBatch } from "./minibatches.ts";
import { RatioSession } from "./ratio-session.ts";
import { createRolloutBuffer, type RolloutBuffer, type RolloutShape } from "./rollout-buffer.ts";
import { updateSequentially } from "./sequential-update.ts";

export interface TrainerOptions {
  readonly config: TrainConfig;
  readonly runtime: Runtime;
  /** Environments of the configuration's task, in groups of equal size. The trainer resets but does not close it. */
  readonly vectorEnv: VectorEnv;
  /** The cluster of each agent, for sharing within clusters. */
  readonly clusterOf?: readonly number[] | undefined;
  /** Whether the critic trains in a thread beside the actor where that gains time. Default true. */
  readonly criticThread?: boolean;
}

/** What one iteration did: figures by name, finished episodes, and where the time went in milliseconds. */
export interface IterationReport {
  readonly envSteps: number;
  readonly phase: Phase;
  readonly episodes: readonly Episode[];
  readonly figures: ActorFigures &
    Readonly<Record<"valueLoss" | "criticGradientNorm" | "explainedVariance" | "learningRate", number>>;
  readonly ms: Readonly<Record<"collect" | "inference" | "update", number>>;
}

/** Everything that decides what the trainer does next. */
export interface TrainerState {
  readonly envSteps: number;
  readonly backbone: Float32Array;
  readonly actor: LearnerState;
  readonly critic: LearnerState;
  readonly collector: CollectorState;
  readonly environments: readonly Float64Array[];
  readonly noise: RandomState;
  /** Draws the order of agents that are updated one after another. */
  readonly order: RandomState;
}

/** What acts and learns in one phase. */
interface PhaseParts {
  readonly actor: ActorTrainer;
  readonly session: Session;
  readonly collector: Collector;
  /** For updates of one agent after another. */
  readonly ratios: RatioSession | undefined;
}

export class Trainer {
  readonly config: TrainConfig;
  readonly spec: EnvSpec;
  readonly #options: TrainerOptions;
  readonly #critic: { config: CriticConfig; layout: ParameterLayout };
  readonly #criticLearner: AsyncLearner;
  readonly #buffer: RolloutBuffer;
  readonly #estimator: AdvantageEstimator;
  readonly #criticBatch: LearnerBatch;
  readonly #actorBatch: LearnerBatch;
  #parts: PhaseParts;
  #noise: Random;
  #order: Random;
  #envSteps = 0;

  constructor(options: TrainerOptions) {
    const { config, vectorEnv, runtime } = options;
    this.config = config;
    this.spec = vectorEnv.spec;
    this.#options = options;
    // What adapters cannot be is refused now, not when their phase comes.
    if (startsAdapters(config)) actorParameters(actorConfig(config, this.spec), this.#sharing("adapters"));
    const critic = criticConfig(config, this.spec);
    this.#critic = { config: critic, layout: criticParameters(critic) };
    this.#criticLearner = createCriticLearner({
      runtime,
      config,
      critic,
      layout: this.#critic.layout,
      ownThread: options.criticThread ?? true,
      threads: 1,
    });
    this.#buffer = createRolloutBuffer(rolloutShape(config, this.spec));
    this.#estimator = new AdvantageEstimator(config, this.#buffer);
    this.#criticBatch = criticBatch(this.#buffer, this.#estimator.returns);
    this.#actorBatch = actorBatch(this.#buffer, this.#estimator.advantages);
    this.#noise = new Random(config.seed).fork(4);
    this.#order = new Random(config.seed).fork(5);
    this.#parts = this.#startPhase("shared");
    vectorEnv.reset(config.seed);
    this.#parts.collector.reset();
  }

  get envSteps(): number {
    return this.#envSteps;
  }

  get done(): boolean {
    return this.#envSteps >= this.config.steps;
  }

  get phase(): Phase {
    return this.#parts.actor.sharing.kind === "low-rank" ? "adapters" : "shared";
  }

  /** A copy of the team as it is now. */
  get team(): Team {
    const { backbone, adapters, parameters, sharing } = this.#parts.actor;
    return {
      environment: { name: this.spec.name, stepSeconds: this.spec.stepSeconds },
      agents: this.spec.agents,
      actor: actorConfig(this.config, this.spec),
      sharing,
      parameters,
      backbone,
      ...(adapters && { adapters }),
    };
  }

  /** Collects one rollout and learns from it; changes to the adapters when their step has come. */
  async iterate(): Promise<IterationReport> {
    if (this.phase === "shared" && phaseAt(this.config, this.#envSteps) === "adapters") this.#switchPhase();
    const start = performance.now();
    const { collector, actor } = this.#parts;
    collector.setParameters(actor.acting, this.#criticLearner.parameters);
    const episodes = await collector.collect(this.#buffer, this.#noise);
    const collected = performance.now();
    this.#estimator.begin(valueNormOf(this.#criticLearner));
    this.#estimator.estimate();
    const explained = explainedVariance(this.#estimator.values, this.#estimator.returns);
    const { figures, learningRate } = await this.#update();
    this.#envSteps += this.#buffer.rows;
    return {
      envSteps: this.#envSteps,
      phase: this.phase,
      episodes,
      figures: { ...figures, explainedVariance: explained, learningRate },
      ms: {
        collect: collected - start,
        inference: collector.takeInferenceMs(),
        update: performance.now() - collected,
      },
    };
  }

  async state(): Promise<TrainerState> {
    return {
      envSteps: this.#envSteps,
      backbone: this.#parts.actor.backbone,
      actor: this.#parts.actor.state(),
      critic: await this.#criticLearner.state(),
      collector: this.#parts.collector.state(),
      environments: this.#options.vectorEnv.save(),
      noise: this.#noise.state(),
      order: this.#order.state(),
    };
  }

  /** Goes on as if the run had never stopped: the same numbers follow, but for environments that cannot be saved. */
  async restore(state: TrainerState, phase: Phase): Promise<void> {
    this.#envSteps = state.envSteps;
    if (phase === "adapters") this.#switchPhase(state.backbone);
    this.#parts.actor.restore(state.actor);
    await this.#criticLearner.restore(state.critic);
    this.#options.vectorEnv.restore(state.environments);
    // Environments that could not be saved begin new episodes, of which a policy remembers nothing.
    if (state.environments.some(({ length }) => length > 0)) this.#parts.collector.restore(state.collector);
    else this.#parts.collector.reset();
    this.#noise = Random.restore(state.noise);
    this.#order = Random.restore(state.order);
  }

  async close(): Promise<void> {
    disposeParts(this.#parts);
    await this.#criticLearner.close();
  }

  /** Freezes the backbone and gives every agent a fresh adapter and optimizer; the critic goes on. */
  #switchPhase(backbone: Float32Array = this.#parts.actor.backbone): void {
    const collected = this.#parts.collector.state();
    const parts = this.#startPhase("adapters", backbone);
    disposeParts(this.#parts);
    this.#parts = parts;
    parts.collector.restore(collected);
  }

  #sharing(phase: Phase): Sharing {
    return sharingIn(this.config, phase, { agents: this.spec.agents, clusterOf: this.#options.clusterOf });
  }

  #startPhase(phase: Phase, backbone?: Float32Array): PhaseParts {
    const { config, runtime, vectorEnv } = this.#options;
    const network = actorConfig(config, this.spec);
    const options = {
      runtime,
      config,
      actor: network,
      sharing: this.#sharing(phase),
      actionSizes: this.spec.agents.map(({ actionSize }) => actionSize),
      threads: 1,
      ...(backbone && { backbone }),
    };
    const actor = new ActorTrainer(options);
    const acting = actingGraph({
      actor: network,
      backbone: actor.parameters.backbone,
      perAgent: actor.perAgent,
      envs: vectorEnv.groups[0]!.envs,
      critic: this.#critic,
      sampled: true,
    });
    const session = runtime.createSession(encodeModel(acting));
    const { shape, chunks } = this.#buffer;
    const discrete = this.spec.actionSpace.kind === "discrete";
    const forward = { ...forwardConfig(options, actor.parameters), chunks, chunkLength: shape.chunkLength };
    return {
      actor,
      session,
      collector: new Collector({ runtime, session, vectorEnv, shape, discrete }),
      ratios: config.algo === "mappo" ? undefined : new RatioSession(runtime, forward),
    };
  }

  async #update(): Promise<{
    figures: ActorFigures & { valueLoss: number; criticGradientNorm: number };
    learningRate: number;
  }> {
    const { config } = this;
    const left = config.learningRateDecay ? 1 - this.#envSteps / config.steps : 1;
    const rates = {
      actor: actorLearningRate(config, this.phase) * left,
      critic: config.criticLearningRate * left,
    };
    const { figures, critic } = this.#parts.ratios
      ? await this.#updateSequentially(this.#parts.ratios, rates)
      : await this.#updateJointly(rates);
    this.#parts.actor.form();
    const { metrics, gradientNorms } = critic;
    return {
      figures: { ...figures, valueLoss: metrics[0]!, criticGradientNorm: Math.max(...gradientNorms) },
      learningRate: rates.actor,
    };
  }

  /** The critic trains in its thread while the actor trains here; without a thread, before it. */
  async #updateJointly(rates: LearningRates): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
    const { clipRange } = this.config;
    this.#estimator.normalise();
    const critic = this.#criticLearner.update(this.#criticBatch, { learningRate: rates.critic, clipRange });
    const figures = this.#parts.actor.update(this.#actorBatch, { learningRate: rates.actor, clipRange });
    return { figures, critic: await critic };
  }

  #updateSequentially(
    ratios: RatioSession,
    rates: LearningRates,
  ): Promise<{ figures: ActorFigures; critic: UpdateResult }> {
    const buffer = this.#buffer;
    return updateSequentially({
      config: this.config,
      buffer,
      estimator: this.#estimator,
      actor: this.#parts.actor,
      critic: this.#criticLearner,
      ratios,
      block: blockSize(this.config, buffer.shape.agents)!,
      random: this.#order,
      rates,
    });
  }
}

type LearningRates = Readonly<Record<"actor" | "critic", number>>;

function disposeParts({ actor, session, collector, ratios }: PhaseParts): void {
  collector.dispose();
  actor.dispose();
  session.dispose();
  ratios?.dispose();
}

export function rolloutShape(config: TrainConfig, spec: EnvSpec): RolloutShape {
  const agents = spec.agents.length;
  const hidden = config.recurrent ? config.hidden.at(-1)! : 0;
  return {
    agents,
    heads: config.critic === "agent" ? agents : 1,
    steps: config.rolloutLength,
    envs: config.envs,
    chunkLength: chunkLengthOf(config),
    observationSize: spec.observationSize,
    stateSize: spec.stateSize,
    stateRows: spec.statePerAgent ? agents : 1,
    drawnSize: spec.actionSpace.kind === "discrete" ? 1 : spec.actionSpace.size,
    maskSize: spec.actionSpace.kind === "discrete" ? spec.actionSpace.count : 0,
    actorHidden: hidden,
    criticHidden: hidden,
    finalValues: config.timeLimit === "bootstrap",
  };
}
