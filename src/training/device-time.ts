/** How long training and acting take on a device, by running their graphs once over zeros. Not which device is taken. */
import { criticParameters } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { envSpec } from "../envs/registry.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Runtime } from "../runtime/session.ts";
import { type ActingConfig, actingGraph } from "./acting-graph.ts";
import { ActorTrainer, actorBatch } from "./actor-trainer.ts";
import { CarriedRun } from "./carried-run.ts";
import { actorConfig, criticConfig, sharingIn, type TrainConfig } from "./config.ts";
import { createRolloutBuffer } from "./rollout-buffer.ts";
import { zeroTensors } from "./session-tensors.ts";
import { rolloutShape } from "./trainer.ts";

/** Environments act in two groups, one while the other simulates. */
const GROUPS = 2;

/**
 * Milliseconds of an iteration of phase one without its simulator: acting through a rollout and the actor's updates.
 * @throws LORASA_DEVICE where the device does not run them.
 */
export function iterationMs(runtime: Runtime, config: TrainConfig): number {
  const spec = envSpec(config.env, config.envOptions);
  const actor = actorConfig(config, spec);
  const critic = criticConfig(config, spec);
  const trainer = new ActorTrainer({
    runtime,
    // All agents at once, whatever their clusters: the same work as one after another.
    config: { ...config, epochs: 1, algo: "mappo" },
    actor,
    sharing: sharingIn(config, "shared", { agents: spec.agents, clusterOf: spec.agents.map(() => 0) }),
    actionSizes: spec.agents.map(({ actionSize }) => actionSize),
    threads: 1,
  });
  try {
    const buffer = createRolloutBuffer(rolloutShape(config, spec));
    const batch = actorBatch(buffer, new Float32Array(buffer.values.length));
    const { learningRate, clipRange } = config;
    const epoch = secondTime(() => trainer.update(batch, { learningRate, clipRange }));
    const act = actMs(runtime, {
      actor,
      backbone: trainer.parameters.backbone,
      perAgent: trainer.perAgent,
      envs: config.envs / GROUPS,
      critic: { config: critic, layout: criticParameters(critic) },
      sampled: true,
    });
    return config.epochs * epoch + config.rolloutLength * GROUPS * act;
  } finally {
    trainer.dispose();
  }
}

/**
 * Milliseconds of one step of a team in that many environments.
 * @param runs over which the mean is taken, after one that is not counted.
 * @throws LORASA_DEVICE.
 */
export function stepMs(runtime: Runtime, team: Team, envs: number, runs = 1): number {
  const perAgent = team.sharing.kind !== "shared";
  return actMs(
    runtime,
    {
      actor: team.actor,
      backbone: team.parameters.backbone,
      perAgent,
      envs,
      sampled: false,
    },
    runs,
  );
}

function actMs(runtime: Runtime, config: ActingConfig, runs = 1): number {
  const session = runtime.createSession(encodeModel(actingGraph(config)));
  const run = new CarriedRun(runtime, session);
  const feeds = zeroTensors(run.inputs);
  const weights = ["parameters", "critic_parameters"].filter((name) => feeds[name]);
  const resident = weights.map((name) => [name, runtime.upload(feeds[name]!)] as const);
  try {
    run.bind({ ...feeds, ...Object.fromEntries(resident) }, zeroTensors(run.outputs));
    return (
      secondTime(() => {
        for (let i = 0; i < runs; i++) run.run();
      }) / runs
    );
  } finally {
    for (const [, tensor] of resident) tensor.dispose();
    run.dispose();
    session.dispose();
  }
}

/** A device compiles its kernels at their first run. */
function secondTime(work: () => void): number {
  work();
  const started = performance.now();
  work();
  return performance.now() - started;
}
