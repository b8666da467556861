/** Training and evaluation through TensorFlow.js give what they give through ONNX Runtime, in process and by the command. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { createTensorflowRuntime } from "../../src/runtime/tensorflow/runtime.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { Trainer, type TrainerState } from "../../src/training/trainer.ts";
import { chase } from "../helpers/chase-task.ts";
import { assertClose } from "../helpers/close.ts";
import { fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { randomTeam } from "../helpers/team.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const onnxruntime = createRuntime();
const folder = mkdtempSync(join(tmpdir(), "lorasa-tensorflow-"));
let tensorflow: Runtime;

before(async () => {
  tensorflow = await createTensorflowRuntime(["wasm"]);
});

after(() => rmSync(folder, { recursive: true, force: true }));

for (const discrete of [false, true]) {
  test(`a few updates of policy and adapters are the same numbers: ${discrete ? "choices" : "continuous"}`, async () => {
    const [first, expected] = await trained(onnxruntime, discrete);
    const [, actual] = await trained(tensorflow, discrete);
    for (const part of ["actor", "critic"] as const) {
      // Adam divides by the gradient's size, so that last bits of a small gradient show in its parameter's step.
      assertClose(actual[part].parameters, expected[part].parameters, { atol: 2e-5 }, part);
      assertClose(actual[part].firstMoment, expected[part].firstMoment, { atol: 1e-5, rtol: 1e-3 }, part);
    }
    assertClose(actual.backbone, expected.backbone, { atol: 2e-5 }, "backbone");
    const moved = expected.backbone.map((value, at) => Math.abs(value - first.backbone[at]!));
    assert.ok(Math.max(...moved) > 100 * 2e-5, "training moves far beyond the tolerance");
  });
}

/** The state after the first of the iterations and after the last: two of the shared policy, then two of adapters. */
async function trained(runtime: Runtime, discrete: boolean): Promise<[TrainerState, TrainerState]> {
  const config = tinyConfig({ steps: 320, switchAt: 0.5, minibatches: 2, learningRate: 5e-3 });
  const vectorEnv = fakeVectorEnv(chase(discrete), { envs: config.envs });
  const trainer = new Trainer({ config, runtime, vectorEnv, criticThread: false });
  const first = await trainer.state();
  while (!trainer.done) await trainer.iterate();
  const last = await trainer.state();
  await trainer.close();
  return [first, last];
}

for (const head of ["squashed-gaussian", "categorical"] as const) {
  test(`episodes have the same returns, of the mode and of drawn actions: ${head}`, () => {
    const discrete = head === "categorical";
    const actionSizes = discrete ? [3, 3] : [2, 2];
    const team = randomTeam({ recurrent: true, head, observationSizes: [3, 3], actionSizes });
    const play = (runtime: Runtime, sampled: boolean) =>
      evaluate(team, {
        runtime,
        vectorEnv: fakeVectorEnv(chase(discrete), { envs: 2, groups: 1 }),
        episodes: 4,
        seed: 3,
        sampled,
      });
    for (const sampled of [false, true]) {
      const [actual, expected] = [play(tensorflow, sampled), play(onnxruntime, sampled)];
      assert.deepEqual(
        actual.map(({ length }) => length),
        expected.map(({ length }) => length),
      );
      const returns = (episodes: typeof actual): number[] => episodes.map((episode) => episode.return);
      assertClose(returns(actual), returns(expected), { rtol: 1e-4, atol: 1e-4 });
    }
  });
}

test("the commands train and evaluate with --backend tensorflow and name the library", () => {
  const out = join(folder, "run");
  const small = [
    "envs=2",
    "rolloutLength=20",
    "epochs=1",
    "evaluationEpisodes=1",
    "hidden=[8]",
    "recurrent=false",
  ];
  const sets = small.flatMap((field) => ["--set", field]);
  const trained = lorasa(
    "train",
    "--steps",
    "80",
    "--sharing",
    "ps",
    ...sets,
    "--out",
    out,
    "--backend",
    "tensorflow",
  );
  assert.match(trained.stderr, /backend tensorflow runs on @tensorflow\/tfjs-/);
  const checkpoint = join(out, "checkpoint");
  assert.equal(trained.result["checkpoint"], checkpoint);
  const [actual, expected] = ["tensorflow", "onnxruntime"].map((backend) =>
    lorasa("evaluate", checkpoint, "--episodes", "1", "--backend", backend),
  ) as [Answer, Answer];
  assert.match(actual.stderr, /^lorasa: backend tensorflow runs on @tensorflow\/tfjs-/);
  assert.equal(expected.stderr, "");
  // A thousand steps of a simulator carry last bits of an action on.
  const returns = ({ result }: Answer): number[] => result["returns"] as number[];
  assertClose(returns(actual), returns(expected), { atol: 1e-3, rtol: 1e-4 });
  assert.equal(returns(expected).length, 1);
});

interface Answer {
  readonly result: Record<string, unknown>;
  readonly stderr: string;
}

function lorasa(...args: string[]): Answer {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "src/cli/main.ts", ...args, "--json"],
    { encoding: "utf8", timeout: 60_000 },
  );
  assert.equal(status, 0, stderr);
  return { result: JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, unknown>, stderr };
}
