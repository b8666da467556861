/** A running server with a model of every kind, and what each must answer: worked out without the server. */
import assert from "node:assert/strict";
import { exportTeam } from "../../exporters/export-team.ts";
import { type RunningServer, type ServerOptions, startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { Random } from "../../src/base/random.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { randomTeam } from "../helpers/team.ts";
import { agentName, TinyPolicy, writeTinyRepository } from "../helpers/tiny-models.ts";
import type { DriverInput } from "./triton-client.ts";

export const TOKEN = "a management token for tests";

/** Agents of unequal sizes, so that padding crosses the wire as well. */
const SIZES = { observationSizes: [3, 4], actionSizes: [2, 1] };

/** The numbers of every model but the recurrent ones; one that answers with classes. */
export const POLICY = new TinyPolicy(SIZES);
export const DISCRETE = new TinyPolicy({ ...SIZES, actionSizes: [3, 3], discrete: true });

/** One policy under these names, a name a mode. */
export const PLAIN_MODELS = ["factored", "merged", "stacked"] as const;
/** The same policy once more, for what unloads and loads it. */
export const SPARE = "spare";
/** One recurrent policy under these names. */
export const RECURRENT_MODELS = ["recurrent", "recurrent-merged", "recurrent-stacked"] as const;
export const RECURRENT = { agents: 2, observation: 4, hidden: 6 };

/** An adapter of agent_0 that the tests push. */
export const VARIANT = { name: "agent_0.blue", seed: 42 };

/** Writes all models into an empty folder. */
export function writeModels(repository: string): void {
  const tiny = PLAIN_MODELS.map((mode) => ({ mode, name: mode, ...SIZES }));
  const discrete = {
    mode: "factored",
    name: "discrete",
    discrete: true,
    ...SIZES,
    actionSizes: [3, 3],
  } as const;
  writeTinyRepository(repository, [...tiny, discrete, { mode: "merged", name: SPARE, ...SIZES }]);
  const { agents, observation, hidden } = RECURRENT;
  const team = randomTeam({
    recurrent: true,
    head: "squashed-gaussian",
    hidden: [hidden],
    observationSizes: Array.from({ length: agents }, () => observation),
  });
  for (const [at, mode] of (["factored", "merged", "stacked"] as const).entries()) {
    exportTeam(team, { mode, repository, name: RECURRENT_MODELS[at]! });
  }
}

/** Both doors are open. */
export type ServedModels = RunningServer & { readonly grpcUrl: string };

/** Serves them on free ports; the token opens management. */
export async function serveModels(
  repository: string,
  options: Partial<ServerOptions> = {},
): Promise<ServedModels> {
  const server = await startServer({ repository, port: 0, grpcPort: 0, token: TOKEN, ...options });
  assert.ok(server.grpcUrl, "the server has no gRPC door");
  return { ...server, grpcUrl: server.grpcUrl };
}

/** Loads {@link VARIANT} into the factored model. */
export async function pushVariant(url: string): Promise<void> {
  const files = encodeAdapter(POLICY.adapter(VARIANT.seed));
  const client = new ServerClient(url, { token: TOKEN });
  const config = new TextDecoder().decode(files[CONFIG_FILE]);
  await client.pushAdapter("factored", VARIANT.name, config, files[TENSORS_FILE]!);
  client.close();
}

/** Seeded observations as an input of the driver. */
export function observations(shape: readonly number[], seed = 1): DriverInput & { data: readonly number[] } {
  const random = new Random(seed);
  const length = shape.reduce((product, size) => product * size, 1);
  const data = Array.from(Float32Array.from({ length }, () => random.normal()));
  return { datatype: "FP32", shape, data };
}

/**
 * The action of one row, padded with zeros to the team's width where that is wider.
 * @param seed of the adapter; the agent's own by default.
 */
export function expectedRow(row: readonly number[], agent: number, seed = agent): number[] {
  const own = POLICY.logits(row, agent, POLICY.adapter(seed)).map(Math.tanh);
  return [...own, ...new Array<number>(POLICY.action - own.length).fill(0)];
}

/** Actions of a team request, observations `[E, 2, 4]` flat. */
export function expectedTeam(data: readonly number[]): number[] {
  const { observation, agents } = POLICY;
  return rowsOf(data, observation).flatMap((row, at) => expectedRow(row, at % agents));
}

/** Actions of tagged rows, observations `[B, 4]` flat. */
export function expectedTagged(data: readonly number[], tags: readonly number[]): number[] {
  return rowsOf(data, POLICY.observation).flatMap((row, at) => expectedRow(row, tags[at]!));
}

/** The chosen class of each row of a team request to the discrete model. */
export function expectedClasses(data: readonly number[]): number[] {
  const { observation, agents } = DISCRETE;
  return rowsOf(data, observation).map((row, at) => {
    const logits = DISCRETE.logits(row, at % agents, DISCRETE.adapter(at % agents));
    return logits.indexOf(Math.max(...logits));
  });
}

export function rowsOf(data: readonly number[], width: number): number[][] {
  return Array.from({ length: data.length / width }, (_, row) => data.slice(row * width, (row + 1) * width));
}

export function tagNames(tags: readonly number[]): string[] {
  return tags.map(agentName);
}

/** The address that Triton's clients take: no scheme. */
export function addressOf(url: string): string {
  return url.replace(/^\w+:\/\//, "");
}
