/** `compare` on WebGPU: resident weights give the network's actions, and what is told of memory is what the runtime counts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compareTeam } from "../../src/cli/compare/compare-team.ts";
import { MODES } from "../../src/cli/compare/contract.ts";
import { LoadedMode } from "../../src/cli/compare/loaded-mode.ts";
import { modeBytes } from "../../src/cli/compare/team-files.ts";
import { verifyModes } from "../../src/cli/compare/verify-modes.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { randomTeam } from "../helpers/team.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const webgpu = { skip: NO_WEBGPU };

test("on WebGPU every mode gives the network's actions from resident weights", webgpu, () => {
  for (const kind of [{ recurrent: true }, { head: "categorical", actionSizes: [2, 3, 3] }] as const) {
    const { maxAbsDiff } = verifyModes(randomTeam(kind), MODES, createRuntime("webgpu"));
    assert.ok(maxAbsDiff > 0 && maxAbsDiff < 1e-5, `${JSON.stringify(kind)}: ${maxAbsDiff}`);
  }
});

test(
  "on WebGPU the bank and shared weights are what the runtime counts, swaps add nothing, and all is freed",
  webgpu,
  () => {
    const runtime = createRuntime("webgpu");
    const team = randomTeam({ hidden: [32, 32] });
    const before = runtime.residentBytes;
    const { loaded, bytes } = modeBytes(team, "factored", "fp32");
    const mode = new LoadedMode(runtime, loaded);
    const held = runtime.residentBytes - before;
    // Vectors of fewer than 256 numbers stay in the session.
    assert.ok(held > bytes.bank + 0.8 * bytes.backbone && held <= bytes.bank + bytes.backbone, `${held}`);
    const buffers = mode.buffers(1, 1);
    const step = mode.bind(buffers);
    step();
    const first = actions();
    const swap = mode.swapper(buffers);
    for (let k = 0; k < 20; k++) swap();
    step();
    assert.deepEqual(actions(), first, "the same adapter was put in again");
    assert.equal(runtime.residentBytes - before, held);
    mode.dispose();
    assert.equal(runtime.residentBytes, before);

    function actions(): Float32Array {
      return (buffers[0]!.outputs["action"]!.data as Float32Array).slice();
    }
  },
);

test("on WebGPU a team is measured beside the CPU, its memory on the device", webgpu, async () => {
  const team = randomTeam({ observationSizes: [3, 3], hidden: [8] });
  const { rows, missing } = await compareTeam(team, {
    quick: true,
    agents: [2],
    rows: [1],
    rounds: 1,
    modes: ["merged", "factored"],
    devices: ["cpu", "webgpu"],
  });
  assert.deepEqual(missing, []);
  assert.deepEqual(
    rows.map(({ mode, device }) => `${mode} ${device}`),
    ["merged cpu", "factored cpu", "merged webgpu", "factored webgpu"],
  );
  for (const { device, deviceBytes, residentBytes, weightBytes, p50Us, swapMs } of rows) {
    assert.equal(deviceBytes, device === "webgpu" ? weightBytes : 0);
    if (device === "webgpu") assert.equal(residentBytes, weightBytes);
    assert.ok(p50Us > 0 && swapMs > 0);
  }
});
