/** The engine on WebGPU: the CPU's answers to every kind of request, in every mode, and what a run carries for them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { FACTORED, OBS, TEAM } from "../helpers/engine-adapters.ts";
import { ask, floats, type Inputs, indices, names, openTiny, push } from "../helpers/engine-service.ts";
import {
  assertSameAnswer,
  batchAnswers,
  drawnCases,
  drawnRequest,
  SERVED_MODES,
  serveModes,
} from "../helpers/random-requests.ts";
import { trafficRuntime } from "../helpers/traffic-runtime.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
/** Fixed: two choices that score the same within rounding may be told apart either way. */
const SEED = 40;
const CASES = 4;
/** Of numbers of size 1: kernels add in another order. */
const BETWEEN_DEVICES = { atol: 1e-5, rtol: 1e-5 };
const FLOAT_BYTES = 4;
const INDEX_BYTES = 8;

const gpu = () => createRuntime("webgpu");

test("random requests to random teams are answered as on the CPU, alone and together, in every mode", {
  skip,
}, async () => {
  await fc.assert(
    fc.asyncProperty(drawnCases, async ({ options, requests }) => {
      await serveModes(options, [createRuntime(), gpu()], async (here, there) => {
        for (const mode of SERVED_MODES) {
          const asked = requests
            .filter(({ variant }) => !variant || mode === "factored")
            .map((drawn) => drawnRequest(here!, mode, drawn));
          const expected = await batchAnswers(here!, asked);
          for (const [at, answer] of (await batchAnswers(there!, asked)).entries()) {
            assert.deepEqual(answer.versions, expected[at]!.versions);
            assertSameAnswer(answer, expected[at]!, BETWEEN_DEVICES, `${asked[at]!.name}, request ${at}`);
          }
        }
      });
    }),
    // Each case is three exports and six loads: to make a failing one smaller would take minutes.
    { numRuns: CASES, seed: SEED, endOnFailure: true },
  );
});

const HIDDEN = 4;
const STEPS = 4;

/** Whom a sequence asks, with how many values a step and what besides. */
const ADDRESSES: Readonly<Record<string, readonly [model: string, shape: readonly number[], also?: Inputs]>> =
  {
    team: ["team", [2, 2, 3]],
    "tagged rows": ["team", [3, 3], { agent: indices(1, 0, 1) }],
    "an agent": ["team.agent_1", [2, 3]],
  };

for (const mode of SERVED_MODES) {
  test(`${mode}: sequences go on from their state as on the CPU, also where the action alone is asked for`, {
    skip,
  }, async (context) => {
    const model = { mode, hidden: HIDDEN, discrete: true };
    const [there, here] = [
      await openTiny(context, model, { runtime: gpu() }),
      await openTiny(context, model),
    ];
    for (const [what, [name, shape, also]] of Object.entries(ADDRESSES)) {
      for (let step = 0; step < STEPS; step++) {
        const count = shape.reduce((product, size) => product * size, 1);
        const values = Array.from({ length: count }, (_, at) => Math.sin(1 + at + 10 * step));
        const inputs = { obs: floats(shape, values), ...also };
        const sequence = { sequence_id: what, sequence_start: step === 0 };
        const outputs = step % 2 === 1 ? { outputs: ["action"] } : {};
        const [actual, expected] = await Promise.all(
          [there, here].map((engine) => ask(engine, name, inputs, sequence, outputs)),
        );
        assertSameAnswer(actual!, expected!, BETWEEN_DEVICES, `${what}, step ${step}`);
      }
    }
  });
}

test("observations and indices go up and the outputs that are asked for come down, nothing else", {
  skip,
}, async (context) => {
  const runtime = trafficRuntime(gpu());
  const engine = await openTiny(context, { ...FACTORED, hidden: HIDDEN }, { runtime });
  await push(engine, "agent_0.blue", 50);
  const { made } = runtime;
  const carries = async (model: string, inputs: Inputs, outputs?: readonly string[]) => {
    runtime.runs.length = 0;
    await ask(engine, model, inputs, {}, outputs ? { outputs } : {});
    return runtime.runs.map(({ up, down }) => [up, down]);
  };
  const features = (rows: number) => ({
    obs: rows * 3 * FLOAT_BYTES,
    hidden_in: rows * HIDDEN * FLOAT_BYTES,
  });
  const action = (rows: number) => ({ action: rows * 2 * FLOAT_BYTES });
  const index = (rows: number) => ({ agent: rows * INDEX_BYTES, slot: rows * INDEX_BYTES });
  const state = (...leading: number[]) =>
    floats([...leading, HIDDEN], new Array(leading[0]! * (leading[1] ?? 1) * HIDDEN).fill(0));
  const team = { ...TEAM, hidden_in: state(1, 2) };
  const own = { ...OBS, hidden_in: state(1) };
  const rows = {
    obs: floats([3, 3], new Array(9).fill(0.5)),
    hidden_in: state(3),
    agent: indices(0, 1, 0),
    adapter: names("agent_0.blue", "agent_1", "agent_0"),
  };

  // A row an agent, as a team's, and still not the team's adapters.
  const pair = {
    obs: floats([2, 3], new Array(6).fill(0.5)),
    hidden_in: state(2),
    agent: indices(0, 1),
    adapter: names("agent_0.blue", "agent_1"),
  };

  await ask(engine, "team", rows);
  await ask(engine, "team", team);
  assert.deepEqual(await carries("team", team, ["action"]), [[features(2), action(2)]]);
  const all = { ...action(2), hidden_out: 2 * HIDDEN * FLOAT_BYTES };
  assert.deepEqual(await carries("team", team), [[features(2), all]]);
  assert.deepEqual(await carries("team", rows, ["action"]), [[{ ...features(3), ...index(3) }, action(3)]]);
  assert.deepEqual(await carries("team", pair, ["action"]), [[{ ...features(2), ...index(2) }, action(2)]]);
  assert.deepEqual(await carries("team.agent_0.blue", own, ["action"]), [
    [{ ...features(1), ...index(1) }, action(1)],
  ]);

  const { adapterBytes } = engine.service.repository.model("team").registry!;
  await push(engine, "agent_1", 60);
  const [put, run, ...more] = await carries("team", team, ["action"]);
  assert.deepEqual(more, []);
  const values = Object.entries(put![0]!).filter(([name]) => name !== "slots");
  assert.equal(
    values.reduce((sum, [, bytes]) => sum + bytes, 0),
    adapterBytes,
    "a swap is one adapter's numbers",
  );
  assert.deepEqual([put![0]!["slots"], put![1]], [INDEX_BYTES, {}]);
  assert.deepEqual(run, [features(2), action(2)]);
  assert.equal(runtime.made, made, "no tensor was made on the device");
});

test("a request for no output at all is answered as on the CPU", { skip }, async (context) => {
  for (const mode of SERVED_MODES) {
    for (const runtime of [createRuntime(), gpu()]) {
      const engine = await openTiny(context, { mode }, { runtime });
      const { outputs } = await ask(engine, "team", TEAM, {}, { outputs: [] });
      assert.deepEqual(outputs, {}, `${mode} on ${runtime.device}`);
      assert.deepEqual(engine.events.devices, [], "which is no fault of the device");
    }
  }
});
