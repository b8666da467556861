/**
 * One training run in memory: collects rollouts, updates actor and critic, changes phase. Files, evaluation and what a
 * person sees are `run.ts`.
 */

import type { CriticConfig } from "../../models/networks.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { actorParameters, criticParameters } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random, type RandomState } from "../base/random.ts";
import type { EnvSpec } from "../envs/contract.ts";
import type { VectorEnv } from "../envs/vector-contract.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { actingGraph } from "./acting-graph.ts";
import { type ActorFigures, ActorTrainer, actorBatch } from "./actor-trainer.ts";
import { normaliseAdvantages } from "./advantages.ts";
import type { AsyncLearner } from "./async-learner.ts";
import { Collector, type CollectorState, type Episode } from "./collector.ts";
import {
  actorConfig,
  chunkLengthOf,
  criticConfig,
  type Phase,
  phaseAt,
  sharingIn,
  type TrainConfig,
} from "./config.ts";
import { createCriticLearner, criticBatch, valueNormOf } from "./critic-trainer.ts";
import { explainedVariance } from "./explained-variance.ts";
import { type GaeOutput, generalisedAdvantages } from "./gae.ts";
import type { LearnerState } from "./learner.ts";
import type { LearnerBatch } from "./minibatches.ts";
import { createRolloutBuffer, type RolloutBuffer, type RolloutShape, rowOffset } from "./rollout-buffer.ts";
import { denormaliseValues } from "./value-norm.ts";

export interface TrainerOptions {
  readonly config: TrainConfig;
  readonly runtime: Runtime;
  /** Environments of the configuration's task, in groups of equal size. The trainer resets but does not close it. */
  readonly vectorEnv: VectorEnv;
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
}

export class Trainer {
  readonly config: TrainConfig;
  readonly spec: EnvSpec;
  readonly #options: TrainerOptions;
  readonly #critic: { config: CriticConfig; layout: ParameterLayout };
  readonly #criticLearner: AsyncLearner;
  readonly #buffer: RolloutBuffer;
  readonly #gae: GaeOutput;
  readonly #values: Float32Array;
  readonly #criticBatch: LearnerBatch;
  readonly #actorBatch: LearnerBatch;
  #actor: ActorTrainer;
  #session: Session;
  #collector: Collector;
  #noise: Random;
  #envSteps = 0;

  constructor(options: TrainerOptions) {
    const { config, vectorEnv, runtime } = options;
    this.config = config;
    this.spec = vectorEnv.spec;
    this.#options = options;
    // What adapters cannot be is refused now, not when their phase comes.
    if (config.sharing === "lorasa")
      actorParameters(actorConfig(config, this.spec), sharingIn(config, "adapters"));
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
    const heads = this.#buffer.values.length;
    this.#gae = { advantages: new Float32Array(heads), returns: new Float32Array(heads) };
    this.#values = new Float32Array(heads);
    this.#criticBatch = criticBatch(this.#buffer, this.#gae.returns);
    this.#actorBatch = actorBatch(this.#buffer, this.#gae.advantages);
    this.#noise = new Random(config.seed).fork(4);
    [this.#actor, this.#session, this.#collector] = this.#startPhase("shared");
    vectorEnv.reset(config.seed);
    this.#collector.reset();
  }

  get envSteps(): number {
    return this.#envSteps;
  }

  get done(): boolean {
    return this.#envSteps >= this.config.steps;
  }

  get phase(): Phase {
    return this.#actor.sharing.kind === "low-rank" ? "adapters" : "shared";
  }

  /** A copy of the team as it is now. */
  get team(): Team {
    const { backbone, adapters, parameters, sharing } = this.#actor;
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
    this.#collector.setParameters(this.#actor.acting, this.#criticLearner.parameters);
    const episodes = this.#collector.collect(this.#buffer, this.#noise);
    const collected = performance.now();
    const explained = this.#estimateAdvantages();
    const { figures, learningRate } = await this.#update();
    this.#envSteps += this.#buffer.rows;
    return {
      envSteps: this.#envSteps,
      phase: this.phase,
      episodes,
      figures: { ...figures, explainedVariance: explained, learningRate },
      ms: {
        collect: collected - start,
        inference: this.#collector.takeInferenceMs(),
        update: performance.now() - collected,
      },
    };
  }

  async state(): Promise<TrainerState> {
    return {
      envSteps: this.#envSteps,
      backbone: this.#actor.backbone,
      actor: this.#actor.state(),
      critic: await this.#criticLearner.state(),
      collector: this.#collector.state(),
      environments: this.#options.vectorEnv.save(),
      noise: this.#noise.state(),
    };
  }

  /** Goes on as if the run had never stopped: the same numbers follow. */
  async restore(state: TrainerState, phase: Phase): Promise<void> {
    this.#envSteps = state.envSteps;
    if (phase === "adapters") this.#switchPhase(state.backbone);
    this.#actor.restore(state.actor);
    await this.#criticLearner.restore(state.critic);
    this.#options.vectorEnv.restore(state.environments);
    this.#collector.restore(state.collector);
    this.#noise = Random.restore(state.noise);
  }

  async close(): Promise<void> {
    this.#collector.dispose();
    this.#actor.dispose();
    this.#session.dispose();
    await this.#criticLearner.close();
  }

  /** Freezes the backbone and gives every agent a fresh adapter and optimizer; the critic goes on. */
  #switchPhase(backbone: Float32Array = this.#actor.backbone): void {
    const collected = this.#collector.state();
    const [actor, session, collector] = this.#startPhase("adapters", backbone);
    this.#collector.dispose();
    this.#actor.dispose();
    this.#session.dispose();
    [this.#actor, this.#session, this.#collector] = [actor, session, collector];
    this.#collector.restore(collected);
  }

  #startPhase(phase: Phase, backbone?: Float32Array): [ActorTrainer, Session, Collector] {
    const { config, runtime, vectorEnv } = this.#options;
    const sharing = sharingIn(config, phase);
    const actor = new ActorTrainer({
      runtime,
      config,
      actor: actorConfig(config, this.spec),
      sharing,
      actionSizes: this.spec.agents.map(({ actionSize }) => actionSize),
      threads: 1,
      ...(backbone && { backbone }),
    });
    const session = runtime.createSession(
      encodeModel(
        actingGraph({
          actor: actorConfig(config, this.spec),
          backbone: actor.parameters.backbone,
          perAgent: actor.perAgent,
          envs: vectorEnv.groups[0]!.envs,
          critic: this.#critic,
          sampled: true,
        }),
      ),
    );
    const discrete = this.spec.actionSpace.kind === "discrete";
    return [
      actor,
      session,
      new Collector({ runtime, session, vectorEnv, shape: this.#buffer.shape, discrete }),
    ];
  }

  /** Advantages (normalised) and returns of the rollout; how much of the returns' spread the values explained. */
  #estimateAdvantages(): number {
    const buffer = this.#buffer;
    const norm = valueNormOf(this.#criticLearner);
    denormaliseValues(norm, buffer.values, this.#values);
    const { shape } = buffer;
    generalisedAdvantages(
      {
        heads: shape.heads,
        steps: shape.steps,
        envs: shape.envs,
        rowOffset: (t) => rowOffset(shape, t),
        rewards: buffer.rewards,
        values: this.#values,
        bootstrapValues: denormaliseValues(norm, buffer.bootstrapValues),
        ...(shape.finalValues && { finalValues: denormaliseValues(norm, buffer.finalValues) }),
        terminated: buffer.terminated,
        truncated: buffer.truncated,
        timeLimit: this.config.timeLimit,
        gamma: this.config.gamma,
        gaeLambda: this.config.gaeLambda,
      },
      this.#gae,
    );
    const explained = explainedVariance(this.#values, this.#gae.returns);
    // One mean and spread over all agents where they share a policy; each its own where nothing is shared.
    const perAgent = shape.heads === shape.agents;
    const groups = perAgent && this.config.sharing === "nps" ? shape.agents : 1;
    normaliseAdvantages(this.#gae.advantages, groups, perAgent ? buffer.active : undefined);
    return explained;
  }

  /** The critic trains in its thread while the actor trains here; without a thread, before it. */
  async #update(): Promise<{
    figures: ActorFigures & { valueLoss: number; criticGradientNorm: number };
    learningRate: number;
  }> {
    const { config } = this;
    const left = config.learningRateDecay ? 1 - this.#envSteps / config.steps : 1;
    const rates = { learningRate: config.criticLearningRate * left, clipRange: config.clipRange };
    const critic = this.#criticLearner.update(this.#criticBatch, rates);
    const figures = this.#actor.update(this.#actorBatch, config.learningRate * left, config.clipRange);
    const { metrics, gradientNorms } = await critic;
    return {
      figures: { ...figures, valueLoss: metrics[0]!, criticGradientNorm: gradientNorms[0]! },
      learningRate: config.learningRate * left,
    };
  }
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
    drawnSize: spec.actionSpace.kind === "discrete" ? 1 : spec.actionSpace.size,
    maskSize: spec.actionSpace.kind === "discrete" ? spec.actionSpace.count : 0,
    actorHidden: hidden,
    criticHidden: hidden,
    finalValues: config.timeLimit === "bootstrap",
  };
}
