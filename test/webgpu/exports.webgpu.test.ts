/** Every export on WebGPU beside the network that it was made from: all graphs, all outputs, states carried on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { exportTeam } from "../../exporters/export-team.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertFails } from "../helpers/fails.ts";
import { type RandomTeamOptions, randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { NO_HALF_PRECISION, NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
/** The one that is written unless another is asked for, and the first with a LayerNormalization of its own. */
const OPSETS = [15, 17] as const;
const MODES = ["merged", "stacked", "factored"] as const;
/** Of outputs of size 1: what the same products in another order make. */
const LARGEST_DIFFERENCE = 1e-5;

const UNEQUAL = { observationSizes: [5, 3, 4], actionSizes: [2, 3, 1] } as const;

const TEAMS: Readonly<Record<string, RandomTeamOptions & { readonly sampled?: boolean }>> = {
  "Gaussian, unequal agents": { head: "gaussian", ...UNEQUAL, standardise: true },
  "Gaussian, sampled, recurrent": { head: "gaussian", sampled: true, recurrent: true },
  "squashed Gaussian, sampled, recurrent, unequal agents": {
    head: "squashed-gaussian",
    sampled: true,
    recurrent: true,
    low: -2,
    ...UNEQUAL,
  },
  "categorical, masked, recurrent, unequal agents": { head: "categorical", recurrent: true, ...UNEQUAL },
  "categorical, sampled": { head: "categorical", sampled: true, activation: "relu", agentId: false },
};

for (const [what, { sampled = false, ...options }] of Object.entries(TEAMS)) {
  for (const mode of MODES) {
    test(`${mode}: ${what}, with and without LayerNormalization`, { skip }, (context) => {
      const before = createRuntime("webgpu").residentBytes;
      const repository = temporaryFolder(context);
      const team = randomTeam(options);
      for (const opset of OPSETS) {
        const { device, maxAbsDiff } = exportTeam(team, {
          repository,
          mode,
          sampled,
          opset,
          device: "webgpu",
        });
        assert.equal(device, "webgpu");
        assert.ok(maxAbsDiff > 0 && maxAbsDiff <= LARGEST_DIFFERENCE, `opset ${opset}: ${maxAbsDiff}`);
      }
      assert.equal(createRuntime("webgpu").residentBytes, before);
    });
  }
}

test("an export in half precision is refused in one line by a device without it, and nothing is written", {
  skip: skip || (!NO_HALF_PRECISION && "this device has half precision"),
}, (context) => {
  const options = { repository: temporaryFolder(context), mode: "stacked", precision: "fp16" } as const;
  assertFails(
    () => exportTeam(randomTeam(), { ...options, device: "webgpu" }),
    "LORASA_DEVICE",
    /received a device without half precision; serve an export of --precision fp32, or choose --device cpu$/,
  );
  assert.equal(exportTeam(randomTeam(), options).version, "1");
});
