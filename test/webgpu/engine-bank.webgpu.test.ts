/** Adapters in a WebGPU device's bank: more than it begins with, more than it may hold, and each where it belongs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertClose } from "../helpers/close.ts";
import { FACTORED, OBS, OBSERVATION, TEAM } from "../helpers/engine-adapters.ts";
import { ask, expectedAction, openTiny, push, type TinyEngine } from "../helpers/engine-service.ts";
import { type TrafficRuntime, trafficRuntime } from "../helpers/traffic-runtime.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
/** Slots that a bank begins with besides the agents' own: see `adapter-banks.ts`. */
const READY_SLOTS = 64;
const AGENTS = 2;
const ADAPTERS = 1000;
const INDEX_BYTES = 8;

const variant = (seed: number): string => `agent_${seed % AGENTS}.v${seed}`;

function slotsOf({ service }: TinyEngine): number {
  const { memory } = service.repository.model("team");
  const { adapterBytes } = service.repository.model("team").registry!;
  return memory.find(({ part }) => part === "bank")!.bytes / adapterBytes;
}

/** Runs that put an adapter into a slot; those that copy a bank into a larger one name all of its slots. */
function puts({ runs }: TrafficRuntime): number {
  return runs.filter(({ up }) => up["slots"] === INDEX_BYTES).length;
}

/** Asks for every adapter in one batch; each answer is of its numbers. */
async function assertAnswers(engine: TinyEngine, seeds: readonly number[], what: string): Promise<void> {
  const answers = await Promise.all(seeds.map((seed) => ask(engine, `team.${variant(seed)}`, OBS)));
  for (const [at, { outputs, versions }] of answers.entries()) {
    const seed = seeds[at]!;
    assert.deepEqual(Object.keys(versions), [variant(seed)]);
    const expected = expectedAction(engine.policy, OBSERVATION, seed % AGENTS, seed);
    assertClose(outputs["action"]!, expected, {}, `${what}: ${variant(seed)}`);
  }
}

test("a bank that grows keeps what it holds: nothing is uploaded again", { skip }, async (context) => {
  const before = createRuntime("webgpu").residentBytes;
  const runtime = trafficRuntime(createRuntime("webgpu"));
  const engine = await openTiny(context, FACTORED, { runtime });
  const seeds = Array.from({ length: 150 }, (_, at) => 100 + at);
  for (const seed of seeds) await push(engine, variant(seed), seed);
  const { adapterBytes } = engine.service.repository.model("team").registry!;
  assert.equal(slotsOf(engine), AGENTS + READY_SLOTS);
  await assertAnswers(engine, seeds.slice(0, 40), "before it grows");
  assert.deepEqual([slotsOf(engine), puts(runtime)], [AGENTS + READY_SLOTS, 40]);
  await assertAnswers(engine, seeds.slice(40), "while it grows");
  assert.equal(puts(runtime), seeds.length);
  await ask(engine, "team", TEAM);
  runtime.runs.length = 0;
  await assertAnswers(engine, seeds, "after it grew");
  await ask(engine, "team", TEAM);
  assert.equal(puts(runtime), 0);
  const slots = slotsOf(engine);
  assert.ok(slots >= AGENTS + seeds.length, `${slots} slots`);
  assert.equal(runtime.residentBytes - before, slots * adapterBytes);
});

test(`${ADAPTERS} adapters are answered from a bank of ${AGENTS + READY_SLOTS} slots`, {
  skip,
}, async (context) => {
  const before = createRuntime("webgpu").residentBytes;
  const runtime = trafficRuntime(createRuntime("webgpu"));
  const engine = await openTiny(context, FACTORED, { runtime, residentAdapters: READY_SLOTS });
  for (let seed = 0; seed < ADAPTERS; seed++) await push(engine, variant(seed), seed);
  const bytes = runtime.residentBytes - before;
  const random = new Random(5);
  for (let round = 0; round < 40; round++) {
    const seeds = new Set(Array.from({ length: 25 }, () => random.integer(ADAPTERS)));
    await assertAnswers(engine, [...seeds], `round ${round}`);
  }
  assert.equal(slotsOf(engine), AGENTS + READY_SLOTS);
  assert.equal(runtime.residentBytes - before, bytes);
  assert.ok(puts(runtime) > 500, "most were not in the bank");
  assert.deepEqual(engine.events.devices, []);
});
