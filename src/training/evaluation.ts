/** Plays whole episodes with a team's policy, in process: no learning, no noise unless asked for. */
import type { Team } from "../../models/team.ts";
import { Random } from "../base/random.ts";
import { type FloatTensor, floatTensor } from "../base/tensor.ts";
import type { EnvGroup, VectorEnv } from "../envs/vector-contract.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { BoundRun, Runtime } from "../runtime/session.ts";
import { actingGraph, mergingGraph } from "./acting-graph.ts";
import type { Episode } from "./collector.ts";
import { clearState, fillNoise, zeroTensors } from "./session-tensors.ts";

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

/** Weights float32 [1 or N, P] that act: merged with the adapters where there are any. */
export function actingWeights(runtime: Runtime, team: Team): Float32Array {
  if (team.sharing.kind !== "low-rank") return team.backbone;
  const session = runtime.createSession(encodeModel(mergingGraph(team.parameters, team.sharing.lora)));
  const { backbone, adapters } = team.parameters;
  const results = session.run({
    frozen: floatTensor(backbone.dims, team.backbone),
    adapters: floatTensor(adapters!.dims, team.adapters!),
  });
  session.dispose();
  return (results["merged"] as FloatTensor).data;
}

/** Finished episodes, in the order of environments and then of time. */
export function evaluate(team: Team, options: EvaluationOptions): Episode[] {
  const { vectorEnv, runtime, episodes, seed } = options;
  const [group] = vectorEnv.groups as readonly [EnvGroup];
  const player = createPlayer(runtime, team, group, options.sampled ?? false);
  const perEnv = Math.ceil(episodes / group.envs);
  const finished: Episode[][] = Array.from({ length: group.envs }, () => []);
  const random = new Random(seed);
  vectorEnv.reset(seed);
  let done = 0;
  while (finished.some((list) => list.length < perEnv)) {
    player.act(random);
    vectorEnv.startStep(0);
    vectorEnv.finishStep(0);
    for (let e = 0; e < group.envs; e++) {
      if (!group.terminated[e] && !group.truncated[e]) continue;
      player.forget(e);
      const episode = { return: group.episodeReturn[e]!, length: group.episodeLength[e]! };
      if (finished[e]!.length === perEnv) continue;
      finished[e]!.push(episode);
      done += 1;
      options.onEpisode?.(episode, done);
    }
  }
  player.dispose();
  return finished.flat().slice(0, episodes);
}

interface Player {
  /** Writes the group's actions for its observations. */
  act(random: Random): void;
  /** Zeroes the recurrent state of an environment whose episode ended. */
  forget(env: number): void;
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
  const feeds = zeroTensors(session.inputs);
  const fetches = zeroTensors(session.outputs);
  feeds["parameters"] = { ...feeds["parameters"]!, data: actingWeights(runtime, team) };
  const run: BoundRun = session.bind(feeds, fetches);
  const discrete = team.actor.head.kind === "categorical";
  return {
    act(random) {
      feeds["observations"]!.data.set(group.observations);
      feeds["action_mask"]?.data.set(group.actionMask);
      if (feeds["noise"]) fillNoise(feeds["noise"].data, discrete, random);
      run.run();
      group.actions.set(fetches["action"]!.data);
      if (feeds["hidden"]) feeds["hidden"].data.set(fetches["hidden_out"]!.data);
    },
    forget: (env) => clearState(feeds["hidden"], env),
    dispose: () => session.dispose(),
  };
}
