/** `lorasa evaluate`: plays episodes in process, with a checkpoint's policy or an exported model. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { mean, standardDeviation } from "../base/statistics.ts";
import { MODEL_FILE } from "../checkpoint/repository-files.ts";
import { createVectorEnv } from "../envs/vector.ts";
import { candidates } from "../runtime/choose.ts";
import type { Runtime } from "../runtime/session.ts";
import { stepMs } from "../training/device-time.ts";
import { type Episode, meanFigures } from "../training/episodes.ts";
import { evaluate } from "../training/evaluation.ts";
import { loadRun } from "../training/saved-run.ts";
import { addRuntimeOptions, openRuntime, openTensorflow, type RuntimeFlags } from "./backend.ts";
import { answer, wholeNumber, withJson } from "./command.ts";
import { playEpisodes } from "./play/episodes.ts";
import { figuresText } from "./play/figures.ts";
import { localTeam } from "./play/policies.ts";

interface EvaluateFlags extends RuntimeFlags {
  readonly episodes: number;
  readonly seed: number;
  readonly sampled?: boolean;
  readonly json?: boolean;
}

/** More environments at once gain nothing on a few cores. */
const MAX_ENVS = 8;

export function evaluateCommand(): Command {
  const command = withJson(new Command("evaluate"))
    .description("Play episodes with a checkpoint's policy and print their returns.")
    .argument("<checkpoint>", "folder of a checkpoint, or of an exported model")
    .option("--episodes <n>", "episodes to play", wholeNumber(1), 10)
    .option("--seed <s>", "seed of the episodes (and of drawn actions)", wholeNumber(0), 0)
    .option("--sampled", "draw actions instead of taking the most likely ones");
  return addRuntimeOptions(command)
    .addHelpText("after", "\nExample:\n  lorasa evaluate runs/cheetah/checkpoint --episodes 20 --json")
    .action((checkpoint: string, flags: EvaluateFlags) =>
      answer(flags, () => runEvaluate(checkpoint, flags)),
    );
}

async function runEvaluate(path: string, flags: EvaluateFlags): Promise<{ json: object; text: string }> {
  const episodes = existsSync(join(path, MODEL_FILE))
    ? await playExportedOn(path, flags)
    : await playCheckpoint(path, flags);
  const returns = episodes.map((episode) => episode.return);
  const figures = meanFigures(episodes);
  const json = { returns, mean: mean(returns), std: standardDeviation(returns), figures };
  const lines = episodes.map(
    (episode, index) => `episode ${index + 1}: return ${episode.return.toFixed(1)}, ${episode.length} steps`,
  );
  const told = figuresText(figures);
  const average = `mean ${json.mean.toFixed(1)} ± ${json.std.toFixed(1)}`;
  return { json, text: [...lines, told === "" ? average : `${average}, ${told}`].join("\n") };
}

function note(line: string): void {
  process.stderr.write(`lorasa: ${line}\n`);
}

async function playCheckpoint(checkpoint: string, flags: EvaluateFlags): Promise<Episode[]> {
  const { episodes, seed, sampled = false } = flags;
  const { saved, team } = loadRun(checkpoint);
  const { env: name, envOptions: options } = saved.config;
  const envs = Math.min(MAX_ENVS, episodes);
  const test = { what: "a step", measure: (runtime: Runtime) => stepMs(runtime, team, envs) };
  const runtime = await openRuntime(flags, test, note);
  const vectorEnv = await createVectorEnv({ name, options, envs, groups: 1 });
  try {
    return evaluate(team, { runtime, vectorEnv, episodes, seed, sampled });
  } finally {
    await vectorEnv.close();
  }
}

/** A model is tried on the devices as a server tries it. */
async function playExportedOn(folder: string, flags: EvaluateFlags): Promise<Episode[]> {
  const { backend, device } = flags;
  const runtimes =
    backend === "tensorflow" ? [await openTensorflow(device, note)] : candidates(device ?? "cpu");
  return playExported(folder, flags, runtimes);
}

/**
 * The model's own graphs in this process: the episodes that a server with this model gives.
 * @param runtimes of several, the quickest is taken.
 */
export async function playExported(
  folder: string,
  { episodes, seed }: Pick<EvaluateFlags, "episodes" | "seed">,
  runtimes = candidates("cpu"),
): Promise<Episode[]> {
  const { policy, model } = await localTeam(folder, runtimes);
  if (model.why !== undefined) note(`device ${model.why}`);
  try {
    const { environment, hiddenSize } = model.manifest;
    const vectorEnv = await createVectorEnv({
      name: environment.name,
      envs: Math.min(MAX_ENVS, episodes),
      groups: 1,
    });
    try {
      return await playEpisodes(policy, { vectorEnv, hiddenSize, episodes, seed });
    } finally {
      await vectorEnv.close();
    }
  } finally {
    model.dispose();
  }
}
