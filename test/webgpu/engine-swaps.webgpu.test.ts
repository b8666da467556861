/** Swaps under load on WebGPU: every reply is of the versions that it names, wherever their adapters lie. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { bound, check, FACTORED, OBS, UNTIL_FULL_US } from "../helpers/engine-adapters.ts";
import { ask, openTiny, push, turns } from "../helpers/engine-service.ts";
import { assertUnmixed } from "../helpers/swap-driver.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
const SETTINGS = {
  "as it comes": {},
  "with one adapter more in memory than agents": { residentAdapters: 2 },
  "with little in a batch": { maxBatchRows: 3 },
} as const;

const gpu = () => createRuntime("webgpu");

for (const [where, options] of Object.entries(SETTINGS)) {
  test(`every reply is of the versions that it names, ${where}`, { skip }, async (context) => {
    const engine = await openTiny(context, FACTORED, { ...options, runtime: gpu() });
    await assertUnmixed(engine);
    assert.deepEqual(engine.events.devices, [], "no run failed on the device");
    assert.equal(engine.service.repository.model("team").placed.device, "webgpu");
  });
}

test("two versions of an adapter in one batch each have a slot, and the older answers whom it was given", {
  skip,
}, async (context) => {
  const options = { runtime: gpu(), maxBatchRows: 3, queueDelayUs: UNTIL_FULL_US };
  const engine = await openTiny(context, FACTORED, options);
  const first = ask(engine, "team.agent_0", OBS);
  await turns(2);
  await push(engine, "agent_0", 70);
  const second = ask(engine, "team.agent_0", OBS);
  await turns(2);
  await bound(engine).rollback("agent_0");
  const third = ask(engine, "team.agent_0", OBS);
  for (const [at, answer] of (await Promise.all([first, second, third])).entries()) {
    check(engine, answer, "agent_0", 1 + at, 0, [0, 70, 0][at]!);
  }
  assert.deepEqual(
    engine.events.batches.map(({ requests }) => requests),
    [3],
  );
});
