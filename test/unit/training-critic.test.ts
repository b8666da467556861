/** Where the critic trains: beside the actor only where that can gain time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { criticParameters } from "../../models/policy.ts";
import { envSpec } from "../../src/envs/registry.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { criticConfig } from "../../src/training/config.ts";
import { createCriticLearner } from "../../src/training/critic-trainer.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

/** The CPU's runtime under another name, and how many sessions this thread made with it. */
function named(change: Partial<Runtime>): { runtime: Runtime; sessions: () => number } {
  const cpu = createRuntime();
  let sessions = 0;
  const createSession: Runtime["createSession"] = (model, options) => {
    sessions += 1;
    return cpu.createSession(model, options);
  };
  return { runtime: { ...cpu, createSession, ...change }, sessions: () => sessions };
}

const CASES = [
  { what: "ONNX Runtime on the CPU", change: {}, ownThread: true, here: 0 },
  { what: "ONNX Runtime on the CPU, asked not to", change: {}, ownThread: false, here: 1 },
  { what: "a device", change: { device: "webgpu" }, ownThread: true, here: 1 },
  { what: "another library", change: { backend: "tensorflow" }, ownThread: true, here: 1 },
] as const;

for (const { what, change, ownThread, here } of CASES) {
  test(`the critic trains ${here ? "in the caller's thread" : "in a thread of its own"}: ${what}`, async () => {
    const config = tinyConfig();
    const critic = criticConfig(config, envSpec(config.env));
    const { runtime, sessions } = named(change);
    const layout = criticParameters(critic);
    const learner = createCriticLearner({ runtime, config, critic, layout, ownThread, threads: 1 });
    try {
      assert.equal(sessions(), here);
      assert.equal((await learner.state()).parameters.length, layout.size);
    } finally {
      await learner.close();
    }
  });
}
