/** The actor's step beyond what the oracles cover: agents with fewer actions than others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialise } from "../../models/initialise.ts";
import { actorParameters } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { actorStep } from "../../src/training/actor-step.ts";
import type { RatioKind } from "../../src/training/losses.ts";
import { randomTeam } from "../helpers/team.ts";

const ROWS = 4;

/** One step of two agents of one and two actions; `moved` is added to what agent 0 drew in its padding. */
function step(ratio: RatioKind, moved: number, actionSizes?: readonly number[]): Record<string, FloatTensor> {
  const { actor } = randomTeam({ observationSizes: [3, 3], actionSizes: [1, 2], head: "squashed-gaussian" });
  const sharing = { kind: "shared" } as const;
  const parameters = actorParameters(actor, sharing);
  const model = actorStep({
    actor,
    sharing,
    parameters,
    ...(actionSizes && { actionSizes }),
    chunks: ROWS,
    chunkLength: 1,
    advantagePerAgent: true,
    ratio,
    entropyCoefficient: 0.1,
    maxGradientNorm: 10,
  });
  const session = createRuntime().createSession(encodeModel(model));
  const random = new Random(5);
  const feeds = Object.fromEntries(
    session.inputs.map(({ name, shape }) => {
      const tensor = floatTensor(shape as number[]);
      tensor.data.set(
        name === "parameters"
          ? initialise(parameters.backbone, new Random(2))
          : tensor.data.map(() => random.normal()),
      );
      return [name, tensor];
    }),
  );
  feeds["active"]!.data.fill(1);
  feeds["second_moment"]!.data.fill(0.5);
  feeds["clip_range"]!.data.fill(0.2);
  for (let row = 0; row < ROWS; row++) {
    feeds["drawn"]!.data[2 * row + 1]! += moved;
    feeds["old_log_prob"]!.data[2 * row + 1]! += moved;
  }
  return session.run(feeds) as Record<string, FloatTensor>;
}

for (const ratio of ["product", "per-dimension"] as const) {
  test(`padding of an agent with fewer actions teaches nothing (${ratio})`, () => {
    const [before, after] = [step(ratio, 0, [1, 2]), step(ratio, 0.7, [1, 2])];
    assert.deepEqual(after["parameters_out"]!.data, before["parameters_out"]!.data);
    assert.deepEqual(after["metrics"]!.data, before["metrics"]!.data);
    assert.notDeepEqual(step(ratio, 0.7)["parameters_out"]!.data, step(ratio, 0)["parameters_out"]!.data);
  });
}
