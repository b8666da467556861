/**
 * Which agents of a team are alike (SePS): a variational encoder learns a code for each agent from what its actions do, and
 * k-means groups the codes. How the groups then share networks is a matter of bindings.
 *
 * @source Christianos et al., arXiv 2102.07475 (Selective Parameter Sharing); sizes are those of LoRASA's released code.
 */
import { Random } from "../base/random.ts";
import type { VectorEnv } from "../envs/vector-contract.ts";
import type { Runtime } from "../runtime/session.ts";
import { learnCodes } from "./agent-codes.ts";
import type { TrainConfig } from "./config.ts";
import { kMeans, silhouette } from "./k-means.ts";
import { randomTransitions } from "./transitions.ts";

export interface ClusteringOptions {
  readonly config: TrainConfig;
  readonly runtime: Runtime;
  /** It is reset and stepped with random actions; what uses it next resets it again. */
  readonly vectorEnv: VectorEnv;
}

/**
 * For each agent its cluster, numbered in the order in which they are met. The number of clusters is the configuration's,
 * or that from 2 to N − 1 with the best silhouette. Two agents have no such number: they are apart where their codes are
 * further from one another than the encoder is unsure of them.
 */
export function clusterAgents({ config, runtime, vectorEnv }: ClusteringOptions): number[] {
  const random = new Random(config.seed).fork(6);
  const transitions = randomTransitions(vectorEnv, config.rolloutLength, random);
  const { means, deviations } = learnCodes(runtime, transitions, random);
  return renumbered(grouped(means, deviations, config.clusters, random));
}

function grouped(
  means: readonly Float64Array[],
  deviations: readonly number[],
  asked: number,
  random: Random,
): readonly number[] {
  const agents = means.length;
  if (asked > 0) return kMeans(means, Math.min(asked, agents), random);
  if (agents <= 2) return areApart(means, deviations) ? means.map((_, agent) => agent) : means.map(() => 0);
  const tried = Array.from({ length: agents - 2 }, (_, k) => kMeans(means, k + 2, random));
  return tried.reduce((best, one) => (silhouette(means, one) > silhouette(means, best) ? one : best));
}

function areApart([a, b]: readonly Float64Array[], deviations: readonly number[]): boolean {
  return b !== undefined && Math.hypot(...a!.map((x, k) => x - b[k]!)) > deviations[0]! + deviations[1]!;
}

function renumbered(clusterOf: readonly number[]): number[] {
  const met = [...new Set(clusterOf)];
  return clusterOf.map((cluster) => met.indexOf(cluster));
}
