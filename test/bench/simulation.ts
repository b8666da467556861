/**
 * How fast is simulation alone? Environment steps a second with random actions and no policy, in the calling thread
 * and in simulating threads, as ratios to one environment stepped in a loop. With several tasks each is stepped in a
 * loop alone: what one core gives.
 *
 *     node --import tsx test/bench/simulation.ts [--env mujoco/HalfCheetah-2x3] [--envs 16] [--rounds 5] [--json]
 *     node --import tsx test/bench/simulation.ts --env mujoco/Ant-4x2 --env "mujoco/Humanoid-9|8" [--rounds 5] [--json]
 */
import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Random } from "../../src/base/random.ts";
import { median } from "../../src/base/statistics.ts";
import { actionWidth, createBuffers } from "../../src/envs/buffers.ts";
import type { EnvSpec } from "../../src/envs/contract.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { createVectorEnv } from "../../src/envs/vector.ts";

const WARM_UP_SECONDS = 0.5;
const MEASURED_SECONDS = 1.5;

const { values } = parseArgs({
  options: {
    env: { type: "string", multiple: true, default: ["mujoco/HalfCheetah-2x3"] },
    envs: { type: "string", default: "16" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    case: { type: "string" },
  },
});

/** One task, ways of stepping it; or several tasks, each in a loop. */
const [task = ""] = values.env;
if (values.case !== undefined) process.stdout.write(`${await stepsPerSecond(values.case)}\n`);
else if (values.env.length > 1) reportTasks();
else reportThreads();

/** Each task alone. */
function reportTasks(): void {
  const rounds = measured(values.env, (name) => inFreshProcess("loop", name));
  const rows = [...rounds].map(([env, figures]) => ({ env, ...summary(figures) }));
  if (values.json) process.stdout.write(`${JSON.stringify({ cores: availableParallelism(), rows })}\n`);
  else for (const { env, ...row } of rows) process.stdout.write(`${env.padEnd(24)} ${line(row)}\n`);
}

/** One task in a loop and in threads. */
function reportThreads(): void {
  const threads = [...new Set([1, 2, availableParallelism()])];
  const cases = ["loop", "threads 0", ...threads.map((count) => `threads ${count}`)];
  const rounds = measured(cases, (name) => inFreshProcess(name, task));
  const baseline = median(rounds.get("loop")!);
  const rows = [...rounds].map(([name, figures]) => {
    const { rounds: each, ...row } = summary(figures);
    return { case: name, ...row, ratio: Number((row.stepsPerSecond / baseline).toFixed(2)), rounds: each };
  });
  if (values.json) {
    const about = { env: task, envs: Number(values.envs), groups: 2, cores: availableParallelism() };
    process.stdout.write(`${JSON.stringify({ ...about, rows })}\n`);
    return;
  }
  for (const row of rows) process.stdout.write(`${row.case.padEnd(10)} ${line(row)}, ${row.ratio} × loop\n`);
}

/** Figures of each case by round, the order reversed each round. */
function measured(cases: readonly string[], measure: (name: string) => number): Map<string, number[]> {
  const rounds = new Map(cases.map((name) => [name, [] as number[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of round % 2 === 0 ? cases : [...cases].reverse()) {
      const figure = Math.round(measure(name));
      rounds.get(name)!.push(figure);
      process.stderr.write(`round ${round + 1}  ${name.padEnd(10)} ${figure} steps/s\n`);
    }
  }
  return rounds;
}

function summary(rounds: readonly number[]) {
  const [lowest, highest] = [Math.min(...rounds), Math.max(...rounds)];
  return { stepsPerSecond: median([...rounds]), lowest, highest, rounds };
}

function line({ stepsPerSecond, lowest, highest }: Omit<ReturnType<typeof summary>, "rounds">): string {
  return `${stepsPerSecond} steps/s (${lowest} to ${highest})`;
}

function inFreshProcess(name: string, env: string): number {
  const file = fileURLToPath(import.meta.url);
  const given = ["--import", "tsx", file, "--case", name, "--env", env, "--envs", values.envs];
  return Number(execFileSync(process.execPath, given, { encoding: "utf8" }));
}

function stepsPerSecond(name: string): Promise<number> {
  return name === "loop" ? loopSteps() : vectorSteps(Number(name.slice("threads ".length)));
}

/** One environment in a plain loop. */
async function loopSteps(): Promise<number> {
  const env = await makeEnv(task);
  const buffers = createBuffers(env.spec);
  const actions = new Float32Array(env.spec.agents.length * actionWidth(env.spec));
  const random = new Random(1);
  env.reset(buffers, 1);
  return rate(() => {
    act(env.spec, actions, buffers.actionMask, random);
    const { terminated, truncated } = env.step(actions, buffers);
    if (terminated || truncated) env.reset(buffers);
    return 1;
  });
}

/** Two groups, each started again as soon as it is done. */
async function vectorSteps(threads: number): Promise<number> {
  const vector = await createVectorEnv({ name: task, envs: Number(values.envs), threads });
  const random = new Random(1);
  vector.reset(1);
  for (const index of vector.groups.keys()) vector.startStep(index);
  const figure = rate(() => {
    for (const [index, group] of vector.groups.entries()) {
      vector.finishStep(index);
      act(vector.spec, group.actions, group.actionMask, random);
      vector.startStep(index);
    }
    return vector.envs;
  });
  for (const index of vector.groups.keys()) vector.finishStep(index);
  await vector.close();
  return figure;
}

/** Random actions for every row: inside the bounds, or any choice that is available. */
function act({ actionSpace }: EnvSpec, actions: Float32Array, mask: ArrayLike<number>, random: Random): void {
  if (actionSpace.kind === "continuous") {
    const { low, high } = actionSpace;
    for (let i = 0; i < actions.length; i++) actions[i] = random.uniformIn(low, high);
    return;
  }
  const { count } = actionSpace;
  for (let i = 0; i < actions.length; i++) {
    // From a random choice on to the next that is available: cheap, and near enough to uniform.
    let choice = Math.floor(random.uniformIn(0, count)) % count;
    for (let tries = 0; tries < count && mask[i * count + choice] === 0; tries++)
      choice = (choice + 1) % count;
    actions[i] = choice;
  }
}

/** Steps a second of `work`, which gives how many it made. */
function rate(work: () => number): number {
  const run = (seconds: number): number => {
    const start = performance.now();
    let steps = 0;
    while (performance.now() - start < seconds * 1000) steps += work();
    return (steps * 1000) / (performance.now() - start);
  };
  run(WARM_UP_SECONDS);
  return run(MEASURED_SECONDS);
}
