/** Whole runs with a simulator: exact resume from files, other runs' checkpoints, and what is refused. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createVectorEnv } from "../../src/envs/vector.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { type TrainResult, type TrainRunOptions, train } from "../../src/training/run.ts";
import { loadRun } from "../../src/training/saved-run.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const runtime = createRuntime();

/** Trains, or stops once `stopAt` steps are done. */
function run(
  directory: string,
  config: TrainConfig,
  options: Partial<TrainRunOptions> & { stopAt?: number } = {},
): Promise<TrainResult> {
  const { stopAt, ...rest } = options;
  const stop = new AbortController();
  return train({
    config,
    directory,
    runtime,
    signal: stop.signal,
    onProgress: ({ done }) => {
      if (stopAt !== undefined && done >= stopAt) stop.abort();
    },
    ...rest,
  });
}

/** Every file of a checkpoint by its path; of the manifest only what does not say how long the run took. */
function contents(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return Object.fromEntries(
    files.map((file) => {
      const name = file.slice(directory.length + 1);
      const bytes = readFileSync(file);
      return [name, name === "lorasa.json" ? timeless(bytes.toString()) : bytes.toString("base64")];
    }),
  );
}

function timeless(json: string): string {
  return json.replace(/"seconds":\s*[\d.e-]+/, '"seconds": 0');
}

for (const stopAt of [80, 240, 320]) {
  const where = stopAt < 240 ? "before" : stopAt === 240 ? "at" : "after";
  test(`a run stopped ${where} the switch and resumed leaves the files of one that was not`, async (context) => {
    const folder = temporaryFolder(context);
    const config = tinyConfig({ switchAt: 0.5 });
    const whole = await run(join(folder, "whole"), config);
    const stopped = await run(join(folder, "parts"), config, { stopAt });
    assert.equal(stopped.interrupted, true);
    assert.equal(stopped.envSteps, stopAt);
    const resumed = await run(join(folder, "parts"), config, { resume: true });
    assert.equal(resumed.envSteps, 480);
    assert.deepEqual(resumed.return, whole.return);
    assert.deepEqual(contents(resumed.checkpoint), contents(whole.checkpoint));
    const steps = (of: string): unknown[] =>
      readFileSync(join(folder, of, "metrics.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => {
          const { envSteps, phase, metrics } = JSON.parse(line);
          return [envSteps, phase, metrics.return, metrics.policyLoss, metrics.valueLoss];
        });
    assert.deepEqual(steps("parts"), steps("whole"));
  });
}
