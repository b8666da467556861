/** Plays whole episodes with a team's policy, in process: no learning, no noise unless asked for. */
import { networkLayout } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../base/random.ts";
import { floatTensor } from "../base/tensor.ts";
import type { EnvGroup, VectorEnv } from "../envs/vector-contract.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { ResidentTensor, Runtime } from "../runtime/session.ts";
import { actingGraph, formsNetworks, networksGraph } from "./acting-graph.ts";
import { CarriedRun } from "./carried-run.ts";
import { type Episode, endedEnvs, finishedEpisode } from "./episodes.ts";
import { clearStates, fillNoise, zeroTensors } from "./session-tensors.ts";

export interface EvaluationOptions {
  readonly runtime: Runtime;
  /** Of the team's task; one group. It is reset with the seed, and not closed. */
  readonly vectorEnv: VectorEnv;
  /** Every environment plays episodes / environments of them, so that short ones are not counted more often. */
  readonly episodes: number;
  readonly seed: number;
  /** Draws actions instead of taking the mode. */
  readonly sampled?: boolean;
  readonly onEpisode?: (episode: Episode, done: number) => void;
}

/** Weights float32 [1 or N, P] that act, uploaded: formed of what they share where they share a part. */
export function actingWeights(runtime: Runtime, team: Team): ResidentTensor {
  const { parameters, sharing, agents } = team;
  const backbone = floatTensor(parameters.backbone.dims, team.backbone);
  if (!formsNetworks(sharing)) return runtime.upload(backbone);
  const session = runtime.createSession(encodeModel(networksGraph(parameters, sharing, agents.length)));
  const { size } = networkLayout(parameters, sharing, agents.length);
  const networks = runtime.allocate("float32", [agents.length, size]);
  const adapters = team.adapters && floatTensor(parameters.adapters!.dims, team.adapters);
  session.run({ backbone, ...(adapters && { adapters }) }, { networks });
  session.dispose();
  return networks;
}

/** Finished episodes, in the order of environments and then of time. */
export function evaluate(team: Team, options: EvaluationOptions): Episode[] {
  const { vectorEnv, runtime, sampled = false } = options;
  const player = createPlayer(runtime, team, vectorEnv.groups[0]!, sampled);
  try {
    return playEpisodes(player, options);
  } finally {
    player.dispose();
  }
}

function playEpisodes(player: Player, options: EvaluationOptions): Episode[] {
  const { vectorEnv, episodes, seed } = options;
  const [group] = vectorEnv.groups as readonly [EnvGroup];
  const perEnv = Math.ceil(episodes / group.envs);
  const finished: Episode[][] = Array.from({ length: group.envs }, () => []);
  const random = new Random(seed);
  vectorEnv.reset(seed);
  let done = 0;
  while (finished.some((list) => list.length < perEnv)) {
    player.act(random);
    vectorEnv.startStep(0);
    vectorEnv.finishStep(0);
    const ended = endedEnvs(group);
    player.forget(ended);
    for (const e of ended) {
      const episode = finishedEpisode(vectorEnv.spec, group, e);
      if (finished[e]!.length === perEnv) continue;
      finished[e]!.push(episode);
      done += 1;
      options.onEpisode?.(episode, done);
    }
  }
  return finished.flat().slice(0, episodes);
}

interface Player {
  /** Writes the group's actions for its observations. */
  act(random: Random): void;
  /** Zeroes the recurrent state of environments whose episode ended. */
  forget(envs: readonly number[]): void;
  dispose(): void;
}

function createPlayer(runtime: Runtime, team: Team, group: EnvGroup, sampled: boolean): Player {
  const perAgent = team.sharing.kind !== "shared";
  const graph = actingGraph({
    actor: team.actor,
    backbone: team.parameters.backbone,
    perAgent,
    envs: group.envs,
    sampled,
  });
  const session = runtime.createSession(encodeModel(graph));
  const run = new CarriedRun(runtime, session);
  const feeds = zeroTensors(run.inputs.filter(({ name }) => name !== "parameters"));
  const fetches = zeroTensors(run.outputs);
  const parameters = actingWeights(runtime, team);
  run.bind({ ...feeds, parameters }, fetches);
  const discrete = team.actor.head.kind === "categorical";
  return {
    act(random) {
      feeds["observations"]!.data.set(group.observations);
      feeds["action_mask"]?.data.set(group.actionMask);
      if (feeds["noise"]) fillNoise(feeds["noise"].data, discrete, random);
      run.run();
      group.actions.set(fetches["action"]!.data);
    },
    forget: (envs) => clearStates(run, envs),
    dispose() {
      run.dispose();
      parameters.dispose();
      session.dispose();
    },
  };
}
