/**
 * What updates of one agent after another work on: a collected rollout of a task without a simulator, an actor, a critic
 * and the ratios of agents. Everything that is asked of actor, critic and ratios is written down.
 */
import { criticParameters } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { actingGraph } from "../../src/training/acting-graph.ts";
import {
  type ActorFigures,
  ActorTrainer,
  type ActorTrainerOptions,
  blockSize,
  forwardConfig,
} from "../../src/training/actor-trainer.ts";
import { AdvantageEstimator } from "../../src/training/advantage-estimator.ts";
import { AgentBatches } from "../../src/training/agent-batches.ts";
import type { AsyncLearner } from "../../src/training/async-learner.ts";
import { Collector } from "../../src/training/collector.ts";
import {
  actorConfig,
  criticConfig,
  type Phase,
  sharingIn,
  type TrainConfig,
} from "../../src/training/config.ts";
import { createCriticLearner, valueNormOf } from "../../src/training/critic-trainer.ts";
import type { UpdateRates, UpdateResult } from "../../src/training/learner.ts";
import type { LearnerBatch } from "../../src/training/minibatches.ts";
import { RatioSession } from "../../src/training/ratio-session.ts";
import { createRolloutBuffer, type RolloutBuffer } from "../../src/training/rollout-buffer.ts";
import { type SequentialUpdateOptions, updateSequentially } from "../../src/training/sequential-update.ts";
import { rolloutShape } from "../../src/training/trainer.ts";
import { type FakeTask, fakeVectorEnv } from "./fake-vector-env.ts";

/** Draws the order of agents. */
export const ORDER_SEED = 0;

/** An update of some agents. */
export interface ActorCall {
  readonly agents: readonly number[];
  readonly clipRange: number;
  readonly epochs: number;
  /** Copies of what the step was fed. */
  readonly others: Float32Array;
  readonly advantage: Float32Array;
  readonly active: Float32Array;
}

/** An update of the critic; of one value head where one was picked. */
export interface CriticCall {
  readonly head: number | undefined;
  readonly epochs: number;
  readonly returns: Float32Array;
  readonly state: Float32Array;
}

export interface RolloutSetup {
  readonly config: TrainConfig;
  readonly buffer: RolloutBuffer;
  readonly estimator: AdvantageEstimator;
  readonly actor: ActorTrainer;
  readonly critic: AsyncLearner;
  readonly batches: AgentBatches;
  /** In the order in which they came: `actor`, `critic`, and whose ratio was formed. */
  readonly calls: { readonly actor: ActorCall[]; readonly critic: CriticCall[]; readonly ratios: number[] };
  /** π / π_old of an agent's stored actions as it is now, float32 [R]; not written down. */
  ratioOf(agent: number): Float32Array;
  /** The whole update of the configuration's algorithm. */
  update(): ReturnType<typeof updateSequentially>;
  close(): Promise<void>;
}

/** Three agents who see and do different things; the last is dead in the later half of each episode. */
export function threesome(discrete: boolean): FakeTask {
  return {
    agents: 3,
    observationSize: 3,
    stateSize: 4,
    types: ["scout", "tank", "tank"],
    actionSpace: discrete
      ? { kind: "discrete", count: 3 }
      : { kind: "continuous", size: 2, low: -1, high: 1 },
    observation: ({ env, episode, step, memory }, agent) => [Math.sin(env + episode + step), memory, agent],
    state: ({ env, step, memory }) => [Math.cos(env), step / 10, memory, 1],
    active: ({ step }, agent) => agent < 2 || step < 4,
    step: ({ step, memory }, actions) => ({
      reward: actions.flat().reduce((sum, one, k) => sum + Math.sin(k + 1) * one, 0) + memory,
      memory: 0.8 * memory + 0.2 * actions[1]![0]!,
      terminated: step === 7,
      truncated: false,
    }),
  };
}

/** Actor and critic of a phase that have collected one rollout. @param change of `tinyConfig`, as far as it goes. */
export async function rolloutSetup(
  config: TrainConfig,
  task: FakeTask,
  { phase = "shared", clusterOf }: { phase?: Phase; clusterOf?: readonly number[] } = {},
): Promise<RolloutSetup> {
  const runtime = createRuntime();
  const vectorEnv = fakeVectorEnv(task, { envs: config.envs });
  const { spec } = vectorEnv;
  const calls: RolloutSetup["calls"] = { actor: [], critic: [], ratios: [] };
  const network = actorConfig(config, spec);
  const options: ActorTrainerOptions = {
    runtime,
    config,
    actor: network,
    sharing: sharingIn(config, phase, { agents: spec.agents, clusterOf }),
    actionSizes: spec.agents.map(({ actionSize }) => actionSize),
    threads: 1,
  };
  const actor = new RecordingActor(options, config, calls.actor);
  const criticNetwork = criticConfig(config, spec);
  const layout = criticParameters(criticNetwork);
  const learner = createCriticLearner({
    runtime,
    config,
    critic: criticNetwork,
    layout,
    ownThread: false,
    threads: 1,
  });
  const critic = recordingCritic(learner, config, calls.critic);

  const shape = rolloutShape(config, spec);
  const buffer = createRolloutBuffer(shape);
  const session = runtime.createSession(
    encodeModel(
      actingGraph({
        actor: network,
        backbone: actor.parameters.backbone,
        perAgent: actor.perAgent,
        envs: vectorEnv.groups[0]!.envs,
        critic: { config: criticNetwork, layout },
        sampled: true,
      }),
    ),
  );
  const discrete = spec.actionSpace.kind === "discrete";
  const collector = new Collector({ runtime, session, vectorEnv, shape, discrete });
  vectorEnv.reset(config.seed);
  collector.reset();
  collector.setParameters(actor.acting, learner.parameters);
  await collector.collect(buffer, new Random(config.seed));

  const estimator = new AdvantageEstimator(config, buffer);
  estimator.begin(valueNormOf(learner));
  estimator.estimate();
  const forward = {
    ...forwardConfig(options, actor.parameters),
    chunks: buffer.chunks,
    chunkLength: shape.chunkLength,
  };
  const ratios = new RecordingRatios(runtime, forward, calls.ratios);
  const block = blockSize(config, shape.agents) ?? 1;
  const batches = new AgentBatches(buffer, estimator, block);
  return {
    config,
    buffer,
    estimator,
    actor,
    critic,
    batches,
    calls,
    ratioOf: (agent) => ratios.quietly(batches.forward(agent), actor),
    update: () => {
      const rates = { actor: config.learningRate, critic: config.criticLearningRate };
      const all: SequentialUpdateOptions = {
        config,
        buffer,
        estimator,
        actor,
        critic,
        ratios,
        block,
        random: new Random(ORDER_SEED),
        rates,
      };
      return updateSequentially(all);
    },
    close: async () => {
      collector.dispose();
      session.dispose();
      ratios.dispose();
      actor.dispose();
      await learner.close();
    },
  };
}

class RecordingActor extends ActorTrainer {
  readonly #calls: ActorCall[];
  readonly #epochs: number;

  constructor(options: ActorTrainerOptions, { epochs }: TrainConfig, calls: ActorCall[]) {
    super(options);
    this.#calls = calls;
    this.#epochs = epochs;
  }

  override update(
    batch: LearnerBatch,
    rates: Omit<UpdateRates, "parts">,
    agents?: readonly number[],
  ): ActorFigures {
    this.#calls.push({
      agents: agents ?? [],
      clipRange: rates.clipRange,
      epochs: rates.epochs ?? this.#epochs,
      others: batch.inputs["others"]?.data.slice() ?? new Float32Array(),
      advantage: batch.inputs["advantage"]!.data.slice(),
      active: batch.inputs["active"]!.data.slice(),
    });
    return super.update(batch, rates, agents);
  }
}

class RecordingRatios extends RatioSession {
  readonly #calls: number[];

  constructor(
    runtime: ConstructorParameters<typeof RatioSession>[0],
    config: ConstructorParameters<typeof RatioSession>[1],
    calls: number[],
  ) {
    super(runtime, config);
    this.#calls = calls;
  }

  override run(...[batch, actor]: Parameters<RatioSession["run"]>): Float32Array {
    this.#calls.push(batch.pick.data.indexOf(1));
    return super.run(batch, actor);
  }

  quietly(...[batch, actor]: Parameters<RatioSession["run"]>): Float32Array {
    return super.run(batch, actor);
  }
}

function recordingCritic(
  learner: AsyncLearner,
  { criticEpochs }: TrainConfig,
  calls: CriticCall[],
): AsyncLearner {
  return {
    get parameters() {
      return learner.parameters;
    },
    carried: (name) => learner.carried(name),
    update: (batch: LearnerBatch, rates: UpdateRates): Promise<UpdateResult> => {
      const { pick } = rates.feeds ?? {};
      calls.push({
        head: pick?.data.indexOf(1),
        epochs: rates.epochs ?? criticEpochs,
        returns: batch.inputs["returns"]!.data.slice(),
        state: batch.inputs["state"]!.data.slice(),
      });
      return learner.update(batch, rates);
    },
    state: () => learner.state(),
    restore: (state) => learner.restore(state),
    close: () => learner.close(),
  };
}
