/** `lorasa simulate`: the real environment as an HTTP client of a server. */
import { Command, Option } from "commander";
import { type ModelDevice, startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { LorasaError } from "../base/errors.ts";
import { formatCount, formatMicroseconds } from "../base/format.ts";
import { mean, quantile, standardDeviation } from "../base/statistics.ts";
import { createVectorEnv } from "../envs/vector.ts";
import { DEVICE_CHOICES, type DeviceChoice } from "../runtime/choose.ts";
import { type Episode, meanFigures } from "../training/episodes.ts";
import { answer, wholeNumber, withJson } from "./command.ts";
import { playEpisodes } from "./play/episodes.ts";
import { figuresText } from "./play/figures.ts";
import { describeServed, ServedTeam } from "./play/policies.ts";
import { readToken } from "./serve.ts";

interface SimulateFlags extends SimulationFlags {
  readonly repository?: string;
  readonly device: DeviceChoice;
  readonly json?: boolean;
}

interface SimulationFlags {
  readonly env?: string;
  readonly server: string;
  readonly model: string;
  readonly episodes: number;
  readonly envs: number;
  readonly seed: number;
  readonly tokenFile?: string;
  readonly caFile?: string;
}

/** What a simulation against a server found. */
export interface SimulationResult {
  readonly returns: readonly number[];
  readonly mean: number;
  readonly std: number;
  /** Means of what the task tells of its episodes besides, such as `won`. */
  readonly figures: Readonly<Record<string, number>>;
  readonly requestsPerSecond: number;
  /** Time of a request at the client, its queueing and the network included. */
  readonly latencyUs: { readonly p50: number; readonly p99: number };
  /** Distinct adapter versions that replies named, by agent. */
  readonly adapterVersions: Readonly<Record<string, readonly number[]>>;
}

export function simulateCommand(): Command {
  return withJson(new Command("simulate"))
    .description("Play episodes of an environment with the actions of a served policy.")
    .option("--env <task>", "environment (default: the one that the model was trained on)")
    .option("--server <url>", "address of the server", "http://127.0.0.1:8000")
    .option("--repository <folder>", "serve this in the same process meanwhile, instead of --server")
    .addOption(
      new Option("--device <name>", "where the graphs of --repository run")
        .choices(DEVICE_CHOICES)
        .default("cpu"),
    )
    .option("--model <name>", "name of the team", "team")
    .option("--episodes <n>", "episodes to play", wholeNumber(1), 8)
    .option("--envs <n>", "environments in one request", wholeNumber(1), 8)
    .option("--seed <s>", "seed of the episodes", wholeNumber(0), 0)
    .option("--token-file <file>", "file with the server's token, where it asks for one")
    .option("--ca-file <file>", "certificate in PEM that vouches for an https server")
    .addHelpText(
      "after",
      `
Examples:
  lorasa simulate --server http://127.0.0.1:8000 --model team --episodes 16 --json
  lorasa simulate --repository models-repository --device auto --envs 64 --episodes 64`,
    )
    .action((flags: SimulateFlags) => answer(flags, () => runSimulate(flags)));
}

async function runSimulate(flags: SimulateFlags): Promise<{ json: object; text: string }> {
  const { result, devices } = await simulateFlags(flags);
  const { mean: average, std, figures, requestsPerSecond, latencyUs } = result;
  const told = figuresText(figures);
  const text = [
    ...devices.map(({ model, device, why }) => `${model} on ${why ?? device}`),
    `return ${average.toFixed(1)} ± ${std.toFixed(1)} over ${result.returns.length} episodes${told && `, ${told}`}`,
    `${formatCount(requestsPerSecond)} requests/s, latency p50 ${formatMicroseconds(latencyUs.p50)}, p99 ${formatMicroseconds(latencyUs.p99)}`,
    ...Object.entries(result.adapterVersions).map(
      ([agent, versions]) => `${agent}: adapter version ${versions.join(", ")}`,
    ),
  ].join("\n");
  return { json: { ...result, ...(devices.length > 0 && { devices }) }, text };
}

/** Against a server that is there, or one of this process for as long as the episodes take. */
async function simulateFlags(
  flags: SimulateFlags,
): Promise<{ result: SimulationResult; devices: readonly ModelDevice[] }> {
  const { repository, device } = flags;
  if (repository === undefined) return { result: await simulate(flags), devices: [] };
  const { url, devices, close } = await startServer({ repository, port: 0, device });
  try {
    return { result: await simulate({ ...flags, server: url }), devices };
  } finally {
    await close();
  }
}

/** Plays the episodes. @throws LORASA_SERVER, LORASA_UNKNOWN_TASK. */
export async function simulate(
  options: SimulationFlags & { readonly onStep?: (requests: number) => void },
): Promise<SimulationResult> {
  const { tokenFile, caFile } = options;
  const client = new ServerClient(options.server, {
    ...(tokenFile !== undefined && { token: readToken(tokenFile) }),
    ...(caFile !== undefined && { caFile }),
  });
  try {
    const served = await describeServed(client, options.model);
    const name = options.env ?? served.environment;
    if (name === "")
      throw new LorasaError("LORASA_FLAG", {
        asked: "--env",
        expected: "a task",
        received: "none, and the model names none",
      });
    const envs = Math.min(options.envs, options.episodes);
    const vectorEnv = await createVectorEnv({ name, envs, groups: 1 });
    const policy = new ServedTeam(client, options.model);
    const latencies: number[] = [];
    const started = performance.now();
    try {
      const episodes = await playEpisodes(policy, {
        vectorEnv,
        hiddenSize: served.hiddenSize,
        episodes: options.episodes,
        seed: options.seed,
        onRequest: (microseconds) => {
          latencies.push(microseconds);
          options.onStep?.(latencies.length);
        },
      });
      return summarise(episodes, latencies, performance.now() - started, policy);
    } finally {
      await vectorEnv.close();
    }
  } finally {
    client.close();
  }
}

function summarise(
  episodes: readonly Episode[],
  latencies: readonly number[],
  ms: number,
  policy: ServedTeam,
): SimulationResult {
  const returns = episodes.map((episode) => episode.return);
  return {
    returns,
    mean: mean(returns),
    std: standardDeviation(returns),
    figures: meanFigures(episodes),
    requestsPerSecond: (latencies.length / ms) * 1000,
    latencyUs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    adapterVersions: Object.fromEntries(
      [...policy.versions].map(([agent, versions]) => [agent, [...versions]]),
    ),
  };
}
