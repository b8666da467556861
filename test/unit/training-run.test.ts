/** Whole runs with a simulator: exact resume from files, other runs' checkpoints, and what is refused. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createVectorEnv } from "../../src/envs/vector.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { readMetrics } from "../../src/training/log/metrics-file.ts";
import { type TrainResult, type TrainRunOptions, train } from "../../src/training/run.ts";
import { loadRun } from "../../src/training/saved-run.ts";
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

/** Rows of the metrics file but for their times. */
function metrics(directory: string): object[] {
  return readMetrics(join(directory, "metrics.jsonl")).map(({ envSteps, phase, metrics: all }) => ({
    envSteps,
    phase,
    ...Object.fromEntries(Object.entries(all).filter(([name]) => !name.endsWith("Ms"))),
  }));
}

const CONFIG = tinyConfig({ envs: 2, steps: 240, switchAt: 0.5, evaluationEpisodes: 1 });
const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const whole = join(folder, "whole");

test("a run writes its checkpoint, the shared policy at the switch, and what it measured", async () => {
  const result = await run(whole, CONFIG);
  assert.equal(result.interrupted, false);
  assert.equal(result.envSteps, 240);
  assert.equal(result.checkpoint, join(whole, "checkpoint"));
  assert.deepEqual(result.phases.map(({ phase, envSteps }) => [phase, envSteps]).slice(-2), [
    ["shared", 120],
    ["adapters", 240],
  ]);
  const atSwitch = loadRun(join(whole, "switch"));
  assert.equal(atSwitch.saved.phase, "shared");
  assert.equal(atSwitch.saved.counters.envSteps, 120);
  const { saved, team } = loadRun(result.checkpoint);
  assert.deepEqual(team.backbone, atSwitch.team.backbone, "the backbone stays bit for bit");
  assert.deepEqual(saved.counters, {
    envSteps: 240,
    // A fresh optimizer since the switch for the adapters; the critic's goes on.
    actorUpdates: 6,
    criticUpdates: 12,
    seconds: saved.counters.seconds,
  });
  assert.equal(metrics(whole).length, 6);

  const vectorEnv = await createVectorEnv({ name: CONFIG.env, envs: 1, groups: 1, threads: 0 });
  const [episode] = evaluate(team, { runtime, vectorEnv, episodes: 1, seed: CONFIG.seed + 1_000_003 });
  await vectorEnv.close();
  assert.equal(episode!.return, result.return.mean, "the checkpoint is the policy that was evaluated last");
  assert.equal(episode!.length, 1000);
});

test("a run stopped at the switch and after it and resumed leaves the files of one that was not", async () => {
  const parts = join(folder, "parts");
  for (const stopAt of [120, 160]) {
    const stopped = await run(parts, CONFIG, { stopAt, resume: existsSync(parts) });
    assert.equal(stopped.interrupted, true);
    assert.equal(stopped.envSteps, stopAt);
  }
  const resumed = await run(parts, CONFIG, { resume: true });
  assert.equal(resumed.interrupted, false);
  assert.deepEqual(contents(resumed.checkpoint), contents(join(whole, "checkpoint")));
  assert.deepEqual(contents(join(parts, "switch")), contents(join(whole, "switch")));
  assert.deepEqual(metrics(parts), metrics(whole));
});

test("a switch that a longer run moves behind what is done does not come again: the shared policy is kept", async () => {
  const longer = join(folder, "longer");
  const config = { ...CONFIG, steps: 160 };
  await run(longer, config);
  const kept = contents(join(longer, "switch"));
  const result = await run(longer, { ...config, steps: 320 }, { resume: true });
  assert.deepEqual(contents(join(longer, "switch")), kept);
  assert.deepEqual(result.phases.map(({ phase, envSteps }) => [phase, envSteps]).slice(-3), [
    ["shared", 80],
    ["adapters", 160],
    ["adapters", 320],
  ]);
});

test("adapters of another rank start from the checkpoint of a shared policy", async () => {
  const other = join(folder, "other");
  const config = { ...CONFIG, rank: 4, steps: 160 };
  const result = await run(other, config, { from: join(whole, "switch") });
  assert.equal(result.envSteps, 160);
  const { saved, team } = loadRun(result.checkpoint);
  assert.equal(saved.phase, "adapters");
  assert.deepEqual(team.backbone, loadRun(join(whole, "switch")).team.backbone);
  assert.equal(team.parameters.layers[0]!.rank, 4);
  assert.equal(saved.counters.actorUpdates, 2);
  assert.equal(saved.counters.criticUpdates, 8, "the critic goes on from the checkpoint");
});

const REFUSED: readonly (readonly [string, Partial<TrainConfig>])[] = [
  ["hidden", { hidden: [4] }],
  ["hidden", { hidden: [16] }],
  ["recurrent", { recurrent: false }],
  ["critic", { critic: "team" }],
  ["sharing", { sharing: "ps" }],
  ["rank", { rank: 1 }],
  ["layerRanks", { layerRanks: { head: 1 } }],
  ["adapterKey", { adapterKey: "type" }],
  ["criticSharing", { criticSharing: "separate" }],
  ["envs", { envs: 4, rolloutLength: 10 }],
];

for (const [field, change] of REFUSED) {
  test(`a checkpoint of another ${field} (${JSON.stringify(change)}) is refused`, async () => {
    const config = { ...CONFIG, steps: 400, ...change };
    await assert.rejects(run(join(folder, "refused"), config, { from: join(whole, "checkpoint") }), {
      code: "LORASA_CONFIG",
      message: new RegExp(`${field}: expected .*, received`),
    });
  });
}

test("a finished run that is resumed is measured again and changes nothing", async () => {
  const before = contents(join(whole, "checkpoint"));
  const { return: reached, phases, interrupted } = await run(whole, CONFIG, { resume: true });
  assert.equal(interrupted, false);
  assert.equal(reached.mean, phases.at(-1)!.return);
  assert.deepEqual(contents(join(whole, "checkpoint")), before);
  assert.equal(metrics(whole).length, 6);
});

test("a checkpoint that has all the steps asked for is refused: nothing would be trained", async () => {
  const options = { from: join(whole, "switch") };
  await assert.rejects(run(join(folder, "refused"), { ...CONFIG, steps: 120 }, options), {
    code: "LORASA_CONFIG",
    message: /steps: expected more than the 120/,
  });
});

test("a folder with a run is not overwritten, and one without cannot be resumed", async () => {
  await assert.rejects(run(whole, CONFIG), { code: "LORASA_EXISTS", message: /--resume/ });
  await assert.rejects(run(join(folder, "none"), CONFIG, { resume: true }), { code: "LORASA_FILE" });
});
