/**
 * How fast is simulation alone? Environment steps a second with random actions and no policy, in the calling thread
 * and in simulating threads, as ratios to one environment stepped in a loop.
 *
 *     node --import tsx test/bench/simulation.ts [--env mujoco/HalfCheetah-2x3] [--envs 16] [--rounds 5] [--json]
 */
import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Random } from "../../src/base/random.ts";
import { median } from "../../src/base/statistics.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { createVectorEnv } from "../../src/envs/vector.ts";

const WARM_UP_SECONDS = 0.5;
const MEASURED_SECONDS = 1.5;

const { values } = parseArgs({
  options: {
    env: { type: "string", default: "mujoco/HalfCheetah-2x3" },
    envs: { type: "string", default: "16" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    case: { type: "string" },
  },
});

if (values.case === undefined) report();
else process.stdout.write(`${await stepsPerSecond(values.case)}\n`);

/** Each case in a fresh process, the order reversed each round. */
function report(): void {
  const threads = [...new Set([1, 2, availableParallelism()])];
  const cases = ["loop", "threads 0", ...threads.map((count) => `threads ${count}`)];
  const rounds = new Map(cases.map((name) => [name, [] as number[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of round % 2 === 0 ? cases : [...cases].reverse()) {
      const figure = Math.round(inFreshProcess(name));
      rounds.get(name)!.push(figure);
      process.stderr.write(`round ${round + 1}  ${name.padEnd(10)} ${figure} steps/s\n`);
    }
  }
  const baseline = median(rounds.get("loop")!);
  const rows = [...rounds].map(([name, figures]) => ({
    case: name,
    stepsPerSecond: median(figures),
    lowest: Math.min(...figures),
    highest: Math.max(...figures),
    ratio: Number((median(figures) / baseline).toFixed(2)),
    rounds: figures,
  }));
  if (values.json) {
    const about = { env: values.env, envs: Number(values.envs), groups: 2, cores: availableParallelism() };
    process.stdout.write(`${JSON.stringify({ ...about, rows })}\n`);
    return;
  }
  for (const { rounds: _, ...row } of rows) {
    const { lowest, highest, ratio } = row;
    process.stdout.write(
      `${row.case.padEnd(10)} ${row.stepsPerSecond} steps/s (${lowest} to ${highest}), ${ratio} × loop\n`,
    );
  }
}

function inFreshProcess(name: string): number {
  const { env, envs } = values;
  const file = fileURLToPath(import.meta.url);
  const given = ["--import", "tsx", file, "--case", name, "--env", env, "--envs", envs];
  return Number(execFileSync(process.execPath, given, { encoding: "utf8" }));
}

function stepsPerSecond(name: string): Promise<number> {
  return name === "loop" ? loopSteps() : vectorSteps(Number(name.slice("threads ".length)));
}

/** One environment in a plain loop. */
async function loopSteps(): Promise<number> {
  const env = await makeEnv(values.env);
  const buffers = createBuffers(env.spec);
  const space = env.spec.actionSpace;
  const actions = new Float32Array(env.spec.agents.length * (space.kind === "continuous" ? space.size : 1));
  const random = new Random(1);
  env.reset(buffers, 1);
  return rate(() => {
    for (let i = 0; i < actions.length; i++) actions[i] = random.uniformIn(-1, 1);
    const { terminated, truncated } = env.step(actions, buffers);
    if (terminated || truncated) env.reset(buffers);
    return 1;
  });
}

/** Two groups, each started again as soon as it is done. */
async function vectorSteps(threads: number): Promise<number> {
  const vector = await createVectorEnv({ name: values.env, envs: Number(values.envs), threads });
  const random = new Random(1);
  vector.reset(1);
  for (const index of vector.groups.keys()) vector.startStep(index);
  const figure = rate(() => {
    for (const [index, group] of vector.groups.entries()) {
      vector.finishStep(index);
      for (let i = 0; i < group.actions.length; i++) group.actions[i] = random.uniformIn(-1, 1);
      vector.startStep(index);
    }
    return vector.envs;
  });
  for (const index of vector.groups.keys()) vector.finishStep(index);
  await vector.close();
  return figure;
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
