/** Simulators in Python train a team over HTTP, through the example that the documentation names. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { type IterationReport, Trainer } from "../../src/training/trainer.ts";
import { finish, listen, until } from "../helpers/remote-listen.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";
import { pythonWith } from "./python-environment.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/remote_env.py");
const UNEVEN = join(import.meta.dirname, "uneven_simulator.py");

interface Python {
  readonly process: ChildProcess;
  /** Standard output and the exit code, once it has ended. */
  readonly ended: Promise<{ code: number | null; text: string; errors: string }>;
}

/** Starts the example, or another script; ended with the test. */
function simulator(
  context: TestContext,
  python: string,
  args: readonly string[],
  script: string = EXAMPLE,
): Python {
  const child = spawn(python, [script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
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

for (const form of ["binary", "json"]) {
  test(`an episode that ends beside one that goes on arrives whole, in ${form}`, {
    timeout: 60_000,
  }, async (context) => {
    const found = pythonWith(["json"]);
    if ("missing" in found) return context.skip(found.missing);
    const stop = new AbortController();
    const { vector, url } = listen(context, { envs: 2, groups: 1, signal: stop.signal });
    const { ended } = simulator(context, found.python, [await url, form], UNEVEN);
    // One that fails fails the test, which would wait for it.
    void ended.then(({ code }) => code !== 0 && stop.abort());
    const remote = await vector;
    const [group] = remote.groups as [(typeof remote.groups)[number]];
    await remote.begin(1);
    const steps: number[][] = [];
    for (let t = 0; t < 4; t++) {
      remote.startStep(0);
      await finish(remote, 0);
      const [first, , second] = group.observations;
      steps.push([...group.rewards, ...group.terminated, first!, second!]);
      if (t === 2) assert.deepEqual([...group.figures.subarray(0, 2)], [0, 3], "won, then steps");
      if (t === 2) assert.deepEqual([group.finalObservations[0], group.finalState[0]], [3, 3]);
    }
    assert.deepEqual(steps, [
      [1, 1, 0, 0, 1, 11],
      [2, 2, 0, 0, 2, 12],
      [3, 3, 1, 0, 0, 13],
      [1, 4, 0, 1, 1, 10],
    ]);
    assert.deepEqual([...group.figures.subarray(2)], [1, 4]);
    assert.deepEqual([group.finalObservations[2], group.finalState[3]], [14, 14]);
    await remote.close();
    const { code, text, errors } = await ended;
    assert.deepEqual([code, JSON.parse(text || "{}"), errors], [0, { steps: 8 }, ""]);
  });
}

test("an environment that fails, and a process that is told to end, leave at once", {
  timeout: 60_000,
}, async (context) => {
  const found = pythonWith(["numpy", "pettingzoo", "mpe2"]);
  if ("missing" in found) return context.skip(found.missing);
  const notes: string[] = [];
  const onNote = (line: string): void => void notes.push(line);
  const { vector, url } = listen(context, { envs: 2, groups: 1, onNote });
  const broken = simulator(context, found.python, [await url, "binary", "fails"], UNEVEN);
  const remote = await vector;
  await remote.begin(1);
  for (let t = 0; t < 2; t++) {
    remote.startStep(0);
    if (t === 0) await finish(remote, 0);
  }
  const { code, errors } = await broken.ended;
  assert.deepEqual([code, /ValueError: the simulator is broken/.test(errors)], [1, true]);
  await until(() => notes.some((line) => / left; its 2 unfinished/.test(line)), "a note that it left");

  const other = listen(context, { envs: 1, groups: 1, onNote });
  const told = simulator(context, found.python, [await other.url, "mpe2.simple_spread_v3"]);
  await (await other.vector).begin(1);
  told.process.kill("SIGTERM");
  assert.equal((await told.ended).code, 143);
  await until(() => notes.some((line) => / left; its 1 unfinished/.test(line)), "a note that it left");
});
