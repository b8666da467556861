/** `lorasa evaluate`: plays episodes with a checkpoint's policy in process. */
import { Command } from "commander";
import { mean, standardDeviation } from "../base/statistics.ts";
import { createVectorEnv } from "../envs/vector.ts";
import { createRuntime } from "../runtime/onnxruntime.ts";
import { evaluate } from "../training/evaluation.ts";
import { loadRun } from "../training/saved-run.ts";
import { answer, wholeNumber, withJson } from "./command.ts";

interface EvaluateFlags {
  readonly episodes: number;
  readonly seed: number;
  readonly sampled?: boolean;
  readonly json?: boolean;
}

/** More environments at once gain nothing on a few cores. */
const MAX_ENVS = 8;

export function evaluateCommand(): Command {
  return withJson(new Command("evaluate"))
    .description("Play episodes with a checkpoint's policy and print their returns.")
    .argument("<checkpoint>", "folder with lorasa.json")
    .option("--episodes <n>", "episodes to play", wholeNumber(1), 10)
    .option("--seed <s>", "seed of the episodes (and of drawn actions)", wholeNumber(0), 0)
    .option("--sampled", "draw actions instead of taking the most likely ones")
    .addHelpText("after", "\nExample:\n  lorasa evaluate runs/cheetah/checkpoint --episodes 20 --json")
    .action((checkpoint: string, flags: EvaluateFlags) =>
      answer(flags, () => runEvaluate(checkpoint, flags)),
    );
}

async function runEvaluate(
  checkpoint: string,
  flags: EvaluateFlags,
): Promise<{ json: object; text: string }> {
  const { saved, team } = loadRun(checkpoint);
  const envs = Math.min(MAX_ENVS, flags.episodes);
  const vectorEnv = await createVectorEnv({
    name: saved.config.env,
    options: saved.config.envOptions,
    envs,
    groups: 1,
  });
  try {
    const episodes = evaluate(team, {
      runtime: createRuntime("cpu"),
      vectorEnv,
      episodes: flags.episodes,
      seed: flags.seed,
      sampled: flags.sampled ?? false,
    });
    const returns = episodes.map((episode) => episode.return);
    const json = { returns, mean: mean(returns), std: standardDeviation(returns) };
    const lines = episodes.map(
      (episode, index) =>
        `episode ${index + 1}: return ${episode.return.toFixed(1)}, ${episode.length} steps`,
    );
    return { json, text: [...lines, `mean ${json.mean.toFixed(1)} ± ${json.std.toFixed(1)}`].join("\n") };
  } finally {
    await vectorEnv.close();
  }
}
