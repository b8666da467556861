/** Figures that a task tells of its episodes, and states of single agents: from the simulator to what a run writes. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { mean } from "../../src/base/statistics.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { createVectorEnv } from "../../src/envs/vector.ts";
import type { EnvGroup, VectorEnv } from "../../src/envs/vector-contract.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { criticConfig, parseTrainConfig } from "../../src/training/config.ts";
import { meanFigures } from "../../src/training/episodes.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { readMetrics } from "../../src/training/log/metrics-file.ts";
import { train } from "../../src/training/run.ts";
import { loadRun } from "../../src/training/saved-run.ts";
import { assertFails } from "../helpers/fails.ts";
import { type FakeTask, fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { randomTeam } from "../helpers/team.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const TASK = "smac/3m";
/** A state an agent, and the highest number of available actions is always `attack` where there is one. */
const OPTIONS = { state: "agent" } as const;
const ENVS = 2;
const STEPS = 70;

/** The last available choice: marines walk about and shoot as soon as they can. */
function chooseLast({ actions, actionMask }: EnvGroup | ReturnType<typeof buffersOf>): void {
  const width = actionMask.length / actions.length;
  for (let row = 0; row < actions.length; row++)
    actions[row] = actionMask.subarray(row * width, (row + 1) * width).lastIndexOf(1);
}

function buffersOf(spec: VectorEnv["spec"]) {
  return { ...createBuffers(spec), actions: new Float32Array(spec.agents.length) };
}

/** States, ends and figures of all environments at each step. */
function play(vector: VectorEnv): unknown[] {
  vector.reset(3);
  return Array.from({ length: STEPS }, () =>
    vector.groups.flatMap((group, index) => {
      chooseLast(group);
      vector.startStep(index);
      vector.finishStep(index);
      return Array.from({ length: group.envs }, (_, e) => statesOf(group, e, vector.spec.agents.length));
    }),
  );
}

function statesOf(group: EnvGroup, e: number, agents: number): unknown {
  const size = group.state.length / (agents * group.envs);
  const own = (from: Float32Array) =>
    Array.from({ length: agents }, (_, agent) => {
      const at = (agent * group.envs + e) * size;
      return [...from.subarray(at, at + size)];
    });
  const ended = group.terminated[e] === 1 || group.truncated[e] === 1;
  const figures = group.figures.length / group.envs;
  return {
    state: own(group.state),
    ...(ended && {
      final: own(group.finalState),
      figures: [...group.figures.subarray(e * figures, (e + 1) * figures)],
    }),
  };
}

test("states of agents and figures of episodes are those of the environment alone, on threads or not", async () => {
  const runs = [];
  for (const host of [
    { groups: 1, threads: 0 },
    { groups: 2, threads: 1 },
  ]) {
    const vector = await createVectorEnv({ name: TASK, options: OPTIONS, envs: ENVS, ...host });
    assert.equal(vector.spec.statePerAgent, true);
    assert.ok(vector.spec.episodeFigures.includes("won"));
    runs.push(play(vector));
    await vector.close();
  }
  assert.deepEqual(runs[1], runs[0]);

  const vector = await createVectorEnv({ name: TASK, options: OPTIONS, envs: ENVS, groups: 1, threads: 0 });
  vector.reset(3);
  const env = await makeEnv(TASK, OPTIONS);
  const buffers = buffersOf(env.spec);
  // Environment 1, taken over at its start: the group's own three numbers come first.
  env.restore(vector.save()[1]!.subarray(3), buffers);
  const seen = runs[0] as { state: number[][]; final?: number[][]; figures?: number[] }[][];
  const size = env.spec.stateSize;
  const own = (): number[][] =>
    env.spec.agents.map((_, agent) => [...buffers.state.subarray(agent * size, (agent + 1) * size)]);
  const length = seen.findIndex((step) => step[1]!.final);
  assert.ok(length > 0, "an episode ends");
  for (let t = 0; t <= length; t++) {
    chooseLast(buffers);
    const { info } = env.step(buffers.actions, buffers);
    const { state, final, figures } = seen[t]![1]!;
    assert.deepEqual(final ?? state, own(), `step ${t}`);
    if (figures)
      assert.deepEqual(
        figures,
        env.spec.episodeFigures.map((name) => Math.fround(info![name]!)),
      );
  }
  const states = seen[5]![1]!.state;
  assert.notDeepEqual(states[0], states[1], "agents' states differ");
  env.close();
  await vector.close();
});

test("a team of agents with states of their own needs a value for each", () => {
  const config = tinyConfig({ env: TASK });
  const spec = {
    name: TASK,
    agents: [0, 1].map((n) => ({ name: `agent_${n}`, observationSize: 2, actionSize: 2 })),
    observationSize: 2,
    stateSize: 3,
    statePerAgent: true,
    actionSpace: { kind: "discrete", count: 2 },
    episodeLimit: 9,
    stepSeconds: 1,
    episodeFigures: [],
  } as const;
  assertFails(
    () => criticConfig({ ...config, critic: "team" }, spec),
    "LORASA_CONFIG",
    /critic of smac\/3m: expected agent, .*received team.*critic=agent/,
  );
  assert.equal(criticConfig({ ...config, critic: "agent" }, spec).ownStates, true);
});

test("evaluation gives each episode its own figures", () => {
  const task: FakeTask = {
    agents: 3,
    observationSize: 5,
    stateSize: 1,
    actionSpace: { kind: "continuous", size: 2, low: -1, high: 1 },
    observation: () => [1, 2, 3, 4, 5],
    state: () => [0],
    episodeFigures: ["won", "left"],
    step: ({ env, episode, step }) => ({
      reward: 1,
      terminated: step === 2 + env,
      figures: [(env + episode) % 2, 10 * env + episode],
    }),
  };
  const vectorEnv = fakeVectorEnv(task, { envs: 2, groups: 1 });
  const episodes = evaluate(randomTeam(), { runtime: createRuntime(), vectorEnv, episodes: 4, seed: 1 });
  assert.deepEqual(
    episodes.map(({ figures }) => figures),
    [
      { won: 0, left: 0 },
      { won: 1, left: 1 },
      { won: 1, left: 10 },
      { won: 0, left: 11 },
    ],
  );
  assert.deepEqual(meanFigures(episodes), { won: 0.5, left: 5.5 });
  assert.deepEqual(meanFigures([]), {});
});

const folder = mkdtempSync(join(tmpdir(), "lorasa-figures-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("a run writes the figures of its episodes and evaluations, and keeps them for what is resumed", async () => {
  const config = parseTrainConfig(
    tinyConfig({
      env: TASK,
      envOptions: OPTIONS,
      sharing: "ps",
      envs: 2,
      rolloutLength: 40,
      chunkLength: 10,
      steps: 240,
      evaluateEvery: 160,
      evaluationEpisodes: 2,
    }),
  );
  const result = await train({ config, directory: folder, runtime: createRuntime() });
  const rows = readMetrics(join(folder, "metrics.jsonl")).map(({ metrics }) => metrics);
  const last = rows.at(-1)!;
  const { recentEpisodes, phases } = loadRun(result.checkpoint).saved;
  assert.ok(recentEpisodes.length > 1);
  for (const name of Object.keys(recentEpisodes[0]!.figures)) {
    const figure = `episode${name[0]!.toUpperCase()}${name.slice(1)}`;
    assert.equal(last[figure], mean(recentEpisodes.map(({ figures }) => figures[name]!)), figure);
  }
  const evaluated = rows.filter((row) => "evaluationReturn" in row);
  assert.equal(evaluated.length, 1);
  assert.ok("evaluationWon" in evaluated[0]! && evaluated[0]["evaluationWon"]! <= 1);
  assert.deepEqual(phases.at(-1)!.figures, result.figures);
  assert.ok("won" in result.figures);
});
