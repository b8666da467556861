/**
 * How fast are SMAC's battles on one core, and how hard? Steps a second of a plain loop with random available actions,
 * observations, state and masks included, by the clock and by processor time (which other processes do not lengthen as
 * much); and with `--episodes`, how often scripted teams win. No policy is trained.
 *
 *     node --import tsx test/bench/smac.ts [--tasks smac/3m,smac/3s5z] [--rounds 5] [--options state=agent] [--json]
 *     node --import tsx test/bench/smac.ts --episodes 100 [--tasks …] [--json]
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Random } from "../../src/base/random.ts";
import { median } from "../../src/base/statistics.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { EnvBuffers } from "../../src/envs/contract.ts";
import { splitName } from "../../src/envs/options.ts";
import { SmacEnv } from "../../src/envs/smac/smac-env.ts";
import { type SmacTask, smacTask, smacTaskNames } from "../../src/envs/smac/tasks.ts";
import { TEAMS, type TeamName } from "../helpers/smac-teams.ts";

/** Of processor time. */
const WARM_UP_SECONDS = 0.5;
const MEASURED_SECONDS = 1;
const STEPS_BETWEEN_LOOKS = 100;

const { values } = parseArgs({
  options: {
    tasks: { type: "string", default: smacTaskNames().join(",") },
    options: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    episodes: { type: "string" },
    json: { type: "boolean", default: false },
    case: { type: "string" },
  },
});

if (values.case !== undefined) process.stdout.write(JSON.stringify(stepsPerSecond(taskOf(values.case))));
else if (values.episodes !== undefined) reportWins(Number(values.episodes));
else reportSpeed();

interface Speed {
  readonly byProcessor: number;
  readonly byClock: number;
}

/** Each task in a fresh process, the order reversed each round. */
function reportSpeed(): void {
  const names = values.tasks.split(",");
  const rounds = new Map(names.map((name) => [name, [] as Speed[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse())
      rounds.get(name)!.push(inFreshProcess(name));
  }
  const rows = [...rounds].map(([task, figures]) => ({
    task,
    stepsPerSecond: median(figures.map(({ byProcessor }) => byProcessor)),
    byClock: median(figures.map(({ byClock }) => byClock)),
    rounds: figures,
  }));
  print(rows, ({ task, stepsPerSecond, byClock, rounds: all }) => {
    const figures = all.map(({ byProcessor }) => byProcessor);
    const spread = `${Math.min(...figures)} to ${Math.max(...figures)}`;
    return `${task.padEnd(22)} ${stepsPerSecond} steps/s of processor time (${spread}), ${byClock} by the clock`;
  });
}

function inFreshProcess(name: string): Speed {
  const file = fileURLToPath(import.meta.url);
  const given = ["--import", "tsx", file, "--case", name, "--options", values.options];
  // Printed by this very file.
  return JSON.parse(execFileSync(process.execPath, given, { encoding: "utf8" })) as Speed;
}

function reportWins(episodes: number): void {
  const rows = values.tasks
    .split(",")
    .flatMap((task) =>
      Object.keys(TEAMS).map((team) => ({ task, team, episodes, ...play(task, team as TeamName, episodes) })),
    );
  print(rows, (row) =>
    [
      row.task.padEnd(22),
      row.team.padEnd(8),
      `${row.wins} of ${episodes} won`,
      `${row.meanReturn.toFixed(1)}`,
    ].join("  "),
  );
}

function play(name: string, team: TeamName, episodes: number) {
  const task = taskOf(name);
  const env = new SmacEnv(task);
  const buffers = createBuffers(env.spec);
  const actions = new Float32Array(env.spec.agents.length);
  const act = TEAMS[team](task, buffers, new Random(1));
  let [wins, returns, steps] = [0, 0, 0];
  for (let episode = 0; episode < episodes; episode++) {
    env.reset(buffers, episode);
    for (let over = false; !over; steps++) {
      act(actions);
      const { reward, terminated, truncated, info } = env.step(actions, buffers);
      returns += reward;
      wins += info?.["won"] ?? 0;
      over = terminated || truncated;
    }
  }
  return { wins, meanReturn: returns / episodes, meanSteps: steps / episodes };
}

function stepsPerSecond(task: SmacTask): Speed {
  const env = new SmacEnv(task);
  const buffers: EnvBuffers = createBuffers(env.spec);
  const actions = new Float32Array(env.spec.agents.length);
  const act = TEAMS.random(task, buffers, new Random(1));
  env.reset(buffers, 1);
  const run = (seconds: number): Speed => {
    const start = performance.now();
    const before = processorSeconds();
    let steps = 0;
    for (; processorSeconds() - before < seconds; steps += STEPS_BETWEEN_LOOKS) {
      for (let i = 0; i < STEPS_BETWEEN_LOOKS; i++) {
        act(actions);
        const { terminated, truncated } = env.step(actions, buffers);
        if (terminated || truncated) env.reset(buffers);
      }
    }
    const byProcessor = Math.round(steps / (processorSeconds() - before));
    return { byProcessor, byClock: Math.round((steps * 1000) / (performance.now() - start)) };
  };
  run(WARM_UP_SECONDS);
  return run(MEASURED_SECONDS);
}

/** Of all threads of this process. */
function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function taskOf(name: string): SmacTask {
  const full = values.options === "" ? name : `${name}?${values.options}`;
  const { task, options } = splitName(full, {});
  return smacTask(task, options);
}

function print<Row>(rows: readonly Row[], line: (row: Row) => string): void {
  if (values.json) process.stdout.write(`${JSON.stringify({ options: values.options, rows })}\n`);
  else for (const row of rows) process.stdout.write(`${line(row)}\n`);
}
