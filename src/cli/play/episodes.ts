/**
 * Plays whole episodes of an environment with a policy that is asked for a team's actions: a served model over HTTP,
 * or an exported one in process. The same requests either way, so the same episodes follow from the same seed.
 *
 * Letters: E environments, N agents, O observation, H hidden, K action.
 */
import { type FloatTensor, floatTensor, type HostTensor } from "../../base/tensor.ts";
import type { EnvGroup, VectorEnv } from "../../envs/vector-contract.ts";
import { type Episode, endedEnvs, finishedEpisode } from "../../training/episodes.ts";

/** Answers a team request: `obs [E, N, O]`, `hidden_in [E, N, H]`, `action_mask [E, N, K]` → `action`, `hidden_out`. */
export interface TeamPolicy {
  infer(inputs: Readonly<Record<string, HostTensor>>): Promise<Readonly<Record<string, HostTensor>>>;
}

export interface PlayOptions {
  /** Of one group; reset with the seed, not closed. */
  readonly vectorEnv: VectorEnv;
  /** H, or 0. */
  readonly hiddenSize: number;
  readonly episodes: number;
  readonly seed: number;
  readonly onEpisode?: (episode: Episode, done: number) => void;
  /** Called with the time of each request in microseconds. */
  readonly onRequest?: (microseconds: number) => void;
}

/** Every environment plays its share of episodes, in the order of environments and then of time. */
export async function playEpisodes(policy: TeamPolicy, options: PlayOptions): Promise<Episode[]> {
  const { vectorEnv, episodes } = options;
  const [group] = vectorEnv.groups as readonly [EnvGroup];
  const perEnv = Math.ceil(episodes / group.envs);
  const finished: Episode[][] = Array.from({ length: group.envs }, () => []);
  const inputs = requestTensors(vectorEnv, group, options.hiddenSize);
  vectorEnv.reset(options.seed);
  let done = 0;
  while (finished.some((list) => list.length < perEnv)) {
    fillRequest(inputs, vectorEnv, group);
    const started = performance.now();
    const outputs = await policy.infer(inputs);
    options.onRequest?.((performance.now() - started) * 1000);
    takeActions(outputs["action"]!, vectorEnv, group);
    inputs["hidden_in"]?.data.set(outputs["hidden_out"]!.data as Float32Array);
    vectorEnv.startStep(0);
    vectorEnv.finishStep(0);
    for (const e of endedEnvs(group)) {
      forget(inputs["hidden_in"], e);
      if (finished[e]!.length === perEnv) continue;
      const episode = finishedEpisode(vectorEnv.spec, group, e);
      finished[e]!.push(episode);
      options.onEpisode?.(episode, ++done);
    }
  }
  return finished.flat().slice(0, episodes);
}

function requestTensors(
  { spec }: VectorEnv,
  { envs }: EnvGroup,
  hiddenSize: number,
): Record<string, FloatTensor> {
  const agents = spec.agents.length;
  return {
    obs: floatTensor([envs, agents, spec.observationSize]),
    ...(hiddenSize > 0 && { hidden_in: floatTensor([envs, agents, hiddenSize]) }),
    ...(spec.actionSpace.kind === "discrete" && {
      action_mask: floatTensor([envs, agents, spec.actionSpace.count]),
    }),
  };
}

function fillRequest(inputs: Record<string, FloatTensor>, { spec }: VectorEnv, group: EnvGroup): void {
  const agents = spec.agents.length;
  swapAxes(group.observations, inputs["obs"]!.data, agents, group.envs, spec.observationSize);
  const mask = inputs["action_mask"];
  if (mask) swapAxes(group.actionMask, mask.data, agents, group.envs, mask.dims[2]!);
}

/** Actions float32 or int64 [E, N, K] into the group's [N, E, K]. */
function takeActions(action: HostTensor, { spec }: VectorEnv, group: EnvGroup): void {
  const agents = spec.agents.length;
  const data =
    action.data instanceof BigInt64Array
      ? Float32Array.from(action.data, Number)
      : (action.data as Float32Array);
  swapAxes(data, group.actions, group.envs, agents, data.length / (group.envs * agents));
}

/** [a, b, width] → [b, a, width]. */
function swapAxes(from: Float32Array, to: Float32Array, a: number, b: number, width: number): void {
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) {
      const source = (i * b + j) * width;
      const target = (j * a + i) * width;
      for (let k = 0; k < width; k++) to[target + k] = from[source + k]!;
    }
  }
}

function forget(hidden: FloatTensor | undefined, env: number): void {
  if (!hidden) return;
  const size = hidden.dims[1]! * hidden.dims[2]!;
  hidden.data.fill(0, env * size, (env + 1) * size);
}
