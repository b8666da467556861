/** Runs with simulators that connect: what is measured without an evaluation, and what a resumed run goes on from. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Env, EnvSpec } from "../../src/envs/contract.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { type TrainRunOptions, train } from "../../src/training/run.ts";
import { loadRun } from "../../src/training/saved-run.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { chase } from "../helpers/chase-task.ts";
import { fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { type Simulated, simulate, simulated, type View } from "../helpers/remote-simulator.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const runtime = createRuntime();
const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Two rollouts of 10 steps, in which no episode of 1,000 steps ends. */
const CONFIG = tinyConfig({
  env: "remote",
  envs: 2,
  rolloutLength: 5,
  steps: 20,
  switchAt: 0.5,
  evaluateEvery: 10,
});

/** Trains with two simulators of HalfCheetah in this thread, whose spaces `change` says; returns the notes too. */
async function run(
  directory: string,
  options: Partial<TrainRunOptions> & { readonly change?: (spec: EnvSpec) => EnvSpec } = {},
) {
  const { change = (spec: EnvSpec) => spec, ...rest } = options;
  const envs: Env[] = [await makeEnv("mujoco/HalfCheetah-2x3"), await makeEnv("mujoco/HalfCheetah-2x3")];
  const notes: string[] = [];
  const ended: Promise<number>[] = [];
  const onNote = (line: string): void => {
    notes.push(line);
    const url = /^waiting for simulators on (.+)$/.exec(line)?.[1];
    if (url === undefined) return;
    ended.push(
      simulate(
        url,
        envs.map((env) => posing(env, change(env.spec))),
      ),
    );
  };
  try {
    const remote = { listen: "127.0.0.1:0" };
    const result = await train({ config: CONFIG, directory, runtime, remote, onNote, ...rest });
    return { result, notes };
  } finally {
    await Promise.all(ended);
    for (const env of envs) env.close();
  }
}

test("a remote run in which no episode ended writes checkpoints that can be read, and goes on from them", async () => {
  const directory = join(folder, "none");
  const { result, notes } = await run(directory);
  assert.deepEqual([result.envSteps, result.phases, result.figures], [20, [], {}]);
  assert.ok(Number.isNaN(result.return.mean));
  assert.ok(notes.some((line) => /return not known: no episode has ended; adapters start/.test(line)));
  assert.equal(loadRun(join(directory, "switch")).saved.phase, "shared");
  assert.deepEqual(loadRun(result.checkpoint).saved.phases, []);
  assert.doesNotMatch(readFileSync(join(directory, "metrics.jsonl"), "utf8"), /evaluationReturn/);
  const longer: TrainConfig = { ...CONFIG, steps: 30 };
  const { result: resumed } = await run(directory, { config: longer, resume: true });
  assert.deepEqual([resumed.envSteps, resumed.interrupted], [30, false]);
});

/** Spaces that differ from those that a run was trained with, each with what its line says. */
const CHANGED: Readonly<Record<string, readonly [change: (spec: EnvSpec) => EnvSpec, message: RegExp]>> = {
  "other bounds": [
    (spec) => ({ ...spec, actionSpace: { kind: "continuous", size: 3, low: -2, high: 2 } }),
    /agents\[0\]\.action of .*: expected 3 numbers from -1 to 1 as in .*, received 3 numbers from -2 to 2;/,
  ],
  "agents in another order": [
    (spec) => ({ ...spec, agents: [...spec.agents].reverse() }),
    /agents\[0\]\.name of .*: expected agent_0 as in .*, received agent_1; connect the simulators/,
  ],
  "another episode limit": [
    (spec) => ({ ...spec, episodeLimit: 50 }),
    /episode_limit of the simulators of remote\/.*: expected 1000 as in checkpoint .*, received 50/,
  ],
  "longer observations": [
    (spec) => ({
      ...spec,
      agents: spec.agents.map((agent) => ({ ...agent, observationSize: agent.observationSize + 1 })),
    }),
    /agents\[0\]\.observation of .*: expected \d+ as in .*, received \d+;/,
  ],
  "another task": [(spec) => ({ ...spec, name: "other" }), /expected one of remote\/other, received remote/],
};

test("a remote run is not resumed with simulators of other spaces, and the first difference is named", async () => {
  const directory = join(folder, "spaces");
  const config: TrainConfig = { ...CONFIG, steps: 10, switchAt: 1, evaluateEvery: 0 };
  await run(directory, { config });
  const longer: TrainConfig = { ...config, steps: 20, switchAt: 0.5 };
  for (const [name, [change, message]] of Object.entries(CHANGED)) {
    const asked = run(directory, { config: longer, resume: true, change });
    await assert.rejects(asked, { code: "LORASA_CONFIG", message }, name);
  }
});

test("what a recurrent policy remembers ends with episodes that could not be saved", async () => {
  const config = tinyConfig({ env: "fake", envs: 4, rolloutLength: 10 });
  const made = (): Trainer => {
    const vectorEnv = fakeVectorEnv(chase(true), { envs: 4 });
    vectorEnv.save = () => Array.from({ length: 4 }, () => new Float64Array(0));
    vectorEnv.restore = () => vectorEnv.reset(9);
    return new Trainer({ config, runtime, vectorEnv, criticThread: false });
  };
  const [trained, resumed] = [made(), made()];
  await trained.iterate();
  const state = await trained.state();
  const remembered = ({ collector }: typeof state): number[] =>
    collector.groups.flatMap((group) => Object.values(group).flatMap((numbers) => [...numbers]));
  assert.ok(remembered(state).some((value) => value !== 0));
  await resumed.restore(state, "shared");
  assert.ok(remembered(await resumed.state()).every((value) => value === 0));
  await trained.close();
  await resumed.close();
});

/** An environment that says `spec` of itself, its observations padded to the length that this says. */
function posing(env: Env, spec: EnvSpec): Simulated {
  const { reset, step } = simulated(env);
  const padded = (view: View): View => {
    const rows = spec.agents.map(({ observationSize }, agent) => {
      const width = view.observations.length / spec.agents.length;
      const row = new Float32Array(observationSize);
      row.set(view.observations.subarray(agent * width, (agent + 1) * width));
      return [...row];
    });
    return { ...view, observations: Float32Array.from(rows.flat()) };
  };
  return {
    spec,
    reset: (seed) => padded(reset(seed)),
    step: (actions) => {
      const result = step(actions);
      return { ...result, view: padded(result.view) };
    },
  };
}
