/** Simulators in Python train a team over HTTP, through the example that the documentation names. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { type IterationReport, Trainer } from "../../src/training/trainer.ts";
import { listen } from "../helpers/remote-listen.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";
import { pythonWith } from "./python-environment.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/remote_env.py");

interface Python {
  readonly process: ChildProcess;
  /** Standard output and the exit code, once it has ended. */
  readonly ended: Promise<{ code: number | null; text: string; errors: string }>;
}

/** Starts the example; ended with the test. */
function simulator(context: TestContext, python: string, args: readonly string[]): Python {
  const child = spawn(python, [EXAMPLE, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  context.after(() => child.kill());
  const read = { text: "", errors: "" };
  child.stdout.on("data", (piece) => {
    read.text += piece;
  });
  child.stderr.on("data", (piece) => {
    read.errors += piece;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...read }));
  return { process: child, ended };
}

/** Trains for some rollouts of 4 environments; `during` is called after each. */
async function trained(
  context: TestContext,
  python: string,
  args: readonly (readonly string[])[],
  during: (report: IterationReport, simulators: readonly Python[]) => void = () => {},
): Promise<{ reports: IterationReport[]; ended: { code: number | null; text: string; errors: string }[] }> {
  const stop = new AbortController();
  const { vector, url } = listen(context, { envs: 4, timeoutSeconds: 2, signal: stop.signal });
  const address = await url;
  const simulators = args.map((own) => simulator(context, python, [address, ...own]));
  // A simulator that fails at the start fails the test, which would wait for it.
  for (const { ended } of simulators)
    void ended.then(({ code }) => code !== null && code > 0 && stop.abort());
  const vectorEnv = await vector;
  const config = tinyConfig({ env: vectorEnv.spec.name, steps: 400 });
  await vectorEnv.begin(config.seed);
  const trainer = new Trainer({ config, runtime: createRuntime(), vectorEnv });
  const reports: IterationReport[] = [];
  try {
    while (!trainer.done) {
      const report = await trainer.iterate();
      reports.push(report);
      during(report, simulators);
    }
  } finally {
    await trainer.close();
    await vectorEnv.close();
  }
  return { reports, ended: await Promise.all(simulators.map(({ ended }) => ended)) };
}

test("a Gymnasium-Robotics team trains from two processes, in binary and JSON", {
  timeout: 60_000,
}, async (context) => {
  const found = pythonWith([
    "numpy",
    { pip: "gymnasium-robotics", modules: ["gymnasium_robotics"] },
    "mujoco",
  ]);
  if ("missing" in found) return context.skip(found.missing);
  const make = '{"scenario": "HalfCheetah", "agent_conf": "2x3", "agent_obsk": 1}';
  const task = [
    "gymnasium_robotics.mamujoco_v1",
    "--make",
    make,
    "--environments",
    "2",
    "--episode-limit",
    "30",
  ];
  const { reports, ended } = await trained(context, found.python, [task, [...task, "--json"]]);
  assert.equal(reports.at(-1)!.envSteps, 400);
  const episodes = reports.flatMap((report) => report.episodes);
  assert.ok(episodes.length >= 12, `${episodes.length} episodes`);
  for (const { length } of episodes) assert.equal(length, 30);
  for (const { figures } of reports)
    for (const value of Object.values(figures)) assert.ok(Number.isFinite(value));
  assert.deepEqual(
    ended.map(({ code, text, errors }) => [code, JSON.parse(text || "{}"), errors.includes("Traceback")]),
    [
      [0, { steps: 200 }, false],
      [0, { steps: 200 }, false],
    ],
  );
});

test("a PettingZoo team goes on training when a simulator is killed and another takes over", {
  timeout: 60_000,
}, async (context) => {
  const found = pythonWith(["numpy", "pettingzoo", "mpe2"]);
  if ("missing" in found) return context.skip(found.missing);
  const task = ["mpe2.simple_spread_v3", "--environments", "2"];
  const { reports, ended } = await trained(
    context,
    found.python,
    [task, task, task],
    (report, simulators) => {
      if (report.envSteps === 160) simulators[0]!.process.kill("SIGKILL");
    },
  );
  assert.equal(reports.at(-1)!.envSteps, 400);
  assert.deepEqual([ended[0]!.code, ended[1]!.code, ended[2]!.code], [null, 0, 0]);
  const whole = reports.flatMap((report) => report.episodes).filter(({ length }) => length > 0);
  assert.ok(whole.length >= 8, `${whole.length} episodes`);
  for (const { length } of whole) assert.equal(length, 25);
});
