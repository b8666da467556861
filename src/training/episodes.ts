/** Finished episodes as a vector environment shows them; not what is made of them. */
import { mean } from "../base/statistics.ts";
import type { EnvSpec } from "../envs/contract.ts";
import type { EnvGroup } from "../envs/vector-contract.ts";

/** A finished episode. */
export interface Episode {
  readonly return: number;
  readonly length: number;
  /** What the task tells of an episode besides, by name: its spec's `episodeFigures`. */
  readonly figures: Readonly<Record<string, number>>;
}

/** The episode that environment `e` of a group ended with the last step. */
export function finishedEpisode({ episodeFigures }: EnvSpec, group: EnvGroup, e: number): Episode {
  const named = episodeFigures.map((name, k) => [name, group.figures[e * episodeFigures.length + k]!]);
  return {
    return: group.episodeReturn[e]!,
    length: group.episodeLength[e]!,
    figures: Object.fromEntries(named),
  };
}

/** Environments of a group, counted from its first, whose episode ended with the last step. */
export function endedEnvs({ envs, terminated, truncated }: EnvGroup): number[] {
  const ended: number[] = [];
  for (let e = 0; e < envs; e++) if (terminated[e] || truncated[e]) ended.push(e);
  return ended;
}

export function meanReturn(episodes: readonly Episode[]): number {
  return mean(episodes.map((episode) => episode.return));
}

/** The mean of each figure; none without episodes. */
export function meanFigures(episodes: readonly Episode[]): Record<string, number> {
  const names = Object.keys(episodes[0]?.figures ?? {});
  return Object.fromEntries(names.map((name) => [name, mean(episodes.map(({ figures }) => figures[name]!))]));
}
